//! Who a device is: its certificate, its private key, and the authorities it trusts.
//!
//! An identity that can be held can be used: files that are missing, readable by others, out of
//! date or not of one piece are refused when it is opened, by name, not in a handshake later.

mod tls;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{Certificate, InvalidSpiffeId, Refusal, Subject, parse_spiffe_uri};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject};
use thiserror::Error;

pub(crate) use tls::TlsStream;

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
    not_after: UnixTime,
    tls: Arc<ClientConfig>,
}

impl Identity {
    /// Opens `directory`, which holds the certificate and its issuers (`cert.pem`), the private key
    /// (`key.pem`) and the authorities that brokers are trusted by (`ca.pem`).
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what is wrong with it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let directory = directory.as_ref();
        let key_path = directory.join("key.pem");
        check_private(&key_path)?;
        let parts = Parts {
            chain: PemFile::open(directory.join("cert.pem"))?,
            key: PemFile::open(key_path)?,
            authorities: PemFile::open(directory.join("ca.pem"))?,
        };
        parts.identity(UnixTime::now())
    }

    /// An identity from the contents of what would be `cert.pem`, `key.pem` and `ca.pem`.
    ///
    /// # Errors
    /// [`IdentityError`] names the part and what is wrong with it.
    pub fn from_pem(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, IdentityError> {
        let parts = Parts {
            chain: PemFile::new("cert.pem", chain),
            key: PemFile::new("key.pem", key),
            authorities: PemFile::new("ca.pem", authorities),
        };
        parts.identity(UnixTime::now())
    }

    /// The id of the device.
    pub fn device_id(&self) -> &str {
        self.holder.subject.id.as_str()
    }

    /// Whom the certificate speaks for.
    pub fn subject(&self) -> &Subject {
        &self.holder.subject
    }

    /// The last second of the certificate's validity, since 1970.
    pub fn not_after(&self) -> Duration {
        Duration::from_secs(self.holder.not_after.as_secs())
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

/// Why there is no identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private key can be read by more than its owner.
    #[error(
        "{path} can be read by others (mode {mode:03o}): a private key is its owner's alone, \
         run `chmod 600 {path}`",
        path = .path.display()
    )]
    KeyReadableByOthers {
        /// Where the key is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is not PEM, or does not contain what it should.
    #[error("{} contains no {expected}", .path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should contain.
        expected: &'static str,
        /// Why it does not.
        source: pem::Error,
    },
    /// A certificate or key is not usable.
    #[error("{} is not usable", .path.display())]
    Unusable {
        /// In which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The private key belongs to another certificate.
    #[error("{} does not belong to {}", .key.display(), .certificate.display())]
    KeyMismatch {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        certificate: PathBuf,
    },
    /// The certificate is not well-formed.
    #[error("the certificate in {} is refused: {why}", .path.display())]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: Refusal,
    },
    /// The certificate does not name a device in the one way that counts.
    #[error("the certificate in {} names no device: {why}", .path.display())]
    NoDevice {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        why: NoDevice,
    },
    /// The certificate is not valid now.
    #[error("the certificate in {} {}", .path.display(), when(.validity))]
    NotValidNow {
        /// Where it is.
        path: PathBuf,
        /// How far from it.
        validity: Validity,
    },
}

/// Why a certificate names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoDevice {
    /// It has no URI, or more than one, among its alternative names.
    #[error("it has {0} URIs among its alternative names, and one is needed")]
    Uris(usize),
    /// Its URI is not `spiffe://<trust domain>/device/<id>`, nor of an application.
    #[error("{0}")]
    Uri(InvalidSpiffeId),
}

/// How far a certificate is from its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It begins later.
    NotYet {
        /// How much later.
        until: Duration,
    },
    /// It is over.
    Expired {
        /// For how long.
        since: Duration,
    },
}

fn when(validity: &Validity) -> String {
    match validity {
        Validity::NotYet { until } => {
            format!(
                "is not valid for another {} s (is the clock right?)",
                until.as_secs()
            )
        }
        Validity::Expired { since } => format!("expired {} s ago: renew it", since.as_secs()),
    }
}

/// The three files of an identity, read.
struct Parts {
    chain: PemFile,
    key: PemFile,
    authorities: PemFile,
}

impl Parts {
    fn identity(self, now: UnixTime) -> Result<Identity, IdentityError> {
        let chain = self.chain.certificates()?;
        let certificate = self.read_leaf(&chain)?;
        let subject = self.read_subject(&certificate)?;
        self.check_validity(&certificate, now)?;
        let authorities = self.authorities.certificates()?;
        let tls = tls::client_config(&self, chain, authorities)?;
        let holder = Holder {
            subject,
            not_after: certificate.not_after,
            tls: Arc::new(tls),
        };
        Ok(Identity {
            holder: Arc::new(holder),
        })
    }

    fn read_leaf(&self, chain: &[CertificateDer<'_>]) -> Result<Certificate, IdentityError> {
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
struct PemFile {
    path: PathBuf,
    text: Vec<u8>,
}

impl PemFile {
    fn new(path: &str, text: &[u8]) -> Self {
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
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|source| self.not_pem("certificate", source))?;
        if certificates.is_empty() {
            return Err(self.not_pem("certificate", pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|source| self.not_pem("unencrypted private key", source))
    }

    fn not_pem(&self, expected: &'static str, source: pem::Error) -> IdentityError {
        IdentityError::NotPem {
            path: self.path.clone(),
            expected,
            source,
        }
    }
}

/// Refuses a key that another account of this machine could take.
#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = fs::metadata(path).map_err(|source| IdentityError::Unreadable {
        path: path.into(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyReadableByOthers {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

/// Elsewhere access to a file is not a matter of three digits.
#[cfg(not(unix))]
fn check_private(_path: &Path) -> Result<(), IdentityError> {
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
