//! Everything at once: garbage handshakes, half-open peers, a publisher far above its rate, and
//! subscribers that never read.
//!
//! Well-behaved clients are served as if the same generator attacked a socket that only accepts
//! and closes: what it costs them then is the generator's and the machine's, not the broker's.

use super::client_hello;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, sleep};
use std::time::{Duration, Instant};

/// How much of everything.
#[derive(Clone, Copy)]
struct Flood {
    garbage_per_second: u32,
    half_open: usize,
    /// Messages a second that a device may publish; one publishes twenty times as many.
    rate: u32,
    never_read: usize,
    /// How often, and how long each time, in turns with a bare socket.
    rounds: usize,
    time: Duration,
    memory_mib: u64,
}

/// More than an outbox and the buffers of a socket take.
const FILL_LEN: usize = 12 << 20;
const FILL_MESSAGE_LEN: usize = 200 << 10;
/// So many handshakes of an attacker are open at once.
const ANSWERED_WITHIN: usize = 500;

#[test]
fn a_flood_delays_well_behaved_clients_little_and_costs_them_nothing() {
    let flood = Flood {
        garbage_per_second: 500,
        half_open: 100,
        rate: 200,
        never_read: 10,
        rounds: 1,
        time: Duration::from_secs(3),
        memory_mib: 512,
    };
    // Bounds that only a broker which stops serving exceeds.
    let ratio = under(flood);
    assert!(ratio < 100.0, "p99 is {ratio:.1} times as long");
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_a_flood_of_5000_handshakes_a_second_delays_nobody_twice_as_much() {
    let flood = Flood {
        garbage_per_second: 5000,
        half_open: 1000,
        rate: 200,
        never_read: 100,
        rounds: 10,
        time: Duration::from_secs(4),
        memory_mib: 1024,
    };
    let ratio = under(flood);
    assert!(ratio < 2.0, "p99 is {ratio:.2} times as long");
}

/// How many times as long well-behaved clients wait as while a bare socket is attacked, p99.
fn under(flood: Flood) -> f64 {
    let limits = format!(
        "memory_bytes_max = '{} MiB'\npublish_rate_max = {}\n\
         outbox_bytes_max = '1 MiB'\nqueue_bytes_max = '1 MiB'\nin_flight_bytes_max = '1 MiB'",
        flood.memory_mib, flood.rate
    );
    let world = Arc::new(World::start_with(&Settings {
        limits,
        ..Settings::default()
    }));
    let stage = Stage::on(world.clone());
    let hello = client_hello(&stage);
    // Before anything is measured: they are to be full, not to be filled.
    let _deaf = never_read(&stage, flood);
    let bare = bare_socket();
    let (mut beside_bare, mut beside_ours) = (Vec::new(), Vec::new());
    // In turns, so that a machine that is slower for a while is so for both.
    for _ in 0..flood.rounds {
        let bare = measure(&stage, flood, |scope, stop| {
            attack(scope, stop, (bare, flood), &hello);
        });
        let ours = measure(&stage, flood, |scope, stop| {
            attack(scope, stop, (world.address(), flood), &hello);
            publish_too_fast(scope, stop, &stage, flood);
        });
        println!("p99 {:?}, {:?}", p99(&ours), p99(&bare));
        beside_bare.extend(bare);
        beside_ours.extend(ours);
    }
    let (before, during) = (p99(&beside_bare), p99(&beside_ours));
    let resident = world.memory("VmHWM:");
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!("p99 {during:?}, {before:?} beside a bare socket: {ratio:.2}; {resident} KiB at most");
    assert!(resident < flood.memory_mib * 1024, "{resident} KiB");
    world.expect_health();
    let dropped = world.counted("dropped_outbox_full");
    assert!(
        dropped >= flood.never_read * 10,
        "{dropped} dropped: they are not full"
    );
    ratio
}

/// Runs an attack, and well-behaved pairs beside it. How long their messages took; none may be
/// lost.
fn measure<'a>(
    stage: &'a Stage,
    flood: Flood,
    begin: impl for<'s> FnOnce(&'s Scope<'s, 'a>, &'a AtomicBool),
) -> Vec<Duration> {
    let stop: &AtomicBool = Box::leak(Box::default());
    thread::scope(|scope| {
        let stopped_at_the_end = StopAtTheEnd(stop);
        begin(scope, stop);
        let pairs: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || converse(stage, number, flood.time)))
            .collect();
        let took = pairs
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect();
        drop(stopped_at_the_end);
        took
    })
}

fn p99(took: &[Duration]) -> Duration {
    let mut took = took.to_vec();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Whatever happens, the attackers come to an end.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A publisher and a subscriber at a hundred messages a second. How long each took.
fn converse(stage: &Stage, number: usize, time: Duration) -> Vec<Duration> {
    let topic = stage.topic(&format!("talk{number}"));
    let mut listener = stage.client(V5, &format!("listener{number}"));
    listener.subscribe(&topic, 1);
    let mut speaker = stage.client(V5, &format!("speaker{number}"));
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let said = took.len().to_string();
        speaker.publish(&Publish::new(&topic, &said).qos(1));
        assert_eq!(listener.take().text(), said, "one was lost");
        took.push(start.elapsed());
        sleep(Duration::from_millis(10).saturating_sub(start.elapsed()));
    }
    took
}

/// What a stranger can do, from twenty addresses.
fn attack<'s>(
    scope: &'s Scope<'s, '_>,
    stop: &'s AtomicBool,
    (target, flood): (SocketAddr, Flood),
    hello: &[u8],
) {
    let half = hello[..hello.len() / 2].to_vec();
    scope.spawn(move || {
        let mut open = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            // Those that were closed are opened again.
            open.truncate(flood.half_open / 2);
            let missing = flood.half_open - open.len();
            let addresses = (30..40).cycle().take(missing);
            open.extend(addresses.filter_map(|address| knock(address, target, &half)));
            sleep(Duration::from_millis(500));
        }
    });
    let garbage: Vec<u8> = (0..200_u8).map(|octet| octet.wrapping_mul(37)).collect();
    let hello = hello.to_vec();
    scope.spawn(move || {
        let mut open = VecDeque::new();
        let (mut sent, mut answered) = (0_u32, 0_u32);
        let start = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let due = start.elapsed().as_secs_f64() * f64::from(flood.garbage_per_second);
            if f64::from(sent) >= due {
                sleep(Duration::from_millis(1));
                continue;
            }
            // One in ten costs a key exchange.
            let first = if sent.is_multiple_of(10) {
                &hello
            } else {
                &garbage
            };
            let address = 10 + u8::try_from(sent % 20).unwrap();
            sent += 1;
            // Where the target's backlog is full, nobody waits for it.
            let Some(socket) = knock(address, target, first) else {
                continue;
            };
            answered += 1;
            open.push_back(socket);
            if open.len() > ANSWERED_WITHIN {
                open.pop_front();
            }
        }
        let per_second = |count| f64::from(count) / start.elapsed().as_secs_f64();
        let (sent, answered) = (per_second(sent), per_second(answered));
        println!("{sent:.0} garbage handshakes a second, {answered:.0} let in");
    });
}

/// A connection on which this was said, unless there was no room for it at once.
fn knock(last_octet: u8, target: SocketAddr, first: &[u8]) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = Ipv4Addr::new(127, 0, 0, last_octet);
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    // What lingers would take the attacker's ports: it is reset when it is closed.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_nonblocking(true).unwrap();
    // On one machine it stands at once, or later.
    let _ = socket.connect(&target.into());
    let mut socket = TcpStream::from(socket);
    socket.write_all(first).is_ok().then_some(socket)
}

fn publish_too_fast<'s>(
    scope: &'s Scope<'s, '_>,
    stop: &'s AtomicBool,
    stage: &'s Stage,
    flood: Flood,
) {
    scope.spawn(move || {
        let mut publisher = stage.client(V5, "flooder");
        let publish = Publish::new(stage.topic("flood"), "x".repeat(1000));
        let pause = Duration::from_secs(1) / (20 * flood.rate);
        let socket = publisher.raw.socket();
        socket
            .set_write_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        while !stop.load(Ordering::Relaxed) {
            publisher.send_publish(&publish);
            sleep(pause);
        }
    });
}

/// Subscribers that never read, for whom all waits that may.
fn never_read(stage: &Stage, flood: Flood) -> Vec<Client> {
    let topic = stage.topic("flood");
    let subscribe = |number| {
        let name = format!("deaf{number}");
        let connect = stage.connect(V5, &name).keep_alive(0);
        let mut deaf = stage.open(&name, &connect).0;
        deaf.subscribe(&topic, 0);
        deaf
    };
    let all = (0..flood.never_read).map(subscribe).collect();
    let mut filler = stage.client(V5, "filler");
    for _ in 0..FILL_LEN / FILL_MESSAGE_LEN {
        filler.send_publish(&Publish::new(&topic, "x".repeat(FILL_MESSAGE_LEN)));
    }
    // What is said last is heard last.
    filler.publish(&Publish::new(&topic, "full").qos(1));
    all
}

/// A socket that accepts and closes.
fn bare_socket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It lives as long as the process.
    thread::spawn(move || listener.incoming().for_each(drop));
    address
}
