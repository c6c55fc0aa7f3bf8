//! Who a device is: its certificate, its private key, and the authorities it trusts.
//!
//! An identity that can be held can be used: files that are missing, readable by others, out of
//! date or not of one piece are refused when it is opened, by name, not in a handshake later.

mod error;
mod home;
mod key;
mod tls;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use certs::{Certificate, Serial, Subject, parse_spiffe_uri};
use pkcs11::{KeyUri, Pin};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject};

pub use error::{IdentityError, NoDevice, Validity};
pub(crate) use home::{EmptyHome, Home, Staged};
pub(crate) use key::Key;
pub(crate) use tls::{TlsStream, https_of_nobody};

/// The private key, in a directory with an identity.
pub(crate) const KEY: &str = "key.pem";

/// The certificate, and those above it.
pub(crate) const CHAIN: &str = "cert.pem";

/// Whom brokers are trusted by.
pub(crate) const AUTHORITIES: &str = "ca.pem";

/// The identity of one device (or application).
///
/// It is cheap to clone. The TLS configuration lives and dies with it, so that a renewed
/// certificate never resumes a TLS session of the one before.
#[derive(Clone)]
pub struct Identity {
    holder: Arc<Holder>,
}

struct Holder {
    subject: Subject,
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
    /// Where another can be kept in its place.
    directory: Option<PathBuf>,
    tls: Arc<ClientConfig>,
    /// The same without a TLS session from before.
    tls_anew: Arc<ClientConfig>,
    /// Whether the last TLS session was resumed and came to nothing.
    is_resumption_in_doubt: AtomicBool,
}

impl Identity {
    /// Opens `directory`, which holds the certificate and its issuers (`cert.pem`), the private key
    /// (`key.pem`) and the authorities that brokers are trusted by (`ca.pem`). Once it was renewed
    /// there, they are in the version that its link `current` names.
    ///
    /// A key that is in a token has no `key.pem`: in its place stands `key.uri`, one line with the
    /// URI that leads to it (RFC 7512). The token's PIN is in the file that `pin-source` names.
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what is wrong with it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let directory = directory.as_ref();
        Parts::open_current(directory)?.identity(Some(UnixTime::now()), Some(directory.into()))
    }

    /// The same, even if the certificate has expired or is not valid yet: for a device that was
    /// off for long, and renews it ([`crate::Builder::renew`]). Brokers do not accept it before.
    ///
    /// # Errors
    /// As [`Identity::open`].
    pub fn open_at_any_time(directory: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let directory = directory.as_ref();
        Parts::open_current(directory)?.identity(None, Some(directory.into()))
    }

    /// An identity from the contents of what would be `cert.pem`, `key.pem` and `ca.pem`.
    ///
    /// # Errors
    /// [`IdentityError`] names the part and what is wrong with it.
    pub fn from_pem(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, IdentityError> {
        let parts = Parts {
            chain: PemFile::new(CHAIN, chain),
            key: Key::File(PemFile::new(KEY, key)),
            authorities: PemFile::new(AUTHORITIES, authorities),
        };
        parts.identity(Some(UnixTime::now()), None)
    }

    /// An identity whose private key stays in a token (PKCS #11), at `uri`; the rest are the
    /// contents of what would be `cert.pem` and `ca.pem`. Without a PIN the one counts that is in
    /// the file which the URI names.
    ///
    /// The token signs once in each TLS handshake that is not resumed, and whoever connects waits
    /// for it. To be renewed ([`crate::Builder::renew`]), it must be in a directory
    /// ([`Identity::open`]); the key stays the same.
    ///
    /// # Errors
    /// [`IdentityError`] names the part, or the token, and what is wrong with it.
    pub fn from_pkcs11(
        (chain, authorities): (&[u8], &[u8]),
        uri: &KeyUri,
        pin: Option<&Pin>,
    ) -> Result<Self, IdentityError> {
        let parts = Parts {
            chain: PemFile::new(CHAIN, chain),
            key: Key::in_token(uri, pin)?,
            authorities: PemFile::new(AUTHORITIES, authorities),
        };
        parts.identity(Some(UnixTime::now()), None)
    }

    /// The id of the device.
    pub fn device_id(&self) -> &str {
        self.holder.subject.id.as_str()
    }

    /// Whom the certificate speaks for.
    pub fn subject(&self) -> &Subject {
        &self.holder.subject
    }

    /// The serial number of the certificate.
    pub fn serial(&self) -> Serial {
        self.holder.serial
    }

    /// The last second of the certificate's validity, since 1970.
    pub fn not_after(&self) -> Duration {
        Duration::from_secs(self.holder.not_after.as_secs())
    }

    /// From when to when the certificate is valid, since 1970.
    pub(crate) fn term(&self) -> (Duration, Duration) {
        let not_before = Duration::from_secs(self.holder.not_before.as_secs());
        (not_before, self.not_after())
    }

    pub(crate) fn time_left(&self) -> Duration {
        let left = self.holder.not_after.as_secs();
        Duration::from_secs(left.saturating_sub(UnixTime::now().as_secs()))
    }

    /// Where another may take its place.
    pub(crate) fn directory(&self) -> Result<&Path, IdentityError> {
        let directory = self.holder.directory.as_deref();
        directory.ok_or(IdentityError::InMemory)
    }

    pub(crate) fn has_expired(&self) -> bool {
        UnixTime::now() > self.holder.not_after
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.device_id()).finish()
    }
}

/// The three files of an identity, read.
pub(crate) struct Parts {
    pub(crate) chain: PemFile,
    pub(crate) key: Key,
    pub(crate) authorities: PemFile,
}

impl Parts {
    /// Reads the files that count in `directory`, which may have been renewed there.
    fn open_current(directory: &Path) -> Result<Self, IdentityError> {
        Self::open(&home::files(directory)?)
    }

    /// Reads the files in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, IdentityError> {
        Ok(Self {
            key: Key::open(directory)?,
            chain: PemFile::open(directory.join(CHAIN))?,
            authorities: PemFile::open(directory.join(AUTHORITIES))?,
        })
    }

    /// One that is valid `now`, if that is asked for.
    pub(crate) fn identity(
        self,
        now: Option<UnixTime>,
        directory: Option<PathBuf>,
    ) -> Result<Identity, IdentityError> {
        let chain = self.chain.certificates()?;
        let certificate = self.read_leaf(&chain)?;
        let subject = self.read_subject(&certificate)?;
        if let Some(now) = now {
            self.check_validity(&certificate, now)?;
        }
        let tls = tls::client_config(&self, chain)?;
        let holder = Holder {
            subject,
            serial: certificate.serial,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            directory,
            tls_anew: Arc::new(tls::without_resumption(&tls)),
            tls: Arc::new(tls),
            is_resumption_in_doubt: AtomicBool::new(false),
        };
        Ok(Identity {
            holder: Arc::new(holder),
        })
    }

    pub(crate) fn read_leaf(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Certificate, IdentityError> {
        let leaf = chain.first().map_or(&[][..], |leaf| leaf);
        Certificate::read(leaf).map_err(|why| IdentityError::Refused {
            path: self.chain.path.clone(),
            why,
        })
    }

    fn read_subject(&self, certificate: &Certificate) -> Result<Subject, IdentityError> {
        let subject = match &*certificate.extensions.uri_names {
            [uri] => parse_spiffe_uri(uri).map_err(NoDevice::Uri),
            uris => Err(NoDevice::Uris(uris.len())),
        };
        subject
            .map(|(_trust_domain, subject)| subject)
            .map_err(|why| IdentityError::NoDevice {
                path: self.chain.path.clone(),
                why,
            })
    }

    fn check_validity(
        &self,
        certificate: &Certificate,
        now: UnixTime,
    ) -> Result<(), IdentityError> {
        let (from, now) = (certificate.not_before.as_secs(), now.as_secs());
        let to = certificate.not_after.as_secs();
        let validity = if now < from {
            Validity::NotYet {
                until: Duration::from_secs(from - now),
            }
        } else if now > to {
            Validity::Expired {
                since: Duration::from_secs(now - to),
            }
        } else {
            return Ok(());
        };
        Err(IdentityError::NotValidNow {
            path: self.chain.path.clone(),
            validity,
        })
    }
}

/// A PEM file and where it is from.
pub(crate) struct PemFile {
    path: PathBuf,
    pub(crate) text: Vec<u8>,
}

impl PemFile {
    pub(crate) fn new(path: &str, text: &[u8]) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    fn open(path: PathBuf) -> Result<Self, IdentityError> {
        match fs::read(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(source) => Err(IdentityError::Unreadable { path, source }),
        }
    }

    /// At least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|source| self.not_pem("certificate", source))?;
        if certificates.is_empty() {
            return Err(self.not_pem("certificate", pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|source| self.not_pem("unencrypted private key", source))
    }

    fn unusable(&self, source: rustls::Error) -> IdentityError {
        let path = self.path.clone();
        IdentityError::Unusable { path, source }
    }

    fn not_pem(&self, expected: &'static str, source: pem::Error) -> IdentityError {
        IdentityError::NotPem {
            path: self.path.clone(),
            expected,
            source,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
