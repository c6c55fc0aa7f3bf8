//! Packets cut at every byte.
//!
//! What is not whole is waited for, until a deadline, and then closed.

use super::every_packet;
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;

/// Every way to cut every packet, the CONNECT being first.
fn cuts(stage: &Stage, version: Version) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let packets = every_packet(stage, version);
    let cut = |packet: &Vec<u8>| -> Vec<Vec<u8>> {
        (1..packet.len())
            .map(|len| packet[..len].to_vec())
            .collect()
    };
    let (connect, others) = packets.split_first().unwrap();
    (cut(connect), others.iter().flat_map(cut).collect())
}

#[test]
fn nanomq_2268_packets_cut_at_every_byte_wait_for_the_deadline() {
    let cage = Cage::with_limits("connect_timeout = '2 s'");
    for version in BOTH {
        let stage = Stage::on(cage.world.clone());
        let (connects, others) = cuts(&stage, version);
        let mut waiting = Vec::new();
        for cut in connects {
            let mut raw = stage.raw("a");
            raw.send(&cut);
            waiting.push(raw);
        }
        for (number, cut) in others.into_iter().enumerate() {
            let client_id = stage.id(&number.to_string());
            let connect = Connect::new(version, client_id).keep_alive(1);
            let (mut client, _) = stage.open("a", &connect);
            client.send(&cut);
            waiting.push(client.raw);
        }
        for mut raw in waiting {
            expect_end(&mut raw);
        }
    }
    cage.open();
}

/// The connection ends; a DISCONNECT may say that the keep-alive has run out.
fn expect_end(raw: &mut Raw) {
    if let Next::Packet(frame) = raw.next(PATIENCE) {
        assert_eq!(Disconnected::read(&frame).code, 0x8d);
        raw.expect_closed();
    }
}

#[test]
fn nanomq_2268_packets_cut_at_every_byte_and_then_the_connection() {
    let cage = Cage::new();
    for version in BOTH {
        let stage = Stage::on(cage.world.clone());
        let (connects, others) = cuts(&stage, version);
        for cut in connects {
            let mut raw = stage.raw("a");
            raw.send(&cut);
            raw.close();
        }
        for cut in others {
            let mut client = stage.client(version, "a");
            client.send(&cut);
            client.vanish();
        }
        stage.client(version, "a").expect_alive();
    }
    cage.open();
}

/// The remaining length says that the packet is whole, but a field reaches beyond it.
#[test]
fn nanomq_2268_packets_shorter_than_their_fields_are_refused_at_once() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let subscribe = Subscribe::new(1).filter("without options", 0).bytes(V5);
    let cut = request::packet(0x82, &subscribe[2..subscribe.len() - 1]);
    let mut client = stage.client(V5, "a");
    client.send(&cut);
    client.expect_closed_with(&[0x81, 0x82]);
    let mut client = stage.client(V311, "a");
    client.send(&cut);
    client.raw.expect_closed();
    cage.open();
}
