//! AUTH and enhanced authentication, which Countersign does not offer.
//!
//! The certificate has said who it is; a method is refused and AUTH is an error.

use crate::{EITHER, PROTOCOL_ERROR, closes};
use countersign_tests::prelude::*;

/// [MQTT-4.12.0-6]
#[test]
fn mqtt_4_12_0_7_auth_without_a_method_is_a_protocol_error() {
    closes(&request::auth(0x18, &[]), &[PROTOCOL_ERROR]);
    closes(
        &request::auth(0x18, &[Property::AuthMethod("m".into())]),
        &[PROTOCOL_ERROR, 0x8c],
    );
    closes(b"\xf0\x00", &EITHER);
}

#[test]
fn mqtt_4_12_1_2_re_authentication_fails_and_closes() {
    let with = [
        Property::AuthMethod("m".into()),
        Property::AuthData(vec![1]),
    ];
    closes(&request::auth(0x19, &with), &[PROTOCOL_ERROR, 0x8c, 0x87]);
}

#[test]
fn mqtt_3_15_1_1_auth_has_no_flags() {
    for flags in 1..16 {
        closes(&[0xf0 | flags, 0], &EITHER);
    }
}

#[test]
fn mqtt_4_12_0_1_every_method_is_refused_whatever_its_data() {
    let stage = Stage::new();
    for method in ["", "PLAIN", "GS2-KRB5", "\u{e9}"] {
        let connect = stage
            .connect(V5, "a")
            .with(&Property::AuthMethod(method.into()));
        for connect in [
            connect.clone(),
            connect.with(&Property::AuthData(vec![0; 1000])),
        ] {
            let (mut client, connack) = stage.ask("a", &connect);
            assert_eq!(connack.code, 0x8c);
            client.raw.expect_closed();
        }
    }
}
