//! Lists in JSON Lines: an object for each device, with `device_id` and its attributes.
//!
//! Numbers, `true` and `false` are taken as they are written; `null` says nothing. A name given
//! twice is a mistake, for readers differ on which of the two they take.

use std::fmt;

use serde_json::Value;
use serde_json::de::from_slice;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{ID_COLUMN, Reading};

pub(super) fn read(text: &[u8], reading: &mut Reading) {
    for (line, text) in (1..).zip(text.split(|octet| *octet == b'\n')) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match from_slice::<Object>(text) {
            Ok(object) => row(line, &object, reading),
            Err(error) => reading.mistake(line, None, no_object(&error)),
        }
    }
}

/// The words of the parser without its own line, which is always 1.
fn no_object(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    let column = error.column();
    format!("no object of JSON: {words}, at character {column}")
}

fn row(line: u64, object: &Object, reading: &mut Reading) {
    let (mut id, mut values) = (None, Vec::with_capacity(object.0.len()));
    let mut good = true;
    for (place, (name, value)) in object.0.iter().enumerate() {
        let twice = object.0.iter().take(place).any(|(other, _)| other == name);
        if twice {
            reading.mistake(line, Some(name), "is given twice");
            good = false;
            continue;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) if name != ID_COLUMN => value.to_string(),
            Value::Null => continue,
            Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                reading.mistake(line, Some(name), "is not a text");
                good = false;
                continue;
            }
        };
        if name == ID_COLUMN {
            id = Some(text);
        } else {
            good &= reading.take_name(line, name);
            values.push((name.as_str(), text));
        }
    }
    if good {
        let values: Vec<_> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        reading.take(line, id.as_deref(), &values);
    }
}

/// The members of an object in their order, also those that have one name.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
