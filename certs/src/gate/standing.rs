//! Standing: all that operators may change after somebody has come in.
//!
//! It is asked after every handshake and at every CONNECT, and of everybody who is there whenever
//! it is replaced: what would not let a device in does not let it stay.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::anchor::Anchor;
use super::{Admission, VerifiedDevice, admit_read, check_validity};
use crate::certificate::Certificate;
use crate::refusal::Refusal;
use crate::registry::{KnownDevice, RegistryExport};
use crate::revocation::RevocationSet;
use crate::subject::Subject;

/// Whom we believe, and who was revoked.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The authorities whose certificates are accepted, each key once.
    pub anchors: Vec<Arc<Anchor>>,
    /// Who was revoked.
    pub revoked: RevocationSet,
    /// How long a revocation list may be out of date before nobody new of its issuer comes in.
    pub stale_grace: Duration,
    /// Which devices are known, if anybody says so.
    pub registry: Option<Arc<RegistryExport>>,
    /// Whether only these are let in.
    pub requires_registry: bool,
}

impl Standing {
    /// Admits the holder of a certificate whose path through `authorities`, its issuer first, to an
    /// anchor has been verified.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies.
    pub fn admit(
        &self,
        leaf: Certificate,
        authorities: &[Certificate],
        now: UnixTime,
    ) -> Result<VerifiedDevice, Refusal> {
        let anchor = self.anchor_of(&leaf, authorities)?;
        let admission = Admission {
            trust_domain: &anchor.trust_domain,
            id_from: &anchor.id_from,
            revoked: &self.revoked,
        };
        let mut device = admit_read(leaf, &admission, now)?;
        device.subject = anchor.check_name(device.subject)?;
        device.anchor.clone_from(&anchor.name);
        if !authorities.is_empty() {
            device.authorities = Some(authorities.into());
        }
        self.check_authorities(&device)?;
        self.check_known(&device)?;
        self.check_newcomer(&device, now)?;
        Ok(device)
    }

    /// Asks again of a device that comes in, once admitted.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies now.
    pub fn judge_newcomer(&self, device: &VerifiedDevice, now: UnixTime) -> Result<(), Refusal> {
        self.judge(device, now)?;
        self.check_newcomer(device, now)
    }

    /// Asks again of a device that is here. A revocation list that is out of date keeps nobody
    /// from staying.
    ///
    /// # Errors
    /// The first [`Refusal`] that applies now.
    pub fn judge(&self, device: &VerifiedDevice, now: UnixTime) -> Result<(), Refusal> {
        let certificate = &device.certificate;
        check_validity(certificate, now)?;
        let anchor = self.anchor_of(certificate, device.authorities())?;
        // The same certificate may be somebody else's since the anchor was changed.
        let subject = anchor
            .id_from
            .subject_of(certificate, &anchor.trust_domain)?;
        if anchor.check_name(subject)? != device.subject {
            return Err(Refusal::UnknownAuthority);
        }
        self.revoked.check(&device.subject, certificate)?;
        self.check_authorities(device)?;
        self.check_known(device)
    }

    fn check_newcomer(&self, device: &VerifiedDevice, now: UnixTime) -> Result<(), Refusal> {
        let leaf = std::iter::once(&*device.certificate);
        let mut path = leaf.chain(device.authorities());
        path.try_for_each(|it| self.revoked.check_fresh(it, self.stale_grace, now))
    }

    /// What the registry says of a device.
    pub fn known(&self, subject: &Subject) -> Option<&KnownDevice> {
        self.registry.as_ref()?.find(subject)
    }

    fn check_known(&self, device: &VerifiedDevice) -> Result<(), Refusal> {
        if self.requires_registry && self.known(&device.subject).is_none() {
            return Err(Refusal::UnknownDevice);
        }
        Ok(())
    }

    fn check_authorities(&self, device: &VerifiedDevice) -> Result<(), Refusal> {
        for authority in device.authorities() {
            let issuer = authority.extensions.issuer_key_id.as_deref();
            let revoked = issuer.and_then(|it| self.revoked.find_certificate(it, authority.serial));
            if let Some(revoked) = revoked {
                return Err(Refusal::RevokedAuthority(revoked));
            }
        }
        Ok(())
    }

    /// The anchor behind a certificate: whoever issued the last of its path.
    fn anchor_of(
        &self,
        leaf: &Certificate,
        authorities: &[Certificate],
    ) -> Result<&Anchor, Refusal> {
        let last = authorities.last().unwrap_or(leaf);
        let issuer = last.extensions.issuer_key_id.as_deref();
        let mut anchors = self.anchors.iter();
        let anchor = anchors.find(|anchor| issuer == Some(&*anchor.key_id));
        anchor
            .map(|anchor| &**anchor)
            .ok_or(Refusal::UnknownAuthority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::IdFrom;
    use crate::revocation::Revoked;
    use crate::status::RevocationReason;
    use crate::subject::TrustDomain;
    use crate::testing::{LIFETIME, NOT_BEFORE, at, leaf};

    /// A device, and the standing that admits it.
    fn admitted() -> (Standing, VerifiedDevice) {
        let certificate = Certificate::read(&leaf(|_| {})).unwrap();
        let issuer = certificate.extensions.issuer_key_id.clone().unwrap();
        let standing = Standing {
            anchors: vec![Arc::new(anchor(&issuer, "fleet.example"))],
            ..Standing::default()
        };
        let device = standing.admit(certificate, &[], at(NOT_BEFORE)).unwrap();
        (standing, device)
    }

    fn anchor(key_id: &[u8], trust_domain: &str) -> Anchor {
        Anchor {
            name: None,
            key_id: key_id.into(),
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            id_from: IdFrom::Uri,
            id_prefix: Box::default(),
        }
    }

    fn revoked() -> Revoked {
        Revoked {
            at: at(NOT_BEFORE),
            reason: RevocationReason::KeyCompromise,
        }
    }

    #[test]
    fn who_is_here_goes_when_its_anchor_goes_or_says_otherwise() {
        let (standing, device) = admitted();
        let judged = |change: &dyn Fn(&mut Anchor)| {
            let mut anchor = (*standing.anchors[0]).clone();
            change(&mut anchor);
            let standing = Standing {
                anchors: vec![Arc::new(anchor)],
                ..Standing::default()
            };
            standing.judge(&device, at(NOT_BEFORE))
        };
        assert_eq!(judged(&|_| {}), Ok(()));
        let unknown = Err(Refusal::UnknownAuthority);
        assert_eq!(
            judged(&|it| it.key_id = b"another".as_slice().into()),
            unknown
        );
        let other = TrustDomain::parse("other.example").unwrap();
        let foreign = Err(Refusal::ForeignTrustDomain("fleet.example".into()));
        assert_eq!(judged(&|it| it.trust_domain = other.clone()), foreign);
        assert!(judged(&|it| it.id_prefix = "dev-".into()).is_ok());
        let refused = judged(&|it| it.id_prefix = "acme-".into()).unwrap_err();
        let words = "the id dev-1 does not begin with \"acme-\", as those of its authority must";
        assert_eq!(refused.to_string(), words);
    }

    #[test]
    fn who_is_here_goes_when_it_is_revoked_or_its_certificate_expires() {
        let (mut standing, device) = admitted();
        let last = at(NOT_BEFORE + LIFETIME);
        assert_eq!(standing.judge(&device, last), Ok(()));
        let late = standing.judge(&device, at(NOT_BEFORE + LIFETIME + 1));
        assert!(matches!(late, Err(Refusal::Expired { .. })), "{late:?}");
        let subject = device.subject().clone();
        standing.revoked.revoke_subject(subject, revoked());
        let refused = Err(Refusal::RevokedDevice(revoked()));
        assert_eq!(standing.judge(&device, last), refused);
    }

    #[test]
    fn where_only_known_devices_come_in_an_unknown_one_does_not_and_goes() {
        let (mut standing, device) = admitted();
        standing.requires_registry = true;
        let unknown = Err(Refusal::UnknownDevice);
        assert_eq!(standing.judge(&device, at(NOT_BEFORE)), unknown);
        let certificate = (**device.certificate()).clone();
        let refused = standing.admit(certificate, &[], at(NOT_BEFORE));
        assert_eq!(refused.unwrap_err(), Refusal::UnknownDevice);
    }

    #[test]
    fn whoever_stands_below_a_revoked_authority_goes() {
        let (mut standing, direct) = admitted();
        let authority = Certificate::read(&leaf(|_| {})).unwrap();
        let issuer = authority.extensions.issuer_key_id.clone().unwrap();
        let serial = authority.serial;
        let device = VerifiedDevice {
            authorities: Some([authority].into()),
            ..direct
        };
        standing.anchors = vec![Arc::new(anchor(&issuer, "fleet.example"))];
        assert_eq!(standing.judge(&device, at(NOT_BEFORE)), Ok(()));
        // The leaf of this test has the same number: only the authority is asked about here.
        standing
            .revoked
            .revoke_certificate(&issuer, serial, revoked());
        let refused = standing.check_authorities(&device);
        assert_eq!(refused, Err(Refusal::RevokedAuthority(revoked())));
    }
}
