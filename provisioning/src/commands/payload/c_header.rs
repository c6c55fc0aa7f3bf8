//! A header in C99, for firmware that is built with the identity of one device, as with ESP-IDF.
//!
//! PEM, each with the zero octet at its end that mbed TLS wants to be counted: `sizeof` counts it.

use std::fmt::Write as _;

use super::Payload;

impl Payload<'_> {
    /// The header, whole.
    pub(crate) fn c_header(&self) -> String {
        let certificate = self.recorded.certificate();
        let mut text = String::from(BEGIN);
        let id = literal(self.recorded.name());
        let serial = literal(&certificate.serial.to_string());
        let not_after = certificate.not_after.as_secs();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "#define COUNTERSIGN_DEVICE_ID {id}\n\
             #define COUNTERSIGN_SERIAL {serial}\n\
             /* The last second of the certificate, in seconds since 1970. */\n\
             #define COUNTERSIGN_NOT_AFTER {not_after}LL\n"
        );
        let what = "The certificate, followed by that of its issuer.";
        write_pem(&mut text, what, ("certificate", &self.certificate));
        if let Some(key) = self.private_key {
            let what = "The private key: whoever reads it is this device.";
            write_pem(&mut text, what, ("private_key", key));
        }
        let what = "The authority by which brokers are known.";
        write_pem(&mut text, what, ("ca", &self.trusted));
        text.push_str("\n#endif\n");
        text
    }
}

const BEGIN: &str = "\
/* The identity of one device, made by Countersign. Include it in one file, and keep it secret. */
#ifndef COUNTERSIGN_DEVICE_H
#define COUNTERSIGN_DEVICE_H

";

fn write_pem(text: &mut String, what: &str, (name, pem): (&str, &str)) {
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\n/* {what} */\nstatic const char countersign_{name}_pem[] ="
    );
    for line in pem.split_inclusive('\n') {
        let _ = write!(text, "\n    {}", literal(line));
    }
    text.push_str(";\n");
}

/// A string literal of C99 with these octets (§6.4.5). Whatever could end it, begin an escape or a
/// trigraph (§5.2.1.1), or is not ASCII, is written in octal, which ends after three digits.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for octet in text.bytes() {
        match octet {
            b'\n' => literal.push_str("\\n"),
            b'"' | b'\\' | b'?' | 0..0x20 | 0x7f.. => {
                // Writing to a string does not fail.
                let _ = write!(literal, "\\{octet:03o}");
            }
            _ => literal.push(char::from(octet)),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c99_6_4_5_nothing_in_a_literal_ends_it_or_means_something_else() {
        for (text, expected) in [
            ("dev-1", r#""dev-1""#),
            ("a\"b", r#""a\042b""#),
            ("a\\b", r#""a\134b""#),
            ("??/", r#""\077\077/""#),
            ("a\n1", r#""a\n1""#),
            ("\u{1}2", r#""\0012""#),
            ("é", r#""\303\251""#),
            ("\0", r#""\000""#),
            ("*/", r#""*/""#),
        ] {
            assert_eq!(literal(text), expected);
        }
    }
}
