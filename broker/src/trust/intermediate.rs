//! Intermediates: authorities below an anchor that operators name, so that their revocation lists
//! are believed and devices need not send their certificates.
//!
//! Each is verified up to its anchor when it is read: by names, keys, signatures, and by what its
//! issuers permit it. Whether it has expired or was revoked is asked for every device below it.

use super::TrustError;
use super::files::read_certificates;
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;

/// An authority between an anchor and its devices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Intermediate {
    /// What signs revocation lists.
    pub(crate) signer: certs::Authority,
    pub(crate) der: CertificateDer<'static>,
    /// Where it was read.
    pub(crate) path: PathBuf,
}

/// Reads the intermediates in these files, each once and in any order. Those that are among the
/// anchors themselves, as in a file with a whole chain, are left out.
///
/// # Errors
/// If one cannot be an authority, or none of `anchors` stands behind it.
pub(super) fn read_intermediates(
    paths: &[PathBuf],
    anchors: &[certs::Authority],
) -> Result<Vec<Intermediate>, TrustError> {
    let mut signers = anchors.to_vec();
    let mut found = Vec::new();
    let mut waiting = read_all(paths, anchors)?;
    while let Some(first) = waiting.first() {
        let unknown = first.refused(certs::Refusal::UnknownAuthority);
        let (mut rest, waiting_len) = (Vec::new(), waiting.len());
        for one in waiting {
            let Some(issuer) = signers.iter().find(|signer| one.names_issuer(signer)) else {
                rest.push(one);
                continue;
            };
            let verified = issuer.verify_issued(&one.der);
            verified.map_err(|why| one.refused(why))?;
            signers.push(one.signer.clone());
            found.push(one);
        }
        if rest.len() == waiting_len {
            return Err(unknown);
        }
        waiting = rest;
    }
    Ok(found)
}

fn read_all(
    paths: &[PathBuf],
    anchors: &[certs::Authority],
) -> Result<Vec<Intermediate>, TrustError> {
    let mut all: Vec<Intermediate> = Vec::new();
    for path in paths {
        for der in read_certificates(path)? {
            let refused = |why| TrustError::NotAnIntermediate {
                path: path.clone(),
                why,
            };
            certs::check_issuer(&der).map_err(refused)?;
            let signer = certs::Authority::read(&der).map_err(refused)?;
            let is_there = anchors.contains(&signer) || all.iter().any(|it| it.der == der);
            if !is_there {
                let path = path.clone();
                all.push(Intermediate { signer, der, path });
            }
        }
    }
    Ok(all)
}

impl Intermediate {
    fn names_issuer(&self, authority: &certs::Authority) -> bool {
        let issuer = &self.signer.certificate().extensions.issuer_key_id;
        issuer.as_deref() == Some(authority.key_id())
    }

    fn refused(&self, why: certs::Refusal) -> TrustError {
        let path = self.path.clone();
        TrustError::NotAnIntermediate { path, why }
    }
}
