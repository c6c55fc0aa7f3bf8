//! OpenSSL verifies what was issued below a root that is kept apart.

use std::fs;
use std::path::Path;

use certs::DeviceId;
use countersign_provisioning::{
    BatchFormat, BatchRequest, CertifyRequest, InstallRequest, Passphrase, PublishRequest,
    RootInitRequest, RootListRequest, RootSignRequest, batch_issue, ca_install, ca_request,
    crl_publish, read_passphrase, root_init, root_list, root_sign,
};
use rustls_pki_types::UnixTime;

use crate::{openssl, path};

/// The two machines: a root in `root`, and authorities that it has certified in `online`.
fn certified(temp: &Path, passphrase: &Passphrase) {
    let (root, online, now) = (temp.join("root"), temp.join("online"), UnixTime::now());
    let (requests, signed) = (temp.join("requests.pem"), temp.join("signed.pem"));
    let init = RootInitRequest {
        dir: &root,
        trust_domain: None,
        organization: Some("Acme"),
        passphrase: Some(passphrase),
        token: None,
    };
    root_init(&init, now).unwrap();
    let ask = CertifyRequest {
        dir: &online,
        role: None,
        trust_domain: None,
        algorithm: None,
        passphrase: Some(passphrase),
        tokens: &[],
        another: false,
        out: &requests,
    };
    ca_request(&ask, now).unwrap();
    // OpenSSL finds the proof of possession good too.
    openssl(&["req", "-in", path(&requests), "-noout", "-verify"]).unwrap();
    let sign = RootSignRequest {
        dir: &root,
        passphrase: Some(passphrase),
        requests: &[requests],
        out: &signed,
    };
    root_sign(&sign, |_| true, now).unwrap();
    let list = temp.join("root.crl");
    let crl = RootListRequest {
        dir: &root,
        passphrase: Some(passphrase),
        days: None,
        out: &list,
    };
    root_list(&crl, now).unwrap();
    let install = InstallRequest {
        dir: &online,
        files: &[signed, list],
        root_fingerprint: None,
    };
    ca_install(&install, |_| true, now).unwrap();
}

/// Devices of the one machine, and the list of whom its device CA has revoked.
fn issue(temp: &Path, passphrase: &Passphrase) {
    let (online, listed, now) = (temp.join("online"), temp.join("list.csv"), UnixTime::now());
    let publish = PublishRequest {
        dir: &online,
        passphrase: Some(passphrase),
        days: None,
        force: false,
    };
    crl_publish(&publish, now).unwrap();
    fs::write(&listed, "device_id\ndev-1\ndev-2\ndev-3\n").unwrap();
    let batch = BatchRequest {
        dir: &online,
        passphrase: Some(passphrase),
        file: &listed,
        name: &DeviceId::parse("lot").unwrap(),
        out: &temp.join("lot"),
        format: BatchFormat::Dir,
        password: None,
    };
    batch_issue(&batch, &|_| (), now).unwrap();
}

#[test]
#[ignore = "needs openssl; scripts/test runs it"]
fn openssl_verifies_what_was_issued_below_a_root_that_is_elsewhere() {
    let temp = tempfile::tempdir().unwrap();
    let temp = temp.path();
    fs::write(temp.join("pass"), "correct horse battery\n").unwrap();
    let passphrase = read_passphrase(&temp.join("pass")).unwrap();
    certified(temp, &passphrase);
    issue(temp, &passphrase);

    let online = temp.join("online");
    let list = |name: &str| fs::read(online.join("ca").join(name)).unwrap();
    let (root, lists) = (temp.join("root/ca.pem"), temp.join("lists"));
    fs::write(&lists, [list("root.crl"), list("device-ca.crl")].concat()).unwrap();
    for device in ["dev-1", "dev-2", "dev-3"] {
        let cert = temp.join("lot").join(device).join("cert.pem");
        let cert = path(&cert);
        // The lists of the root and of the device CA, both asked.
        let strict = ["verify", "-x509_strict", "-purpose", "sslclient"];
        let trusted = ["-no-CApath", "-no-CAstore", "-CAfile", path(&root)];
        let chain = ["-crl_check_all", "-CRLfile", path(&lists)];
        let chain = [&chain[..], &["-untrusted", cert, cert]].concat();
        let verified = openssl(&[&strict[..], &trusted, &chain].concat());
        assert_eq!(verified, Ok(format!("{cert}: OK\n")));
    }
    // Of the root's key there is nothing here, and what is here is encrypted.
    assert!(!online.join("ca/root.key.pem").exists());
    for key in ["ca/device-ca.key.pem", "ca/server-ca.key.pem"] {
        let pem = fs::read_to_string(online.join(key)).unwrap();
        assert!(pem.contains("BEGIN ENCRYPTED PRIVATE KEY"), "{key}");
    }
}
