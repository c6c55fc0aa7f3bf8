//! The trust bundle: which roots to trust from here on, in a file signed by one trusted so far.
//!
//! The format is lines of JSON like a registry export: a header, a line for each root, and the
//! signatures. Nothing in it is read before one of them is verified, a file with one line that is
//! not as it must be is refused as a whole, and its number only rises: who went by one takes none
//! that is older, or a root taken away would come back.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::authority::Authority;
use crate::refusal::Refusal;
use crate::registry::Algorithm;
use crate::subject::TrustDomain;
use crate::text::hex::{Hex, from_hex};
use crate::text::time::{TimeText, parse_time};

/// The version that is written and read.
const VERSION: u32 = 1;
/// So many roots and signatures are read: two while one follows the other.
const ROOTS_MAX: usize = 8;
const BUNDLE_LEN_MAX: usize = 64 * 1024;

/// What a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleHeader {
    /// Its number, which only rises.
    pub number: u64,
    /// Whose roots these are.
    pub trust_domain: TrustDomain,
    /// When it was made.
    pub created: UnixTime,
}

/// The roots that are to be trusted, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    header: BundleHeader,
    roots: Vec<CertificateDer<'static>>,
}

/// A bundle in the making.
#[derive(Debug)]
pub struct BundleWriter {
    body: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    countersign_trust: u32,
    number: u64,
    trust_domain: String,
    created: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RootLine {
    /// The certificate in PEM, so that other programs read it too.
    root: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SignaturesLine {
    signatures: Vec<Signature>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    issuer_key_id: String,
    algorithm: Algorithm,
    #[serde(rename = "signature")]
    octets: String,
}

impl TrustBundle {
    /// Reads and verifies the bundle that is the whole of `octets`, for somebody who trusts the
    /// roots `trusted` and went last by the bundle `seen`, 0 if by none: one of these roots has
    /// signed it, and its number is higher.
    ///
    /// # Errors
    /// [`InvalidBundle`] says why it is not believed.
    pub fn read(octets: &[u8], trusted: &[Authority], seen: u64) -> Result<Self, InvalidBundle> {
        if octets.len() > BUNDLE_LEN_MAX {
            return Err(InvalidBundle::Form);
        }
        let (body, signatures) = split(octets).ok_or(InvalidBundle::Form)?;
        verify(body, signatures, trusted)?;
        let mut lines = body.split_inclusive(|octet| *octet == b'\n');
        let header = read_header(lines.next().ok_or(InvalidBundle::Form)?)?;
        if header.number <= seen {
            let number = header.number;
            return Err(InvalidBundle::Old { number, seen });
        }
        let roots: Vec<_> = lines.map(read_root).collect::<Result<_, _>>()?;
        if roots.is_empty() || roots.len() > ROOTS_MAX {
            return Err(InvalidBundle::Form);
        }
        Ok(Self { header, roots })
    }

    /// Its number, time and trust domain.
    pub fn header(&self) -> &BundleHeader {
        &self.header
    }

    /// The roots.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }
}

impl BundleWriter {
    /// A bundle of these roots, in PEM.
    ///
    /// # Errors
    /// [`InvalidBundle`] if one is none.
    pub fn new(header: &BundleHeader, roots: &[&str]) -> Result<Self, InvalidBundle> {
        let mut writer = Self {
            body: Vec::new(),
            signatures: Vec::new(),
        };
        write_line(
            &mut writer.body,
            &HeaderLine {
                countersign_trust: VERSION,
                number: header.number,
                trust_domain: header.trust_domain.as_str().to_owned(),
                created: TimeText(header.created).to_string(),
            },
        );
        for root in roots {
            check_root(root)?;
            let root = (*root).to_owned();
            write_line(&mut writer.body, &RootLine { root });
        }
        Ok(writer)
    }

    /// Has it signed by `root`, whose key `sign` uses.
    ///
    /// # Errors
    /// [`InvalidBundle::Algorithm`] when its key is not P-256, P-384 or Ed25519, and what `sign`
    /// returns.
    pub fn sign<E: From<InvalidBundle>>(
        &mut self,
        root: &Authority,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let algorithm = Algorithm::of_key(&root.certificate().public_key);
        let algorithm = algorithm.ok_or(InvalidBundle::Algorithm)?;
        self.signatures.push(Signature {
            issuer_key_id: Hex(root.key_id()).to_string(),
            algorithm,
            octets: Hex(&sign(&self.body)?).to_string(),
        });
        Ok(())
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        let (mut octets, signatures) = (self.body, self.signatures);
        write_line(&mut octets, &SignaturesLine { signatures });
        octets
    }
}

fn write_line(octets: &mut Vec<u8>, line: &impl Serialize) {
    // Neither writing to memory nor turning strings into JSON fails.
    let _ = serde_json::to_writer(&mut *octets, line);
    octets.push(b'\n');
}

/// What is signed, and the line with the signatures.
fn split(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let whole = octets.strip_suffix(b"\n")?;
    let end_of_body = whole.iter().rposition(|octet| *octet == b'\n')? + 1;
    whole.split_at_checked(end_of_body)
}

/// One root that is trusted is enough: others have signed for whoever trusts them.
fn verify(body: &[u8], line: &[u8], trusted: &[Authority]) -> Result<(), InvalidBundle> {
    let line: SignaturesLine = serde_json::from_slice(line).map_err(|_| InvalidBundle::Form)?;
    if line.signatures.len() > ROOTS_MAX {
        return Err(InvalidBundle::Form);
    }
    let mut refused = InvalidBundle::UnknownRoots;
    for signature in &line.signatures {
        let key_id = from_hex(&signature.issuer_key_id).ok_or(InvalidBundle::Form)?;
        let octets = from_hex(&signature.octets).ok_or(InvalidBundle::Form)?;
        let Some(root) = trusted.iter().find(|root| root.key_id() == key_id) else {
            continue;
        };
        let algorithm = signature.algorithm.to_der();
        if root.verify_octets(body, algorithm, &octets).is_ok() {
            return Ok(());
        }
        refused = InvalidBundle::BadSignature;
    }
    Err(refused)
}

fn read_header(line: &[u8]) -> Result<BundleHeader, InvalidBundle> {
    /// Any version of the format has this.
    #[derive(Deserialize)]
    struct AnyVersion {
        countersign_trust: u32,
    }
    let any: AnyVersion = serde_json::from_slice(line).map_err(|_| InvalidBundle::Form)?;
    if any.countersign_trust != VERSION {
        return Err(InvalidBundle::Version(any.countersign_trust));
    }
    let line: HeaderLine = serde_json::from_slice(line).map_err(|_| InvalidBundle::Form)?;
    Ok(BundleHeader {
        number: line.number,
        trust_domain: TrustDomain::parse(&line.trust_domain).map_err(|_| InvalidBundle::Form)?,
        created: parse_time(&line.created).ok_or(InvalidBundle::Form)?,
    })
}

fn read_root(line: &[u8]) -> Result<CertificateDer<'static>, InvalidBundle> {
    let line: RootLine = serde_json::from_slice(line).map_err(|_| InvalidBundle::Form)?;
    check_root(&line.root)
}

/// A root is an authority that has signed itself.
fn check_root(pem: &str) -> Result<CertificateDer<'static>, InvalidBundle> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes());
    let der = der.map_err(|_| InvalidBundle::NotARoot(Refusal::Malformed("not PEM")))?;
    Authority::read_root(&der).map_err(InvalidBundle::NotARoot)?;
    Ok(der)
}

/// Why a trust bundle is not read or not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidBundle {
    /// It is not lines of JSON with a header first, roots behind it, and signatures last.
    #[error("not a trust bundle: a header, a line for each root, and signatures")]
    Form,
    /// Another version of the format.
    #[error("a trust bundle of version {0}; this program reads version 1")]
    Version(u32),
    /// None of the roots that signed it is trusted here.
    #[error("it is signed by no root that is trusted here")]
    UnknownRoots,
    /// A root cannot sign it in a way that is accepted.
    #[error("a root has a key with which none is signed")]
    Algorithm,
    /// The signature is not one of the root that is trusted.
    #[error("its signature is wrong: it was changed, cut short or made by somebody else")]
    BadSignature,
    /// One that came later is known: to go by this one might bring a root back.
    #[error("it has number {number}, and {seen} was seen before")]
    Old {
        /// Its number.
        number: u64,
        /// The number that was seen.
        seen: u64,
    },
    /// A certificate in it is no root.
    #[error("a certificate in it is no root: {0}")]
    NotARoot(Refusal),
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, SigningKey,
    };

    use super::*;
    use crate::testing::{NOT_BEFORE, at};

    struct Root {
        authority: Authority,
        key: KeyPair,
        pem: String,
    }

    fn root(algorithm: &'static SignatureAlgorithm) -> Root {
        root_that_names(true, algorithm)
    }

    /// One that says by which key it was signed, or does not: its own.
    fn root_that_names(key_id: bool, algorithm: &'static SignatureAlgorithm) -> Root {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = key_id;
        let key = KeyPair::generate_for(algorithm).unwrap();
        let made = params.self_signed(&key).unwrap();
        Root {
            authority: Authority::read(made.der()).unwrap(),
            key,
            pem: made.pem(),
        }
    }

    fn header(number: u64) -> BundleHeader {
        BundleHeader {
            number,
            trust_domain: TrustDomain::parse("fleet.example").unwrap(),
            created: at(NOT_BEFORE),
        }
    }

    fn bundle(number: u64, roots: &[&Root], signers: &[&Root]) -> Vec<u8> {
        let pems: Vec<_> = roots.iter().map(|it| &*it.pem).collect();
        let mut writer = BundleWriter::new(&header(number), &pems).unwrap();
        for signer in signers {
            let sign = |body: &[u8]| Ok::<_, InvalidBundle>(signer.key.sign(body).unwrap());
            writer.sign(&signer.authority, sign).unwrap();
        }
        writer.finish()
    }

    fn read(octets: &[u8], trusted: &Root, seen: u64) -> Result<TrustBundle, InvalidBundle> {
        TrustBundle::read(octets, std::slice::from_ref(&trusted.authority), seen)
    }

    #[test]
    fn who_trusts_the_old_root_or_the_new_one_learns_which_to_trust() {
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
        ] {
            let (old, new) = (root(algorithm), root(&PKCS_ECDSA_P384_SHA384));
            let octets = bundle(3, &[&old, &new], &[&old, &new]);
            for holder in [&old, &new] {
                let read = read(&octets, holder, 2).unwrap();
                assert_eq!(*read.header(), header(3));
                let keys = read.roots().iter().map(|der| Authority::read(der).unwrap());
                let ours = [&old.authority, &new.authority];
                assert!(keys.eq(ours.into_iter().cloned()));
            }
        }
        let (rsa, new) = (root(&PKCS_RSA_SHA256), root(&PKCS_ED25519));
        let mut writer = BundleWriter::new(&header(1), &[&new.pem]).unwrap();
        let refused = writer.sign(&rsa.authority, |_| Ok(Vec::new()));
        assert_eq!(refused, Err(InvalidBundle::Algorithm));
    }

    #[test]
    fn a_root_need_not_say_that_its_own_key_has_signed_it() {
        let old = root_that_names(false, &PKCS_ECDSA_P256_SHA256);
        let octets = bundle(1, &[&old], &[&old]);
        let read = read(&octets, &old, 0).unwrap();
        assert_eq!(
            Authority::read(&read.roots()[0]).as_ref(),
            Ok(&old.authority)
        );
    }

    #[test]
    fn a_number_that_was_seen_is_not_seen_again() {
        let old = root(&PKCS_ECDSA_P256_SHA256);
        let octets = bundle(3, &[&old], &[&old]);
        assert!(read(&octets, &old, 2).is_ok());
        for seen in [3, 4, u64::MAX] {
            let expected = InvalidBundle::Old { number: 3, seen };
            assert_eq!(read(&octets, &old, seen), Err(expected));
        }
    }

    #[test]
    fn what_no_trusted_root_has_signed_is_not_read() {
        let (old, stranger) = (root(&PKCS_ECDSA_P256_SHA256), root(&PKCS_ECDSA_P256_SHA256));
        let octets = bundle(1, &[&old], &[&stranger]);
        assert_eq!(read(&octets, &old, 0), Err(InvalidBundle::UnknownRoots));
        let unsigned = bundle(1, &[&old], &[]);
        assert_eq!(read(&unsigned, &old, 0), Err(InvalidBundle::UnknownRoots));
        // A signature of another under the name of a root that is trusted.
        let mut forged = BundleWriter::new(&header(1), &[&stranger.pem]).unwrap();
        let sign = |body: &[u8]| Ok::<_, InvalidBundle>(stranger.key.sign(body).unwrap());
        forged.sign(&old.authority, sign).unwrap();
        let forged = forged.finish();
        assert_eq!(read(&forged, &old, 0), Err(InvalidBundle::BadSignature));
    }

    #[test]
    fn a_changed_octet_anywhere_and_every_cut_is_refused() {
        let old = root(&PKCS_ED25519);
        let octets = bundle(1, &[&old], &[&old]);
        for place in 0..octets.len() {
            let mut changed = octets.clone();
            changed[place] ^= 1;
            assert!(read(&changed, &old, 0).is_err(), "octet {place}");
            assert!(read(&octets[..place], &old, 0).is_err(), "cut at {place}");
        }
        let more = [&octets[..], b"{}\n"].concat();
        assert!(read(&more, &old, 0).is_err());
    }

    #[test]
    fn only_roots_stand_in_it() {
        let old = root(&PKCS_ECDSA_P256_SHA256);
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            let refused = BundleWriter::new(&header(1), &[pem]).unwrap_err();
            assert!(matches!(refused, InvalidBundle::NotARoot(_)), "{refused}");
        }
        // An authority below a root is none.
        let below = crate::testing::authority_below_another();
        let refused = BundleWriter::new(&header(1), &[&below]).unwrap_err();
        assert_eq!(refused, InvalidBundle::NotARoot(Refusal::UnknownAuthority));
        // A registry export is signed too, and is none.
        let lines = "{\"countersign_registry\":1}\n{\"root\":\"x\"}\n";
        let signature = Hex(&old.key.sign(lines.as_bytes()).unwrap()).to_string();
        let key_id = Hex(old.authority.key_id()).to_string();
        let last = format!(
            "{{\"signatures\":[{{\"issuer_key_id\":\"{key_id}\",\
             \"algorithm\":\"ecdsa-with-sha256\",\"signature\":\"{signature}\"}}]}}\n"
        );
        let octets = [lines, &last].concat();
        let refused = read(octets.as_bytes(), &old, 0);
        assert_eq!(refused, Err(InvalidBundle::Form));
        assert_eq!(
            read(&bundle(1, &[], &[&old]), &old, 0),
            Err(InvalidBundle::Form)
        );
    }
}
