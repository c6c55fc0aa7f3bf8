//! What a device trusts from its next certificate on: the roots that its enrolment server tells of,
//! over a connection that proved itself by what was trusted before; or those of a trust bundle that
//! a root trusted before has signed.
//!
//! There is never nothing to trust. A further root is trusted beside those before; one that is not
//! served any more is given up only for a set by which whoever is to be talked to was seen to prove
//! itself.

use std::io;
use std::path::Path;
use std::sync::Arc;

use certs::{Authority, InvalidBundle, TrustBundle, TrustDomain};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::{CertificateDer, UnixTime};
use thiserror::Error;

use crate::identity::{AUTHORITIES, IdentityError, PemFile};

/// What goes before the number of the bundle by which `ca.pem` was made, in a line of that file: so
/// the number is kept with the roots or not at all.
const BUNDLE_LINE: &str = "# trust bundle ";

/// Why a trust bundle is not followed. What was trusted stays trusted.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TrustBundleError {
    /// It cannot be read.
    #[error("the trust bundle cannot be read")]
    Unreadable(#[source] Arc<io::Error>),
    /// It is older than one that was followed, no root that is trusted has signed it, or it is
    /// none.
    #[error("the trust bundle is not believed: {0}")]
    Invalid(InvalidBundle),
    /// It is of another trust domain.
    #[error("the trust bundle is of the trust domain `{0}`")]
    OtherTrustDomain(String),
    /// None of the roots in it is valid now.
    #[error("no root in the trust bundle is valid now")]
    NoneValid,
    /// What is trusted now cannot be read.
    #[error("ca.pem cannot be read: {0}")]
    Present(String),
}

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

    /// Follows the trust bundle of this trust domain in a file. One that was followed before may
    /// have left roots that could not be given up then.
    pub(super) fn by_bundle(
        present: &PemFile,
        path: &Path,
        domain: &TrustDomain,
    ) -> Result<Self, TrustBundleError> {
        let octets = std::fs::read(path);
        let octets = octets.map_err(|why| TrustBundleError::Unreadable(why.into()))?;
        let before = present.certificates();
        let before = before.map_err(|why| TrustBundleError::Present(why.to_string()))?;
        let trusted: Vec<_> = before
            .iter()
            .filter_map(|der| Authority::read_root(der).ok())
            .collect();
        let seen = number(present);
        let bundle = TrustBundle::read(&octets, &trusted, seen.saturating_sub(1));
        let bundle = bundle.map_err(|why| match why {
            InvalidBundle::Old { number, .. } => InvalidBundle::Old { number, seen },
            other => other,
        });
        let bundle = bundle.map_err(TrustBundleError::Invalid)?;
        let header = bundle.header();
        if header.trust_domain != *domain {
            let other = header.trust_domain.as_str().into();
            return Err(TrustBundleError::OtherTrustDomain(other));
        }
        let roots = roots(bundle.roots());
        if roots.is_empty() {
            return Err(TrustBundleError::NoneValid);
        }
        let new = roots.iter().filter(|it| !before.contains(it));
        let all: Vec<_> = before.iter().chain(new).cloned().collect();
        let numbered = |roots: &[_]| {
            let text = format!("{BUNDLE_LINE}{}\n{}", header.number, encode(roots));
            PemFile::new(AUTHORITIES, text.as_bytes())
        };
        let gives_up = before.iter().any(|it| !roots.contains(it));
        Ok(Self {
            wide: numbered(&all),
            narrow: gives_up.then(|| numbered(&roots)),
        })
    }

    /// Follows what is `served` by a server that `present` trusts. Where that holds anything but
    /// roots, somebody chose to trust less than a whole root, and it stays.
    pub(super) fn following(
        present: &PemFile,
        served: &[CertificateDer<'static>],
    ) -> Result<Self, IdentityError> {
        let mut kept = Self::kept(present);
        let before = present.certificates()?;
        let roots = roots(served);
        let is_pinned = before.iter().any(|it| Authority::read_root(it).is_err());
        if roots.is_empty() || is_pinned {
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

/// Of the bundle that was followed last; 0 if none was.
fn number(present: &PemFile) -> u64 {
    let text = String::from_utf8_lossy(&present.text);
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(BUNDLE_LINE));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
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
    use std::io::Write as _;

    use certs::{BundleHeader, BundleWriter};
    use rcgen::SigningKey as _;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::identity::tests::TestCa;

    fn der(ca: &TestCa) -> CertificateDer<'static> {
        ca.issuer().der().clone()
    }

    /// What is trusted after `served`: with those before, and without those that are gone.
    fn follow(
        before: &[&TestCa],
        served: &[CertificateDer<'static>],
    ) -> (
        Vec<CertificateDer<'static>>,
        Option<Vec<CertificateDer<'static>>>,
    ) {
        let before: String = before.iter().map(|ca| ca.pem()).collect();
        let present = PemFile::new(AUTHORITIES, before.as_bytes());
        let trust = Trust::following(&present, served).unwrap();
        let narrow = trust.narrow.map(|pem| pem.certificates().unwrap());
        (trust.wide.certificates().unwrap(), narrow)
    }

    #[test]
    fn a_served_root_is_trusted_beside_those_before_and_one_that_is_gone_may_go() {
        let (old, new) = (TestCa::new(), TestCa::new());
        let (old_der, new_der) = (der(&old), der(&new));
        let both = vec![old_der.clone(), new_der.clone()];
        assert_eq!(follow(&[&old], &both), (both.clone(), None));
        let twice = [new_der.clone(), new_der.clone()];
        let only_new = Some(vec![new_der.clone()]);
        assert_eq!(follow(&[&old], &twice), (both.clone(), only_new));
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
            let followed = follow(&[&old], served);
            assert_eq!(followed, (vec![der(&old)], None));
        }
        let pinned = follow(&[&below], &[der(&new)]);
        assert_eq!(pinned, (vec![der(&below)], None));
    }

    /// A bundle of this number with these roots, signed by `signer`, in a file.
    fn bundle(number: u64, roots: &[&TestCa], signer: &TestCa) -> NamedTempFile {
        let header = BundleHeader {
            number,
            trust_domain: TrustDomain::parse("test").unwrap(),
            created: UnixTime::now(),
        };
        let pems: Vec<_> = roots.iter().map(|ca| ca.pem()).collect();
        let pems: Vec<_> = pems.iter().map(|pem| &**pem).collect();
        let mut writer = BundleWriter::new(&header, &pems).unwrap();
        let root = Authority::read_root(&der(signer)).unwrap();
        let sign = |body: &[u8]| Ok::<_, InvalidBundle>(signer.issuer().key().sign(body).unwrap());
        writer.sign(&root, sign).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&writer.finish()).unwrap();
        file
    }

    fn by_bundle(present: &PemFile, bundle: &NamedTempFile) -> Result<Trust, TrustBundleError> {
        Trust::by_bundle(present, bundle.path(), &TrustDomain::parse("test").unwrap())
    }

    fn ders(pem: &PemFile) -> Vec<CertificateDer<'static>> {
        pem.certificates().unwrap()
    }

    #[test]
    fn a_bundle_that_a_trusted_root_has_signed_is_followed_and_an_older_one_never_again() {
        let (old, new) = (TestCa::new(), TestCa::new());
        let present = PemFile::new(AUTHORITIES, old.pem().as_bytes());
        let both = by_bundle(&present, &bundle(3, &[&old, &new], &old)).unwrap();
        assert_eq!(ders(&both.wide), [der(&old), der(&new)]);
        assert!(both.narrow.is_none());

        let last = bundle(5, &[&new], &old);
        let without = by_bundle(&both.wide, &last).unwrap();
        assert_eq!(ders(&without.wide), [der(&old), der(&new)]);
        let narrow = without.narrow.unwrap();
        assert_eq!(ders(&narrow), [der(&new)]);
        // What could not be given up is tried again by the same one.
        let again = by_bundle(&without.wide, &last).unwrap();
        assert_eq!(ders(&again.narrow.unwrap()), [der(&new)]);

        for number in [0, 3, 4] {
            let older = bundle(number, &[&old, &new], &new);
            for present in [&narrow, &without.wide] {
                let refused = by_bundle(present, &older).map(drop).unwrap_err();
                let is_old = matches!(
                    refused,
                    TrustBundleError::Invalid(InvalidBundle::Old { .. })
                );
                assert!(is_old, "{refused}");
            }
        }
    }

    #[test]
    fn a_bundle_of_a_stranger_or_of_elsewhere_is_not_followed() {
        let (old, stranger) = (TestCa::new(), TestCa::new());
        let below = old.below("Device CA");
        let present = PemFile::new(AUTHORITIES, old.pem().as_bytes());
        let refused = |present: &PemFile, bundle: &NamedTempFile| {
            let refused = by_bundle(present, bundle).map(drop);
            refused.unwrap_err().to_string()
        };
        let forged = bundle(9, &[&stranger], &stranger);
        let unknown = "it is signed by no root that is trusted here";
        assert!(refused(&present, &forged).ends_with(unknown));
        // Who trusts less than a whole root follows no root.
        let pinned = PemFile::new(AUTHORITIES, below.pem().as_bytes());
        let genuine = bundle(9, &[&old], &old);
        assert!(refused(&pinned, &genuine).ends_with(unknown));

        let elsewhere = TrustDomain::parse("elsewhere").unwrap();
        let other = Trust::by_bundle(&present, genuine.path(), &elsewhere).map(drop);
        let is_other = matches!(other, Err(TrustBundleError::OtherTrustDomain(_)));
        assert!(is_other, "{other:?}");
        let missing = Path::new("/nonexistent/bundle");
        let missing = Trust::by_bundle(&present, missing, &elsewhere).map(drop);
        assert!(matches!(missing, Err(TrustBundleError::Unreadable(_))));
    }
}
