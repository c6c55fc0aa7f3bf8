//! What a linter of somebody else's (`pkilint`, from `PyPI`) finds in what is issued under each of
//! our profiles: nothing but what is named here, with why.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use certs::{Role, Subject};
use countersign_provisioning::{
    Algorithm, InitRequest, RevokeRequest, UpRequest, ca_init, device_revoke, up_prepare,
};
use rustls_pki_types::UnixTime;

/// Its list of schemes has nine, `http` to `telnet`; a SPIFFE ID is a URI by RFC 3986 all the same.
const SCHEME: &str = "pkix.invalid_uri_syntax";

/// It knows SHA-1 and the truncated hash of the key alone. Ours is a truncated SHA-256 of the whole
/// subject public key info, and RFC 5280 §4.2.1.2 leaves that to the authority.
const KEY_ID: &str = "pkix.unknown_subject_key_identifier_calculation_method";

/// It wants a dot in a name; `localhost` has none, nor has many a host, and RFC 1034 §3.5 asks for
/// none. Ours certify the names by which a broker is reached.
const ONE_LABEL: &str = "pkix.invalid_domain_name_syntax";

fn named(role: Role) -> &'static [&'static str] {
    match role {
        Role::Root | Role::DeviceCa | Role::ServerCa => &[KEY_ID],
        Role::Broker => &[ONE_LABEL, KEY_ID],
        Role::Device | Role::App => &[SCHEME, KEY_ID],
    }
}

/// The codes of what `program` of pkilint finds, notices and remarks among them, each once.
fn findings(program: &str, arguments: &[&Path]) -> Vec<String> {
    let python = std::env::var_os("COUNTERSIGN_PYTHON").map(PathBuf::from);
    let program = python.unwrap().with_file_name(program);
    let mut command = Command::new(program);
    command.args(["lint", "-s", "INFO", "-f", "CSV"]);
    if arguments[0].extension().is_some_and(|it| it == "crl") {
        command.args(["-t", "CRL", "-p", "PKIX"]);
    }
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("node_path,validator,severity,code,message"),
        "{output:?}"
    );
    let codes = lines.filter_map(|line| line.split(',').nth(3));
    let mut codes: Vec<_> = codes.map(str::to_owned).collect();
    codes.dedup();
    codes
}

/// The first certificate of a file in a file of its own.
fn alone(path: &Path) -> PathBuf {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = fs::read_to_string(path).unwrap();
    let alone = path.with_extension("alone.pem");
    fs::write(&alone, text.split_inclusive(END).next().unwrap()).unwrap();
    alone
}

#[test]
#[ignore = "needs pkilint; scripts/test runs it"]
fn pkilint_finds_nothing_that_is_not_named() {
    for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Ed25519] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let init = InitRequest {
            algorithm: Some(algorithm),
            ..InitRequest::new(dir)
        };
        ca_init(&init, UnixTime::now()).unwrap();
        let up = UpRequest {
            dir,
            devices: 2,
            server_names: &["broker.example".try_into().unwrap()],
            trust_domain: None,
        };
        let made = up_prepare(&up, UnixTime::now()).unwrap();
        let revoke = RevokeRequest {
            dir,
            passphrase: None,
            subject: &Subject::parse("dev-2").unwrap(),
            reason: certs::RevocationReason::KeyCompromise,
        };
        device_revoke(&revoke, UnixTime::now()).unwrap();

        let ca = |name: &str| dir.join("ca").join(name);
        let (root, device_ca, server_ca) =
            (ca("root.pem"), ca("device-ca.pem"), ca("server-ca.pem"));
        let broker = made.layout.broker().cert;
        let (device, app) = (&made.devices[0].files.cert, &made.apps[0].files.cert);
        for (role, issuer, certificate) in [
            (Role::Root, &root, &root),
            (Role::DeviceCa, &root, &device_ca),
            (Role::ServerCa, &root, &server_ca),
            (Role::Broker, &server_ca, &broker),
            (Role::Device, &device_ca, device),
            (Role::App, &device_ca, app),
        ] {
            let certificate = &alone(certificate);
            let found = findings("lint_pkix_cert", &[certificate]);
            assert_eq!(found, named(role), "{algorithm} {}", role.as_str());
            let chain = "lint_pkix_signer_signee_cert_chain";
            let found = findings(chain, &[issuer, certificate]);
            assert_eq!(found, [""; 0], "{algorithm} {}", role.as_str());
        }
        assert_eq!(
            findings("lint_crl", &[&made.layout.device_ca_crl()]),
            [""; 0]
        );
    }
}
