//! The log as a whole: written, read, tampered with, continued.

use super::*;
use crate::refusals::{Code, Reason, Whom};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
    settings: config::Audit,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = config::Audit {
            file: Some(dir.path().join("audit.jsonl")),
            file_bytes_max: 1 << 20,
            files_max: 4,
        };
        Self { dir, settings }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("audit.jsonl")
    }

    /// A broker that lives as long as it takes to note this.
    fn live(&self, events: impl IntoIterator<Item = Event>) {
        let (audit, mut writing) = Audit::open(&self.settings).unwrap();
        events.into_iter().for_each(|event| audit.note(|| event));
        drop(audit);
        writing.finish();
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.file(), lines.join("\n") + "\n").unwrap();
    }

    /// The line that breaks the chain.
    #[track_caller]
    fn broken(&self) -> u64 {
        match verify(&self.file()) {
            Err(VerifyError::Broken { source, .. }) => source.line,
            other => panic!("{other:?}"),
        }
    }
}

fn named(number: usize) -> Event {
    Event::Refused {
        peer: ([192, 0, 2, 1], 7).into(),
        whom: Whom {
            device: Some(format!("dev-{number}").into()),
            sha256: Some("ab".into()),
            ..Whom::default()
        },
        reason: Reason::new(Code::Expired, "expired 3 d ago"),
    }
}

fn nameless() -> Event {
    Event::Refused {
        peer: ([192, 0, 2, 1], 7).into(),
        whom: Whom::default(),
        reason: Reason::new(Code::NotTls, "not a TLS ClientHello"),
    }
}

/// A file of ten events between its first and its last line.
fn ten() -> Place {
    let place = Place::new();
    place.live((0..10).map(named));
    place
}

#[test]
fn what_was_noted_is_there_line_by_line_and_whole() {
    let place = ten();
    let verified = verify(&place.file()).unwrap();
    assert_eq!(
        (verified.lines, verified.first_n, verified.last_n),
        (12, 0, 11)
    );
    assert_eq!(verified.ending, Ending::Ended);
    assert_eq!(&*verified.follows, "0".repeat(64));
    let lines = place.lines();
    assert!(lines[11].ends_with(&format!("\"chain\":\"{}\"}}", verified.head)));
    let third: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(third["n"], 3);
    assert_eq!(third["event"], "refused");
    assert_eq!(third["device"], "dev-2");
    assert_eq!(third["code"], "expired");
    assert_eq!(third["reason"], "expired 3 d ago");
}

#[test]
fn a_byte_changed_anywhere_is_found_in_its_line() {
    let place = ten();
    let whole = fs::read(place.file()).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(place.file(), &changed).unwrap();
        let line = whole[..at].split(|it| *it == b'\n').count() as u64;
        let broken = match verify(&place.file()) {
            Err(VerifyError::Broken { source, .. }) => source.line,
            other => panic!("byte {at}: {other:?}"),
        };
        assert_eq!(broken, line, "byte {at}");
    }
}

#[test]
fn a_line_left_out_moved_repeated_or_put_in_is_found() {
    let lines = ten().lines();
    let check = |change: fn(&mut Vec<String>), line: u64| {
        let place = Place::new();
        let mut changed = lines.clone();
        change(&mut changed);
        place.write(&changed);
        assert_eq!(place.broken(), line);
    };
    check(|lines| drop(lines.remove(4)), 5);
    check(|lines| lines.swap(4, 5), 5);
    check(|lines| lines.insert(4, lines[3].clone()), 5);
    check(|lines| lines[6] = lines[7].clone(), 7);
    check(|lines| drop(lines.remove(0)), 1);
    check(Vec::clear, 1);
}

#[test]
fn a_tail_cut_within_a_line_is_named_and_one_cut_at_a_line_shows_in_the_end() {
    let place = ten();
    let whole = fs::read(place.file()).unwrap();
    let head = verify(&place.file()).unwrap().head;
    fs::write(place.file(), &whole[..whole.len() - 5]).unwrap();
    assert_eq!(place.broken(), 12);
    let lines = place.lines();
    place.write(&lines[..8]);
    let verified = verify(&place.file()).unwrap();
    assert_eq!((verified.lines, verified.ending), (8, Ending::Open));
    assert_ne!(verified.head, head);
}

#[test]
fn a_restart_continues_the_chain_and_says_so() {
    let place = ten();
    place.live([named(10)]);
    let verified = verify(&place.file()).unwrap();
    assert_eq!((verified.lines, verified.last_n), (15, 14));
    assert!(place.lines()[12].contains("\"event\":\"continued\",\"torn_bytes\":0"));
    // A crash left half a line.
    let mut text = fs::read_to_string(place.file()).unwrap();
    text.push_str("{\"n\":15,\"at_ms\":1");
    fs::write(place.file(), text).unwrap();
    assert_eq!(place.broken(), 16);
    place.live([]);
    assert!(place.lines()[15].contains("\"torn_bytes\":17"));
    assert_eq!(verify(&place.file()).unwrap().lines, 17);
}

#[test]
fn a_log_that_was_tampered_with_is_not_continued() {
    let place = ten();
    let mut lines = place.lines();
    lines.remove(4);
    place.write(&lines);
    let error = Audit::open(&place.settings).unwrap_err();
    assert!(matches!(error, AuditError::NotWhole { .. }), "{error}");
    assert_eq!(place.lines(), lines, "it is left as it is");
}

#[test]
fn a_long_log_goes_on_in_another_file_that_follows_it() {
    let mut place = Place::new();
    place.settings.file_bytes_max = 2000;
    place.live((0..100).map(named));
    let aside = |number: usize| PathBuf::from(format!("{}.{number}", place.file().display()));
    let mut head = None;
    for file in [aside(3), aside(2), aside(1), place.file()] {
        let verified = verify(&file).unwrap();
        if let Some((head, last_n)) = head {
            assert_eq!((verified.follows, verified.first_n), (head, last_n + 1));
        }
        head = Some((verified.head, verified.last_n));
        let ending = if file == place.file() {
            Ending::Ended
        } else {
            Ending::Rotated
        };
        assert_eq!(verified.ending, ending);
    }
    assert!(!Path::new(&aside(4)).exists(), "the oldest go");
}

#[test]
fn a_flood_of_strangers_is_one_line_with_their_number() {
    let place = Place::new();
    place.live((0..1000).map(|_| nameless()).chain([named(0)]));
    let lines = place.lines();
    // It may last into another second.
    assert!(lines.len() < 50, "{} lines", lines.len());
    let more: u64 = lines
        .iter()
        .filter(|line| line.contains("more-refused"))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["count"].as_u64().unwrap())
        .sum();
    let single = lines.iter().filter(|line| line.contains("not-tls")).count() as u64;
    assert_eq!(single + more, 1000);
}

#[test]
fn what_does_not_fit_the_queue_is_counted_in_the_chain() {
    let place = Place::new();
    let path = place.file();
    let writer = Writer::open(&path, &place.settings).unwrap();
    let (queue, noted) = sync_channel(2);
    let counts = Counts {
        lost: Arc::default(),
        suppressed: Arc::default(),
    };
    let audit = Audit(Some(Arc::new(Desk {
        queue,
        lost: Arc::clone(&counts.lost),
        nameless: Mutex::default(),
        suppressed: Arc::clone(&counts.suppressed),
    })));
    // Nobody writes yet.
    (0..10).for_each(|number| audit.note(|| named(number)));
    assert_eq!(audit.lost(), 8);
    drop(audit);
    write_all(writer, &noted, &counts);
    let lines = place.lines();
    assert!(
        lines[1].contains("\"event\":\"lost\",\"count\":8"),
        "{lines:#?}"
    );
    assert_eq!(verify(&path).unwrap().lines, 5);
}

#[test]
fn the_log_is_for_us_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = ten();
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
