//! The whole story, as an operator types it: an authority, a batch of fifty devices, a broker, a
//! revocation, renewals, and another device CA in the place of the first.

use crate::binary::{Process, countersign};
use broker::config::NewConfig;
use broker::engine::policy;
use countersign_tests::identity::Identity;
use countersign_tests::prelude::*;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

const DEVICES: usize = 50;

/// An authority whose keys are encrypted, and what its operator has.
struct Operator {
    dir: PathBuf,
    /// Where the devices of the batch have their files.
    out: PathBuf,
    passphrase: PathBuf,
    #[allow(dead_code, reason = "held for its drop")]
    temporary: TempDir,
}

impl Operator {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        let place = |name: &str| temporary.path().join(name);
        let passphrase = place("passphrase");
        fs::write(&passphrase, "correct horse\n").unwrap();
        fs::set_permissions(&passphrase, Permissions::from_mode(0o600)).unwrap();
        Self {
            dir: place("ca"),
            out: place("lot"),
            passphrase,
            temporary,
        }
    }

    /// Types a command; yields its exit code and the JSON that it prints.
    fn type_in(&self, line: &str) -> (Option<i32>, Value) {
        let done = countersign()
            .args(line.split(' '))
            .arg("--dir")
            .arg(&self.dir)
            .arg("--json")
            .output()
            .unwrap();
        if !done.stderr.is_empty() {
            println!("{line}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let said = serde_json::from_slice(&done.stdout);
        (done.status.code(), said.unwrap_or_default())
    }

    /// The same with the passphrase, of what must succeed.
    fn does(&self, line: &str) -> Value {
        let line = self.with_passphrase(line);
        let (code, said) = self.type_in(&line);
        assert_eq!(code, Some(0), "{line}");
        said
    }

    fn with_passphrase(&self, line: &str) -> String {
        format!("{line} --passphrase-file {}", self.passphrase.display())
    }

    /// Issues certificates to all devices, below `self.out`.
    fn issue_batch(&self) {
        let roster = self.dir.with_file_name("lot.csv");
        let rows = (1..=DEVICES).map(|number| format!("dev-{number},Bern\n"));
        let text = "device_id,site\n".to_owned() + &rows.collect::<String>();
        fs::write(&roster, text).unwrap();
        let (roster, out) = (roster.display(), self.out.display());
        self.does(&format!("batch issue {roster} --name lot --out {out}"));
    }

    fn renew(&self, number: usize) {
        let out = self.out.display();
        self.does(&format!("device renew dev-{number} --out {out}"));
    }

    /// `countersign broker run`, which ends with the test, and where it listens.
    fn run_broker(&self) -> (Process, SocketAddr) {
        let config = NewConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            certificate: "broker/cert.pem",
            key: "broker/key.pem",
            anchor: "broker/ca.pem",
            trust_domain: "acme.example",
            revocation_lists: "broker/crl",
            policy: "policy.toml",
            directory: "data",
            admin_socket: "broker/admin.sock",
            audit: "audit.jsonl",
        };
        let path = self.dir.join("broker.toml");
        fs::write(&path, config.to_toml()).unwrap();
        fs::write(self.dir.join("policy.toml"), policy::example()).unwrap();
        let mut command = countersign();
        command.args(["broker", "run", "--json", "--config"]);
        let broker = Process::start(command.arg(&path));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.port()));
        (broker, address)
    }

    fn connect(&self, broker: SocketAddr, number: usize) -> Client {
        let id = format!("dev-{number}");
        let raw = Raw::connect(broker, &Identity::open(&self.out.join(&id)));
        let (client, connack) = Client::open(raw, &Connect::new(V5, &id));
        assert_eq!(connack.code, 0, "{id}: {connack:?}");
        client
    }
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn the_whole_story_from_an_authority_to_the_retirement_of_its_device_ca() {
    let operator = Operator::new();
    let init = "ca init --organization Acme --trust-domain acme.example";
    assert_eq!(operator.does(init)["keys"], "encrypted");
    operator.issue_batch();
    operator.does("broker issue");
    operator.does("crl publish");
    let (_process, broker) = operator.run_broker();
    let mut here: Vec<_> = (1..=DEVICES)
        .map(|number| operator.connect(broker, number))
        .collect();

    let revoked = operator.does("device revoke dev-50 --reason key-compromise");
    let receipt = &revoked["broker"];
    assert_eq!(receipt["sessions_closed"], 1, "{revoked}");
    let milliseconds = receipt["milliseconds"].as_u64().unwrap();
    println!("outcome: 1 session closed in {milliseconds} ms");
    here.pop().unwrap().expect_disconnect(0x98);
    here.iter_mut().for_each(Client::expect_alive);

    for number in 1..=10 {
        operator.renew(number);
        here.iter_mut().for_each(Client::expect_alive);
    }
    for (number, client) in (1..=10).zip(&mut here) {
        *client = operator.connect(broker, number);
    }

    for stage in ["prepare", "publish", "switch"] {
        let line = format!("ca rotate --role device-ca --stage {stage}");
        let done = operator.does(&line);
        assert_eq!((&done["number"], &done["made"]), (&2.into(), &true.into()));
        assert_eq!(operator.does(&line)["made"], false, "given again");
        here.iter_mut().for_each(Client::expect_alive);
    }
    let retire =
        operator.with_passphrase("ca rotate --role device-ca --stage retire --key destroy");
    assert_eq!(
        operator.type_in(&retire).0,
        Some(5),
        "49 hold a certificate of it"
    );
    let old = Identity::open(&operator.out.join("dev-11"));
    for number in 1..DEVICES {
        operator.renew(number);
        here.iter_mut().for_each(Client::expect_alive);
    }
    // Whoever has not come again with the new one is not cut off either.
    assert_eq!(
        operator.type_in(&retire).0,
        Some(5),
        "49 sessions go by one"
    );
    for (number, client) in (1..).zip(&mut here) {
        client.expect_alive();
        *client = operator.connect(broker, number);
    }
    let (code, retired) = operator.type_in(&retire);
    assert_eq!(code, Some(0));
    assert_eq!(retired["broker"]["sessions_closed"], 0, "{retired}");
    here.iter_mut().for_each(Client::expect_alive);
    if let Ok(mut raw) = Raw::connect_with(broker, old.client_config()) {
        raw.send(&Connect::new(V5, "dev-11").bytes());
        raw.expect_refused(&[]);
    }
    assert!(!operator.dir.join("ca/device-ca.key.pem").exists());
    assert_eq!(operator.type_in("ca verify").0, Some(0));
}
