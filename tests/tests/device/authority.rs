//! A device and the authority that operators run: from a one-time token to its third certificate.

use crate::examples::Example;
use crate::telemetry::follow;
use certs::{DeviceId, Kind, Serial, Subject};
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{Settings, World};
use device_client::{Device, Enrolment, Identity, Renewal};
use provisioning::{
    Approval, EnrolmentServer, Layout, Limits, ServeRequest, TokenRequest, UpRequest, ca_serve,
    token_create, up_prepare,
};
use rustls_pki_types::UnixTime;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const ID: &str = "renewing";

const LIFETIME: Duration = Duration::from_secs(10);

/// An authority, its broker, and the enrolment server that serves from its directory.
struct Scene {
    ca: TempDir,
    world: World,
}

impl Scene {
    fn new() -> Self {
        let ca = tempfile::tempdir().unwrap();
        let request = UpRequest {
            dir: ca.path(),
            devices: 1,
            server_names: &[],
            trust_domain: None,
        };
        let prepared = up_prepare(&request, UnixTime::now()).unwrap();
        let settings = Settings {
            more: "[admin]\nsocket = 'admin.sock'".into(),
            trust_domain: "countersign.local",
            ..Settings::default()
        };
        let world = World::prepared(&settings, |dir| {
            let broker = prepared.layout.broker();
            fs::copy(prepared.layout.device_ca_pem(), dir.join("device-ca.pem")).unwrap();
            fs::copy(broker.cert, dir.join("broker/cert.pem")).unwrap();
            fs::copy(broker.key, dir.join("broker/key.pem")).unwrap();
        });
        Self { ca, world }
    }

    async fn serve(&self) -> EnrolmentServer {
        let request = ServeRequest {
            dir: self.ca.path(),
            passphrase: None,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            server_names: &[],
            approval: Approval::AutoWithToken,
            lifetime: Some(LIFETIME),
            renew_expired: Duration::ZERO,
            limits: Limits::default(),
        };
        ca_serve(request, UnixTime::now()).await.unwrap()
    }

    /// What somebody puts on the device: its token, and whom to trust.
    fn enrolment(&self, url: &str) -> Enrolment {
        let known = fs::read(Layout::new(self.ca.path()).ca_pem()).unwrap();
        Enrolment::by_est(url, ID, self.token(), &known).unwrap()
    }

    fn token(&self) -> String {
        let request = TokenRequest {
            dir: self.ca.path(),
            device: &DeviceId::parse(ID).unwrap(),
            ttl: Duration::from_hours(1),
            again: false,
        };
        let created = token_create(&request, UnixTime::now()).unwrap();
        created.token.as_str().to_owned()
    }

    async fn connect(&self, identity: Identity, renewal: Option<Renewal>) -> Device {
        let address = self.world.address().to_string();
        let mut builder = Device::builder(&address, identity).unwrap();
        if let Some(renewal) = renewal {
            builder = builder.renew(renewal);
        }
        builder.connect().await.unwrap()
    }

    /// The device that was issued its certificate before there was a server.
    async fn collector(&self) -> Device {
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse("dev-1").unwrap(),
        };
        let files = Layout::new(self.ca.path()).peer(&subject);
        self.connect(Identity::open(files.dir).unwrap(), None).await
    }
}

#[test]
fn a_device_enrols_by_its_token_and_renews_at_the_authority_without_a_loss() {
    let scene = Scene::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    runtime.block_on(enrol_and_renew(&scene, &home.path().join(ID)));
    scene.world.expect_health();
}

async fn enrol_and_renew(scene: &Scene, home: &Path) {
    const TIMES: u32 = 2;
    let server = scene.serve().await;
    let url = format!("https://{}", server.address());
    let enrolment = scene.enrolment(&url);
    let identity = Identity::open_or_enrol(home, &enrolment).await.unwrap();
    let first = identity.serial();
    // It began before it was issued, as all do, and is renewed at once: by one that ends later,
    // which is told by the second.
    while now() + LIFETIME <= identity.not_after() {
        sleep(Duration::from_millis(20)).await;
    }
    let renewal = Renewal::by_est(&url).unwrap();
    let device = scene.connect(identity, Some(renewal)).await;
    let collector = scene.collector().await;
    let outcome = follow(&scene.world, (device, collector), (TIMES, LIFETIME)).await;
    println!(
        "outcome: {} certificates used, {} messages, {:?} between two at most",
        outcome.used.len(),
        outcome.published,
        outcome.longest
    );
    outcome.expect_all_once();
    // The first was replaced before anybody could ask who is connected, or just after.
    assert!(outcome.used.len() >= 2, "{:?}", outcome.used);
    let last = Identity::open(home).unwrap();
    assert_ne!(last.serial(), first);
    assert!(last.not_after() <= now() + LIFETIME);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the examples; scripts/test runs it"]
async fn the_example_of_a_renewal_enrols_connects_and_renews() {
    let scene = Scene::new();
    let server = scene.serve().await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join(ID);
    let url = format!("https://{}", server.address());
    let (token, ca) = (scene.token(), Layout::new(scene.ca.path()).ca_pem());
    let broker = scene.world.address().to_string();
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 6] = [&ID, &home, &ca, &url, &token, &broker];
    let example = Example::start("renewal", &arguments);
    let serial = || Identity::open(&home).ok().map(|identity| identity.serial());
    let serial = async |before: Option<Serial>| loop {
        match serial() {
            Some(serial) if Some(serial) != before => return serial,
            _ => sleep(Duration::from_millis(20)).await,
        }
    };
    let first = timeout(PATIENCE, serial(None)).await.expect("not enrolled");
    timeout(PATIENCE, serial(Some(first)))
        .await
        .expect("not renewed");
    example.interrupt().await;
    server.stop().await;
}

fn now() -> Duration {
    Duration::from_secs(UnixTime::now().as_secs())
}
