//! The identity gate: who may come in, and who may not any more.
//!
//! A [`VerifiedDevice`] is made here and nowhere else; whoever holds one has passed every question
//! below at least once. The path (signatures up to an anchor) is verified before, in the TLS
//! handshake; these questions are asked after every handshake, resumed or not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::certificate::{BasicConstraints, Certificate, CommonName, Purpose, Serial, Usage};
use crate::escape::escaped;
use crate::refusal::Refusal;
use crate::subject::{Subject, TrustDomain, parse_spiffe_uri};

/// Against what a certificate is judged.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The trust domain for which the anchor that stands behind the certificate may speak.
    pub trust_domain: &'a TrustDomain,
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
    let certificate = Certificate::read(leaf)?;
    check_usage(&certificate)?;
    let subject = subject_of(&certificate, admission.trust_domain)?;
    let device = VerifiedDevice {
        subject,
        certificate: Arc::new(certificate),
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
    let may_sign = certificate.key_usage.contains(&Usage::KeyCertSign);
    match certificate.basic_constraints {
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

/// Who was revoked: certificates by issuer key and serial number, devices by name.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    certificates: HashMap<Box<[u8]>, HashSet<Serial>>,
    subjects: HashSet<Subject>,
}

impl RevocationSet {
    /// Adds one certificate of the issuer whose key has the identifier `issuer_key_id`.
    pub fn revoke_certificate(&mut self, issuer_key_id: &[u8], serial: Serial) {
        if let Some(serials) = self.certificates.get_mut(issuer_key_id) {
            serials.insert(serial);
        } else {
            self.certificates
                .insert(issuer_key_id.into(), HashSet::from([serial]));
        }
    }

    /// Adds a device, with every certificate it has or will have.
    pub fn revoke_subject(&mut self, subject: Subject) {
        self.subjects.insert(subject);
    }

    fn check(&self, subject: &Subject, certificate: &Certificate) -> Result<(), Refusal> {
        if self.subjects.contains(subject) {
            return Err(Refusal::RevokedDevice);
        }
        let issuer = certificate
            .issuer_key_id
            .as_deref()
            .ok_or(Refusal::NoIssuerKeyId)?;
        match self.certificates.get(issuer) {
            Some(serials) if serials.contains(&certificate.serial) => {
                Err(Refusal::RevokedCertificate)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// webpki lets a *missing* extended key usage or key usage pass as if it permitted everything.
fn check_usage(certificate: &Certificate) -> Result<(), Refusal> {
    if certificate.basic_constraints != BasicConstraints::EndEntity {
        return Err(Refusal::IsAuthority);
    }
    if !certificate
        .extended_key_usage
        .contains(&Purpose::ClientAuth)
    {
        return Err(Refusal::NotAClientCertificate(
            certificate.extended_key_usage.clone(),
        ));
    }
    if !certificate.key_usage.contains(&Usage::DigitalSignature) {
        return Err(Refusal::NoDigitalSignature);
    }
    Ok(())
}

/// The URI decides. A common name may be absent, but may not say otherwise: other tools go by it.
fn subject_of(certificate: &Certificate, ours: &TrustDomain) -> Result<Subject, Refusal> {
    let uri = match &*certificate.uri_names {
        [] => return Err(Refusal::NoDeviceId),
        [only] => only,
        several => return Err(Refusal::SeveralDeviceIds(several.len())),
    };
    let (trust_domain, subject) =
        parse_spiffe_uri(uri).map_err(|why| Refusal::InvalidDeviceId {
            uri: escaped(uri).into(),
            why,
        })?;
    if trust_domain != *ours {
        return Err(Refusal::ForeignTrustDomain(trust_domain.as_str().into()));
    }
    let common_name = match &certificate.common_name {
        CommonName::Absent => return Ok(subject),
        CommonName::One(name) if **name == *subject.id.as_str() => return Ok(subject),
        CommonName::One(name) => escaped(name),
        CommonName::Several => "(several)".to_owned(),
        CommonName::Unreadable => "(not text)".to_owned(),
    };
    let id = subject.id.as_str().into();
    Err(Refusal::NameMismatch {
        id,
        common_name: common_name.into(),
    })
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
