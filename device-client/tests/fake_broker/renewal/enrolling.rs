//! The first certificate, by a token; and what a server can answer instead.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use device_client::{EnrolError, Enrolment, Identity};
use rcgen::KeyPair;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::est::{Asked, Est};
use crate::broker::PATIENCE;
use crate::material::{Authority, names};

const HOUR: Duration = Duration::from_hours(1);

/// A server, and the home of a device that wants to enrol there.
struct Scene {
    authority: Authority,
    est: Est,
    home: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let authority = Authority::new();
        Self {
            est: Est::start(&authority).await,
            authority,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.home.path().join("dev-1")
    }

    async fn enrol(&self) -> Result<Identity, EnrolError> {
        let known = self.authority.pem();
        let enrolment = Enrolment::by_est(&self.est.url(), "dev-1", "token", known.as_bytes());
        Identity::open_or_enrol(self.directory(), &enrolment.unwrap()).await
    }

    /// The request for a certificate, once that for the authorities has been answered.
    async fn asked(&self) -> Asked {
        let asked = self.est.asked().await;
        let expected = "GET /.well-known/est/cacerts HTTP/1.1\r\n";
        assert!(asked.head.starts_with(expected), "{}", asked.head);
        asked.certificates(&[self.authority.der()]).await;
        self.est.asked().await
    }

    /// Answers one request so. Yields what enrolling came to.
    async fn refusal(&self, status_and_headers: &str, words: &str) -> EnrolError {
        let answer = async {
            self.asked().await.refuse(status_and_headers, words).await;
        };
        let (enrolled, ()) = tokio::join!(self.enrol(), answer);
        enrolled.unwrap_err()
    }
}

#[tokio::test]
async fn a_device_enrols_by_its_token_and_then_is_itself() {
    let scene = Scene::new().await;
    let answer = async {
        let asked = scene.asked().await;
        let head = asked.head.to_ascii_lowercase();
        assert!(
            head.starts_with("post /.well-known/est/simpleenroll http/1.1\r\n"),
            "{head}"
        );
        // `dev-1:token`.
        assert!(
            head.contains("authorization: basic zgv2lte6dg9rzw4="),
            "{head}"
        );
        assert!(
            head.contains("content-type: application/pkcs10\r\n"),
            "{head}"
        );
        assert!(!asked.has_certificate());
        let leaf = scene.authority.certify("dev-1", &asked.body, HOUR);
        asked.certificates(&[leaf]).await;
    };
    let (enrolled, ()) = tokio::join!(scene.enrol(), answer);
    let serial = enrolled.unwrap().serial();
    assert_eq!(names(&scene.directory()), ["ca.pem", "cert.pem", "key.pem"]);
    // The second time nobody is asked.
    assert_eq!(scene.enrol().await.unwrap().serial(), serial);
}

#[tokio::test]
async fn a_device_that_had_no_answer_asks_again_with_the_same_key() {
    let scene = Scene::new().await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let answer = async {
            let asked = scene.asked().await;
            let request = asked.body.clone();
            drop(asked);
            request
        };
        let (enrolled, request) = tokio::join!(scene.enrol(), answer);
        assert!(enrolled.is_err());
        assert_eq!(names(&scene.directory()), ["key.pem"]);
        let leaf = scene.authority.certify("dev-1", &request, HOUR);
        keys.push(certs::Certificate::read(&leaf).unwrap().public_key);
    }
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_disk_that_takes_its_time_keeps_nobody_waiting_but_the_device() {
    let mut scene = Scene::new().await;
    scene.est = Est::start(&Authority::new()).await;
    fs::create_dir(scene.directory()).unwrap();
    // Whoever reads it waits until somebody has written.
    let key = scene.directory().join("key.pem");
    mknodat(CWD, &key, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (in_time, late) = mpsc::channel();
    let path = key.clone();
    thread::spawn(move || {
        if late.recv_timeout(PATIENCE).is_err() {
            fs::write(path, "nobody else could run").unwrap();
        }
    });
    let others = async {
        sleep(Duration::from_millis(1)).await;
        if in_time.send(()).is_ok() {
            let pem = KeyPair::generate().unwrap().serialize_pem();
            let written = spawn_blocking(|| fs::write(key, pem)).await;
            written.unwrap().unwrap();
        }
        scene.est.try_asked().await
    };
    let (enrolled, _) = tokio::join!(scene.enrol(), others);
    let error = enrolled.unwrap_err();
    assert!(matches!(error, EnrolError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn every_answer_is_told_by_its_kind() {
    let scene = Scene::new().await;
    let large = "A".repeat(300_000);
    for (answer, words, expected) in [
        (
            "202 Accepted\r\nretry-after: 9",
            "",
            "NotNow { status: 202, retry_after: Some(9s) }",
        ),
        ("503 Busy", "", "NotNow { status: 503, retry_after: None }"),
        (
            "401 Who",
            "used up",
            "Refused { status: 401, text: \"used up\" }",
        ),
        (
            "403 No",
            "revoked",
            "Refused { status: 403, text: \"revoked\" }",
        ),
        (
            "301 There\r\nlocation: /x",
            "",
            "Protocol { what: \"the status is 301",
        ),
        ("200 OK", "AAAA", "Answer(\"it is no PKCS #7"),
        ("200 OK", "not base64!", "Answer(\"it is not base64\")"),
        (
            "200 OK",
            &large,
            "Protocol { what: \"length limit exceeded\"",
        ),
        ("999999", "", "Protocol {"),
    ] {
        let error = format!("{:?}", scene.refusal(answer, words).await);
        assert!(error.contains(expected), "{answer}: {error}");
    }
    assert_eq!(names(&scene.directory()), ["key.pem"]);
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_taken() {
    let scene = Scene::new().await;
    let other = Authority::new();
    for (authority, id, expected) in [
        (&scene.authority, "dev-2", "OtherDevice"),
        (&other, "dev-1", "NoPath("),
    ] {
        let answer = async {
            let asked = scene.asked().await;
            let leaf = authority.certify(id, &asked.body, HOUR);
            asked.certificates(&[leaf]).await;
        };
        let (enrolled, ()) = tokio::join!(scene.enrol(), answer);
        let error = format!("{:?}", enrolled.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_gets_no_token() {
    let mut scene = Scene::new().await;
    scene.authority = Authority::new();
    let (enrolled, asked) = tokio::join!(scene.enrol(), scene.est.try_asked());
    assert!(asked.is_err());
    let error = enrolled.unwrap_err();
    assert!(matches!(error, EnrolError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn where_nobody_listens_no_server_is_reached() {
    let mut scene = Scene::new().await;
    let gone = Est::start(&scene.authority).await;
    let url = gone.url();
    drop(gone);
    let known = scene.authority.pem();
    let enrolment = Enrolment::by_est(&url, "dev-1", "token", known.as_bytes()).unwrap();
    let enrolled = Identity::open_or_enrol(scene.directory(), &enrolment).await;
    let error = enrolled.unwrap_err();
    assert!(matches!(error, EnrolError::Unreachable { .. }), "{error:?}");
    scene.home = tempfile::tempdir().unwrap();
}
