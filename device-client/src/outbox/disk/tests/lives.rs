//! A log through many lives that end at any step, against what it must remember.
//!
//! What a commit that returned has recorded is there; what a commit that failed has recorded is
//! there as a whole or not at all.

use std::collections::BTreeMap;

use super::*;

type Model = BTreeMap<u64, Stage>;

fn apply(model: &mut Model, record: &Record) {
    match record {
        Record::Accepted(accepted) => drop(model.insert(accepted.id, Stage::Waiting)),
        Record::Sent { id, packet_id } => {
            model.retain(|other, stage| {
                !matches!(stage, Stage::Sent(held) | Stage::Received(held)
                    if held == packet_id && other != id)
            });
            model
                .entry(*id)
                .and_modify(|stage| *stage = Stage::Sent(*packet_id));
        }
        Record::Received { id } => {
            model.entry(*id).and_modify(|stage| {
                if let Stage::Sent(packet_id) = *stage {
                    *stage = Stage::Received(packet_id);
                }
            });
        }
        Record::Settled { id } => drop(model.remove(id)),
        Record::SessionLost => model.values_mut().for_each(|stage| *stage = Stage::Waiting),
    }
}

/// What a device might record next.
fn record(chance: &mut Seeded, model: &Model, last_id: &mut u64) -> Record {
    let any = |chance: &mut Seeded| {
        let place = chance.below(u32::try_from(model.len().max(1)).unwrap());
        *model
            .keys()
            .nth(usize::try_from(place).unwrap())
            .unwrap_or(&0)
    };
    let room = model.len() < 9;
    match chance.below(20) {
        0..8 if room => {
            *last_id += 1;
            let len = [0, 20, 700, 6000][usize::try_from(chance.below(4)).unwrap()];
            accepted(*last_id, len)
        }
        0..11 => {
            let packet_id = u16::try_from(1 + chance.below(9)).unwrap();
            Record::Sent {
                id: any(chance),
                packet_id,
            }
        }
        11..14 => Record::Received { id: any(chance) },
        14..19 => Record::Settled { id: any(chance) },
        _ if chance.below(10) == 0 => Record::SessionLost,
        _ => Record::Settled { id: 0 },
    }
}

fn live(seed: u64, lives: u32) {
    let chance = &mut Seeded(seed);
    let disk = Simulated::default();
    let mut model = Model::new();
    // What a commit that failed would have made of it.
    let mut doubt = Model::new();
    let mut last_id = 0;
    for life in 0..lives {
        let (mut log, (kept, _)) = Log::open(disk.clone(), LIMITS, WhenDamaged::Stop)
            .unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
        let found: Model = kept
            .iter()
            .map(|kept| (kept.accepted.id, kept.stage))
            .collect();
        if doubt == found {
            model = found;
        } else {
            assert_eq!(found, model, "seed {seed} life {life}");
        }
        let steps = disk.disk().steps();
        disk.disk().dies_at = Some(steps + 1 + chance.below(120));
        loop {
            let mut after = model.clone();
            let records: Vec<_> = (0..=chance.below(5))
                .map(|_| {
                    let record = record(chance, &after, &mut last_id);
                    apply(&mut after, &record);
                    record
                })
                .collect();
            if log.commit(&records).is_err() {
                doubt = after;
                break;
            }
            model = after;
        }
        if chance.below(3) == 0 {
            disk.kill();
        } else {
            disk.power_cycle(chance);
        }
    }
}

#[test]
fn nothing_recorded_is_forgotten_over_many_lives() {
    for seed in 0..12 {
        live(seed, 25);
    }
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_nothing_recorded_is_forgotten_over_very_many_lives() {
    let seeds = std::env::var("COUNTERSIGN_TEST_SEEDS");
    let seeds = seeds.map_or(400, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        live(1_000_000 + seed, 200);
    }
}
