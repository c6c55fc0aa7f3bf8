//! Which property may stand in which packet, and how often: MQTT 5.0 table 2-4, tried out.

use crate::damage::framed;
use crate::read_one;
use countersign_protocol::ProtocolError;
use countersign_protocol::packet::Version;
use countersign_protocol::wire::Direction::{self, ToClient, ToServer};

/// A packet but for its properties: what stands before them, and what behind.
struct Place {
    name: &'static str,
    first: u8,
    direction: Direction,
    before: &'static [u8],
    after: &'static [u8],
}

const fn place(
    name: &'static str,
    direction: Direction,
    before: &'static [u8],
    after: &'static [u8],
) -> Place {
    let (first, before) = match before {
        [first, before @ ..] => (*first, before),
        [] => panic!("no first byte"),
    };
    Place {
        name,
        first,
        direction,
        before,
        after,
    }
}

const PLACES: &[Place] = &[
    place("CONNECT", ToServer, b"\x10\0\x04MQTT\x05\x02\0\0", b"\0\0"),
    place(
        "will",
        ToServer,
        b"\x10\0\x04MQTT\x05\x06\0\0\0\0\0",
        b"\0\x01w\0\0",
    ),
    place("CONNACK", ToClient, b"\x20\0\0", b""),
    place("PUBLISH to server", ToServer, b"\x30\0\x01t", b"payload"),
    place("PUBLISH to client", ToClient, b"\x30\0\x01t", b"payload"),
    place("PUBACK", ToServer, b"\x40\0\x01\0", b""),
    place("PUBREC", ToServer, b"\x50\0\x01\0", b""),
    place("PUBREL", ToServer, b"\x62\0\x01\0", b""),
    place("PUBCOMP", ToServer, b"\x70\0\x01\0", b""),
    place("SUBSCRIBE", ToServer, b"\x82\0\x01", b"\0\x01t\0"),
    place("SUBACK", ToClient, b"\x90\0\x01", b"\0"),
    place("UNSUBSCRIBE", ToServer, b"\xA2\0\x01", b"\0\x01t"),
    place("UNSUBACK", ToClient, b"\xB0\0\x01", b"\0"),
    place("DISCONNECT to server", ToServer, b"\xE0\0", b""),
    place("DISCONNECT to client", ToClient, b"\xE0\x8B", b""),
    place("AUTH", ToClient, b"\xF0\0", b""),
];

/// Each property with a value it may have, and the places it may stand in; `*` is every place
/// but the will.
const PROPERTIES: &[(&[u8], &[&str])] = &[
    (b"\x01\x01", MESSAGE),
    (b"\x02\0\0\0\x01", MESSAGE),
    (b"\x03\0\x01c", MESSAGE),
    (b"\x08\0\x01r", MESSAGE),
    (b"\x09\0\x01d", MESSAGE),
    (b"\x0B\x01", &["PUBLISH to client", "SUBSCRIBE"]),
    (
        b"\x11\0\0\0\x01",
        &["CONNECT", "CONNACK", "DISCONNECT to server"],
    ),
    (b"\x12\0\x01i", &["CONNACK"]),
    (b"\x13\0\x01", &["CONNACK"]),
    (b"\x15\0\x01m", &["CONNECT", "CONNACK", "AUTH"]),
    (b"\x16\0\x01d", &["CONNECT", "CONNACK", "AUTH"]),
    (b"\x17\x01", &["CONNECT"]),
    (b"\x18\0\0\0\x01", &["will"]),
    (b"\x19\x01", &["CONNECT"]),
    (b"\x1A\0\x01i", &["CONNACK"]),
    (b"\x1C\0\x01s", &["CONNACK", "DISCONNECT to client"]),
    (b"\x1F\0\x01r", WORDS),
    (b"\x21\0\x01", &["CONNECT", "CONNACK"]),
    (b"\x22\0\x01", &["CONNECT", "CONNACK"]),
    (b"\x23\0\x01", &["PUBLISH to server", "PUBLISH to client"]),
    (b"\x24\x01", &["CONNACK"]),
    (b"\x25\x01", &["CONNACK"]),
    (b"\x26\0\x01n\0\x01v", ANYWHERE),
    (b"\x27\0\0\0\x01", &["CONNECT", "CONNACK"]),
    (b"\x28\x01", &["CONNACK"]),
    (b"\x29\x01", &["CONNACK"]),
    (b"\x2A\x01", &["CONNACK"]),
];

const MESSAGE: &[&str] = &["will", "PUBLISH to server", "PUBLISH to client"];
const WORDS: &[&str] = &[
    "CONNACK",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBACK",
    "UNSUBACK",
    "DISCONNECT to server",
    "DISCONNECT to client",
    "AUTH",
];
const ANYWHERE: &[&str] = &[
    "CONNECT",
    "will",
    "CONNACK",
    "PUBLISH to server",
    "PUBLISH to client",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "DISCONNECT to server",
    "DISCONNECT to client",
    "AUTH",
];

fn read(place: &Place, properties: &[u8]) -> Result<(), ProtocolError> {
    let mut body = place.before.to_vec();
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend_from_slice(place.after);
    let packet = read_one(&framed(place.first, &body), Version::V5, place.direction);
    packet.map(|packet| assert!(packet.is_some()))
}

#[test]
fn mqtt_2_2_2_2_a_property_stands_where_table_2_4_allows_it() {
    for place in PLACES {
        for (property, allowed) in PROPERTIES {
            let id = property[0];
            // Data needs a method, and an alias its connection, but both are in their place.
            let in_place = [
                Ok(()),
                Err(ProtocolError::AuthenticationMethodMissing),
                Err(ProtocolError::TopicAliasInvalid),
            ];
            let out_of_place = [
                Err(ProtocolError::PropertyNotAllowed(id)),
                Err(ProtocolError::SubscriptionIdFromClient),
            ];
            let read = read(place, property);
            let expected = if allowed.contains(&place.name) {
                &in_place[..]
            } else {
                &out_of_place
            };
            assert!(
                expected.contains(&read),
                "{id:#04x} in {}: {read:?}",
                place.name
            );
        }
    }
}

#[test]
fn mqtt_2_2_2_2_a_property_that_does_not_exist_stands_nowhere() {
    let known: Vec<u8> = PROPERTIES.iter().map(|(property, _)| property[0]).collect();
    for id in (0..=255).filter(|id| !known.contains(id)) {
        for place in PLACES {
            let read = read(place, &[id, 0, 0, 0, 0]);
            assert_eq!(
                read,
                Err(ProtocolError::PropertyUnknown(id)),
                "{}",
                place.name
            );
        }
    }
}

#[test]
fn a_property_stands_once_unless_it_may_repeat() {
    for (property, allowed) in PROPERTIES {
        let id = property[0];
        for place in PLACES.iter().filter(|place| allowed.contains(&place.name)) {
            let may_repeat = id == 0x26 || id == 0x0B && place.name == "PUBLISH to client";
            let repeated = Err(ProtocolError::PropertyRepeated(id));
            let expected = if may_repeat { Ok(()) } else { repeated };
            let read = read(place, &[*property, *property].concat());
            assert_eq!(read, expected, "{id:#04x} in {}", place.name);
        }
    }
}

#[test]
fn a_property_does_not_reach_behind_its_block() {
    for (property, allowed) in PROPERTIES {
        for place in PLACES.iter().filter(|place| allowed.contains(&place.name)) {
            for cut in 1..property.len() {
                let read = read(place, &property[..cut]);
                assert_eq!(read, Err(ProtocolError::Truncated), "{property:02x?}");
            }
        }
    }
}

#[test]
fn a_value_outside_its_range_is_refused() {
    let flags = [0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A].map(|id| vec![id, 2]);
    let zeros: [&[u8]; 3] = [b"\x0B\0", b"\x21\0\0", b"\x27\0\0\0\0"];
    for property in flags.into_iter().chain(zeros.map(<[u8]>::to_vec)) {
        let id = property[0];
        let mut allowed = PROPERTIES.iter().filter(|(it, _)| it[0] == id);
        let allowed = allowed.next().unwrap().1;
        for place in PLACES.iter().filter(|place| allowed.contains(&place.name)) {
            let read = read(place, &property);
            assert_eq!(
                read,
                Err(ProtocolError::PropertyValue(id)),
                "{}",
                place.name
            );
        }
    }
}
