//! A house: an authority in a directory, the broker beside it, and whoever lives there.
//!
//! Everything that is published is heard by one application, which is there all the time.

use broker::config::NewConfig;
use broker::engine::policy;
use certs::{DeviceId, Kind, Subject};
use countersign_tests::identity::Identity;
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use provisioning::{
    Algorithm, IssueRequest, Layout, RenewRequest, RotateRequest, Rotated, RotationStage,
    UpRequest, app_issue, ca_rotate, device_issue, device_renew, up_prepare,
};
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(crate) struct House {
    pub(crate) world: World,
    listener: Client,
    /// What was published and acknowledged.
    published: BTreeSet<String>,
}

/// A device that is connected.
pub(crate) struct Inhabitant {
    id: String,
    client: Client,
}

impl House {
    /// With devices `dev-1`, `dev-2`, …
    pub(crate) fn new(devices: u32) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), devices)
    }

    /// As [`Self::new`], with the authority that is there, if there is one.
    pub(crate) fn in_dir(files: TempDir, devices: u32) -> Self {
        let request = UpRequest {
            dir: files.path(),
            devices,
            server_names: &[],
            trust_domain: None,
        };
        let prepared = up_prepare(&request, UnixTime::now()).unwrap();
        let config = NewConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            certificate: "broker/cert.pem",
            key: "broker/key.pem",
            anchor: "broker/ca.pem",
            trust_domain: prepared.trust_domain.as_str(),
            revocation_lists: "broker/crl",
            policy: "policy.toml",
            directory: "data",
            admin_socket: "broker/admin.sock",
            audit: "audit.jsonl",
        };
        let layout = &prepared.layout;
        fs::create_dir(layout.broker().dir.join("crl")).unwrap();
        fs::write(layout.policy_toml(), policy::example()).unwrap();
        fs::write(layout.broker_toml(), config.to_toml()).unwrap();
        let world = World::start_in(files);
        let listener = listen(&world);
        Self {
            world,
            listener,
            published: BTreeSet::new(),
        }
    }

    pub(crate) fn dir(&self) -> std::path::PathBuf {
        self.world.file("")
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.dir())
    }

    /// Has the broker read its files, all of which must be good; how many sessions that closed.
    pub(crate) fn reload(&self) -> u64 {
        let answer = self.ask(&json!("reload"));
        let reloaded = &answer["reloaded"];
        for part in reloaded["parts"].as_array().unwrap() {
            let outcome = part["outcome"].as_str().unwrap();
            assert!(["changed", "same"].contains(&outcome), "{part}");
        }
        reloaded["sessions_closed"].as_u64().unwrap()
    }

    pub(crate) fn ask(&self, request: &Value) -> Value {
        self.world.ask_at(&self.layout().admin_socket(), request)
    }

    /// Brings an authority to a stage, and has the broker read what is new.
    pub(crate) fn rotate(&self, role: certs::Role, stage: RotationStage) -> (Rotated, u64) {
        let dir = self.dir();
        let request = RotateRequest::new(&dir, role, stage);
        let rotated = ca_rotate(&request, UnixTime::now()).unwrap();
        (rotated, self.reload())
    }

    pub(crate) fn issue(&self, id: &str) {
        let (dir, id) = (self.dir(), DeviceId::parse(id).unwrap());
        device_issue(&issue_request(&dir, &id), UnixTime::now()).unwrap();
    }

    pub(crate) fn renew(&self, id: &str) {
        let request = RenewRequest {
            dir: &self.dir(),
            passphrase: None,
            id: &DeviceId::parse(id).unwrap(),
            csr: None,
            out: None,
        };
        device_renew(&request, UnixTime::now()).unwrap();
    }

    /// The application gets a new certificate and comes again with it; nothing is lost meanwhile.
    pub(crate) fn renew_listener(&mut self) {
        let (dir, id) = (self.dir(), DeviceId::parse("app-1").unwrap());
        app_issue(&issue_request(&dir, &id), UnixTime::now()).unwrap();
        self.hear();
        self.listener = listen(&self.world);
    }

    /// Who a device is now.
    pub(crate) fn identity(&self, id: &str) -> Identity {
        let id = DeviceId::parse(id).unwrap();
        let kind = Kind::Device;
        Identity::open(&self.layout().peer(&Subject { kind, id }).dir)
    }

    pub(crate) fn connect(&self, id: &str) -> Inhabitant {
        self.connect_as(id, &self.identity(id))
    }

    /// Connects with a full handshake as somebody who holds a certificate of this device.
    pub(crate) fn connect_as(&self, id: &str, identity: &Identity) -> Inhabitant {
        let config = identity.client_config_in(rustls::ALL_VERSIONS);
        let raw = Raw::connect_with(self.world.address(), config).unwrap();
        let (client, connack) = Client::open(raw, &Connect::new(V5, id));
        assert_eq!(connack.code, 0, "{id}: {connack:?}");
        Inhabitant {
            id: id.to_owned(),
            client,
        }
    }

    /// Whoever comes with this is sent away.
    pub(crate) fn refuse(&self, id: &str, identity: &Identity) {
        let config = identity.client_config_in(rustls::ALL_VERSIONS);
        // The alert may come with the handshake or right after it.
        if let Ok(mut raw) = Raw::connect_with(self.world.address(), config) {
            raw.send(&Connect::new(V5, id).bytes());
            raw.expect_refused(&[]);
        }
    }

    /// The device publishes, and is told that it counts.
    pub(crate) fn publish(&mut self, from: &mut Inhabitant, words: &str) {
        let payload = format!("{} {words} {}", from.id, self.published.len());
        let topic = format!("devices/{}/telemetry", from.id);
        from.client.publish(&Publish::new(topic, &*payload).qos(1));
        self.published.insert(payload);
    }

    /// Everybody who is here stays and is heard, and whoever comes is let in: with a certificate
    /// from before, and with one that was issued at this stage.
    pub(crate) fn lives_on(&mut self, here: &mut Vec<Inhabitant>, stage: &str) {
        for inhabitant in here.iter_mut() {
            inhabitant.is_here();
            self.publish(inhabitant, stage);
        }
        let mut comes = self.connect("dev-3");
        self.publish(&mut comes, stage);
        let new = format!("new-{stage}");
        self.issue(&new);
        let mut comes = self.connect(&new);
        self.publish(&mut comes, stage);
        here.push(comes);
        self.hear();
    }

    /// All that was published has arrived, once each.
    pub(crate) fn hear(&mut self) {
        let heard = self.listener.take_many(self.published.len());
        let text = |it: &Published| String::from_utf8(it.payload.clone()).unwrap();
        let heard: BTreeSet<String> = heard.iter().map(text).collect();
        assert_eq!(heard, self.published);
        self.listener.expect_nothing();
        self.published.clear();
    }
}

impl Inhabitant {
    /// Its session has lived so far.
    pub(crate) fn is_here(&mut self) {
        self.client.expect_alive();
    }

    /// It was sent away.
    pub(crate) fn is_cut(&mut self) {
        self.client.expect_disconnect(0x87);
    }
}

fn issue_request<'a>(dir: &'a Path, id: &'a DeviceId) -> IssueRequest<'a> {
    IssueRequest {
        dir,
        passphrase: None,
        id,
        csr: None,
        algorithm: Algorithm::default(),
        again: false,
    }
}

/// The application hears all that devices say, in a session that outlives its connection.
fn listen(world: &World) -> Client {
    let identity = Identity::open(&world.file("apps/app-1"));
    let connect = Connect::new(V5, "app-1").resume().expiry(600);
    let (mut client, connack) = Client::open(Raw::connect(world.address(), &identity), &connect);
    assert_eq!(connack.code, 0, "{connack:?}");
    if !connack.session_present {
        client.subscribe("devices/+/#", 1);
    }
    client
}
