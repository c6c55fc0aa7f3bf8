//! A shard with a log that is slow or broken, and with many who bring inputs at once.

use super::{Failed, MAILBOX_LEN_MAX, Outbox, Said, Shard, Shards, Waiting};
use crate::engine::test_world::{OPEN, connect, lasting, parse, qos0, qos1, subscribe, verified};
use crate::engine::{Arrival, ConnectionId, Engine, Input, Limits, Load, Record, ShardPlace};
use crate::storage::{Position, Progress, Storage, StorageError};
use protocol::packet::QoS;
use protocol::{ProtocolError, wire};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

/// A log whose disk is done when the test says so.
#[derive(Clone, Default)]
struct Slow {
    taken: Arc<AtomicU64>,
    durable: Arc<AtomicU64>,
    is_behind: Arc<AtomicBool>,
}

impl Slow {
    /// All that was taken is durable, which is said on a thread of its own.
    fn finish(&self, shard: &Arc<Shard>) {
        let taken = self.taken.load(Ordering::SeqCst);
        self.durable.store(taken, Ordering::SeqCst);
        let waiting = &shard.waiting;
        let tell = || waiting.hear(Progress::Durable(Position(taken)));
        thread::scope(|scope| {
            scope.spawn(tell);
        });
    }
}

impl Storage for Slow {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError> {
        records.clear();
        Ok(Position(self.taken.fetch_add(1, Ordering::SeqCst) + 1))
    }

    fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::SeqCst))
    }

    fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    fn load(&mut self, _: &mut Vec<Load>) {
        unreachable!("everything waits in memory");
    }
}

/// A log whose disk is full.
struct Broken;

impl Storage for Broken {
    fn append(&mut self, _: &mut Vec<Record>) -> Result<Position, StorageError> {
        Err(StorageError::Append(io::ErrorKind::StorageFull.into()))
    }

    fn durable(&self) -> Position {
        Position::default()
    }

    fn is_behind(&self) -> bool {
        false
    }

    fn load(&mut self, _: &mut Vec<Load>) {}
}

fn shard(storage: impl Storage + 'static) -> Arc<Shard> {
    Arc::new(one_of(1, 0, storage))
}

fn one_of(count: u32, index: u32, storage: impl Storage + 'static) -> Shard {
    let place = ShardPlace { index, count };
    let engine = Engine::new(Limits::default(), parse(OPEN), place, 7);
    let waiting = Arc::new(Waiting::default());
    Shard::new(engine, Box::new(storage), waiting)
}

/// Hands over without waiting for room.
fn hand_over(shard: &Arc<Shard>, input: Input) -> Poll<Result<(), Failed>> {
    shard.poll_hand_over(&mut vec![input], &mut Context::from_waker(Waker::noop()))
}

/// A device connects with a session that outlives its connection.
fn enter(shard: &Arc<Shard>, device: &str, number: u64) -> (ConnectionId, Arc<Outbox>) {
    enter_with(shard, device, (number, 1 << 20))
}

fn enter_with(
    shard: &Arc<Shard>,
    device: &str,
    (number, outbox_bytes_max): (u64, usize),
) -> (ConnectionId, Arc<Outbox>) {
    let connection = ConnectionId(number);
    let outbox = Arc::new(Outbox::new(outbox_bytes_max, 1 << 20));
    shard.open(connection, Arc::clone(&outbox));
    let mut connect = connect(device);
    lasting(&mut connect);
    let arrival = Arrival {
        peer: None,
        connection,
        device: verified(device),
        connect,
        listener: None,
        nonce: number,
    };
    assert!(hand_over(shard, Input::Connect(Box::new(arrival))).is_ready());
    (connection, outbox)
}

/// A device publishes.
fn published(connection: ConnectionId, id: u16) -> Input {
    let packets = vec![qos1("a", "b", id)];
    Input::Packets {
        connection,
        packets,
    }
}

/// The kinds of the packets that may be sent, and the end.
fn said(shard: &Shard, outbox: &Outbox) -> Vec<u8> {
    let mut all = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    while let Poll::Ready(said) = outbox.poll_next(shard.durable(), cx) {
        match said {
            Said::Packets(packets, _) => {
                all.extend(wire::packets(&packets).map(|packet| packet[0] >> 4));
            }
            Said::AskDrained => panic!("nothing retained is there"),
            Said::Close(_) => all.push(END),
        }
    }
    all
}

const CONNACK: u8 = 2;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const DISCONNECT: u8 = 14;
const END: u8 = 0xFF;

#[test]
fn nothing_is_said_when_the_log_fails() {
    let shard = shard(Broken);
    let (connection, outbox) = enter(&shard, "dev-1", 1);
    assert!(said(&shard, &outbox).is_empty());
    assert!(shard.failure().borrow().is_some());
    let publish = published(connection, 1);
    assert_eq!(hand_over(&shard, publish), Poll::Ready(Err(Failed)));
    assert!(said(&shard, &outbox).is_empty());
}

#[test]
fn what_depends_on_the_log_is_said_once_it_is_durable_and_in_order() {
    let log = Slow::default();
    let shard = shard(log.clone());
    let (connection, outbox) = enter(&shard, "dev-1", 1);
    let publish = published(connection, 1);
    assert!(hand_over(&shard, publish).is_ready());
    assert!(
        said(&shard, &outbox).is_empty(),
        "a CONNACK before its record, or a PUBACK before it"
    );
    let broke = Input::Broke {
        connection,
        error: ProtocolError::WrongDirection,
    };
    assert!(hand_over(&shard, broke).is_ready());
    log.finish(&shard);
    assert_eq!(said(&shard, &outbox), [CONNACK, PUBACK, DISCONNECT, END]);
}

#[test]
fn who_found_no_room_for_qos_0_is_given_none_until_all_is_sent() {
    let log = Slow::default();
    let shard = shard(log.clone());
    let (subscriber, outbox) = enter_with(&shard, "dev-1", (1, 100));
    let (publisher, _) = enter(&shard, "dev-2", 2);
    let send = |connection, packet| {
        let packets = vec![packet];
        let read = Input::Packets {
            connection,
            packets,
        };
        assert!(hand_over(&shard, read).is_ready());
        log.finish(&shard);
    };
    let publish = || send(publisher, qos0("a", &"x".repeat(80)));
    send(subscriber, subscribe(&[("a", QoS::AtMostOnce)]));
    assert_eq!(said(&shard, &outbox), [CONNACK, SUBACK]);
    (0..3).for_each(|_| publish());
    assert_eq!(
        shard.counters().messages_sent,
        2,
        "the third is not written"
    );
    assert_eq!(shard.dropped_at_outboxes(), 2);
    let next = || outbox.poll_next(shard.durable(), &mut Context::from_waker(Waker::noop()));
    assert!(matches!(next(), Poll::Ready(Said::Packets(..))));
    assert!(matches!(next(), Poll::Ready(Said::AskDrained)));
    shard.tell(Input::Drained {
        connection: subscriber,
    });
    publish();
    assert!(matches!(next(), Poll::Ready(Said::Packets(..))));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_for_the_log_is_woken_by_its_thread_without_a_turn() {
    let log = Slow::default();
    let shard = shard(log.clone());
    let (_, outbox) = enter(&shard, "dev-1", 1);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(outbox.poll_next(shard.durable(), &mut cx).is_pending());
    let turn = shard.core.lock().unwrap();
    log.finish(&shard);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(outbox.poll_next(shard.durable(), &mut cx).is_ready());
    drop(turn);
}

#[tokio::test]
async fn a_log_that_is_behind_stops_turns_until_there_is_progress() {
    let log = Slow::default();
    let shard = shard(log.clone());
    let (connection, outbox) = enter(&shard, "dev-1", 1);
    log.finish(&shard);
    assert_eq!(said(&shard, &outbox), [CONNACK]);
    let following = tokio::spawn(Arc::clone(&shard).follow());
    log.is_behind.store(true, Ordering::SeqCst);
    assert!(hand_over(&shard, published(connection, 1)).is_ready());
    assert!(!shard.mailbox.is_empty(), "a turn was taken");
    log.is_behind.store(false, Ordering::SeqCst);
    log.finish(&shard);
    while !shard.mailbox.is_empty() {
        tokio::task::yield_now().await;
    }
    log.finish(&shard);
    assert_eq!(said(&shard, &outbox), [PUBACK]);
    following.abort();
}

#[test]
fn inputs_left_during_a_turn_are_taken_by_whoever_has_it() {
    const THREADS: u64 = 4;
    const PUBLISHES: u16 = 2_000;
    let shard = shard(crate::storage::Memory::default());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let shard = &shard;
            scope.spawn(move || {
                let (connection, _outbox) = enter(shard, &format!("dev-{number}"), number);
                for id in 1..=PUBLISHES {
                    assert!(hand_over(shard, published(connection, id)).is_ready());
                }
            });
        }
    });
    let received = shard.counters().messages_received;
    assert_eq!(received, THREADS * u64::from(PUBLISHES));
    assert!(shard.mailbox.is_empty());
}

#[test]
fn a_full_mailbox_takes_nothing_until_the_next_turn() {
    let shard = shard(crate::storage::Memory::default());
    let turn = shard.core.lock().unwrap();
    for _ in 0..MAILBOX_LEN_MAX {
        assert!(hand_over(&shard, Input::Tick).is_ready());
    }
    assert!(hand_over(&shard, Input::Tick).is_pending());
    drop(turn);
    shard.tell(Input::Tick);
    assert!(hand_over(&shard, Input::Tick).is_ready());
}

#[tokio::test]
async fn a_forward_is_taken_by_the_other_shard_and_the_first_one_hears_so_once_it_is_durable() {
    let logs = [Slow::default(), Slow::default()];
    let [first, second] = [0, 1].map(|index| one_of(2, index, logs[index as usize].clone()));
    let shards = Shards::new(first, vec![second]);
    let [here, there] = [0, 1].map(|place| Arc::clone(shards.all().nth(place).unwrap()));
    let following = [&here, &there].map(|it| tokio::spawn(Arc::clone(it).follow()));
    let (connection, outbox) = enter(&here, "dev-1", 1);
    for id in 1..=3 {
        assert!(hand_over(&here, published(connection, id)).is_ready());
    }
    assert!(said(&here, &outbox).is_empty(), "nothing is durable");
    logs[0].finish(&here);
    assert_eq!(said(&here, &outbox), [CONNACK, PUBACK, PUBACK, PUBACK]);
    let turns = |log: &Slow| log.taken.load(Ordering::SeqCst);
    let before = turns(&logs[0]);
    while turns(&logs[1]) == 0 {
        tokio::task::yield_now().await;
    }
    // It may take them in several turns; while none is durable, it says nothing of them.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(turns(&logs[0]), before);
    while turns(&logs[0]) == before {
        logs[1].finish(&there);
        tokio::task::yield_now().await;
    }
    following.iter().for_each(tokio::task::JoinHandle::abort);
}
