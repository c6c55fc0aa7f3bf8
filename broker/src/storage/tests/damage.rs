//! Damage after the fact, of everything that is in the folder of a shard: it starts with all that
//! it had but for its last frame, and says so, or is refused with file and offset. It never
//! starts with a hole in the middle.

use super::life::Life;
use crate::storage::durable::find;
use crate::storage::log::LogError;
use crate::storage::log::tests::simulated_disk::SimulatedDisk;
use std::sync::Arc;
use std::thread;

/// A store with a checkpoint, segments before and behind it, and what was carried.
struct Store {
    disk: SimulatedDisk,
    life: Life,
}

fn store(segment_bytes: u64, turns: u64) -> Store {
    let disk = SimulatedDisk::default();
    let mut life = Life::with_segments(1, segment_bytes);
    life.go_on(&disk, turns).unwrap();
    let names = disk.file_names();
    assert!(names.iter().any(|name| name == "checkpoint"), "{names:?}");
    Store { disk, life }
}

impl Store {
    /// Whether it starts.
    #[track_caller]
    fn check(&self, disk: &SimulatedDisk, what: &str) -> bool {
        match find(Arc::new(disk.clone()), self.life.settings.clone()) {
            Ok(mut found) => {
                let position = found.recovered.position();
                let reported = self.life.reported;
                assert!(position >= reported.before, "{what}: {position:?}");
                let is_said = position == reported.last || found.recovered.torn.take().is_some();
                assert!(is_said, "{what}: cut and not said");
                self.life.check_whole(&found, position);
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

    /// Flips a bit of each `step` in all files, and counts how often it starts. On all cores, for
    /// there are many.
    fn flip(&self, step: usize) -> (u32, u32) {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let counts = thread::scope(|scope| {
            let parts = (0..threads).map(|part| {
                let bits = (part * step, threads * step);
                scope.spawn(move || self.flip_from(bits, step))
            });
            let parts: Vec<_> = parts.collect();
            let counts = parts.into_iter().map(|part| part.join().unwrap());
            counts.collect::<Vec<_>>()
        });
        let sum = |one: (u32, u32), other: (u32, u32)| (one.0 + other.0, one.1 + other.1);
        counts.into_iter().fold((0, 0), sum)
    }

    fn flip_from(&self, (first, apart): (usize, usize), step: usize) -> (u32, u32) {
        let (mut started, mut refused) = (0, 0);
        for name in self.disk.file_names() {
            let bits = self.disk.tamper(&name, |bytes| bytes.len() * 8);
            println!("{name}: {bits} bits");
            // Each bit of a byte in its turn.
            for bit in (first..bits)
                .step_by(apart)
                .map(|bit| bit + bit / step % 64)
            {
                let disk = self.disk.copy();
                disk.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                if self.check(&disk, &format!("bit {bit} of {name}")) {
                    started += 1;
                } else {
                    refused += 1;
                }
            }
        }
        (started, refused)
    }

    fn cut(&self) {
        for name in self.disk.file_names() {
            let len = self.disk.tamper(&name, |bytes| bytes.len());
            for cut in (0..len).step_by(512) {
                let disk = self.disk.copy();
                disk.tamper(&name, |bytes| bytes.truncate(cut));
                let starts = self.check(&disk, &format!("{name} cut at {cut}"));
                assert_eq!(starts, name.starts_with("spare-"), "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_costs_the_last_frame_at_most_or_is_refused_by_file_and_offset() {
    let (started, refused) = store(4096, 110).flip(512);
    assert!(started > 20 && refused > 100, "{started} and {refused}");
}

#[test]
fn a_store_cut_anywhere_is_refused_by_file_and_offset() {
    store(4096, 110).cut();
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_every_64th_bit_of_a_store_of_4_mb_and_every_cut_at_512_bytes() {
    let store = store(1 << 20, 9000);
    let names = store.disk.file_names();
    let lens = names
        .iter()
        .map(|name| store.disk.tamper(name, |bytes| bytes.len()));
    assert!(lens.sum::<usize>() >= 4 << 20, "{names:?}");
    let (started, refused) = store.flip(64);
    assert!(started > 1000 && refused > 1000, "{started} and {refused}");
    store.cut();
}
