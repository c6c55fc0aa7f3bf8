//! Writing a registry export, a device after the other, and having it signed.

use rustls_pki_types::UnixTime;
use serde::Serialize;

use super::document::{Algorithm, HeaderLine, KnownDevice, SignatureLine};
use super::invalid::InvalidExport;
use crate::authority::Authority;
use crate::device_id::DeviceId;
use crate::subject::TrustDomain;
use crate::text::hex::Hex;
use crate::text::time::TimeText;

/// The version that is written and read.
pub(super) const VERSION: u32 = 1;

/// What an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportHeader {
    /// Its number, which only rises.
    pub number: u64,
    /// Whose devices these are.
    pub trust_domain: TrustDomain,
    /// When it was made.
    pub created: UnixTime,
    /// By when there will be a newer one.
    pub next_update: UnixTime,
}

/// An export in the making.
///
/// It is held in memory, since it is signed as a whole.
#[derive(Debug)]
pub struct ExportWriter {
    octets: Vec<u8>,
    lines: usize,
    last: Option<DeviceId>,
    algorithm: Algorithm,
}

impl ExportWriter {
    /// An export that `issuer` is going to sign.
    ///
    /// # Errors
    /// [`InvalidExport::Algorithm`] when its key is not P-256, P-384, Ed25519 or ML-DSA, and
    /// [`InvalidExport::DatesReversed`].
    pub fn new(header: &ExportHeader, issuer: &Authority) -> Result<Self, InvalidExport> {
        if header.next_update <= header.created {
            return Err(InvalidExport::DatesReversed);
        }
        let algorithm = Algorithm::of_key(&issuer.certificate().public_key);
        let algorithm = algorithm.ok_or(InvalidExport::Algorithm)?;
        let mut writer = Self {
            octets: Vec::new(),
            lines: 0,
            last: None,
            algorithm,
        };
        writer.write_line(&HeaderLine {
            countersign_registry: VERSION,
            number: header.number,
            trust_domain: header.trust_domain.as_str().to_owned(),
            issuer_key_id: Hex(issuer.key_id()).to_string(),
            created: TimeText(header.created).to_string(),
            next_update: TimeText(header.next_update).to_string(),
        });
        Ok(writer)
    }

    /// Adds a device. Devices come in the order of their ids' octets, each once.
    ///
    /// # Errors
    /// [`InvalidExport::Device`] when it is out of order or what is said of it has no place there.
    pub fn add(&mut self, device: &KnownDevice) -> Result<(), InvalidExport> {
        let line = self.lines + 1;
        let invalid = |why: String| InvalidExport::Device {
            line,
            why: why.into(),
        };
        let id = &device.subject.id;
        check_order(self.last.as_ref(), id).map_err(invalid)?;
        let written = device.to_line().map_err(invalid)?;
        self.write_line(&written);
        self.last = Some(id.clone());
        Ok(())
    }

    /// Has everything signed by the authority it was begun for, and returns the whole file.
    ///
    /// # Errors
    /// Whatever error `sign` returns.
    pub fn sign<E>(mut self, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        let signature = Hex(&sign(&self.octets)?).to_string();
        self.write_line(&SignatureLine {
            algorithm: self.algorithm,
            signature,
        });
        Ok(self.octets)
    }

    fn write_line(&mut self, line: &impl Serialize) {
        // Neither writing to memory nor turning strings into JSON fails.
        let _ = serde_json::to_writer(&mut self.octets, line);
        self.octets.push(b'\n');
        self.lines += 1;
    }
}

/// One order, so that a device cannot stand there twice.
pub(super) fn check_order(last: Option<&DeviceId>, next: &DeviceId) -> Result<(), String> {
    match last {
        Some(last) if last >= next => Err(format!("{next} stands behind {last}, out of order")),
        Some(_) | None => Ok(()),
    }
}
