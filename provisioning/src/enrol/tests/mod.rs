//! What the tests of enrolment share: requests, tokens, and the desk at any time.

mod judged;
mod limits;
mod peer;
mod rotated;
mod served;

use std::path::Path;
use std::time::Duration;

use certs::{DeviceId, PublicKey, Subject};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SigningKey};
use rustls_pki_types::UnixTime;

use super::desk::Desk;
use crate::commands::{TokenCreated, TokenRequest, token_create};
use crate::registry::{Answer, Asked, NotEnrolled, Proof};

/// A request for `key` under a common name, in DER.
fn request(key: &impl SigningKey, name: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn new_key() -> PublicKey {
    let key = KeyPair::generate().unwrap();
    PublicKey::from_request(&request(&key, "x")).unwrap()
}

/// A token that is good for an hour.
fn token(dir: &Path, id: &str, now: UnixTime) -> TokenCreated {
    let request = TokenRequest {
        dir,
        device: &DeviceId::parse(id).unwrap(),
        ttl: Duration::from_hours(1),
        again: true,
    };
    token_create(&request, now).unwrap()
}

fn with_token(id: &str, token: &TokenCreated, key: &PublicKey) -> Asked {
    Asked {
        subject: Subject::parse(id).unwrap(),
        key: key.clone(),
        proof: Proof::Token(token.token.hash()),
    }
}

fn with_approval(id: &str, key: &PublicKey) -> Asked {
    Asked {
        subject: Subject::parse(id).unwrap(),
        key: key.clone(),
        proof: Proof::Approval {
            address: "192.0.2.1".into(),
        },
    }
}

/// What the desk answers; it is closed again, for other commands wait for the directory.
fn ask_all(dir: &Path, asked: &[Asked], now: UnixTime) -> Vec<Result<Answer, NotEnrolled>> {
    let mut desk = Desk::open(dir, None, now).unwrap();
    desk.answer(asked, (now, usize::MAX)).unwrap()
}

fn ask(dir: &Path, asked: Asked, now: UnixTime) -> Result<Answer, NotEnrolled> {
    ask_all(dir, &[asked], now).remove(0)
}
