//! What others make of our files: OpenSSL reads the keys, verifies the chains and agrees on what
//! stands in the certificates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod root_apart;

use std::fs;
use std::path::Path;
use std::process::Command;

use certs::{DeviceId, RevocationReason, Role};
use countersign_provisioning::{
    Algorithm, BatchFormat, BatchRequest, ExportRequest, InitRequest, IssueRequest, PayloadFormat,
    PayloadTo, Prepared, RevokeRequest, RotateRequest, RotationStage, UpRequest, batch_issue,
    broker_issue, ca_init, ca_rotate, device_issue, device_issue_to, device_revoke,
    read_passphrase, registry_export, up_prepare,
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

/// What a broker shows while one root follows another.
#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_a_chain_for_whoever_trusts_the_old_root_or_the_new_one() {
    let temp = tempfile::tempdir().unwrap();
    let layout = up(temp.path(), 0).layout;
    for role in [Role::Root, Role::ServerCa] {
        for stage in &RotationStage::ALL[..3] {
            let request = RotateRequest::new(temp.path(), role, *stage);
            ca_rotate(&request, UnixTime::now()).unwrap();
        }
    }
    broker_issue(temp.path(), &[], None, UnixTime::now()).unwrap();
    let cert = layout.broker().cert;
    let cert = path(&cert);
    let pems = fs::read_to_string(cert).unwrap();
    assert_eq!(pems.matches("BEGIN CERTIFICATE").count(), 3);
    for root in ["ca/root.pem", "ca/root-2.pem"] {
        let root = temp.path().join(root);
        let check = ["verify", "-x509_strict", "-purpose", "sslserver"];
        // OpenSSL adds the roots of the system otherwise.
        let trusted = ["-no-CApath", "-no-CAstore", "-CAfile", path(&root)];
        let chain = ["-untrusted", cert, cert];
        let verified = openssl(&[&check[..], &trusted, &chain].concat());
        assert_eq!(verified, Ok(format!("{cert}: OK\n")), "{}", root.display());
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
                algorithm: Algorithm::default(),
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

/// A password that not every program takes for the same octets.
const PASSWORD: &str = "grüße 7 \u{1f511}";

/// What a file under a password holds, by itself and as one of a batch.
#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_opens_the_files_of_devices_under_their_password_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ca");
    ca_init(&InitRequest::new(&dir), UnixTime::now()).unwrap();
    let work = |name: &str| temp.path().join(name);
    fs::write(work("right"), PASSWORD).unwrap();
    fs::write(work("wrong"), "wrong").unwrap();
    let password = read_passphrase(&work("right")).unwrap();
    let id = DeviceId::parse("sensor-7").unwrap();
    let request = IssueRequest {
        dir: &dir,
        passphrase: None,
        id: &id,
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    };
    let to = PayloadTo {
        format: PayloadFormat::P12,
        out: &work("sensor-7.p12"),
        password: Some(&password),
    };
    device_issue_to(&request, &to, UnixTime::now()).unwrap();
    fs::write(work("list"), "device_id\nsensor-8\nsensor-9\n").unwrap();
    let request = BatchRequest {
        dir: &dir,
        passphrase: None,
        file: &work("list"),
        name: &DeviceId::parse("lot").unwrap(),
        out: &work("lot"),
        format: BatchFormat::P12,
        password: Some(&password),
    };
    batch_issue(&request, &|_| (), UnixTime::now()).unwrap();

    let root = dir.join("ca.pem");
    for file in ["sensor-7.p12", "lot/sensor-8.p12", "lot/sensor-9.p12"] {
        let opened = |which: &[&str], password: &str| {
            let source = format!("file:{}", path(&work(password)));
            let open = ["pkcs12", "-in", path(&work(file)), "-passin", &source].map(str::to_owned);
            let open: Vec<_> = open.iter().map(String::as_str).collect();
            openssl(&[&open, which].concat())
        };
        let (key, leaf, above) = (work("key"), work("leaf"), work("above"));
        for (which, to) in [
            (&["-nocerts", "-noenc"][..], &key),
            (&["-clcerts", "-nokeys"], &leaf),
            (&["-cacerts", "-nokeys"], &above),
        ] {
            fs::write(to, opened(which, "right").unwrap()).unwrap();
        }
        let of_key = openssl(&["pkey", "-in", path(&key), "-pubout"]).unwrap();
        let of_leaf = openssl(&["x509", "-in", path(&leaf), "-noout", "-pubkey"]).unwrap();
        assert_eq!(of_key, of_leaf, "{file}");
        let above = ["-CAfile", path(&root), "-untrusted", path(&above)];
        let verify = ["verify", "-purpose", "sslclient", path(&leaf)];
        openssl(&[&verify[..3], &above, &verify[3..]].concat()).unwrap();

        let name = work(file).file_stem().unwrap().to_str().unwrap().to_owned();
        let told = fs::read_to_string(&leaf).unwrap() + &fs::read_to_string(&key).unwrap();
        let friendly = format!("friendlyName: {name}");
        assert_eq!(told.matches(&friendly).count(), 2, "{told}");
        let is_id = |it: &&str| it.contains("localKeyID");
        let ids: Vec<_> = told.lines().filter(is_id).collect();
        assert!(ids.len() == 2 && ids[0] == ids[1], "{told}");
        let refused = opened(&["-noout"], "wrong").unwrap_err();
        assert!(refused.contains("invalid password"), "{refused}");
    }
}
