//! What a device is given besides files in a directory: one line of JSON, a header in C, or a file
//! under a password.
//!
//! Each holds all that the device needs: its certificate with that of its issuer, its private key
//! when that was made here, and what it trusts.

mod c_header;
mod issue;
mod pkcs12;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

pub use self::issue::{PayloadFormat, PayloadIssued, PayloadTo, device_issue_to};
pub(super) use self::pkcs12::Pkcs12;
use super::issue::{above, chain};
use crate::authority::Hierarchy;
use crate::error::CommandError;
use crate::registry::Recorded;

/// What one device is given.
pub(super) struct Payload<'a> {
    recorded: &'a Recorded,
    /// The certificate, followed by that of its issuer.
    certificate: String,
    /// `None` when the device has made it.
    private_key: Option<&'a str>,
    trusted: String,
}

impl<'a> Payload<'a> {
    /// For the holder of a certificate that was recorded.
    pub(super) fn new(
        ca: &Hierarchy,
        recorded: &'a Recorded,
        private_key: Option<&'a str>,
    ) -> Result<Self, CommandError> {
        let (issuer, trusted) = above(ca, recorded)?;
        Ok(Self {
            recorded,
            certificate: chain(recorded.pem(), issuer),
            private_key,
            trusted,
        })
    }

    /// One line of JSON, with its end.
    pub(super) fn json_line(&self) -> String {
        let line = json!({
            "device_id": self.recorded.name(),
            "serial": self.recorded.certificate().serial,
            "not_after": self.recorded.certificate().not_after.as_secs(),
            "certificate": self.certificate,
            "private_key": self.private_key,
            "ca": self.trusted,
        });
        format!("{line}\n")
    }

    /// A PKCS #12 file, which is of no use without the private key.
    pub(super) fn pkcs12(&self, writer: &Pkcs12) -> Result<Vec<u8>, CommandError> {
        let key = self.private_key.ok_or(CommandError::KeyElsewhere)?;
        let key = pem::parse(key).map_err(|_| CommandError::Encryption)?;
        let key = Zeroizing::new(key.into_contents());
        let chain = [&*self.certificate, &self.trusted].concat();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| certs::Refusal::Malformed("not PEM"))?;
        writer.file(&pkcs12::Contents {
            name: self.recorded.name(),
            chain: &chain,
            key: &key,
        })
    }
}
