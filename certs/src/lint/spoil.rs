//! Certificates written field by field, so that a test can spoil any one of them.
//!
//! Nobody signed them: the linter verifies no signature.

use rcgen::{KeyPair, PublicKeyData};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

/// What a certificate is made of.
#[derive(Clone)]
pub(super) struct Draft {
    /// The number in the version field; `None` leaves it out, which means version 1.
    pub(super) version: Option<u8>,
    /// The octets of the integer.
    pub(super) serial: Vec<u8>,
    pub(super) inner_algorithm: &'static [u64],
    pub(super) outer_algorithm: &'static [u64],
    pub(super) issuer: Vec<Attribute>,
    pub(super) subject: Vec<Attribute>,
    /// The tag of each date, and its text.
    pub(super) dates: [(u64, &'static str); 2],
    pub(super) key: Vec<u8>,
    pub(super) subject_uid: bool,
    pub(super) extensions: Vec<Extension>,
    /// What follows the certificate.
    pub(super) rest: &'static [u8],
}

/// An attribute of a name: its type, the tag of its value, its value.
pub(super) type Attribute = (&'static [u64], u64, Vec<u8>);
/// An extension: its type, whether it is critical, its value.
pub(super) type Extension = (&'static [u64], bool, Vec<u8>);

pub(super) const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
pub(super) const UTF8: u64 = 12;
pub(super) const UTC: u64 = 23;

pub(super) const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
pub(super) const KEY_ID: &[u64] = &[2, 5, 29, 14];
pub(super) const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub(super) const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
pub(super) const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub(super) const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
pub(super) const ISSUER_KEY_ID: &[u64] = &[2, 5, 29, 35];

pub(super) const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// A good certificate of the device `dev-1`.
pub(super) fn device() -> Draft {
    let mut key = Vec::new();
    key.extend(KeyPair::generate().unwrap().subject_public_key_info());
    Draft {
        version: Some(2),
        serial: vec![0x55; 20],
        inner_algorithm: ECDSA_SHA256,
        outer_algorithm: ECDSA_SHA256,
        issuer: vec![name("Device CA 1")],
        subject: vec![name("dev-1")],
        dates: [(UTC, "270115000000Z"), (UTC, "270415000000Z")],
        key,
        subject_uid: false,
        extensions: vec![
            (ISSUER_KEY_ID, false, issuer_key_id()),
            (
                ALTERNATIVE_NAMES,
                false,
                uri("spiffe://fleet.example/device/dev-1"),
            ),
            (KEY_USAGE, true, key_usage(&[0])),
            (EXTENDED_KEY_USAGE, false, purposes(&[CLIENT_AUTH])),
            (
                KEY_ID,
                false,
                yasna::construct_der(|it| it.write_bytes(&[7; 20])),
            ),
            (BASIC_CONSTRAINTS, true, basic_constraints(None, None)),
        ],
        rest: &[],
    }
}

/// A good certificate of a device CA.
pub(super) fn device_ca() -> Draft {
    let mut draft = device();
    draft.issuer = vec![name("Root 1")];
    draft.subject = vec![name("Device CA 1")];
    draft.extensions.retain(|it| it.0 != ALTERNATIVE_NAMES);
    draft.set(KEY_USAGE, key_usage(&[5, 6]));
    draft.set(BASIC_CONSTRAINTS, basic_constraints(Some(true), Some(0)));
    draft
}

impl Draft {
    /// Says something else in an extension that is there.
    pub(super) fn set(&mut self, oid: &[u64], value: Vec<u8>) {
        self.extension(oid).2 = value;
    }

    pub(super) fn extension(&mut self, oid: &[u64]) -> &mut Extension {
        self.extensions.iter_mut().find(|it| it.0 == oid).unwrap()
    }

    pub(super) fn without(&mut self, oid: &[u64]) {
        self.extensions.retain(|it| it.0 != oid);
    }

    pub(super) fn add(&mut self, oid: &'static [u64], critical: bool, value: Vec<u8>) {
        self.extensions.push((oid, critical, value));
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let mut der = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                self.write_body(writer.next());
                write_algorithm(writer.next(), self.outer_algorithm);
                writer.next().write_bitvec_bytes(&[0x30, 0], 16);
            });
        });
        der.extend(self.rest);
        der
    }

    fn write_body(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            if let Some(version) = self.version {
                let tag = Tag::context(0);
                writer
                    .next()
                    .write_tagged(tag, |writer| writer.write_u8(version));
            }
            writer
                .next()
                .write_der(&[&[2, short_len(&self.serial)], &*self.serial].concat());
            write_algorithm(writer.next(), self.inner_algorithm);
            write_name(writer.next(), &self.issuer);
            writer.next().write_sequence(|writer| {
                for (tag, text) in self.dates {
                    let der = [
                        &[u8::try_from(tag).unwrap(), short_len(text.as_bytes())],
                        text.as_bytes(),
                    ];
                    writer.next().write_der(&der.concat());
                }
            });
            write_name(writer.next(), &self.subject);
            writer.next().write_der(&self.key);
            if self.subject_uid {
                let tag = Tag::context(2);
                writer
                    .next()
                    .write_tagged_implicit(tag, |it| it.write_bitvec_bytes(&[1], 8));
            }
            if !self.extensions.is_empty() {
                writer
                    .next()
                    .write_tagged(Tag::context(3), |it| self.write_extensions(it));
            }
        });
    }

    fn write_extensions(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            for (oid, critical, value) in &self.extensions {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                    if *critical {
                        writer.next().write_bool(true);
                    }
                    writer.next().write_bytes(value);
                });
            }
        });
    }
}

fn short_len(octets: &[u8]) -> u8 {
    assert!(octets.len() < 0x80);
    u8::try_from(octets.len()).unwrap()
}

fn write_algorithm(writer: DERWriter<'_>, oid: &[u64]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
    });
}

fn write_name(writer: DERWriter<'_>, name: &[Attribute]) {
    writer.write_sequence(|writer| {
        for (oid, tag, value) in name {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                    let tag = u8::try_from(*tag).unwrap();
                    let der = [&[tag, short_len(value)], &**value].concat();
                    writer.next().write_der(&der);
                });
            });
        }
    });
}

pub(super) fn name(text: &str) -> Attribute {
    (COMMON_NAME, UTF8, text.into())
}

/// Alternative names of one form, by the number of the form.
pub(super) fn alternative_name(form: u64, value: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            let tag = Tag::context(form);
            writer
                .next()
                .write_tagged_implicit(tag, |it| it.write_bytes(value));
        });
    })
}

pub(super) fn uri(text: &str) -> Vec<u8> {
    alternative_name(6, text.as_bytes())
}

pub(super) fn key_usage(bits: &[usize]) -> Vec<u8> {
    let mut octets = [0u8; 2];
    for bit in bits {
        octets[bit / 8] |= 0x80 >> (bit % 8);
    }
    let len = bits.iter().max().map_or(0, |last| last + 1);
    yasna::construct_der(|it| it.write_bitvec_bytes(&octets[..len.div_ceil(8)], len))
}

pub(super) fn purposes(oids: &[&[u64]]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for oid in oids {
                writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
            }
        });
    })
}

pub(super) fn basic_constraints(ca: Option<bool>, path_len: Option<u8>) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            if let Some(ca) = ca {
                writer.next().write_bool(ca);
            }
            if let Some(path_len) = path_len {
                writer.next().write_u8(path_len);
            }
        });
    })
}

pub(super) fn issuer_key_id() -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            let tag = Tag::context(0);
            writer
                .next()
                .write_tagged_implicit(tag, |it| it.write_bytes(&[9; 20]));
        });
    })
}
