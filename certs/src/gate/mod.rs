//! The identity gate: who may come in, and who may not any more.
//!
//! A [`VerifiedDevice`] is made here and nowhere else; whoever holds one has passed every question
//! below at least once. The path (signatures up to an anchor) is verified before, in the TLS
//! handshake; these questions are asked after every handshake, resumed or not.

mod anchor;
mod name;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

pub use self::anchor::Anchor;
pub use self::name::{Fingerprint, FingerprintTwice, Fingerprints, IdFrom, NamePlace, UnfitId};
pub use self::standing::Standing;
use crate::certificate::Certificate;
use crate::extensions::{BasicConstraints, Purpose, Usage};
use crate::refusal::Refusal;
use crate::revocation::RevocationSet;
use crate::serial::Serial;
use crate::subject::{Subject, TrustDomain};

/// Against what a certificate is judged.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The trust domain for which the anchor that stands behind the certificate may speak.
    pub trust_domain: &'a TrustDomain,
    /// How an id is read from the certificates of that anchor.
    pub id_from: &'a IdFrom,
    /// Who was revoked.
    pub revoked: &'a RevocationSet,
}

/// Admits the holder of the certificate `leaf`, whose path to an anchor has been verified.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn admit(
    leaf: &[u8],
    admission: &Admission<'_>,
    now: UnixTime,
) -> Result<VerifiedDevice, Refusal> {
    admit_read(Certificate::read(leaf)?, admission, now)
}

/// As [`admit`], of a certificate that has been read.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn admit_read(
    certificate: Certificate,
    admission: &Admission<'_>,
    now: UnixTime,
) -> Result<VerifiedDevice, Refusal> {
    check_usage(&certificate)?;
    let subject = admission
        .id_from
        .subject_of(&certificate, admission.trust_domain)?;
    let device = VerifiedDevice {
        subject,
        certificate: Arc::new(certificate),
        authorities: None,
        anchor: None,
    };
    is_still_admitted(&device, admission.revoked, now)?;
    Ok(device)
}

/// Asks again of a device once admitted what time and operators may have changed since.
///
/// # Errors
/// The first [`Refusal`] that applies now.
pub fn is_still_admitted(
    device: &VerifiedDevice,
    revoked: &RevocationSet,
    now: UnixTime,
) -> Result<(), Refusal> {
    check_validity(&device.certificate, now)?;
    revoked.check(&device.subject, &device.certificate)
}

/// Checks what webpki leaves open of an issuer between the leaf and the anchor: that it may sign
/// certificates by its basic constraints *and* by its key usage.
///
/// # Errors
/// [`Refusal::IssuerIsNoAuthority`], or [`Refusal::Malformed`].
pub fn check_issuer(der: &[u8]) -> Result<(), Refusal> {
    let certificate = Certificate::read(der)?;
    let may_sign = certificate
        .extensions
        .key_usage
        .contains(&Usage::KeyCertSign);
    match certificate.extensions.basic_constraints {
        BasicConstraints::Authority { .. } if may_sign => Ok(()),
        BasicConstraints::Authority { .. } | BasicConstraints::EndEntity => {
            Err(Refusal::IssuerIsNoAuthority)
        }
    }
}

/// A device (or application) that has proved who it is.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDevice {
    subject: Subject,
    certificate: Arc<Certificate>,
    /// Those between it and its anchor, if there are any.
    authorities: Option<Arc<[Certificate]>>,
    /// What the anchor is called, if anything.
    anchor: Option<Arc<str>>,
}

impl VerifiedDevice {
    /// Who it is.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The certificate that proved it.
    pub fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// The certificates between that and the anchor, the issuer first.
    pub(crate) fn authorities(&self) -> &[Certificate] {
        self.authorities.as_deref().unwrap_or_default()
    }

    /// What the anchor behind it was called when it came in, if anything.
    pub fn anchor(&self) -> Option<&Arc<str>> {
        self.anchor.as_ref()
    }

    /// The last second of the proof.
    pub fn not_after(&self) -> UnixTime {
        self.certificate.not_after
    }

    /// The serial number of the certificate.
    pub fn serial(&self) -> Serial {
        self.certificate.serial
    }

    /// The fingerprint of the certificate.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.certificate.sha256
    }
}

/// webpki lets a *missing* extended key usage or key usage pass as if it permitted everything.
fn check_usage(certificate: &Certificate) -> Result<(), Refusal> {
    if certificate.extensions.basic_constraints != BasicConstraints::EndEntity {
        return Err(Refusal::IsAuthority);
    }
    if !certificate
        .extensions
        .extended_key_usage
        .contains(&Purpose::ClientAuth)
    {
        return Err(Refusal::NotAClientCertificate(
            certificate.extensions.extended_key_usage.clone().into(),
        ));
    }
    if !certificate
        .extensions
        .key_usage
        .contains(&Usage::DigitalSignature)
    {
        return Err(Refusal::NoDigitalSignature);
    }
    Ok(())
}

fn check_validity(certificate: &Certificate, now: UnixTime) -> Result<(), Refusal> {
    let seconds = |from: UnixTime, to: UnixTime| {
        Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()))
    };
    if now < certificate.not_before {
        return Err(Refusal::NotYetValid {
            until: seconds(now, certificate.not_before),
        });
    }
    if now > certificate.not_after {
        return Err(Refusal::Expired {
            since: seconds(certificate.not_after, now),
        });
    }
    Ok(())
}
