//! NIST's PKITS (Public Key Interoperability Test Suite), sections 4.1 to 4.7, through the gate's
//! path and revocation part: webpki's path, our check of its issuers, our revocation lists.
//!
//! The suite's certificates name no device and no purpose, so the rest of the gate is left out.
//! Nothing that the suite calls invalid may be accepted; what it calls valid and is refused stands
//! in a table with its reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use countersign_certs::{
    Authority, Certificate, Freshness, Refusal, RevocationList, RevocationSet, check_issuer,
};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptions, RevocationOptionsBuilder, VerifiedPath, anchor_from_trusted_cert,
};

/// `x509/PKITS_data` in the package `cryptography-vectors`.
const DIRECTORY: &str = "COUNTERSIGN_PKITS";

/// November 2026: the suite is valid until the end of 2030.
const NOW: u64 = 1_795_000_000;

/// What the tests of sections 4.1 to 4.7 are called, without `Valid`, `Invalid` and their numbers.
const STEMS: &[&str] = &[
    // 4.1 Signature verification
    "CertificatePath",
    "CASignature",
    "EESignature",
    "DSASignatures",
    "DSASignature",
    "DSAParameterInheritance",
    // 4.2 Validity periods
    "CAnotBeforeDate",
    "EEnotBeforeDate",
    "pre2000UTCnotBeforeDate",
    "GeneralizedTimenotBeforeDate",
    "CAnotAfterDate",
    "EEnotAfterDate",
    "pre2000UTCEEnotAfterDate",
    "GeneralizedTimenotAfterDate",
    // 4.3 Verifying name chaining
    "NameChaining",
    "NameChainingEE",
    "NameChainingOrder",
    "NameChainingWhitespace",
    "NameChainingCapitalization",
    "NameUIDs",
    "RFC3280MandatoryAttributeTypes",
    "RFC3280OptionalAttributeTypes",
    "UTF8StringEncodedNames",
    "RolloverfromPrintableStringtoUTF8String",
    "UTF8StringCaseInsensitiveMatch",
    // 4.4 Basic certificate revocation
    "MissingCRL",
    "RevokedCA",
    "RevokedEE",
    "BadCRLSignature",
    "BadCRLIssuerName",
    "WrongCRL",
    "TwoCRLs",
    "UnknownCRLEntryExtension",
    "UnknownCRLExtension",
    "OldCRLnextUpdate",
    "pre2000CRLnextUpdate",
    "GeneralizedTimeCRLnextUpdate",
    "NegativeSerialNumber",
    "LongSerialNumber",
    "SeparateCertificateandCRLKeys",
    // 4.5 Self-issued certificates
    "BasicSelfIssuedOldWithNew",
    "BasicSelfIssuedNewWithOld",
    "BasicSelfIssuedCRLSigningKey",
    // 4.6 Basic constraints
    "MissingbasicConstraints",
    "cAFalse",
    "basicConstraintsNotCritical",
    "pathLenConstraint",
    "SelfIssuedpathLenConstraint",
    // 4.7 Key usage
    "keyUsageCriticalkeyCertSignFalse",
    "keyUsageNotCriticalkeyCertSignFalse",
    "keyUsageNotCritical",
    "keyUsageCriticalcRLSignFalse",
    "keyUsageNotCriticalcRLSignFalse",
];

/// Valid, and refused here, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("ValidBasicSelfIssuedCRLSigningKeyTest6", OTHER_KEY),
    ("ValidBasicSelfIssuedNewWithOldTest3", PARTIAL),
    ("ValidBasicSelfIssuedNewWithOldTest4", OTHER_KEY),
    ("ValidBasicSelfIssuedOldWithNewTest1", OTHER_KEY),
    ("ValidDSAParameterInheritanceTest5", DSA),
    ("ValidDSASignaturesTest4", DSA),
    ("ValidNameChainingCapitalizationTest5", NAMES),
    ("ValidNameChainingWhitespaceTest3", NAMES),
    ("ValidNameChainingWhitespaceTest4", NAMES),
    (
        "ValidNameUIDsTest6",
        "webpki does not read unique identifiers",
    ),
    ("ValidRolloverfromPrintableStringtoUTF8StringTest10", NAMES),
    ("ValidSelfIssuedpathLenConstraintTest15", SELF_ISSUED),
    ("ValidSelfIssuedpathLenConstraintTest17", SELF_ISSUED),
    ("ValidSeparateCertificateandCRLKeysTest19", OTHER_KEY),
    ("ValidUTF8StringCaseInsensitiveMatchTest11", NAMES),
    ("ValidpathLenConstraintTest14", AUTHORITY),
    ("ValidpathLenConstraintTest8", AUTHORITY),
    (
        "Validpre2000UTCnotBeforeDateTest3",
        "webpki reads no time before 1970",
    ),
];

const OTHER_KEY: &str = "its list is signed by another key of its issuer, and ours go by the key";
const PARTIAL: &str =
    "its list belongs to a distribution point, and only URIs of those are compared";
const DSA: &str = "DSA is not accepted";
const NAMES: &str = "names are equal when their octets are (webpki), whatever RFC 5280 §7.1 folds";
const SELF_ISSUED: &str = "webpki counts self-issued certificates in path lengths";
const AUTHORITY: &str = "the certificate at the end is an authority's";

#[test]
#[ignore = "needs cryptography-vectors; scripts/test runs it"]
fn pkits_4_1_to_4_7_nothing_invalid_is_accepted() {
    let suite = Suite::open();
    let mut refused = BTreeMap::new();
    let (mut accepted, mut wrong) = (Vec::new(), Vec::new());
    let (mut valid, mut invalid) = (0, 0);
    for (name, path) in suite.leaves() {
        let result = suite.judge(&path);
        match (name.starts_with("Valid"), result) {
            (true, Ok(())) => {
                valid += 1;
                accepted.push(name);
            }
            (true, Err(why)) => {
                valid += 1;
                assert!(
                    !suite.webpki_accepts(&path),
                    "{name}: webpki accepts it: {why}"
                );
                refused.insert(name, why);
            }
            (false, Ok(())) => wrong.push(name),
            (false, Err(_)) => invalid += 1,
        }
    }
    println!(
        "{} of {valid} valid accepted, {invalid} invalid refused",
        accepted.len()
    );
    for (name, why) in &refused {
        println!("{name}: {}", why.chars().take(120).collect::<String>());
    }
    assert!(wrong.is_empty(), "invalid and accepted: {wrong:?}");
    let expected: Vec<_> = REFUSED.iter().map(|(name, _)| *name).collect();
    let found: Vec<_> = refused.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "valid and refused");
}

struct Suite {
    directory: PathBuf,
    anchor: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    lists: Vec<Vec<u8>>,
}

impl Suite {
    fn open() -> Self {
        let directory = env::var_os(DIRECTORY).unwrap_or_else(|| {
            panic!("{DIRECTORY} must name x509/PKITS_data of PyPI's cryptography-vectors")
        });
        let directory = PathBuf::from(directory);
        let certs = directory.join("certs");
        let anchor = read(&certs.join("TrustAnchorRootCertificate.crt")).into();
        let is_leaf = |path: &PathBuf| stem(path).ends_with("EE");
        let intermediates = files(&certs).into_iter().filter(|path| !is_leaf(path));
        let intermediates = intermediates.map(|path| read(&path).into()).collect();
        let lists = files(&directory.join("crls"))
            .iter()
            .map(|path| read(path))
            .collect();
        Self {
            directory,
            anchor,
            intermediates,
            lists,
        }
    }

    /// The certificates that are judged, by the names of their tests.
    fn leaves(&self) -> Vec<(String, PathBuf)> {
        let named = files(&self.directory.join("certs"))
            .into_iter()
            .filter_map(|path| {
                let name = stem(&path).strip_suffix("EE")?.to_owned();
                let rest = name
                    .strip_prefix("Valid")
                    .or_else(|| name.strip_prefix("Invalid"))?;
                let (test, number) = rest.rsplit_once("Test")?;
                let numbered = number.bytes().all(|octet| octet.is_ascii_digit());
                (numbered && STEMS.contains(&test)).then_some((name, path))
            });
        named.collect()
    }

    fn judge(&self, path: &Path) -> Result<(), String> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        let leaf = CertificateDer::from(read(path));
        let anchors = [anchor_from_trusted_cert(&self.anchor).unwrap()];
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let end_entity = EndEntityCert::try_from(&leaf).map_err(|error| words(&error))?;
        let verified = self
            .path(&end_entity, &anchors, None)
            .map_err(|error| words(&error))?;
        let mut chain = vec![leaf.to_vec()];
        let mut authorities = vec![Authority::read(&self.anchor).map_err(|error| words(&error))?];
        for issuer in verified.intermediate_certificates() {
            check_issuer(&issuer.der()).map_err(|error| words(&error))?;
            authorities.push(Authority::read(&issuer.der()).map_err(|error| words(&error))?);
            chain.push(issuer.der().to_vec());
        }
        let set = self.set(&authorities);
        chain
            .iter()
            .try_for_each(|der| check_revocation(der, &set, now))
    }

    /// What webpki says with a revocation check of its own.
    fn webpki_accepts(&self, path: &Path) -> bool {
        let leaf = CertificateDer::from(read(path));
        let anchors = [anchor_from_trusted_cert(&self.anchor).unwrap()];
        let lists: Vec<CertRevocationList<'_>> = self
            .lists
            .iter()
            .filter_map(|list| Some(BorrowedCertRevocationList::from_der(list).ok()?.into()))
            .collect();
        let lists: Vec<_> = lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists)
            .unwrap()
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        EndEntityCert::try_from(&leaf)
            .is_ok_and(|leaf| self.path(&leaf, &anchors, Some(revocation)).is_ok())
    }

    fn path<'a>(
        &'a self,
        leaf: &'a EndEntityCert<'a>,
        anchors: &'a [TrustAnchor<'a>],
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<VerifiedPath<'a>, webpki::Error> {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            &self.intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
            KeyUsage::client_auth(),
            revocation,
            None,
        )
    }

    /// All lists of the authorities of a path that are good, the newest of each.
    fn set(&self, authorities: &[Authority]) -> RevocationSet {
        let mut set = RevocationSet::default();
        let good = self
            .lists
            .iter()
            .flat_map(|list| RevocationList::read(list, authorities));
        for list in good {
            // An older one is not taken.
            let _ = set.replace_list(list);
        }
        set
    }
}

/// With a list for every issuer: the suite asks what is not known to be refused.
fn check_revocation(der: &[u8], set: &RevocationSet, now: UnixTime) -> Result<(), String> {
    let certificate = Certificate::read(der).map_err(|refusal| refusal.to_string())?;
    let issuer = certificate.extensions.issuer_key_id.as_deref();
    let issuer = issuer.ok_or_else(|| Refusal::NoIssuerKeyId.to_string())?;
    if let Some(revoked) = set.find_certificate(issuer, certificate.serial) {
        return Err(Refusal::RevokedCertificate(revoked).to_string());
    }
    match set.freshness(&certificate, now) {
        Some(Freshness::Fresh) => Ok(()),
        None => Err(format!(
            "{}: no good revocation list of its issuer",
            certificate.subject
        )),
        Some(stale) => Err(format!("{}: {stale:?}", certificate.subject)),
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{DIRECTORY}: {}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}
