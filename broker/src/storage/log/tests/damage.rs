//! Damage after the fact: bits that flip, files that end early or are gone.
//!
//! The log opens with all that it had but for its last frame, and says that this one is cut, or
//! it refuses and names the file and the offset. It never opens with a hole.

use super::simulated_disk::SimulatedDisk;
use super::{Kept, batch, recover, settings};
use crate::storage::Position;
use crate::storage::log::appender::Appender;
use crate::storage::log::recovery::Found;
use crate::storage::log::segment::{FRAMES_START, name_of};
use crate::storage::log::shelf::Shelf;
use crate::storage::log::{Damage, LogError, Settings};
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 8192;
const TURNS: u64 = 90;

/// A store whose last frame begins with this turn.
struct Store {
    disk: SimulatedDisk,
    settings: Settings,
    last_frame: u64,
}

/// A store of several segments, the last of which has room left.
fn store() -> Store {
    let disk = SimulatedDisk::default();
    let settings = settings(SEGMENT_BYTES);
    let mut appender = appender(&disk, &settings);
    let mut last_frame = 0;
    while last_frame < TURNS {
        last_frame = appender.position().0 + 1;
        appender
            .commit(&mut batch(last_frame, last_frame % 3 + 1))
            .unwrap();
    }
    Store {
        disk,
        settings,
        last_frame,
    }
}

fn appender(disk: &SimulatedDisk, settings: &Settings) -> Appender {
    let (_, found) = recover(disk, settings).unwrap();
    Appender::new(Shelf::new(Arc::new(disk.clone())), settings.clone(), found).unwrap()
}

/// The store opens with at most its last frame gone, which is said, or refuses.
#[track_caller]
fn check(store: &Store, disk: &SimulatedDisk, what: &str) -> bool {
    match recover(disk, &store.settings) {
        Ok((kept, found)) => {
            let last = kept.check(1);
            assert!(last >= store.last_frame - 1, "{what}: ends with {last}");
            let is_whole = last >= store.last_frame;
            assert!(is_whole || found.torn.is_some(), "{what}: cut and not said");
            true
        }
        Err(LogError::Damaged { path, .. }) => {
            let is_named = disk.file_names().iter().any(|name| path.ends_with(name));
            assert!(is_named, "{what}: {}", path.display());
            false
        }
        Err(other) => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_flipped_bit_costs_the_last_frame_at_most_or_is_refused() {
    let store = store();
    let names = store.disk.file_names();
    assert!(names.len() > 3, "{names:?}");
    let (mut opened, mut refused) = (0, 0);
    for name in names {
        let bits = store.disk.tamper(&name, |bytes| bytes.len() * 8);
        // Every 64th, and each bit of a byte in its turn.
        for bit in (0..bits).step_by(64).map(|bit| bit + bit / 64 % 64) {
            let disk = store.disk.copy();
            disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            if check(&store, &disk, &format!("bit {bit} of {name}")) {
                opened += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(
        opened > 100 && refused > 100,
        "{opened} opened, {refused} refused"
    );
}

#[test]
fn every_bit_of_a_frame_in_the_middle_is_watched() {
    let store = store();
    let name = name_of(1);
    let begin = usize::try_from(FRAMES_START).unwrap();
    let (_, found) = recover(&store.disk, &store.settings).unwrap();
    assert!(found.segments.len() > 2);
    // The first frame has the turns 1 and 2: 40 bytes and more.
    for bit in begin * 8..(begin + 40) * 8 {
        let disk = store.disk.copy();
        disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = recover(&disk, &store.settings).err();
        let is_refused = matches!(
            error,
            Some(LogError::Damaged {
                offset: FRAMES_START,
                damage: Damage::Gap { turn: 1, .. },
                ..
            })
        );
        assert!(is_refused, "bit {bit}: {error:?}");
    }
}

#[test]
fn a_store_cut_anywhere_is_refused_or_ends_where_a_segment_did() {
    let store = store();
    let names = store.disk.file_names();
    for (index, name) in names.iter().enumerate() {
        let len = store.disk.tamper(name, |bytes| bytes.len());
        for cut in (0..len).step_by(512) {
            let disk = store.disk.copy();
            disk.tamper(name, |bytes| bytes.truncate(cut));
            assert!(!check(&store, &disk, &format!("{name} cut at {cut}")));
            // With all that is behind.
            for behind in &names[index + 1..] {
                crate::storage::log::Disk::remove(&disk, behind).unwrap();
            }
            assert!(!check(
                &store,
                &disk,
                &format!("all cut at {cut} of {name}")
            ));
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let store = store();
    let names = store.disk.file_names();
    for name in &names[1..names.len() - 1] {
        let disk = store.disk.copy();
        crate::storage::log::Disk::remove(&disk, name).unwrap();
        let Err(LogError::Missing { path }) = recover(&disk, &store.settings).map(|_| ()) else {
            panic!("{name} is not missed");
        };
        assert!(path.ends_with(name));
    }
}

#[test]
fn what_the_checkpoint_needs_must_be_there() {
    let store = store();
    let names = store.disk.file_names();
    let disk = store.disk.copy();
    crate::storage::log::Disk::remove(&disk, &names[0]).unwrap();
    let refused = recover(&disk, &store.settings).map(|_| ());
    assert!(matches!(
        refused,
        Err(LogError::BeginsLate { covered: 0, .. })
    ));

    let covered = Position(store.last_frame + 100);
    let later = Settings {
        covered,
        ..store.settings.clone()
    };
    let refused = recover(&store.disk, &later).map(|_| ());
    assert!(matches!(refused, Err(LogError::EndsEarly { covered, .. }) if covered == covered));
    let empty = recover(&SimulatedDisk::default(), &later).map(|_| ());
    assert!(matches!(empty, Err(LogError::EndsEarly { ends: 0, .. })));

    let covered = Position(store.last_frame - 1);
    let covered = Settings {
        covered,
        ..store.settings.clone()
    };
    let (kept, _) = recover(&store.disk, &covered).unwrap();
    kept.check(store.last_frame);
}

#[test]
fn a_log_of_another_shard_is_refused() {
    let store = store();
    let other = Settings {
        shard: 4,
        ..store.settings
    };
    let refused = recover(&store.disk, &other).map(|_| ());
    assert!(matches!(
        refused,
        Err(LogError::Shard {
            found: 3,
            expected: 4,
            ..
        })
    ));
}

/// Cuts the last frame, lets the log go on, and looks at what is there then.
#[test]
fn a_cut_tail_is_gone_for_good() {
    let store = store();
    let (_, found) = recover(&store.disk, &store.settings).unwrap();
    let (name, end) = end_of(&found);
    let frame = usize::try_from(end).unwrap() - 8;
    store.disk.tamper(&name, |bytes| bytes[frame] ^= 1);
    let (kept, found) = recover(&store.disk, &store.settings).unwrap();
    let torn = found.torn.unwrap();
    assert_eq!(kept.check(1), store.last_frame - 1);
    assert_eq!(torn.offset + torn.len, end);
    assert!(torn.path.ends_with(&name));
    let behind = |bytes: &mut Vec<u8>| bytes.split_off(usize::try_from(torn.offset).unwrap());
    let behind = store.disk.copy().tamper(&name, behind);
    assert!(behind.iter().all(|byte| *byte == 0), "it may come back");

    let mut appender = appender(&store.disk, &store.settings);
    appender.commit(&mut batch(store.last_frame, 1)).unwrap();
    let (kept, found) = recover(&store.disk, &store.settings).unwrap();
    assert_eq!((kept.check(1), found.torn), (store.last_frame, None));
}

fn end_of(found: &Found) -> (String, u64) {
    let (segment, end) = found.active.as_ref().unwrap();
    (name_of(segment.header.sequence), *end)
}

#[test]
fn a_frame_in_a_payload_is_no_frame() {
    // A peer sends what is a frame of this very segment but for the salt, and the frame that has
    // it in it is torn at its header.
    let store = store();
    let (_, found) = recover(&store.disk, &store.settings).unwrap();
    let (name, end) = end_of(&found);
    let mut forged = batch(store.last_frame + 1, 1);
    let (forged, _) = forged
        .seal(0, found.link, crate::storage::log::frame::Promise::Synced)
        .unwrap();
    let at = usize::try_from(end).unwrap() + 64;
    store.disk.tamper(&name, |bytes| {
        bytes[at..at + forged.len()].copy_from_slice(forged);
    });
    let (kept, _) = recover(&store.disk, &store.settings).unwrap();
    assert!(kept.check(1) >= store.last_frame);
}

#[test]
fn foreign_files_are_left_alone_and_unfinished_ones_removed() {
    let store = store();
    for name in ["preparing", "notes.txt", "1.log", "spare-007", "spare-7"] {
        crate::storage::log::Disk::create(&store.disk, name).unwrap();
    }
    let (kept, _) = recover(&store.disk, &store.settings).unwrap();
    assert_ne!(kept, Kept::default());
    let names = store.disk.file_names();
    let has = |name: &str| names.iter().any(|it| it == name);
    assert!(has("notes.txt") && has("1.log") && has("spare-007"));
    assert!(!has("preparing") && !has("spare-7"));
}
