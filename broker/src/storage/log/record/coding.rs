//! Numbers and byte strings as the log writes them.
//!
//! A number has one form only, the shortest, and a reader never runs off the end of what it was
//! given: the same bytes mean the same records on every machine.

use protocol::Text;
use protocol::packet::QoS;

/// These bytes have no meaning in this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(in crate::storage) &'static str);

/// Seven bits a byte, the lowest first; the top bit says that more follow.
pub(in crate::storage) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        // Seven bits always fit.
        let low = u8::try_from(number & 0x7F).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// What an entry begins with: its tag and its numbers.
pub(in crate::storage) fn write_head(tag: u8, numbers: &[u64], out: &mut Vec<u8>) {
    out.push(tag);
    for number in numbers {
        write_number(*number, out);
    }
}

/// A length and as many bytes.
pub(in crate::storage) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes apart what was written.
pub(in crate::storage) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::storage) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(in crate::storage) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(in crate::storage) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(in crate::storage) fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(len..).ok_or(SHORT)?;
        Ok(())
    }

    pub(in crate::storage) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(in crate::storage) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let is_last = byte & 0x80 == 0;
            if bits << shift >> shift != bits || (is_last && bits == 0 && shift > 0) {
                break;
            }
            number |= bits << shift;
            if is_last {
                return Ok(number);
            }
        }
        Err(Malformed("a number is not in its shortest form"))
    }

    /// A number that is smaller than most.
    pub(in crate::storage) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| Malformed("a number is out of its range"))
    }

    pub(in crate::storage) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.small()?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(in crate::storage) fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(in crate::storage) fn text(&mut self) -> Result<Text, Malformed> {
        text_of(self.str()?)
    }

    /// A byte of flags of which no others than `known` may be set.
    pub(in crate::storage) fn flags(&mut self, known: u8) -> Result<Flags, Malformed> {
        match self.byte()? {
            bits if bits & !known == 0 => Ok(Flags(bits)),
            _ => Err(Malformed("a flag is set that means nothing")),
        }
    }
}

pub(in crate::storage) fn text_of(text: &str) -> Result<Text, Malformed> {
    Text::parse(text).map_err(|_| Malformed("a text is none of MQTT"))
}

/// A byte of flags, the lowest two bits of which may be a QoS.
#[derive(Clone, Copy)]
pub(in crate::storage) struct Flags(u8);

impl Flags {
    pub(in crate::storage) const QOS: u8 = 0b11;

    /// The byte with these bits and those flags that are set.
    pub(in crate::storage) fn byte(bits: u8, flags: &[(u8, bool)]) -> u8 {
        let set = flags.iter().filter(|(_, is_set)| *is_set);
        set.fold(bits, |byte, (flag, _)| byte | flag)
    }

    pub(in crate::storage) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(in crate::storage) fn qos(self) -> Result<QoS, Malformed> {
        QoS::from_bits(self.0 & Self::QOS).ok_or(Malformed("there is no QoS 3"))
    }

    /// Reads what is there only where the flag is set.
    pub(in crate::storage) fn optional<'a, T>(
        self,
        flag: u8,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.has(flag) {
            read(reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

pub(in crate::storage) const SHORT: Malformed = Malformed("it ends too early");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_form() {
        let cases: &[(u64, &[u8])] = &[
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (300, &[0xAC, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ];
        for (number, bytes) in cases {
            let mut written = Vec::new();
            write_number(*number, &mut written);
            assert_eq!(written, *bytes);
            assert_eq!(Reader::new(bytes).number(), Ok(*number));
        }
        let others: &[&[u8]] = &[
            &[],
            &[0x80],
            &[0x80, 0],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            &[128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1],
        ];
        for bytes in others {
            assert!(Reader::new(bytes).number().is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, bytes: Vec<u8>) {
            let mut written = Vec::new();
            write_number(number, &mut written);
            write_bytes(&bytes, &mut written);
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.bytes(), Ok(&*bytes));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn what_is_not_ours_is_refused_or_read_but_never_runs_off(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.number().is_ok() {}
            let _ = Reader::new(&bytes).text();
        }
    }
}
