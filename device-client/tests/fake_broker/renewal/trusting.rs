//! Whom a device trusts from one certificate to the next: the roots it is told of, or those of a
//! bundle that one of them has signed.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use certs::{BundleHeader, BundleWriter, InvalidBundle, TrustDomain};
use device_client::{Device, Identity, Renewal};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::{sleep, timeout};

use super::renewing::{GOODBYE, Scene};
use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, Connection, PATIENCE, verifier};
use crate::material::Authority;

/// What a device trusts that lives in this scene.
fn trusted(scene: &Scene) -> Vec<CertificateDer<'static>> {
    let files = scene.home.path().join("current");
    let pem = CertificateDer::pem_file_iter(files.join("ca.pem"));
    pem.unwrap().map(Result::unwrap).collect()
}

/// One renewal in which these authorities are served each time somebody asks, and after which the
/// device is connected.
async fn renew(
    scene: &Scene,
    certified: (Connection, &Authority, u64),
    served: &[CertificateDer<'static>],
) -> Connection {
    renew_and(scene, certified, served, || ()).await
}

/// The same, and something is done before the device goes over to its certificate.
async fn renew_and(
    scene: &Scene,
    (mut connection, issuer, lifetime): (Connection, &Authority, u64),
    served: &[CertificateDer<'static>],
    act: impl Fn(),
) -> Connection {
    let serve = async {
        loop {
            let Ok(asked) = scene.est.try_asked().await else {
                continue;
            };
            if asked.head.starts_with("GET ") {
                asked.certificates(served).await;
            } else {
                act();
                let leaf = issuer.certify("dev-1", &asked.body, Duration::from_secs(lifetime));
                asked.certificates(&[leaf]).await;
            }
        }
    };
    let probed = async {
        loop {
            // One that does not trust the broker ends in the handshake.
            if let Ok(mut probe) = scene.broker.try_accept().await {
                probe.read().await;
                probe.write(CONNACK).await;
                return probe.expect_closed().await;
            }
        }
    };
    tokio::select! {
        () = serve => unreachable!(),
        () = probed => {}
    }
    // Whoever asks for the next one waits meanwhile.
    assert_eq!(connection.read().await, GOODBYE);
    connection.end().await;
    scene.broker.accept_with(CONNACK_SESSION_PRESENT).await
}

#[tokio::test]
async fn a_root_is_replaced_while_a_device_lives() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = [old.der(), new.der()];
    let devices_of_both = verifier(&[&old, &new]);
    let broker = Broker::start_with(old, devices_of_both, &rustls::version::TLS13).await;
    let mut scene = Scene::with(broker).await;
    scene.est.prove_by(&scene.broker.authority, &new);
    let identity = Identity::open(scene.home.path()).unwrap();
    let renewal = Renewal::by_est(&scene.est.url()).unwrap().at(50);
    let builder = scene.broker.builder(identity).renew(renewal);
    let (device, connection) = scene.broker.connected(builder).await;
    let connection = renew(&scene, (connection, &new, 12), &both).await;
    assert_eq!(trusted(&scene), both);
    // Both servers prove themselves by the old one still, whatever is served.
    let only_new = [new.der()];
    let connection = renew(&scene, (connection, &new, 14), &only_new).await;
    assert_eq!(trusted(&scene), both);
    scene.est.prove_by(&new, &scene.broker.authority);
    let connection = renew(&scene, (connection, &new, 16), &only_new).await;
    assert_eq!(trusted(&scene), both);
    scene.broker.prove_by(&new);
    let connection = renew(&scene, (connection, &new, 18), &only_new).await;
    assert_eq!(trusted(&scene), only_new);
    let _connection = renew(&scene, (connection, &new, 20), &[]).await;
    assert_eq!(trusted(&scene), only_new);
    assert_eq!(device.status().certificate.renewals, 5);
}

#[tokio::test]
async fn a_trust_bundle_is_followed_at_each_renewal_and_nobody_elses_word() {
    let (old, new, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let devices_of_both = verifier(&[&old, &new]);
    let broker = Broker::start_with(old, devices_of_both, &rustls::version::TLS13).await;
    let mut scene = Scene::with(broker).await;
    let old = Arc::clone(&scene.broker.authority);
    scene.est.prove_by(&old, &new);
    let file = scene.home.path().join("trust.bundle");
    let write = |octets: Vec<u8>| fs::write(&file, octets).unwrap();
    write(bundle(7, &[&stranger], &stranger));
    let identity = Identity::open(scene.home.path()).unwrap();
    let renewal = Renewal::by_est(&scene.est.url()).unwrap().at(50);
    let builder = scene.broker.builder(identity);
    let builder = builder.renew(renewal.trust_bundle(&file));
    let (device, connection) = scene.broker.connected(builder).await;

    // A stranger's is not followed, and what the enrolment server tells of neither. The next one is
    // there before the device looks again.
    let served = [old.der(), stranger.der()];
    bundle_failure(
        &device,
        Some("it is signed by no root that is trusted here"),
    )
    .await;
    let next = || write(bundle(2, &[&old, &new], &old));
    let connection = renew_and(&scene, (connection, &old, 12), &served, next).await;
    assert_eq!(trusted(&scene), [old.der()]);

    bundle_failure(&device, None).await;
    let next = || write(bundle(1, &[&old], &old));
    let connection = renew_and(&scene, (connection, &old, 14), &served, next).await;
    assert_eq!(trusted(&scene), [old.der(), new.der()]);

    bundle_failure(&device, Some("it has number 1, and 2 was seen before")).await;
    let next = || write(bundle(3, &[&new], &old));
    let connection = renew_and(&scene, (connection, &new, 16), &[], next).await;
    assert_eq!(trusted(&scene), [old.der(), new.der()]);

    bundle_failure(&device, None).await;
    scene.est.prove_by(&new, &old);
    scene.broker.prove_by(&new);
    let _connection = renew(&scene, (connection, &new, 18), &[]).await;
    assert_eq!(trusted(&scene), [new.der()]);
    assert_eq!(device.status().certificate.renewals, 4);
}

/// Waits until the bundle is followed, or not for this reason.
async fn bundle_failure(device: &Device, why: Option<&str>) {
    let is_so = || {
        let failure = device.status().certificate.bundle_failure;
        match (failure, why) {
            (Some(failure), Some(why)) => failure.to_string().ends_with(why),
            (failure, why) => failure.is_none() && why.is_none(),
        }
    };
    let so = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = timeout(PATIENCE, so).await;
    waited.unwrap_or_else(|_| panic!("{:?}", device.status().certificate));
}

/// A trust bundle of these roots.
fn bundle(number: u64, roots: &[&Authority], signer: &Authority) -> Vec<u8> {
    let header = BundleHeader {
        number,
        trust_domain: TrustDomain::parse("test").unwrap(),
        created: UnixTime::now(),
    };
    let pems: Vec<_> = roots.iter().map(|root| root.pem()).collect();
    let pems: Vec<_> = pems.iter().map(|pem| &**pem).collect();
    let mut writer = BundleWriter::new(&header, &pems).unwrap();
    let root = certs::Authority::read_root(&signer.der()).unwrap();
    let sign = |body: &[u8]| Ok::<_, InvalidBundle>(signer.sign(body));
    writer.sign(&root, sign).unwrap();
    writer.finish()
}
