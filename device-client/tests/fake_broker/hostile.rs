//! A broker that sends what it must not: the device reports an error and connects again.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use device_client::{Device, QoS, WhenRefused};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::broker::{Broker, CONNACK, CONNACK_SESSION_PRESENT, publish};

/// One of every packet a broker may send, and of those it may not.
fn packets() -> Vec<Vec<u8>> {
    let subscription_granted = b"\x90\x04\x00\x01\x00\x01".to_vec();
    let everything = b"\x34\x27\x00\x01a\x00\x07\x1F\x01\x01\x02\x00\x00\x00\x07\x03\x00\x01j\
        \x08\x00\x01b\x09\x00\x01c\x0B\x01\x0B\xFF\x7F\x26\x00\x01k\x00\x01v{}";
    vec![
        CONNACK.to_vec(),
        b"\x20\x11\x00\x00\x0E\x21\x00\x01\x22\x00\x0A\x13\x00\x3C\x27\x00\x00\xFF\xFF".to_vec(),
        b"\x20\x0C\x00\x87\x09\x1F\x00\x06denied".to_vec(),
        publish(0, b'a', 0),
        publish(0b0010, b'a', 7),
        publish(0b0100, b'a', 8),
        everything.to_vec(),
        b"\x40\x02\x00\x01".to_vec(),
        b"\x40\x0C\x00\x01\x87\x08\x1F\x00\x05quota".to_vec(),
        b"\x50\x02\x00\x01".to_vec(),
        b"\x62\x02\x00\x07".to_vec(),
        b"\x70\x02\x00\x01".to_vec(),
        b"\x70\x03\x00\x01\x92".to_vec(),
        subscription_granted,
        b"\xB0\x04\x00\x01\x00\x00".to_vec(),
        b"\xD0\x00".to_vec(),
        b"\xE0\x00".to_vec(),
        b"\xE0\x0A\x98\x08\x1F\x00\x05never".to_vec(),
        b"\xF0\x07\x18\x05\x15\x00\x02me".to_vec(),
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x03dev".to_vec(),
        b"\x82\x07\x00\x01\x00\x00\x01a\x00".to_vec(),
        b"\xC0\x00".to_vec(),
        b"\x00\x00".to_vec(),
        b"\x30\xFF\xFF\xFF\x7F\x00\x01a".to_vec(),
        b"\x30\xFF\xFF\xFF\xFF\x7F".to_vec(),
        // A topic longer than its packet.
        b"\x30\x03\xFF\xFFa".to_vec(),
    ]
}

/// Cut at every octet, every octet bent in several ways, and some of chance.
fn mutants(packet: &[u8], chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut mutants = vec![packet.to_vec(), packet.repeat(2)];
    for place in 0..packet.len() {
        mutants.push(packet[..place].to_vec());
        for value in [
            0x00,
            0x7F,
            0x80,
            0xFF,
            packet[place] ^ 1,
            packet[place].wrapping_add(1),
        ] {
            let mut mutant = packet.to_vec();
            mutant[place] = value;
            mutants.push(mutant);
        }
    }
    for _ in 0..10 {
        let mut mutant = packet.to_vec();
        for _ in 0..=chance.below(3) {
            let place = chance.below(mutant.len());
            match chance.below(3) {
                0 => mutant[place] = chance.octet(),
                1 => mutant.insert(place, chance.octet()),
                _ if mutant.len() > 1 => drop(mutant.remove(place)),
                _ => {}
            }
        }
        mutants.push(mutant);
    }
    mutants
}

/// A generator whose numbers are always the same (xorshift).
struct Chance(u32);

impl Chance {
    fn octet(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()[1]
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.octet()) % limit
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics wherever they are but in other tests, and reports them as usual.
fn count_panics() {
    let here = thread::current().name().map(str::to_owned);
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let there = thread::current().name().map(str::to_owned);
        let other_test = there != here && there.is_some_and(|name| name.contains("::"));
        PANICS.fetch_add(usize::from(!other_test), Ordering::Relaxed);
        report(panic);
    }));
}

/// Keeps messages under way, so that acknowledgements mean something.
async fn publish_for_ever(device: Device, qos: QoS) {
    loop {
        if device.publish("b", "", qos).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn read_for_ever(device: Device) {
    loop {
        if let Ok(mut subscription) = device.subscribe("a", QoS::ExactlyOnce).await {
            while let Some(Ok(_)) = subscription.next().await {}
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Sends each mutant to a device, in the place of a CONNACK and after one.
async fn attack(mutants: Vec<Vec<u8>>) {
    let broker = Broker::start().await;
    let builder = broker.device().when_refused(WhenRefused::KeepTrying);
    let (device, connection) = broker.connected(builder).await;
    let busy = [
        tokio::spawn(publish_for_ever(device.clone(), QoS::AtLeastOnce)),
        tokio::spawn(publish_for_ever(device.clone(), QoS::ExactlyOnce)),
        tokio::spawn(read_for_ever(device.clone())),
    ];
    connection.end().await;
    for (number, mutant) in mutants.iter().enumerate() {
        let mut connecting = broker.accept().await.0;
        connecting.write_if_open(mutant).await;
        connecting.end().await;

        let connack = [CONNACK, CONNACK_SESSION_PRESENT][number % 2];
        let mut connected = broker.accept_with(connack).await;
        connected.write_if_open(mutant).await;
        connected.end().await;
    }
    for task in busy {
        assert!(
            !task.is_finished(),
            "the device has stopped: {:?}",
            device.status()
        );
        task.abort();
    }
    let _connection = broker.accept_with(CONNACK).await;
    device.publish("c", "", QoS::AtMostOnce).await.unwrap();
}

#[tokio::test]
async fn after_whatever_a_broker_sends_the_device_comes_back_and_works() {
    count_panics();
    let mut chance = Chance(0x1234_5678);
    let mut attacks = JoinSet::new();
    for packet in packets() {
        attacks.spawn(attack(mutants(&packet, &mut chance)));
    }
    attacks.join_all().await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
