//! What a session takes while its client is away: on the heap, all counted.
//!
//! Whether its client has left or it was restored, it takes the same. The numbers are bounds that
//! may only shrink.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../benches/engine/world.rs"]
mod world;

use countersign_broker::engine::policy::Policy;
use countersign_broker::engine::{
    Arrival, ConnectionId, Effects, Engine, Grant, Input, Limits, Restored, RestoredSession,
    SessionKey, SessionNumber, ShardPlace, Time,
};
use dhat::{HeapStats, Profiler};
use protocol::Text;
use protocol::packet::{Ack, Connect, ConnectProperties, Packet, PacketId, QoS, Version};
use protocol::topic::TopicFilter;
use std::sync::Arc;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

/// As many tables are half full with these as with 100,000.
const SESSIONS: u64 = 100_000 / 32;
const NOW: Time = Time::from_millis(1_800_000_000_000);
/// Bytes of one session with three subscriptions.
const AWAY_MAX: usize = 1250;

/// One test for both: the profiler counts what the whole process allocates.
#[test]
fn a_session_that_is_away_takes_at_most() {
    let _profiler = Profiler::builder()
        .testing()
        .trim_backtraces(Some(4))
        .build();
    for (name, fill) in [
        ("left", left as fn() -> Engine),
        ("restored", restored as fn() -> Engine),
    ] {
        // What is made once for all is there before.
        drop(fill());
        let before = HeapStats::get().curr_bytes;
        let engine = fill();
        let each = (HeapStats::get().curr_bytes - before) / usize::try_from(SESSIONS).unwrap();
        println!("{each} bytes for a session that was {name}");
        assert!(
            each <= AWAY_MAX,
            "{each} bytes for a session that was {name}"
        );
        assert_eq!(engine.subscriptions_len(), 3 * engine.sessions_len());
    }
}

/// What a device of a fleet subscribes to, in the ways there are.
fn filters(number: u64) -> Vec<String> {
    vec![
        format!("devices/device-{number}/commands"),
        format!("devices/device-{number}/config/#"),
        "broadcast/+".to_owned(),
    ]
}

fn engine() -> Engine {
    let limits = Limits {
        sessions_per_device_max: usize::MAX,
        ..Limits::default()
    };
    let rules = "[[rule]]\nname = 'open'\nclient_ids = '*'\nsubscribe = ['#']\npublish = ['#']\n";
    let policy = Arc::new(Policy::parse("policy.toml", rules).unwrap());
    Engine::new(limits, policy, ShardPlace { index: 0, count: 1 }, 7)
}

/// Clients came, subscribed, had a message and left.
fn left() -> Engine {
    let mut engine = engine();
    let mut effects = Effects::default();
    for number in 1..=SESSIONS {
        let connection = ConnectionId(number);
        let arrival = Arrival {
            peer: None,
            connection,
            device: world::device(),
            connect: connect(number),
            listener: None,
            nonce: number,
        };
        engine.handle(NOW, Input::Connect(Box::new(arrival)));
        let filters = filters(number);
        // One message comes and goes in each direction.
        let packets = vec![
            world::subscribe(&filters, QoS::AtLeastOnce),
            world::publish(&filters[0], b"on", QoS::ExactlyOnce, 1),
            Packet::Pubrel(Ack::success(PacketId::MIN)),
            world::puback(0),
        ];
        engine.handle(
            NOW,
            Input::Packets {
                connection,
                packets,
            },
        );
        engine.handle(NOW, Input::Lost { connection });
        engine.take_effects(&mut effects);
        effects = Effects::default();
    }
    assert_eq!(engine.connected_len(), 0);
    assert_eq!(engine.counters().unknown_acknowledgements, 0);
    assert_eq!(engine.counters().messages_sent, SESSIONS);
    engine
}

fn restored() -> Engine {
    let sessions = (1..=SESSIONS).map(|number| {
        let filters = filters(number).into_iter();
        let grant = Grant {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            withholds: false,
            id: None,
        };
        RestoredSession {
            number: SessionNumber(number),
            key: Arc::new(SessionKey {
                subject: world::device().subject().clone(),
                client_id: client_id(number),
            }),
            expiry: 3600,
            left_at: None,
            subscriptions: filters
                .map(|filter| (TopicFilter::parse(&filter).unwrap(), grant))
                .collect(),
            will: None,
            pending: Vec::new(),
            received: Vec::new(),
            accepted: Vec::new(),
            last_sent: None,
        }
    });
    let restored = Restored {
        sessions: sessions.collect(),
        next_session: SESSIONS + 1,
        ..Restored::default()
    };
    let mut engine = engine().restored(restored).unwrap();
    engine.handle(NOW, Input::Tick);
    engine.take_effects(&mut Effects::default());
    engine
}

fn client_id(number: u64) -> Text {
    Text::parse(&format!("device-{number}/main")).unwrap()
}

fn connect(number: u64) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: client_id(number),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: 3600,
            ..ConnectProperties::default()
        },
    }
}
