//! What an authority signs besides certificates: revocation lists, registry exports, and where the
//! audit chain stands.
//!
//! Like a certificate, each is read again and verified before anybody can have it.

use std::sync::Arc;

use certs::{
    BundleWriter, ExportHeader, ExportWriter, KnownDevice, ListNumber, RegistryExport,
    RevocationList, RevocationReason, Revoked, Serial,
};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, SigningKey,
};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use super::{Authority, crypto, der};
use crate::error::CommandError;
use crate::registry::Signer;

/// What stands in a revocation list.
pub(crate) struct ListContent {
    pub(crate) number: u64,
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    pub(crate) revoked: Vec<(Serial, Revoked)>,
}

impl Authority {
    /// This authority as those see it who verify what it signed.
    pub(crate) fn as_issuer(&self) -> Result<certs::Authority, CommandError> {
        Ok(certs::Authority::read(&der(&self.pem)?)?)
    }

    /// Signs a complete revocation list, and returns it with its PEM.
    ///
    /// It has no issuing distribution point: an authority of devices signs for devices alone, so a
    /// list of all its certificates is one of all devices, and every program reads it.
    pub(crate) fn sign_list(
        &self,
        content: ListContent,
    ) -> Result<(RevocationList, String), CommandError> {
        self.check_not_expired(content.this_update)?;
        let issuer = self.as_issuer()?;
        let number = ListNumber::from(content.number);
        let params = CertificateRevocationListParams {
            this_update: date(content.this_update),
            next_update: date(content.next_update),
            crl_number: SerialNumber::from_slice(number.as_octets()),
            issuing_distribution_point: None,
            revoked_certs: content.revoked.into_iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(issuer.key_id().into()),
        };
        let made = params.signed_by(&**self.issuer()?);
        let made = made.map_err(crypto("sign a revocation list"))?;
        let list = RevocationList::read(made.der(), &[issuer])?;
        let pem = made.pem().map_err(crypto("sign a revocation list"))?;
        Ok((list, pem))
    }

    /// Signs where the audit chain stands, for as long as the registry is open.
    pub(crate) fn signer(&self) -> Result<Signer, CommandError> {
        let issuer = Arc::clone(self.issuer()?);
        Ok(Signer {
            authority: self.serial(),
            sign: Box::new(move |octets| issuer.key().sign(octets)),
        })
    }

    /// Signs an export of `devices`, which come in the order of their ids.
    pub(crate) fn sign_export<'a>(
        &self,
        header: &ExportHeader,
        devices: impl Iterator<Item = &'a KnownDevice>,
    ) -> Result<(RegistryExport, Vec<u8>), CommandError> {
        self.check_not_expired(header.created)?;
        let issuer = self.as_issuer()?;
        let mut writer = ExportWriter::new(header, &issuer)?;
        for device in devices {
            writer.add(device)?;
        }
        let key = self.issuer()?.key();
        let signed = writer.sign(|octets| key.sign(octets));
        let octets = signed.map_err(crypto("sign a registry export"))?;
        let export = RegistryExport::read(&octets, &[issuer])?;
        Ok((export, octets))
    }

    /// Signs a bundle of roots, as one of those that are trusted.
    pub(crate) fn sign_bundle(&self, writer: &mut BundleWriter) -> Result<(), CommandError> {
        let (issuer, key) = (self.as_issuer()?, self.issuer()?.key());
        writer.sign(&issuer, |octets| {
            key.sign(octets).map_err(crypto("sign a trust bundle"))
        })
    }
}

fn entry((serial, revoked): (Serial, Revoked)) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial.as_octets()),
        revocation_time: date(revoked.at),
        reason_code: Some(reason(revoked.reason)),
        invalidity_date: None,
    }
}

fn reason(reason: RevocationReason) -> rcgen::RevocationReason {
    match reason {
        RevocationReason::Unspecified => rcgen::RevocationReason::Unspecified,
        RevocationReason::KeyCompromise => rcgen::RevocationReason::KeyCompromise,
        RevocationReason::CaCompromise => rcgen::RevocationReason::CaCompromise,
        RevocationReason::AffiliationChanged => rcgen::RevocationReason::AffiliationChanged,
        RevocationReason::Superseded => rcgen::RevocationReason::Superseded,
        RevocationReason::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
        RevocationReason::CertificateHold => rcgen::RevocationReason::CertificateHold,
        RevocationReason::PrivilegeWithdrawn => rcgen::RevocationReason::PrivilegeWithdrawn,
        RevocationReason::AaCompromise => rcgen::RevocationReason::AaCompromise,
    }
}

/// Times beyond the year 9999 cannot be written.
fn date(at: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
