//! The log on a disk that is cut off, full, read-only or spoilt; and over many lives, drawn from
//! seeds.

mod lives;
mod simulated;

use super::log::{Limits, Log};
use super::record::{Accepted, Record};
use super::recovery::{Kept, Stage};
use super::slots::{Directory, Slots};
use super::writer::connect;
use super::{Durable, OutboxError, WhenDamaged, open};
use crate::chance::tests::Seeded;
use crate::message::{Publish, QoS};
use simulated::Simulated;

const LIMITS: Limits = Limits {
    bytes_max: 64 * 1024,
};

fn accepted(id: u64, payload: usize) -> Record {
    let publish = Publish::new("a/b", vec![0x5A; payload]).qos(QoS::ExactlyOnce);
    Record::Accepted(Box::new(Accepted { id, at: 1, publish }))
}

fn opened<S: Slots>(slots: S) -> (Log<S>, Vec<Kept>) {
    let (log, (kept, _)) = Log::open(slots, LIMITS, WhenDamaged::Stop).unwrap();
    (log, kept)
}

fn ids(kept: &[Kept]) -> Vec<u64> {
    kept.iter().map(|kept| kept.accepted.id).collect()
}

fn error_of(disk: &Simulated) -> String {
    let opened = Log::open(disk.clone(), LIMITS, WhenDamaged::Stop);
    opened.unwrap_err().to_string()
}

/// A disk with these batches on it, one frame each.
fn written(batches: &[&[Record]]) -> Simulated {
    let disk = Simulated::default();
    let (mut log, _) = opened(disk.clone());
    for batch in batches {
        log.commit(batch).unwrap();
    }
    disk
}

#[test]
fn what_is_not_settled_is_found_in_order_and_with_how_far_it_came() {
    let disk = written(&[
        &[accepted(1, 10), accepted(2, 10), accepted(3, 10)],
        &[
            Record::Sent {
                id: 1,
                packet_id: 7,
            },
            Record::Sent {
                id: 2,
                packet_id: 8,
            },
        ],
        &[Record::Settled { id: 1 }, Record::Received { id: 2 }],
        &[accepted(4, 0)],
    ]);
    let (_, kept) = opened(disk);
    let stages: Vec<_> = kept
        .iter()
        .map(|kept| (kept.accepted.id, kept.stage))
        .collect();
    let expected = [
        (2, Stage::Received(8)),
        (3, Stage::Waiting),
        (4, Stage::Waiting),
    ];
    assert_eq!(stages, expected);
    assert_eq!(kept[0].accepted.publish.payload.len(), 10);
}

#[test]
fn who_had_a_packet_id_that_is_used_again_is_settled() {
    let sent = |id| Record::Sent { id, packet_id: 7 };
    let disk = written(&[
        &[accepted(1, 10), accepted(2, 10), accepted(3, 10), sent(1)],
        // That 1 is acknowledged was to be written down a little later.
        &[sent(2)],
    ]);
    let (mut log, kept) = opened(disk.clone());
    assert_eq!(ids(&kept), [2, 3]);
    assert_eq!(kept[0].stage, Stage::Sent(7));
    log.commit(&[sent(3)]).unwrap();
    log.commit(&[sent(3)]).unwrap();
    assert_eq!(ids(&opened(disk).1), [3]);
}

#[test]
fn with_the_session_go_the_packet_ids() {
    let sent = Record::Sent {
        id: 1,
        packet_id: 7,
    };
    let received = Record::Received { id: 1 };
    let disk = written(&[&[accepted(1, 0), sent, received, Record::SessionLost]]);
    assert_eq!(opened(disk).1[0].stage, Stage::Waiting);
}

#[test]
fn one_batch_is_one_write_and_one_sync() {
    let disk = written(&[&[accepted(1, 10)]]);
    let before = disk.disk().steps();
    let (mut log, _) = opened(disk.clone());
    log.commit(&[accepted(2, 10), Record::Settled { id: 1 }])
        .unwrap();
    assert_eq!(disk.disk().steps(), before + 2);
}

#[test]
fn a_torn_end_is_cut_and_written_over() {
    for torn in 0..20 {
        let disk = written(&[&[accepted(1, 10)]]);
        let (mut log, _) = opened(disk.clone());
        let steps = disk.disk().steps();
        disk.disk().dies_at = Some(steps + 1);
        log.commit(&[accepted(2, 3000)]).unwrap_err();
        disk.power_cycle(&mut Seeded(torn));

        let (mut log, kept) = opened(disk.clone());
        let found = ids(&kept);
        assert!(found == [1] || found == [1, 2], "{found:?}");
        log.commit(&[accepted(3, 10)]).unwrap();
        assert_eq!(ids(&opened(disk).1), [&found[..], &[3]].concat());
    }
}

#[test]
fn a_damaged_middle_is_reported_with_its_place_and_a_way_on() {
    let disk = written(&[&[accepted(1, 10)], &[accepted(2, 10)], &[accepted(3, 10)]]);
    let second = 16 + frame_len(&accepted(1, 10));
    disk.spoil(0, second + 30);
    let error = error_of(&disk);
    let expected = format!("000.slot is damaged at byte {second}: frames behind it are sound");
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("`WhenDamaged::SetAside`"), "{error}");
    assert_eq!(error_of(&disk), error, "nothing was changed");

    let (mut log, (kept, _)) = Log::open(disk.clone(), LIMITS, WhenDamaged::SetAside).unwrap();
    assert_eq!(ids(&kept), [1, 3]);
    log.commit(&[accepted(4, 0)]).unwrap();
    assert!(!disk.disk().aside.is_empty());
    assert_eq!(ids(&opened(disk).1), [1, 3, 4]);
}

#[test]
fn a_header_or_a_segment_that_is_lost_is_damage() {
    let many: Vec<_> = (1..=40).map(|id| accepted(id, 10_000)).collect();
    let batches: Vec<_> = many.chunks(1).collect();
    for (slot, place) in [(0, 3), (1, 10), (2, 13)] {
        let disk = written(&batches[..18]);
        disk.spoil(slot, place);
        let error = error_of(&disk);
        let expected = format!("00{slot}.slot is damaged at byte 0: its header is not sound");
        assert!(error.contains(&expected), "{error}");
    }
    let disk = written(&batches[..18]);
    disk.clone().remove(1).unwrap();
    let error = error_of(&disk);
    assert!(
        error.contains("the segment before it is missing"),
        "{error}"
    );
}

#[test]
fn slots_are_used_in_turn_and_no_others_are_made() {
    let disk = Simulated::default();
    let (mut log, _) = opened(disk.clone());
    let slots = disk.clone().read_all().unwrap().len();
    for id in 1..2000 {
        log.commit(&[accepted(id, 2000), Record::Settled { id: id - 1 }])
            .unwrap();
    }
    assert_eq!(disk.clone().read_all().unwrap().len(), slots);
    assert_eq!(ids(&opened(disk).1), [1999]);
}

#[test]
fn a_message_that_waits_for_long_holds_no_segment_back() {
    let disk = Simulated::default();
    let (mut log, _) = opened(disk.clone());
    let stuck = Record::Sent {
        id: 1,
        packet_id: 9,
    };
    log.commit(&[accepted(1, 100), stuck, Record::Received { id: 1 }])
        .unwrap();
    for id in 2..2000 {
        log.commit(&[accepted(id, 2000), Record::Settled { id: id - 1 }])
            .unwrap_or_else(|error| {
                panic!("{id}: {error}");
            });
        if id == 2 {
            // Settled above as the first one's successor; it stays.
            log.commit(&[accepted(1, 100)]).unwrap();
            log.commit(&[
                Record::Sent {
                    id: 1,
                    packet_id: 9,
                },
                Record::Received { id: 1 },
            ])
            .unwrap();
        }
    }
    let (_, kept) = opened(disk);
    assert_eq!(ids(&kept), [1, 1999]);
    assert_eq!(kept[0].stage, Stage::Received(9));
}

#[test]
fn as_much_is_kept_as_the_limits_allow() {
    for payload in [0, 100, 5_000, 50_000] {
        let disk = Simulated::default();
        let (mut log, _) = opened(disk.clone());
        let Record::Accepted(one) = accepted(1, payload) else {
            panic!("accepted")
        };
        let room = Accepted::len_on_disk(&one.publish);
        let count = u64::try_from(64 * 1024 / room).unwrap();
        for id in 1..=count {
            log.commit(&[accepted(id, payload)]).unwrap();
        }
        // The oldest goes as another comes, at the limit, for a long time.
        for id in count + 1..count + 500 {
            let settled = Record::Settled { id: id - count };
            log.commit(&[settled, accepted(id, payload)]).unwrap();
        }
        assert_eq!(opened(disk).1.len(), usize::try_from(count).unwrap());
    }
}

#[test]
fn a_disk_that_is_full_or_read_only_is_named_when_the_outbox_is_opened() {
    let cases: [(fn(&Simulated), _); 2] = [
        (
            |disk| disk.disk().slots_max = Some(3),
            "003.slot cannot be made",
        ),
        (
            |disk| disk.disk().read_only = true,
            "000.slot cannot be made",
        ),
    ];
    for (spoil, expected) in cases {
        let disk = Simulated::default();
        spoil(&disk);
        let error = error_of(&disk);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_disk_that_becomes_read_only_is_an_error_of_that_write() {
    let disk = written(&[&[accepted(1, 0)]]);
    let (mut log, _) = opened(disk.clone());
    disk.disk().read_only = true;
    let error = log.commit(&[accepted(2, 0)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the outbox file 000.slot cannot be written"
    );
    disk.disk().read_only = false;
    disk.power_cycle(&mut Seeded(1));
    assert_eq!(ids(&opened(disk).1)[0], 1);
}

#[test]
fn other_limits_are_taken_over() {
    let disk = written(&[&[accepted(1, 10)]]);
    for bytes_max in [1024 * 1024, 64 * 1024, 300 * 1024] {
        let limits = Limits { bytes_max };
        let (mut log, (kept, last)) = Log::open(disk.clone(), limits, WhenDamaged::Stop).unwrap();
        assert_eq!(kept[0].accepted.id, 1);
        for id in last + 1..last + 300 {
            let settled = Record::Settled { id };
            log.commit(&[accepted(id, 5_000), settled]).unwrap();
        }
    }
}

fn frame_len(record: &Record) -> usize {
    let mut bytes = Vec::new();
    record.write(&mut bytes);
    super::frame::frame_len(bytes.len())
}

/// What the flash is given for one message, with no other to share a sync with.
#[test]
fn pages_written_for_each_message_are_few() {
    for (batch, pages_max) in [(1, 2.1), (32, 0.3)] {
        let disk = Simulated::default();
        let (mut log, _) = opened(disk.clone());
        for first in (0..3200).step_by(batch) {
            let ids = first..first + u64::try_from(batch).unwrap();
            let records: Vec<_> = ids.clone().map(|id| accepted(id, 200)).collect();
            log.commit(&records).unwrap();
            let settled: Vec<_> = ids.map(|id| Record::Settled { id }).collect();
            log.commit(&settled).unwrap();
        }
        let pages = f64::from(disk.disk().pages) / 3200.0;
        println!("batches of {batch}: {pages:.2} pages of 4 KiB a message of 200 bytes");
        assert!(pages <= pages_max, "{pages}");
    }
}

#[tokio::test]
async fn a_directory_is_made_private_and_held_by_one() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/outbox");
    let (writer, _) = open(path.clone(), LIMITS, WhenDamaged::Stop).await.unwrap();
    let again = open(path.clone(), LIMITS, WhenDamaged::Stop).await;
    assert!(matches!(again, Err(OutboxError::InUse { .. })), "{again:?}");
    for entry in std::fs::read_dir(&path).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    writer.append(accepted(1, 10), Durable::Sometime, None);
    writer.close().await;
    let (_writer, (kept, last_id)) = open(path, LIMITS, WhenDamaged::Stop).await.unwrap();
    assert_eq!((ids(&kept), last_id), (vec![1], 1));
}

#[tokio::test]
async fn speech_waits_for_what_must_be_durable_first() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("outbox");
    let (writer, _) = open(path, LIMITS, WhenDamaged::Stop).await.unwrap();
    std::future::poll_fn(|context| writer.poll_may_speak(context)).await;
    writer.append(accepted(1, 10), Durable::BeforeSpeech, None);
    std::future::poll_fn(|context| writer.poll_may_speak(context)).await;
    writer.close().await;
}

#[tokio::test]
async fn a_message_and_its_packet_id_share_a_sync() {
    let disk = Simulated::default();
    let (log, _) = opened(disk.clone());
    let before = disk.disk().steps();
    let (writer, thread) = connect(log, LIMITS);
    let (answer, durable) = tokio::sync::oneshot::channel();
    writer.append(accepted(1, 10), Durable::WithPacketId, Some(answer));
    let sent = Record::Sent {
        id: 1,
        packet_id: 1,
    };
    writer.append(sent, Durable::BeforeSpeech, None);
    let running = std::thread::spawn(|| thread.run());
    durable.await.unwrap().unwrap();
    assert_eq!(disk.disk().steps(), before + 2, "one write and one sync");

    // One that gets none is not waited for any longer than a moment.
    let (answer, durable) = tokio::sync::oneshot::channel();
    writer.append(accepted(2, 10), Durable::WithPacketId, Some(answer));
    durable.await.unwrap().unwrap();
    writer.close().await;
    running.join().unwrap();
}

#[test]
fn two_logs_never_share_a_directory() {
    let parent = tempfile::tempdir().unwrap();
    let _first = Directory::open(parent.path()).unwrap();
    let second = Directory::open(parent.path());
    assert!(matches!(second, Err(OutboxError::InUse { .. })));
}
