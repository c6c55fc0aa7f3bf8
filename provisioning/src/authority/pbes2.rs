//! Encrypted private keys: PKCS #8 under PBES2 (RFC 8018 §6.2), as every OpenSSL since 1.1 reads;
//! and what else is encrypted in the same way.
//!
//! The key that encrypts is derived from a passphrase by PBKDF2 with HMAC-SHA-256, and encrypts by
//! AES-256-CBC. A passphrase is shown nowhere and wiped from memory when it is let go.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_256, AES_256_KEY_LEN, DecryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{pbkdf2, rand};
use pem::{EncodeConfig, LineEnding, Pem};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, BERReader, DERWriter};
use zeroize::Zeroizing;

/// The line by which a file is known.
const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What OWASP asks of PBKDF2 with HMAC-SHA-256: a third of a second for whoever has the passphrase,
/// and for whoever guesses each time again.
pub(crate) const ROUNDS: u32 = if cfg!(test) { 1_000 } else { 600_000 };
/// Nobody waits for more than this.
const ROUNDS_MAX: u32 = 10_000_000;

const SALT_LEN: usize = 16;

const PBES2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 12];
const HMAC_SHA256: &[u64] = &[1, 2, 840, 113_549, 2, 9];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];

/// What opens the keys of authorities. It is never an argument, and stands in no environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase; `None` when it is empty.
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        (!text.is_empty()).then_some(Self(text))
    }

    /// How many characters it has.
    pub fn characters(&self) -> usize {
        self.0.chars().count()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why an encrypted key was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// It is encrypted in another way, or not at all.
    Form,
    /// It was encrypted under another passphrase.
    Passphrase,
}

/// Whether the text is that of an encrypted key.
pub(super) fn is_encrypted(pem: &str) -> bool {
    pem.contains(&format!("-----BEGIN {LABEL}-----"))
}

/// What encrypts under a passphrase. Its key is derived once for all that it encrypts.
pub(crate) struct Sealer {
    salt: [u8; SALT_LEN],
    key: Zeroizing<[u8; AES_256_KEY_LEN]>,
}

/// What is encrypted.
pub(crate) struct Sealed {
    /// How: an `AlgorithmIdentifier` in DER.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) text: Vec<u8>,
}

impl Sealer {
    pub(crate) fn new(passphrase: &Passphrase) -> Result<Self, Unspecified> {
        let mut salt = [0; SALT_LEN];
        rand::fill(&mut salt)?;
        let key = derive(passphrase, &salt, ROUNDS)?;
        Ok(Self { salt, key })
    }

    pub(crate) fn seal(&self, octets: &[u8]) -> Result<Sealed, Unspecified> {
        let key = UnboundCipherKey::new(&AES_256, &*self.key)?;
        let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(key)?;
        let mut text = octets.to_vec();
        let DecryptionContext::Iv128(iv) = cipher.encrypt(&mut text)? else {
            return Err(Unspecified);
        };
        let algorithm = yasna::construct_der(|writer| {
            write_algorithm(writer, &self.salt, iv.as_ref());
        });
        Ok(Sealed { algorithm, text })
    }
}

impl Sealed {
    /// As an `EncryptedPrivateKeyInfo` (RFC 5958 §3).
    pub(crate) fn to_der(&self) -> Vec<u8> {
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&self.algorithm);
                writer.next().write_bytes(&self.text);
            });
        })
    }
}

/// Encrypts a key (PKCS #8, DER).
pub(super) fn encrypt(key: &[u8], passphrase: &Passphrase) -> Result<String, Unspecified> {
    let der = Sealer::new(passphrase)?.seal(key)?.to_der();
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    Ok(pem::encode_config(&Pem::new(LABEL, der), lines))
}

/// Opens a key, whose own form is not looked at: a wrong passphrase is found out here in 255 of 256
/// cases, and by whoever reads the key in the others.
pub(super) fn decrypt(
    text: &str,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
    let pem = pem::parse(text).map_err(|_| NotOpened::Form)?;
    if pem.tag() != LABEL {
        return Err(NotOpened::Form);
    }
    let Encrypted {
        salt,
        rounds,
        iv,
        text,
    } = yasna::parse_der(pem.contents(), read).map_err(|_| NotOpened::Form)?;
    let iv: [u8; 16] = iv.try_into().map_err(|_| NotOpened::Form)?;
    let mut text = Zeroizing::new(text);
    let open = || {
        let key = UnboundCipherKey::new(&AES_256, &*derive(passphrase, &salt, rounds)?)?;
        let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(key)?;
        let context = DecryptionContext::Iv128(FixedLength::from(&iv));
        Ok::<_, Unspecified>(cipher.decrypt(&mut text, context)?.to_vec())
    };
    let mut open = open;
    open()
        .map(Zeroizing::new)
        .map_err(|_| NotOpened::Passphrase)
}

fn derive(
    passphrase: &Passphrase,
    salt: &[u8],
    rounds: u32,
) -> Result<Zeroizing<[u8; AES_256_KEY_LEN]>, Unspecified> {
    let rounds = NonZeroU32::new(rounds).ok_or(Unspecified)?;
    let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
    let secret = passphrase.0.as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, secret, &mut *key);
    Ok(key)
}

/// What stands in an `EncryptedPrivateKeyInfo` (RFC 5958 §3) of our form.
struct Encrypted {
    salt: Vec<u8>,
    rounds: u32,
    iv: Vec<u8>,
    text: Vec<u8>,
}

fn write_algorithm(writer: DERWriter<'_>, salt: &[u8], iv: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(PBES2));
        writer.next().write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(PBKDF2));
                writer.next().write_sequence(|writer| {
                    writer.next().write_bytes(salt);
                    writer.next().write_u32(ROUNDS);
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(HMAC_SHA256));
                        writer.next().write_null();
                    });
                });
            });
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(AES_256_CBC));
                writer.next().write_bytes(iv);
            });
        });
    });
}

fn read(reader: BERReader<'_, '_>) -> ASN1Result<Encrypted> {
    reader.read_sequence(|reader| {
        let (salt, rounds, iv) = reader.next().read_sequence(|reader| {
            expect(reader.next(), PBES2)?;
            reader.next().read_sequence(|reader| {
                let (salt, rounds) = reader.next().read_sequence(|reader| {
                    expect(reader.next(), PBKDF2)?;
                    reader.next().read_sequence(|reader| {
                        let salt = reader.next().read_bytes()?;
                        let rounds = reader.next().read_u32()?;
                        // The length of the key, which the cipher says too.
                        reader.read_optional(|reader| -> ASN1Result<u32> { reader.read_u32() })?;
                        reader.next().read_sequence(|reader| {
                            expect(reader.next(), HMAC_SHA256)?;
                            reader.next().read_null()
                        })?;
                        Ok((salt, rounds))
                    })
                })?;
                let iv = reader.next().read_sequence(|reader| {
                    expect(reader.next(), AES_256_CBC)?;
                    reader.next().read_bytes()
                })?;
                Ok((salt, rounds, iv))
            })
        })?;
        let text = reader.next().read_bytes()?;
        if rounds > ROUNDS_MAX {
            return Err(yasna::ASN1Error::new(yasna::ASN1ErrorKind::IntegerOverflow));
        }
        Ok(Encrypted {
            salt,
            rounds,
            iv,
            text,
        })
    })
}

fn expect(reader: BERReader<'_, '_>, components: &[u64]) -> ASN1Result<()> {
    if reader.read_oid()? == oid(components) {
        Ok(())
    } else {
        Err(yasna::ASN1Error::new(yasna::ASN1ErrorKind::Invalid))
    }
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_key_opens_under_its_passphrase_and_under_no_other() {
        let key = b"not really a key, but as long as one".as_slice();
        let pem = encrypt(key, &passphrase("right")).unwrap();
        assert!(is_encrypted(&pem));
        assert_eq!(decrypt(&pem, &passphrase("right")).unwrap()[..], *key);
        // In one case of 256 the padding is good by chance.
        let other = decrypt(&pem, &passphrase("wrong"));
        assert!(
            other.is_ok_and(|found| found[..] != *key)
                || decrypt(&pem, &passphrase("wrong")) == Err(NotOpened::Passphrase)
        );
        assert_ne!(pem, encrypt(key, &passphrase("right")).unwrap());
    }

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc
    /// -pass pass:secret`.
    const OF_OPENSSL: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhHOzCW5JRFqAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEF8kx8bojbpL86IBwAWl22QEgZAp
BTtC6y+Ha4CXONWAgHA0NqpMwvJyRnsU18KFakRBMrFHIMqWvvikU5fQjl6sZvDl
8iqvcZP6FbfrEnvUfgptQyCIN0ZS05kV/H0sbsc0iHFDDR149sqPQNBSpx7v8roo
eAIf5z/zTsq5Yl1IB9S7lWpDfeb34w7KteRBKM5VHNIfP8qLsfQ8lwbAnlKp78c=
-----END ENCRYPTED PRIVATE KEY-----
";

    #[test]
    fn what_openssl_encrypted_opens() {
        let key = decrypt(OF_OPENSSL, &passphrase("secret")).unwrap();
        assert!(rcgen::KeyPair::try_from(&key[..]).is_ok());
    }

    #[test]
    fn what_is_encrypted_otherwise_or_cut_does_not_open() {
        let pem = encrypt(b"a key", &passphrase("right")).unwrap();
        let cut = pem::parse(&pem).unwrap().into_contents();
        for len in 0..cut.len() {
            let text = pem::encode(&Pem::new(LABEL, &cut[..len]));
            let opened = decrypt(&text, &passphrase("right"));
            assert_eq!(opened.unwrap_err(), NotOpened::Form, "cut at {len}");
        }
        for text in [
            "",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            OF_OPENSSL.replace("ENCRYPTED ", "").as_str(),
        ] {
            let opened = decrypt(text, &passphrase("right"));
            assert_eq!(opened.unwrap_err(), NotOpened::Form);
        }
    }

    #[test]
    fn a_passphrase_is_shown_nowhere() {
        assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase");
        assert!(Passphrase::new(String::new()).is_none());
    }
}
