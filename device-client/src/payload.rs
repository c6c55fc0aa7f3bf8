//! Values in payloads: JSON (RFC 8259) and CBOR (RFC 8949), by `serde`.
//!
//! What a payload is stands in its content type, so that who receives it need not guess; a payload
//! that is not one whole value is an error.

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::message::{Message, Publish};

/// How a value is written in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/cbor`.
    Cbor,
}

/// A value could not be written, or none could be read.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value cannot be written like this.
    #[error("the value cannot be written as {}", .encoding.content_type())]
    Write {
        /// How.
        encoding: Encoding,
        /// Why not.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The payload is not such a value.
    #[error("the payload is no such value in {}", .encoding.content_type())]
    Read {
        /// In what.
        encoding: Encoding,
        /// Why not.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The payload is neither JSON nor CBOR, by its content type.
    #[error("the payload is {content_type:?}, neither JSON nor CBOR")]
    Other {
        /// What it says it is.
        content_type: String,
    },
}

impl Encoding {
    /// What is said of such a payload.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
        }
    }

    /// By a content type, whatever parameters it has (RFC 9110 §8.3.1).
    fn named(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Cbor]
            .into_iter()
            .find(|it| essence.eq_ignore_ascii_case(it.content_type()))
    }

    fn write(self, value: &impl Serialize) -> Result<Vec<u8>, PayloadError> {
        let written: Result<_, Arc<dyn Error + Send + Sync>> = match self {
            Self::Json => serde_json::to_vec(value).map_err(|why| Arc::new(why) as _),
            Self::Cbor => {
                let mut payload = Vec::new();
                let written = ciborium::into_writer(value, &mut payload);
                written.map(|()| payload).map_err(|why| Arc::new(why) as _)
            }
        };
        written.map_err(|source| PayloadError::Write {
            encoding: self,
            source,
        })
    }

    fn read<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, PayloadError> {
        let read: Result<_, Arc<dyn Error + Send + Sync>> = match self {
            Self::Json => serde_json::from_slice(payload).map_err(|why| Arc::new(why) as _),
            Self::Cbor => {
                let mut rest = payload;
                let read = ciborium::from_reader(&mut rest).map_err(|why| Arc::new(why) as _);
                match read {
                    Ok(_) if !rest.is_empty() => Err(Arc::new(Trailing)),
                    read => read,
                }
            }
        };
        read.map_err(|source| PayloadError::Read {
            encoding: self,
            source,
        })
    }
}

/// As JSON that is followed by something is refused, too.
#[derive(Debug, Error)]
#[error("something follows the value")]
struct Trailing;

impl Publish {
    /// A message with a value in JSON, which is said of it.
    ///
    /// ```
    /// # use device_client::{Publish, QoS};
    /// let measured = [("temperature", 21.5), ("humidity", 0.4)];
    /// let publish = Publish::json("devices/dev-1/climate", &measured)?.qos(QoS::AtLeastOnce);
    /// # Ok::<_, device_client::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::Write`] when it cannot be written so.
    pub fn json(topic: impl Into<String>, value: &impl Serialize) -> Result<Self, PayloadError> {
        Ok(Self::encoded(topic, value, Encoding::Json)?.text())
    }

    /// A message with a value in CBOR, which is said of it.
    ///
    /// # Errors
    /// As [`Publish::json`].
    pub fn cbor(topic: impl Into<String>, value: &impl Serialize) -> Result<Self, PayloadError> {
        Self::encoded(topic, value, Encoding::Cbor)
    }

    fn encoded(
        topic: impl Into<String>,
        value: &impl Serialize,
        encoding: Encoding,
    ) -> Result<Self, PayloadError> {
        let publish = Self::new(topic, encoding.write(value)?);
        Ok(publish.content_type(encoding.content_type()))
    }
}

impl Message {
    /// The value in the payload, by its content type; where it has none, in `unless_said`.
    ///
    /// # Errors
    /// [`PayloadError`]: it says that it is something else, or is no such value.
    pub fn decode<T: DeserializeOwned>(&self, unless_said: Encoding) -> Result<T, PayloadError> {
        let encoding = match &self.properties.content_type {
            None => unless_said,
            Some(content_type) => {
                Encoding::named(content_type).ok_or_else(|| PayloadError::Other {
                    content_type: content_type.clone(),
                })?
            }
        };
        encoding.read(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::message::QoS;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Climate {
        celsius: f32,
        place: String,
    }

    fn climate() -> Climate {
        let place = "roof".into();
        Climate {
            celsius: 21.5,
            place,
        }
    }

    fn received(publish: Publish) -> Message {
        Message {
            topic: publish.topic,
            payload: publish.payload,
            qos: QoS::AtMostOnce,
            retain: false,
            duplicate: false,
            properties: publish.properties,
        }
    }

    #[test]
    fn a_value_comes_as_it_was_sent_and_says_what_it_is() {
        let json = Publish::json("a", &climate()).unwrap();
        assert_eq!(json.payload, r#"{"celsius":21.5,"place":"roof"}"#);
        let cbor = Publish::cbor("a", &climate()).unwrap();
        assert_eq!(cbor.payload[..9], *b"\xA2\x67celsius");
        for (publish, content_type, is_text) in [
            (json, "application/json", true),
            (cbor, "application/cbor", false),
        ] {
            let said = &publish.properties;
            assert_eq!(said.content_type.as_deref(), Some(content_type));
            assert_eq!(said.is_text, is_text);
            let message = received(publish);
            for unless_said in [Encoding::Json, Encoding::Cbor] {
                let found: Climate = message.decode(unless_said).unwrap();
                assert_eq!(found, climate());
            }
        }
    }

    #[test]
    fn what_is_not_one_whole_value_of_the_kind_is_an_error() {
        let (json, cbor) = (Encoding::Json, Encoding::Cbor);
        for (payload, said, unless_said, expected) in [
            (&b"7"[..], None, json, "Ok(7)"),
            (b"\x07", None, cbor, "Ok(7)"),
            (b"7", Some("Application/JSON; charset=utf-8"), cbor, "Ok(7)"),
            (b"7", Some("text/plain"), json, "Err(Other"),
            (b"7 8", None, json, "Err(Read { encoding: Json"),
            (b"\x07\x08", None, cbor, "Err(Read { encoding: Cbor"),
            (b"", None, json, "Err(Read { encoding: Json"),
            (b"", None, cbor, "Err(Read { encoding: Cbor"),
            (b"\"a\"", None, json, "Err(Read { encoding: Json"),
            (b"\x61a", None, cbor, "Err(Read { encoding: Cbor"),
        ] {
            let mut publish = Publish::new("a", payload);
            publish.properties.content_type = said.map(str::to_owned);
            let found = received(publish).decode::<u8>(unless_said);
            let found = format!("{found:?}");
            assert!(found.starts_with(expected), "{payload:?}: {found}");
        }
    }

    #[test]
    fn a_payload_that_lies_about_its_length_or_depth_costs_nothing() {
        let long = b"\x9B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".as_slice();
        let text = b"\x7B\x00\x00\x7F\xFF\xFF\xFF\xFF\xFF";
        let deep = vec![0x81; 100_000];
        for payload in [long, text, &deep] {
            let message = received(Publish::new("a", payload.to_vec()));
            let found = message.decode::<ciborium::Value>(Encoding::Cbor);
            assert!(found.is_err());
        }
        let deep = "[".repeat(100_000);
        let message = received(Publish::new("a", deep));
        assert!(message.decode::<serde_json::Value>(Encoding::Json).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_told_before_it_is_sent() {
        let by_pair = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = Publish::json("a", &by_pair).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value cannot be written as application/json"
        );
        assert!(Publish::cbor("a", &by_pair).is_ok());
    }
}
