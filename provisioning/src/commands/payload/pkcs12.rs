//! A PKCS #12 file (RFC 7292): the certificates and the private key of a device, under a password.
//!
//! Certificates and key are encrypted under PBES2 with AES-256-CBC, and all of it is authenticated
//! by HMAC-SHA-256, as OpenSSL 1.1, Java 8u301 and Windows 10 read it, and what is newer.

use aws_lc_rs::digest::{self, Context};
use aws_lc_rs::{hmac, rand};
use rustls_pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der};
use zeroize::Zeroizing;

use crate::authority::Passphrase;
use crate::authority::pbes2::{ROUNDS, Sealer};
use crate::error::CommandError;

const SALT_LEN: usize = 16;

/// What SHA-256 yields, and what it takes at once.
const HASH_LEN: usize = 32;
const BLOCK_LEN: usize = 64;

/// What the derived octets are for (RFC 7292 appendix B.3): a MAC.
const FOR_MAC: u8 = 3;

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 6];
const KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113_549, 1, 9, 21];
const SHA_256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];

/// What writes files under one password. What is derived from it takes half a second, and is so
/// once: who finds the password of one file has that of all in any case.
pub(crate) struct Pkcs12 {
    sealer: Sealer,
    salt: [u8; SALT_LEN],
    mac: hmac::Key,
}

/// Whose file it is, and what is in it.
pub(super) struct Contents<'a> {
    /// What it is called where several are kept.
    pub(super) name: &'a str,
    /// Its certificate, and those above it up to the root.
    pub(super) chain: &'a [CertificateDer<'a>],
    /// The private key (PKCS #8).
    pub(super) key: &'a [u8],
}

impl Pkcs12 {
    pub(crate) fn new(password: &Passphrase) -> Result<Self, CommandError> {
        let mut salt = [0; SALT_LEN];
        rand::fill(&mut salt).map_err(|_| CommandError::NoRandomness)?;
        let key = mac_key(password.as_str(), &salt, ROUNDS);
        Ok(Self {
            sealer: Sealer::new(password).map_err(|_| CommandError::Encryption)?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            salt,
        })
    }

    pub(super) fn file(&self, contents: &Contents<'_>) -> Result<Vec<u8>, CommandError> {
        let safe = self.safe(contents)?;
        let tag = hmac::sign(&self.mac, &safe);
        Ok(construct_der(|writer| {
            writer.write_sequence(|pfx| {
                pfx.next().write_u8(3);
                content(pfx.next(), DATA, |writer| writer.write_bytes(&safe));
                pfx.next().write_sequence(|mac_data| {
                    mac_data.next().write_sequence(|digest| {
                        digest.next().write_sequence(|algorithm| {
                            algorithm.next().write_oid(&oid(SHA_256));
                            algorithm.next().write_null();
                        });
                        digest.next().write_bytes(tag.as_ref());
                    });
                    mac_data.next().write_bytes(&self.salt);
                    mac_data.next().write_u32(ROUNDS);
                });
            });
        }))
    }

    /// What is authenticated: the certificates, encrypted together, and the key, by itself.
    fn safe(&self, contents: &Contents<'_>) -> Result<Vec<u8>, CommandError> {
        let seal = |octets: &[u8]| {
            let sealed = self.sealer.seal(octets);
            sealed.map_err(|_| CommandError::Encryption)
        };
        let certificates = seal(&certificates(contents))?;
        let key = seal(contents.key)?;
        let key = construct_der(|writer| {
            writer.write_sequence(|bags| {
                bag(bags, (KEY_BAG, Some(contents)), |writer| {
                    writer.write_der(&key.to_der());
                });
            });
        });
        Ok(construct_der(|writer| {
            writer.write_sequence(|safe| {
                content(safe.next(), ENCRYPTED_DATA, |writer| {
                    writer.write_sequence(|encrypted| {
                        encrypted.next().write_u8(0);
                        encrypted.next().write_sequence(|info| {
                            info.next().write_oid(&oid(DATA));
                            info.next().write_der(&certificates.algorithm);
                            info.next()
                                .write_tagged_implicit(Tag::context(0), |writer| {
                                    writer.write_bytes(&certificates.text);
                                });
                        });
                    });
                });
                content(safe.next(), DATA, |writer| writer.write_bytes(&key));
            });
        }))
    }
}

fn certificates(contents: &Contents<'_>) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|bags| {
            for (place, certificate) in contents.chain.iter().enumerate() {
                // Only its own is the one of the key.
                let whose = (place == 0).then_some(contents);
                bag(bags, (CERTIFICATE_BAG, whose), |writer| {
                    writer.write_sequence(|bag| {
                        bag.next().write_oid(&oid(X509_CERTIFICATE));
                        bag.next().write_tagged(Tag::context(0), |writer| {
                            writer.write_bytes(certificate);
                        });
                    });
                });
            }
        });
    })
}

/// `ContentInfo`.
fn content(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|info| {
        info.next().write_oid(&oid(kind));
        info.next().write_tagged(Tag::context(0), value);
    });
}

/// `SafeBag`, with the attributes by which readers find a certificate and its key together.
fn bag(
    bags: &mut DERWriterSeq<'_>,
    (kind, whose): (&[u64], Option<&Contents<'_>>),
    value: impl FnOnce(DERWriter<'_>),
) {
    bags.next().write_sequence(|bag| {
        bag.next().write_oid(&oid(kind));
        bag.next().write_tagged(Tag::context(0), value);
        let Some(Contents { name, chain, .. }) = whose else {
            return;
        };
        let key_id = certs::sha256(chain.first().map_or(&[], AsRef::as_ref));
        bag.next().write_set_of(|attributes| {
            attribute(attributes.next(), FRIENDLY_NAME, |writer| {
                writer.write_bmp_string(name);
            });
            attribute(attributes.next(), LOCAL_KEY_ID, |writer| {
                writer.write_bytes(&key_id);
            });
        });
    });
}

fn attribute(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|attribute| {
        attribute.next().write_oid(&oid(kind));
        attribute.next().write_set_of(|values| value(values.next()));
    });
}

/// The key of the MAC (RFC 7292 appendix B.2, of which it takes one block).
fn mac_key(password: &str, salt: &[u8], rounds: u32) -> Zeroizing<[u8; HASH_LEN]> {
    // UTF-16, with a zero at its end (appendix B.1).
    let units = password.encode_utf16().chain([0]);
    let password = Zeroizing::new(units.flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    let mut context = Context::new(&digest::SHA256);
    context.update(&[FOR_MAC; BLOCK_LEN]);
    for text in [salt, &password] {
        let len = text.len().next_multiple_of(BLOCK_LEN);
        let repeated = text.iter().copied().cycle().take(len);
        context.update(&Zeroizing::new(repeated.collect::<Vec<_>>()));
    }
    let mut hash = context.finish();
    for _ in 1..rounds {
        hash = digest::digest(&digest::SHA256, hash.as_ref());
    }
    let mut key = Zeroizing::new([0; HASH_LEN]);
    key.copy_from_slice(hash.as_ref());
    key
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexpass:007300650063007200650074
    /// 0000 -kdfopt hexsalt:0102030405060708 -kdfopt iter:2048 -kdfopt id:3 PKCS12KDF`.
    #[test]
    fn rfc_7292_b_2_the_key_of_the_mac_is_that_of_openssl() {
        let key = mac_key("secret", &[1, 2, 3, 4, 5, 6, 7, 8], 2048);
        assert_eq!(certs::Hex(&*key).to_string(), OF_OPENSSL);
    }

    const OF_OPENSSL: &str = "f5482fd03f702689b4e96cbbea867c6b16e5bda934929f2ecaf4da9e1c67be8f";
}
