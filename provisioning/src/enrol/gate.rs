//! The gate for those who come with a certificate: by whom it was issued, what it says, and whether
//! its time is over. What became of it since, the registry says.
//!
//! A certificate that has expired is judged as of its last second, if that is not too long ago. No
//! broker does so.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certs::{
    Admission, Authority, Certificate, IdFrom, Refusal, RevocationSet, TrustDomain, VerifiedDevice,
    admit_read,
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// Whom to believe.
#[derive(Debug)]
pub(super) struct Gate {
    authorities: RwLock<Arc<Authorities>>,
    trust_domain: TrustDomain,
    /// How long a certificate may have expired.
    grace: Duration,
}

/// The authorities as those meet them who come in.
#[derive(Debug)]
pub(super) struct Authorities {
    /// Whose certificates count.
    pub(super) issuers: Vec<Authority>,
    /// What a device needs to build its chain: the roots and the authorities of devices.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The keys that sign certificates here: whoever holds one would pass for a device and for its
    /// authority.
    pub(super) keys: Vec<Box<[u8]>>,
}

impl Gate {
    pub(super) fn new(
        authorities: Authorities,
        trust_domain: TrustDomain,
        grace: Duration,
    ) -> Self {
        Self {
            authorities: RwLock::new(Arc::new(authorities)),
            trust_domain,
            grace,
        }
    }

    /// The authorities now.
    pub(super) fn authorities(&self) -> Arc<Authorities> {
        let authorities = self.authorities.read();
        Arc::clone(&authorities.unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes by other authorities from here on.
    pub(super) fn replace(&self, authorities: Authorities) {
        let mut now = self
            .authorities
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(authorities);
    }

    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Who holds the certificate `leaf`, and the time as of which it was admitted.
    pub(super) fn admit(
        &self,
        leaf: &[u8],
        now: UnixTime,
    ) -> Result<(VerifiedDevice, UnixTime), Refusal> {
        let certificate = Certificate::read(leaf)?;
        let key_id = certificate.extensions.issuer_key_id.as_deref();
        let authorities = self.authorities();
        let mut issuers = authorities.issuers.iter();
        let issuer = issuers.find(|it| Some(it.key_id()) == key_id);
        // Nothing may stand between it and its issuer, which signed nothing but what is on record.
        issuer
            .ok_or(Refusal::UnknownAuthority)?
            .verify_issued(leaf)?;
        let at = self.judged_at(&certificate, now);
        let admission = Admission {
            trust_domain: &self.trust_domain,
            id_from: &IdFrom::Uri,
            revoked: &RevocationSet::default(),
        };
        Ok((admit_read(certificate, &admission, at)?, at))
    }

    fn judged_at(&self, certificate: &Certificate, now: UnixTime) -> UnixTime {
        let last = certificate.not_after;
        let over = now.as_secs().saturating_sub(last.as_secs());
        if over > 0 && Duration::from_secs(over) <= self.grace {
            last
        } else {
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{certificate, day, der, up};

    const DAY: Duration = Duration::from_hours(24);

    fn of(issuer: Authority) -> Authorities {
        Authorities {
            issuers: vec![issuer],
            certificates: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[test]
    fn an_expired_certificate_is_admitted_for_so_many_days_and_not_a_second_longer() {
        let temp = tempfile::tempdir().unwrap();
        let prepared = up(temp.path(), 1, day(0)).unwrap();
        let files = &prepared.devices[0].files;
        let leaf = der(&files.cert);
        let last = certificate(&files.cert).not_after;
        let after = |seconds: u64| {
            UnixTime::since_unix_epoch(Duration::from_secs(last.as_secs() + seconds))
        };
        let gate = |days: u32| {
            let issuer = Authority::read(&der(&prepared.layout.device_ca_pem())).unwrap();
            Gate::new(of(issuer), prepared.trust_domain.clone(), DAY * days)
        };
        for (days, seconds, admitted) in [
            (0, 0, true),
            (0, 1, false),
            (7, 1, true),
            (7, 7 * 86_400, true),
            (7, 7 * 86_400 + 1, false),
        ] {
            let found = gate(days).admit(&leaf, after(seconds));
            assert_eq!(found.is_ok(), admitted, "{days} {seconds}");
            assert!(found.is_ok_and(|(_, at)| at == last) || !admitted);
        }
        let early = UnixTime::since_unix_epoch(Duration::from_secs(day(0).as_secs() - 7 * 86_400));
        assert!(gate(7).admit(&leaf, early).is_err());
    }

    #[test]
    fn nobody_else_is_admitted() {
        let temp = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| {
            let dir = temp.path().join(name);
            up(&dir, 1, day(0)).unwrap()
        });
        let issuer = Authority::read(&der(&ours.layout.device_ca_pem())).unwrap();
        let gate = Gate::new(of(issuer), ours.trust_domain.clone(), DAY);
        let admitted = |leaf: &[u8]| gate.admit(leaf, day(0)).is_ok();
        assert!(admitted(&der(&ours.devices[0].files.cert)));
        assert!(!admitted(&der(&theirs.devices[0].files.cert)));
        assert!(!admitted(&der(&ours.layout.broker().cert)));
        assert!(!admitted(&der(&ours.layout.device_ca_pem())));
        assert!(!admitted(b"none"));
    }
}
