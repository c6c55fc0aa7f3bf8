//! Signing: who may sign for a directory, and what was signed but not yet recorded.
//!
//! What an authority signs stays closed ([`Signed`]) until the registry has recorded it; only the
//! registry opens it.

pub(crate) mod hierarchy;
mod key;
pub(crate) mod key_file;
mod key_pkcs11;
mod ml_dsa;
pub(crate) mod pbes2;
mod publish;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand;
use certs::{AuthorityName, Certificate, CommonName, Holder, Profile, Role, Serial, Validity};
use rcgen::{Issuer, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

pub(crate) use self::hierarchy::Hierarchy;
pub(crate) use self::key::AuthorityKey;
pub use self::key::KeyKept;
pub use self::key_file::Algorithm;
pub use self::key_pkcs11::KeyInTokenError;
pub(crate) use self::key_pkcs11::{KeyInToken, read_reference, reference};
pub use self::pbes2::Passphrase;
pub(crate) use self::publish::ListContent;
use crate::error::CommandError;
use crate::layout::AuthorityId;
use crate::registry::{AuthorityStage, RecordedAuthority};

/// Somebody who signs certificates, once the key is open.
pub(crate) struct Authority {
    id: AuthorityId,
    stage: AuthorityStage,
    certificate: Certificate,
    pem: String,
    /// Certificates of the roots above it, for those who trust only the first of them.
    path: String,
    /// Shared with what signs the audit chain.
    issuer: Option<Arc<Issuer<'static, AuthorityKey>>>,
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
    pub(crate) fn new(recorded: RecordedAuthority) -> Self {
        let (certificate, pem) = recorded.recorded.into_parts();
        Self {
            id: recorded.id,
            stage: recorded.stage,
            certificate,
            pem,
            path: String::new(),
            issuer: None,
        }
    }

    /// Opens the key, which is in `key_file`, or in the token that the reference beside it names.
    pub(crate) fn unlock(
        &mut self,
        key_file: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), CommandError> {
        let key = AuthorityKey::open(key_file, passphrase)?;
        if *self.certificate.public_key != *key.subject_public_key_info() {
            return Err(CommandError::WrongKey(key_file.into()));
        }
        let issuer = Issuer::from_ca_cert_pem(&self.pem, key);
        self.issuer = Some(Arc::new(issuer.map_err(crypto("use a key to sign"))?));
        Ok(())
    }

    /// The authority that was just signed, and is recorded nowhere.
    pub(crate) fn of_signed(
        signed: Signed,
        key: impl Into<AuthorityKey>,
    ) -> Result<Self, CommandError> {
        let issuer = Issuer::from_ca_cert_pem(&signed.pem, key.into());
        Ok(Self {
            id: signed.role.into(),
            stage: AuthorityStage::Active,
            certificate: signed.certificate,
            pem: signed.pem,
            path: String::new(),
            issuer: Some(Arc::new(issuer.map_err(crypto("use a key to sign"))?)),
        })
    }

    /// An authority whose key is not here, and which is recorded nowhere.
    pub(crate) fn elsewhere(signed: Signed) -> Self {
        Self {
            id: signed.role.into(),
            stage: AuthorityStage::Active,
            certificate: signed.certificate,
            pem: signed.pem,
            path: String::new(),
            issuer: None,
        }
    }

    /// A new root, which signs itself.
    pub(crate) fn new_root(
        name: AuthorityName<'_>,
        key: impl Into<AuthorityKey>,
        now: UnixTime,
    ) -> Result<(Self, Signed), CommandError> {
        let key = key.into();
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
            id: Role::Root.into(),
            stage: AuthorityStage::Active,
            certificate,
            pem: made.pem(),
            path: String::new(),
            issuer: Some(Arc::new(Issuer::new(params, key))),
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
            .signed_by(key, &**self.issuer()?)
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

    fn issuer(&self) -> Result<&Arc<Issuer<'static, AuthorityKey>>, CommandError> {
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

    /// Its role and number.
    pub(crate) fn id(&self) -> AuthorityId {
        self.id
    }

    /// Where it is in its life.
    pub(crate) fn stage(&self) -> AuthorityStage {
        self.stage
    }

    /// Its name among people.
    pub(crate) fn name(&self) -> &str {
        match &self.certificate.common_name {
            CommonName::One(name) => name,
            CommonName::Absent | CommonName::Several | CommonName::Unreadable => {
                &self.certificate.subject
            }
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn serial(&self) -> Serial {
        self.certificate.serial
    }

    /// Whether `issuer` has issued its certificate.
    pub(crate) fn is_issued_by(&self, issuer: &Self) -> bool {
        let key_id = &self.certificate.extensions.issuer_key_id;
        key_id.is_some() && *key_id == issuer.certificate.extensions.key_id
    }

    /// The certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate and those above it, as they are sent along with what it signed.
    pub(crate) fn path_pem(&self) -> String {
        [&*self.pem, &*self.path].concat()
    }
}

/// The first certificate of a PEM text, in DER.
pub(crate) fn der(pem: &str) -> Result<CertificateDer<'static>, certs::Refusal> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    der.map_err(|_| certs::Refusal::Malformed("not PEM"))
}

/// Reads the first certificate of a PEM text.
pub(crate) fn read_pem(pem: &str) -> Result<Certificate, certs::Refusal> {
    Certificate::read(&der(pem)?)
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

pub(crate) fn crypto(doing: &'static str) -> impl FnOnce(rcgen::Error) -> CommandError {
    move |source| CommandError::Crypto { doing, source }
}
