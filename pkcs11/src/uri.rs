//! Where a key is: `pkcs11:token=…;object=…?module-path=…&pin-source=…` (RFC 7512).
//!
//! What is not understood is refused, not skipped: a URI that says more than is looked at would
//! open another key than was meant. Every attribute is said once at most.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// Longer than any path of a module and a few names.
const URI_LEN_MAX: usize = 4096;

/// Which private key, in which token, through which module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUri {
    text: Box<str>,
    pub(crate) token: TokenWanted,
    pub(crate) object: Option<Box<str>>,
    pub(crate) id: Option<Box<[u8]>>,
    module_path: PathBuf,
    pin_source: Option<PathBuf>,
}

/// What is known of the token; what is not said fits every token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenWanted {
    pub(crate) label: Option<Box<str>>,
    pub(crate) manufacturer: Option<Box<str>>,
    pub(crate) model: Option<Box<str>>,
    pub(crate) serial: Option<Box<str>>,
}

impl KeyUri {
    /// Reads a URI that names one private key.
    ///
    /// # Errors
    /// [`InvalidUri`] names the attribute that is to blame.
    pub fn parse(text: &str) -> Result<Self, InvalidUri> {
        if text.len() > URI_LEN_MAX {
            return Err(InvalidUri::TooLong(text.len()));
        }
        let rest = text.strip_prefix("pkcs11:").ok_or(InvalidUri::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            text: text.into(),
            ..Self::default()
        };
        let mut seen = Vec::new();
        for (part, place) in
            attributes(path, ';', Place::Path).chain(attributes(query, '&', Place::Query))
        {
            let (name, value) = part
                .split_once('=')
                .ok_or(InvalidUri::NoValue(part.into()))?;
            if seen.contains(&name) {
                return Err(InvalidUri::Twice(name.into()));
            }
            seen.push(name);
            uri.set((place, name), &decoded((place, name), value)?)?;
        }
        if uri.module_path.as_os_str().is_empty() {
            return Err(InvalidUri::Missing("module-path"));
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err(InvalidUri::Missing("object"));
        }
        Ok(uri)
    }

    fn set(&mut self, (place, name): (Place, &str), value: &[u8]) -> Result<(), InvalidUri> {
        let text = || text_of(name, value);
        let path = || absolute(name, &text_of(name, value)?);
        match (place, name) {
            (Place::Path, "token") => self.token.label = Some(text()?),
            (Place::Path, "manufacturer") => self.token.manufacturer = Some(text()?),
            (Place::Path, "model") => self.token.model = Some(text()?),
            (Place::Path, "serial") => self.token.serial = Some(text()?),
            (Place::Path, "object") => self.object = Some(text()?),
            (Place::Path, "id") => self.id = Some(value.into()),
            (Place::Path, "type") if value == b"private" => {}
            (Place::Path, "type") => return Err(InvalidUri::Type),
            (Place::Query, "module-path") => self.module_path = path()?,
            (Place::Query, "pin-source") => self.pin_source = Some(path()?),
            (Place::Query, "pin-value") => return Err(InvalidUri::PinValue),
            (Place::Path | Place::Query, _) => return Err(InvalidUri::Unknown(name.into())),
        }
        Ok(())
    }

    /// The library through which the token is spoken to.
    pub fn module_path(&self) -> &Path {
        &self.module_path
    }

    /// The file with the PIN, if one is named.
    pub fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    /// The URI as it was read. There is nothing secret in it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key in words.
    pub(crate) fn key_words(&self) -> String {
        let id = self.id.iter().map(|id| format!("of id {}", hex(id)));
        let label = self.object.iter().map(|label| format!("{label:?}"));
        label.chain(id).collect::<Vec<_>>().join(" ")
    }
}

impl FromStr for KeyUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        Self::parse(text)
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TokenWanted {
    /// Its attributes as they are called in a URI.
    pub(crate) fn attributes(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("token", self.label.as_deref()),
            ("manufacturer", self.manufacturer.as_deref()),
            ("model", self.model.as_deref()),
            ("serial", self.serial.as_deref()),
        ]
    }
}

impl fmt::Display for TokenWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.attributes().into_iter();
        let said: Vec<_> = said
            .filter_map(|(name, value)| Some(format!("{name}={:?}", value?)))
            .collect();
        if said.is_empty() {
            return f.write_str("of any name");
        }
        f.write_str(&said.join(" "))
    }
}

/// In which half of a URI an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
}

fn attributes(half: &str, separator: char, place: Place) -> impl Iterator<Item = (&str, Place)> {
    let parts = half.split(separator).filter(move |_| !half.is_empty());
    parts.map(move |part| (part, place))
}

/// The octets of a value, which are not empty (RFC 7512 §2.3: `pk11-pchar` and `pk11-qchar`).
fn decoded((place, name): (Place, &str), value: &str) -> Result<Vec<u8>, InvalidUri> {
    let bad = || InvalidUri::Encoding(name.into());
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
        octets.push(match octet {
            b'%' => {
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let octet = high.zip(low).map(|(high, low)| high * 16 + low);
                octet.and_then(|it| u8::try_from(it).ok()).ok_or_else(bad)?
            }
            octet if is_plain(octet, place) => octet,
            _ => return Err(bad()),
        });
    }
    if octets.is_empty() {
        return Err(InvalidUri::Empty(name.into()));
    }
    Ok(octets)
}

fn is_plain(octet: u8, place: Place) -> bool {
    let more: &[u8] = match place {
        Place::Path => b"&",
        Place::Query => b"/?|",
    };
    octet.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&octet) || more.contains(&octet)
}

fn text_of(name: &str, value: &[u8]) -> Result<Box<str>, InvalidUri> {
    let text = str::from_utf8(value).ok().filter(|it| !it.contains('\0'));
    Ok(text
        .ok_or_else(|| InvalidUri::Encoding(name.into()))?
        .into())
}

/// A path, as it is or as a `file:` URI. A program (`|…`) is not run.
fn absolute(name: &str, value: &str) -> Result<PathBuf, InvalidUri> {
    let path = value.strip_prefix("file:").unwrap_or(value);
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = Path::new(path);
    if path.is_absolute() {
        Ok(path.into())
    } else {
        Err(InvalidUri::NotAPath(name.into()))
    }
}

fn hex(octets: &[u8]) -> String {
    let digits = octets.iter().map(|octet| format!("{octet:02x}"));
    digits.collect::<Vec<_>>().concat()
}

/// Why a text does not name a private key in a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidUri {
    /// It does not begin with `pkcs11:`.
    #[error("it does not begin with pkcs11:")]
    Scheme,
    /// It is longer than any that makes sense.
    #[error("it has {0} characters, at most {URI_LEN_MAX} are read")]
    TooLong(usize),
    /// A part of it is not `name=value`.
    #[error("{0:?} is not NAME=VALUE")]
    NoValue(Box<str>),
    /// An attribute is said twice.
    #[error("{0} is said twice")]
    Twice(Box<str>),
    /// An attribute is not one of those that are looked at here.
    #[error(
        "{0} is not understood here; there are token, manufacturer, model, serial, object, id and \
         type before the question mark, and module-path and pin-source after it"
    )]
    Unknown(Box<str>),
    /// The value of an attribute is empty.
    #[error("{0} is empty")]
    Empty(Box<str>),
    /// A value has characters that must be percent-encoded, or is not text.
    #[error("{0} is not text in which all but letters, digits and a few signs are written as %XX")]
    Encoding(Box<str>),
    /// A needed attribute is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// What should be an absolute path is none.
    #[error("{0} is not an absolute path")]
    NotAPath(Box<str>),
    /// It names something else than a private key.
    #[error("type is not private: the key to sign with is meant")]
    Type,
    /// It contains a PIN.
    #[error("pin-value is refused: a PIN stands in no URI; name a file with pin-source")]
    PinValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7512_the_attributes_of_a_uri_are_read() {
        let text = "pkcs11:token=The%20token;manufacturer=Acme&Co;model=T1;serial=0a1b;\
                    object=device%2fca;id=%01%ffz;type=private\
                    ?module-path=/usr/lib/p11.so&pin-source=file:/run/pin%3f";
        let uri = KeyUri::parse(text).unwrap();
        let token = TokenWanted {
            label: Some("The token".into()),
            manufacturer: Some("Acme&Co".into()),
            model: Some("T1".into()),
            serial: Some("0a1b".into()),
        };
        assert_eq!(uri.token, token);
        assert_eq!(uri.object.as_deref(), Some("device/ca"));
        assert_eq!(uri.id.as_deref(), Some(&b"\x01\xffz"[..]));
        assert_eq!(uri.module_path(), Path::new("/usr/lib/p11.so"));
        assert_eq!(uri.pin_source(), Some(Path::new("/run/pin?")));
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.key_words(), "\"device/ca\" of id 01ff7a");
        let url = KeyUri::parse("pkcs11:id=%00?module-path=file:///p11.so").unwrap();
        assert_eq!(url.module_path(), Path::new("/p11.so"));
        assert_eq!(url.pin_source(), None);
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_said_by_attribute() {
        // `M` is a good module-path.
        for (text, expected) in [
            ("", "it does not begin with pkcs11:"),
            ("PKCS11:object=a?M", "it does not begin with pkcs11:"),
            ("pkcs11:?M", "object is missing"),
            ("pkcs11:token=a?M", "object is missing"),
            ("pkcs11:object=a", "module-path is missing"),
            ("pkcs11:object=a;?M", "\"\" is not NAME=VALUE"),
            ("pkcs11:object?M", "\"object\" is not NAME=VALUE"),
            ("pkcs11:object=?M", "object is empty"),
            ("pkcs11:id=?M", "id is empty"),
            ("pkcs11:object=a;object=a?M", "object is said twice"),
            ("pkcs11:object=a?M&M", "module-path is said twice"),
            ("pkcs11:object=a;slot-id=1?M", "slot-id is not understood"),
            ("pkcs11:object=a;x-own=1?M", "x-own is not understood"),
            ("pkcs11:object=a;M", "module-path is not text"),
            (
                "pkcs11:object=a;pin-source=a?M",
                "pin-source is not understood",
            ),
            (
                "pkcs11:object=a?M&module-name=a",
                "module-name is not understood",
            ),
            ("pkcs11:object=a b?M", "object is not text"),
            ("pkcs11:object=ä?M", "object is not text"),
            ("pkcs11:object=a%2?M", "object is not text"),
            ("pkcs11:object=a%+2?M", "object is not text"),
            ("pkcs11:object=%ff?M", "object is not text"),
            ("pkcs11:object=%00?M", "object is not text"),
            ("pkcs11:object=a;type=public?M", "type is not private"),
            (
                "pkcs11:object=a?module-path=p",
                "module-path is not an absolute",
            ),
            (
                "pkcs11:object=a?M&pin-source=|a",
                "pin-source is not an absolute",
            ),
            ("pkcs11:object=a?M&pin-value=1", "pin-value is refused"),
        ] {
            let text = text.replace('M', "module-path=/p11.so");
            let refused = KeyUri::parse(&text).unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{text}: {refused}");
        }
        let long = format!("pkcs11:object={}", "a".repeat(URI_LEN_MAX));
        assert!(matches!(KeyUri::parse(&long), Err(InvalidUri::TooLong(_))));
    }
}
