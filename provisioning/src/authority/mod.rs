//! Signing: who may sign for a directory, and what was signed but not yet recorded.
//!
//! What an authority signs stays closed ([`Signed`]) until the registry has recorded it; only the
//! registry opens it.

pub(crate) mod hierarchy;
pub(crate) mod key_file;
mod pbes2;
mod publish;

use std::path::Path;

use aws_lc_rs::rand;
use certs::{AuthorityName, Certificate, Holder, Profile, Role, Serial, Validity};
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

pub(crate) use self::hierarchy::Hierarchy;
pub use self::key_file::{Algorithm, KeyKept};
pub use self::pbes2::Passphrase;
pub(crate) use self::publish::ListContent;
use crate::error::CommandError;
use crate::registry::Recorded;

/// Somebody who signs certificates, once the key is open.
pub(crate) struct Authority {
    certificate: Certificate,
    pem: String,
    issuer: Option<Issuer<'static, KeyPair>>,
}

/// A certificate that nobody may have yet: it is signed, and not recorded.
pub(crate) struct Signed {
    pub(crate) role: Role,
    /// What its holder is called among the holders of its role.
    pub(crate) name: Box<str>,
    pub(crate) certificate: Certificate,
    /// The serial number of its issuer's certificate.
    pub(crate) issuer: Serial,
    pub(crate) pem: String,
}

impl Authority {
    /// The authority whose certificate was recorded.
    pub(crate) fn new(recorded: Recorded) -> Self {
        let (certificate, pem) = recorded.into_parts();
        Self {
            certificate,
            pem,
            issuer: None,
        }
    }

    /// Opens the key, which is in `key_file`.
    pub(crate) fn unlock(
        &mut self,
        key_file: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), CommandError> {
        let key = key_file::open_authority(key_file, passphrase)?;
        if *self.certificate.public_key != *key.subject_public_key_info() {
            return Err(CommandError::WrongKey(key_file.into()));
        }
        let issuer = Issuer::from_ca_cert_pem(&self.pem, key);
        self.issuer = Some(issuer.map_err(crypto("use a key to sign"))?);
        Ok(())
    }

    /// The authority that was just signed, and is recorded nowhere.
    pub(crate) fn of_signed(signed: Signed, key: KeyPair) -> Result<Self, CommandError> {
        let issuer = Issuer::from_ca_cert_pem(&signed.pem, key);
        Ok(Self {
            certificate: signed.certificate,
            pem: signed.pem,
            issuer: Some(issuer.map_err(crypto("use a key to sign"))?),
        })
    }

    /// A new root, which signs itself.
    pub(crate) fn new_root(
        name: AuthorityName<'_>,
        key: KeyPair,
        now: UnixTime,
    ) -> Result<(Self, Signed), CommandError> {
        let profile = Profile::of(Role::Root)?;
        let holder = Holder::Root(name);
        let params = profile.params(holder, new_serial()?, profile.validity(now, None))?;
        let made = params.self_signed(&key).map_err(crypto("sign a root"))?;
        let certificate = profile.check(made.der(), holder, &Certificate::read(made.der())?)?;
        let signed = Signed {
            role: Role::Root,
            name: name.common_name.into(),
            issuer: certificate.serial,
            certificate,
            pem: made.pem(),
        };
        let certificate = signed.certificate.clone();
        let root = Self {
            certificate,
            pem: made.pem(),
            issuer: Some(Issuer::new(params, key)),
        };
        Ok((root, signed))
    }

    /// Signs what the profile of its role says for `holder`, who has the private key of `key`.
    pub(crate) fn sign(
        &self,
        holder: Holder<'_>,
        key: &impl PublicKeyData,
        now: UnixTime,
    ) -> Result<Signed, CommandError> {
        self.sign_for(holder, key, self.validity(holder.role(), now)?)
    }

    /// How long what is signed at `now` is valid.
    pub(crate) fn validity(&self, role: Role, now: UnixTime) -> Result<Validity, CommandError> {
        self.check_not_expired(now)?;
        Ok(Profile::of(role)?.validity(now, Some(&self.certificate)))
    }

    /// As [`Self::sign`], for a validity that is not longer than [`Self::validity`] says.
    pub(crate) fn sign_for(
        &self,
        holder: Holder<'_>,
        key: &impl PublicKeyData,
        validity: Validity,
    ) -> Result<Signed, CommandError> {
        let profile = Profile::of(holder.role())?;
        let params = profile.params(holder, new_serial()?, validity)?;
        let made = params
            .signed_by(key, self.issuer()?)
            .map_err(crypto("sign a certificate"))?;
        let certificate = profile.check(made.der(), holder, &self.certificate)?;
        Ok(Signed {
            role: holder.role(),
            name: name_of(holder),
            certificate,
            issuer: self.certificate.serial,
            pem: made.pem(),
        })
    }

    fn issuer(&self) -> Result<&Issuer<'static, KeyPair>, CommandError> {
        let locked = || CommandError::Locked(self.certificate.subject.clone());
        self.issuer.as_ref().ok_or_else(locked)
    }

    fn check_not_expired(&self, now: UnixTime) -> Result<(), CommandError> {
        if now > self.certificate.not_after {
            let subject = self.certificate.subject.clone();
            return Err(CommandError::AuthorityExpired(subject));
        }
        Ok(())
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn serial(&self) -> Serial {
        self.certificate.serial
    }

    /// The certificate, as it is sent along with what it signed.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether `public_key` (a subject public key info) is this authority's.
    pub(crate) fn has_key(&self, public_key: &[u8]) -> bool {
        *self.certificate.public_key == *public_key
    }
}

/// Reads the first certificate of a PEM text.
pub(crate) fn read_pem(pem: &str) -> Result<Certificate, certs::Refusal> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| certs::Refusal::Malformed("not PEM"))?;
    Certificate::read(&der)
}

fn name_of(holder: Holder<'_>) -> Box<str> {
    match holder {
        Holder::Root(name) | Holder::DeviceCa(name) | Holder::ServerCa(name) => {
            name.common_name.into()
        }
        Holder::Server(_) => "broker".into(),
        Holder::Peer(_, subject) => subject.id.as_str().into(),
    }
}

fn new_serial() -> Result<Serial, CommandError> {
    let mut octets = [0; 20];
    rand::fill(&mut octets).map_err(|_| CommandError::NoRandomness)?;
    Ok(Serial::from_random(octets))
}

fn crypto(doing: &'static str) -> impl FnOnce(rcgen::Error) -> CommandError {
    move |source| CommandError::Crypto { doing, source }
}
