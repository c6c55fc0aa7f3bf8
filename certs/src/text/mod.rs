//! Text that comes from outside or goes there: escaped for a line, octets as hexadecimal digits,
//! values as strings of JSON.

pub(crate) mod causes;
pub(crate) mod escape;
pub(crate) mod hex;
pub(crate) mod time;

/// Lets a type stand in JSON as the text that it shows and parses, and as no other.
macro_rules! as_json_text {
    ($type:ty, $parse:expr, $expected:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                $parse(&text)
                    .ok_or_else(|| serde::de::Error::custom(concat!("expected ", $expected)))
            }
        }
    };
}
pub(crate) use as_json_text;
