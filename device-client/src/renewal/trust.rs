//! What a device trusts from its next certificate on: the roots that its enrolment server tells of,
//! over a connection that proved itself by what was trusted before.
//!
//! There is never nothing to trust. A further root is trusted beside those before; one that is not
//! served any more is given up only for a set by which whoever is to be talked to was seen to prove
//! itself.

use certs::Authority;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::RenewalTrust;
use crate::identity::{AUTHORITIES, IdentityError, PemFile};

/// Whom to trust with the next certificate.
pub(super) struct Trust {
    /// Those before, and the roots that are served.
    pub(super) wide: PemFile,
    /// The roots that are served, where one of those before is not among them.
    pub(super) narrow: Option<PemFile>,
}

impl Trust {
    /// Those before and no others.
    pub(super) fn kept(present: &PemFile) -> Self {
        Self {
            wide: PemFile::new(AUTHORITIES, &present.text),
            narrow: None,
        }
    }

    /// Follows what is `served` by a server that `present` trusts. Where that holds anything but
    /// roots, somebody chose to trust less than a whole root, and it stays.
    pub(super) fn following(
        present: &PemFile,
        served: &[CertificateDer<'static>],
        choice: RenewalTrust,
    ) -> Result<Self, IdentityError> {
        let mut kept = Self::kept(present);
        let before = present.certificates()?;
        let roots = roots(served);
        let is_pinned = before.iter().any(|it| Authority::read_root(it).is_err());
        if choice == RenewalTrust::Kept || roots.is_empty() || is_pinned {
            return Ok(kept);
        }
        let new: Vec<_> = roots.iter().filter(|it| !before.contains(it)).collect();
        if !new.is_empty() {
            let all = before.iter().chain(new);
            kept.wide = PemFile::new(AUTHORITIES, encode(all).as_bytes());
        }
        if before.iter().any(|it| !roots.contains(it)) {
            kept.narrow = Some(PemFile::new(AUTHORITIES, encode(&roots).as_bytes()));
        }
        Ok(kept)
    }
}

/// The roots among these that are valid now, each once.
fn roots(served: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    let now = UnixTime::now();
    let mut roots = Vec::new();
    for der in served {
        let is_root = Authority::read_root(der).is_ok_and(|root| {
            let root = root.certificate();
            root.not_before <= now && now <= root.not_after
        });
        if is_root && !roots.contains(der) {
            roots.push(der.clone());
        }
    }
    roots
}

/// These in PEM.
pub(super) fn encode<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    let pem = |der: &CertificateDer<'_>| Pem::new("CERTIFICATE", der.as_ref());
    let pem: Vec<_> = certificates.into_iter().map(pem).collect();
    let unix = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_many_config(&pem, unix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::TestCa;

    fn der(ca: &TestCa) -> CertificateDer<'static> {
        ca.issuer().der().clone()
    }

    /// What is trusted after `served`: with those before, and without those that are gone.
    fn follow(
        before: &[&TestCa],
        served: &[CertificateDer<'static>],
        choice: RenewalTrust,
    ) -> (
        Vec<CertificateDer<'static>>,
        Option<Vec<CertificateDer<'static>>>,
    ) {
        let before: String = before.iter().map(|ca| ca.pem()).collect();
        let present = PemFile::new(AUTHORITIES, before.as_bytes());
        let trust = Trust::following(&present, served, choice).unwrap();
        let narrow = trust.narrow.map(|pem| pem.certificates().unwrap());
        (trust.wide.certificates().unwrap(), narrow)
    }

    #[test]
    fn a_served_root_is_trusted_beside_those_before_and_one_that_is_gone_may_go() {
        let (old, new) = (TestCa::new(), TestCa::new());
        let (old_der, new_der) = (der(&old), der(&new));
        let both = vec![old_der.clone(), new_der.clone()];
        let followed = RenewalTrust::Followed;
        assert_eq!(follow(&[&old], &both, followed), (both.clone(), None));
        let twice = [new_der.clone(), new_der.clone()];
        let only_new = Some(vec![new_der.clone()]);
        assert_eq!(follow(&[&old], &twice, followed), (both.clone(), only_new));
        let only_old = (vec![old_der], None);
        assert_eq!(follow(&[&old], &both, RenewalTrust::Kept), only_old);
    }

    #[test]
    fn what_is_no_root_or_not_valid_is_not_trusted_and_a_pin_stays() {
        let (old, new) = (TestCa::new(), TestCa::new());
        let below = new.below("Device CA");
        let cross = old.below("Cross");
        let mut spoilt = der(&new).to_vec();
        *spoilt.last_mut().unwrap() ^= 1;
        let none = [
            der(&below),
            der(&cross),
            spoilt.into(),
            vec![0x30, 0].into(),
        ];
        for served in [&none[..], &[]] {
            let followed = follow(&[&old], served, RenewalTrust::Followed);
            assert_eq!(followed, (vec![der(&old)], None));
        }
        let pinned = follow(&[&below], &[der(&new)], RenewalTrust::Followed);
        assert_eq!(pinned, (vec![der(&below)], None));
    }
}
