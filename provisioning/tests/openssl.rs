//! What others make of our files: OpenSSL reads the keys, verifies the chains and agrees on what
//! stands in the certificates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use certs::{DeviceId, RevocationReason};
use countersign_provisioning::{
    Algorithm, ExportRequest, InitRequest, IssueRequest, Prepared, RevokeRequest, UpRequest,
    ca_init, device_issue, device_revoke, read_passphrase, registry_export, up_prepare,
};
use rustls_pki_types::UnixTime;

fn openssl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `up` makes for so many devices.
fn up(dir: &Path, devices: u32) -> Prepared {
    let request = UpRequest {
        dir,
        devices,
        server_names: &[],
        trust_domain: None,
    };
    up_prepare(&request, UnixTime::now()).unwrap()
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_every_chain_for_its_purpose_alone() {
    let temp = tempfile::tempdir().unwrap();
    let prepared = up(temp.path(), 1);
    let root = prepared.layout.ca_pem();
    let broker = prepared.layout.broker();
    for (files, right, wrong) in [
        (&broker, "sslserver", "sslclient"),
        (&prepared.devices[0].files, "sslclient", "sslserver"),
        (&prepared.apps[0].files, "sslclient", "sslserver"),
    ] {
        let cert = path(&files.cert);
        let verify = |purpose| {
            let strict = ["verify", "-x509_strict", "-purpose", purpose];
            openssl(
                &[
                    &strict[..],
                    &["-CAfile", path(&root), "-untrusted", cert, cert],
                ]
                .concat(),
            )
        };
        assert_eq!(verify(right), Ok(format!("{cert}: OK\n")));
        assert!(verify(wrong).is_err());
        let of_key = openssl(&["pkey", "-in", path(&files.key), "-pubout"]).unwrap();
        let of_certificate = openssl(&["x509", "-in", cert, "-noout", "-pubkey"]).unwrap();
        assert_eq!(of_key, of_certificate);
    }
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_reads_in_a_certificate_what_its_profile_says() {
    let temp = tempfile::tempdir().unwrap();
    let prepared = up(temp.path(), 1);
    let cert = path(&prepared.devices[0].files.cert);
    let text = openssl(&["x509", "-in", cert, "-noout", "-text"]).unwrap();
    for words in [
        "Version: 3",
        "Issuer: CN = Countersign DEV ONLY device CA 1",
        "Subject: CN = dev-1\n",
        "NIST CURVE: P-256",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
        "X509v3 Subject Alternative Name: \n                \
         URI:spiffe://countersign.local/device/dev-1\n",
        "X509v3 Authority Key Identifier:",
        "X509v3 Subject Key Identifier:",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn a_request_made_by_openssl_is_certified() {
    let temp = tempfile::tempdir().unwrap();
    let dir = &temp.path().join("dev");
    let prepared = up(dir, 0);
    for algorithm in ["P-256", "P-384", "Ed25519"] {
        let key = temp.path().join("key.pem");
        let csr = temp.path().join("request.pem");
        let new_key = match algorithm {
            "Ed25519" => vec!["genpkey", "-algorithm", "ED25519", "-out", path(&key)],
            curve => vec![
                "ecparam",
                "-name",
                curve,
                "-genkey",
                "-noout",
                "-out",
                path(&key),
            ],
        };
        openssl(&new_key).unwrap();
        let issue = |wishes: &[&str]| {
            let new = ["req", "-new", "-key", path(&key), "-out", path(&csr)];
            let new = [&new[..], &["-subj", "/CN=admin"], wishes].concat();
            openssl(&new).unwrap();
            let request = IssueRequest {
                passphrase: None,
                dir,
                id: &DeviceId::parse(algorithm).unwrap(),
                csr: Some(&csr),
                again: false,
            };
            device_issue(&request, UnixTime::now())
        };
        let wishes = ["basicConstraints=CA:TRUE", "subjectAltName=DNS:admin"];
        for wish in wishes {
            assert!(issue(&["-addext", wish]).is_err(), "{wish}");
        }
        let issued = issue(&["-addext", "extendedKeyUsage=serverAuth"]);
        let cert = issued.unwrap().files.cert;
        let root = prepared.layout.ca_pem();
        let ok = openssl(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            path(&root),
            "-untrusted",
            path(&cert),
            path(&cert),
        ]);
        assert_eq!(ok, Ok(format!("{}: OK\n", path(&cert))));
        let text = openssl(&["x509", "-in", path(&cert), "-noout", "-text"]).unwrap();
        assert!(
            !text.contains("admin") && !text.contains("CA:TRUE"),
            "{text}"
        );
        fs::remove_file(&key).unwrap();
    }
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_our_lists_and_refuses_whoever_is_on_one() {
    let temp = tempfile::tempdir().unwrap();
    let prepared = up(temp.path(), 2);
    let layout = &prepared.layout;
    let (subject, reason) = (
        &prepared.devices[0].subject,
        RevocationReason::KeyCompromise,
    );
    let revoke = RevokeRequest {
        passphrase: None,
        dir: temp.path(),
        subject,
        reason,
    };
    let revoked = device_revoke(&revoke, UnixTime::now()).unwrap();

    let (crl, issuer) = (layout.device_ca_crl(), layout.device_ca_pem());
    let crl = ["crl", "-in", path(&crl), "-CAfile", path(&issuer), "-noout"];
    let text = openssl(&[&crl[..], &["-verify", "-text"]].concat()).unwrap();
    let serial = revoked.certificates[0].to_string().to_uppercase();
    for words in [
        "Version 2 (0x1)",
        "Issuer: CN = Countersign DEV ONLY device CA 1",
        "X509v3 CRL Number: \n                1\n",
        "X509v3 Authority Key Identifier:",
        &format!("Serial Number: {serial}\n"),
        "X509v3 CRL Reason Code: \n                Key Compromise\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    // Of another authority it is not the list.
    let root = layout.ca_pem();
    let other = [
        "crl",
        "-in",
        crl[2],
        "-CAfile",
        path(&root),
        "-noout",
        "-verify",
    ];
    assert!(openssl(&other).is_err());

    for (device, good) in [(&prepared.devices[0], false), (&prepared.devices[1], true)] {
        let cert = path(&device.files.cert);
        let check = ["verify", "-x509_strict", "-crl_check", "-CRLfile", crl[2]];
        let chain = ["-CAfile", path(&root), "-untrusted", path(&issuer), cert];
        let verified = openssl(&[&check[..], &chain].concat());
        assert_eq!(verified.is_ok(), good, "{verified:?}");
        if let Err(words) = verified {
            assert!(words.contains("certificate revoked"), "{words}");
        }
    }
}

/// As docs/registry-export.md says it can be done.
#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_a_registry_export() {
    let temp = tempfile::tempdir().unwrap();
    let request = UpRequest {
        dir: temp.path(),
        devices: 2,
        server_names: &[],
        trust_domain: None,
    };
    let layout = up_prepare(&request, UnixTime::now()).unwrap().layout;
    let request = ExportRequest {
        passphrase: None,
        dir: temp.path(),
        days: None,
    };
    registry_export(&request, UnixTime::now()).unwrap();
    let work = |name: &str| temp.path().join(name);
    let key = openssl(&[
        "x509",
        "-in",
        path(&layout.device_ca_pem()),
        "-noout",
        "-pubkey",
    ]);
    fs::write(work("key"), key.unwrap()).unwrap();
    let text = fs::read_to_string(layout.registry_export()).unwrap();
    let (body, last) = text.trim_end().rsplit_once('\n').unwrap();
    let hex = last.split('"').rev().nth(1).unwrap();
    let octets = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    fs::write(
        work("signature"),
        octets.collect::<Result<Vec<_>, _>>().unwrap(),
    )
    .unwrap();
    let verify = |body: String| {
        fs::write(work("body"), body).unwrap();
        let [key, signature, body] = ["key", "signature", "body"].map(work);
        let files = [
            "-verify",
            path(&key),
            "-signature",
            path(&signature),
            path(&body),
        ];
        openssl(&[&["dgst", "-sha256"], &files[..]].concat())
    };
    assert_eq!(verify(format!("{body}\n")), Ok("Verified OK\n".to_owned()));
    assert!(verify(format!("{body}\n").replace("dev-2", "dev-3")).is_err());
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_opens_the_keys_of_authorities_under_their_passphrase_alone() {
    for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Ed25519] {
        let temp = tempfile::tempdir().unwrap();
        let [right, wrong] = ["right", "wrong"].map(|text| {
            let file = temp.path().join(text);
            fs::write(&file, text).unwrap();
            file
        });
        let passphrase = read_passphrase(&right).unwrap();
        let dir = temp.path().join("ca");
        let request = InitRequest {
            algorithm: Some(algorithm),
            passphrase: Some(&passphrase),
            ..InitRequest::new(&dir)
        };
        ca_init(&request, UnixTime::now()).unwrap();
        for authority in ["root", "device-ca", "server-ca"] {
            let [key, cert] =
                ["key.pem", "pem"].map(|end| dir.join(format!("ca/{authority}.{end}")));
            let source = format!("file:{}", path(&right));
            let of_key = openssl(&["pkey", "-in", path(&key), "-passin", &source, "-pubout"]);
            let of_certificate = openssl(&["x509", "-in", path(&cert), "-noout", "-pubkey"]);
            assert_eq!(of_key, of_certificate, "{algorithm} {authority}");
        }
        let key = dir.join("ca/root.key.pem");
        let source = format!("file:{}", path(&wrong));
        assert!(openssl(&["pkey", "-in", path(&key), "-passin", &source]).is_err());
    }
}
