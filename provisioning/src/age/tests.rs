//! Files of other programs are opened, and no file that was touched is.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const CHUNK: usize = 64 * 1024;
const SEALED: usize = CHUNK + 16;

/// As `age-keygen` writes it; made for this test, by another program.
const IDENTITY: &str = "\
# created: 2026-11-22T16:12:00Z
# public key: age1lfeyj6zs2dhjc5c0crqpatjxv3phxswx44fq5ae9c0aaxcv5m3tsxtj7el
AGE-SECRET-KEY-1GNSTY0CC68R8WHRR7NLMAA0RUCCNSVRKSRTNP2ZCVV5WT24RQRYQW27PTJ
";
const RECIPIENT: &str = "age1lfeyj6zs2dhjc5c0crqpatjxv3phxswx44fq5ae9c0aaxcv5m3tsxtj7el";

/// Two files that rage has written, with the text `from elsewhere`: to the recipient, with a stanza
/// that nobody knows, and to the passphrase `correct horse`.
const TO_RECIPIENT: &str = "\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSA0OE56ZzE3NFdmblc3dnNta1B5ekl3U2Q2QVNvVUJKaGFXVyt6dHA0\
TFZVCloySnQ1ZnhHNHRHaTBwb2dVeDBzN2lYaCtYTVU5VWM1U2hvNzdPNnhaWWcKLT4gK3hfJzZXJmUtZ3JlYXNlIFxXIG03\
N2ggdmQlVC46P0YgdFFgNypECnU0bWR5a0d4cFgrc0NJZnoxdndhZ3RHdVVFSEdVeFI5WjZvelY2RWtZZ1NNZHNCV0dEQlFw\
anNFWENGeHZYYwotLS0gb3I4dlh3ZkVpNWYvMUdHdGxseHFzV2hmSWMrZUQxVmpBa3VBS1MxMDQrYwoFkUJkotZsW4aCHNB8\
QJY1YNQcWkIIgZCbkcZvWlWVTqh58kRwqFrRSIxcbTnE";
const TO_PASSPHRASE: &str = "\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBMZmNwaFlUWGlvTzBqaVBqdWw4WjFBIDE5ClRHWVMzMENjcmlveHJZ\
d29uTnZ4dXNNdnNoQUhTVGt1MjVPeXlld0Nqd2cKLS0tIEQwVmNtbjUrcDV5WFBjSmE4UXdrMUE5RDlkRHNDczFPZHFTTG4w\
dk8rc1EKLE7yuf4po0zT0HHGZEKmYlJ06hjbdipC2kQFn9GCncmkO/6PCmPB6Ydl6cICCQ==";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn opened(file: &[u8], with: DecryptWith<'_>) -> Result<Vec<u8>, AgeError> {
    let mut text = Vec::new();
    decrypt(file, with)?.read_to_end(&mut text)?;
    Ok(text)
}

fn encrypted(text: &[u8], to: EncryptTo<'_>) -> Vec<u8> {
    let mut file = encrypt(Vec::new(), to).unwrap();
    file.write_all(text).unwrap();
    file.finish().unwrap()
}

#[test]
fn files_of_another_program_are_opened() {
    let identities = Identity::read_all(IDENTITY).unwrap();
    let file = STANDARD.decode(TO_RECIPIENT).unwrap();
    let text = opened(&file, DecryptWith::Identities(&identities)).unwrap();
    assert_eq!(text, b"from elsewhere");
    let file = STANDARD.decode(TO_PASSPHRASE).unwrap();
    let text = opened(&file, DecryptWith::Passphrase(&passphrase("correct horse"))).unwrap();
    assert_eq!(text, b"from elsewhere");
}

#[test]
fn a_text_of_any_length_comes_back() {
    let recipients = [RECIPIENT.parse().unwrap()];
    let identities = Identity::read_all(IDENTITY).unwrap();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
        let text: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let file = encrypted(&text, EncryptTo::Recipients(&recipients));
        let back = opened(&file, DecryptWith::Identities(&identities)).unwrap();
        assert_eq!(back, text, "{len}");
    }
    let secret = passphrase("ours");
    let file = encrypted(b"text", EncryptTo::Passphrase(&secret));
    assert_eq!(
        opened(&file, DecryptWith::Passphrase(&secret)).unwrap(),
        b"text"
    );
}

#[test]
fn a_file_that_was_cut_or_changed_anywhere_is_not_opened_whole() {
    let recipients = [RECIPIENT.parse().unwrap()];
    let identities = Identity::read_all(IDENTITY).unwrap();
    let with = DecryptWith::Identities(&identities);
    let file = encrypted(b"text", EncryptTo::Recipients(&recipients));
    for place in 0..file.len() {
        assert!(opened(&file[..place], with).is_err(), "cut at {place}");
        let mut changed = file.clone();
        changed[place] ^= 1;
        assert!(opened(&changed, with).is_err(), "changed at {place}");
    }
    assert!(opened(&[&*file, &[0]].concat(), with).is_err());
}

#[test]
fn chunks_that_are_left_out_doubled_or_exchanged_are_found() {
    let recipients = [RECIPIENT.parse().unwrap()];
    let identities = Identity::read_all(IDENTITY).unwrap();
    let file = encrypted(&vec![7; 3 * CHUNK], EncryptTo::Recipients(&recipients));
    let (head, chunks) = file.split_at(file.len() - 3 * SEALED);
    let [one, two, three] = [0, 1, 2].map(|n| &chunks[n * SEALED..][..SEALED]);
    let open = |chunks: &[&[u8]]| {
        opened(
            &[head, &chunks.concat()].concat(),
            DecryptWith::Identities(&identities),
        )
    };
    assert_eq!(open(&[one, two, three]).unwrap().len(), 3 * 64 * 1024);
    for wrong in [
        &[one, two][..],
        &[one, three],
        &[two, one, three],
        &[one, two, two, three],
    ] {
        assert!(matches!(open(wrong), Err(AgeError::Io(_))));
    }
}

#[test]
fn who_is_not_meant_does_not_open_it_and_hears_why() {
    let identities = Identity::read_all(IDENTITY).unwrap();
    let (ours, theirs) = (passphrase("ours"), passphrase("theirs"));
    let file = encrypted(b"text", EncryptTo::Passphrase(&ours));
    for with in [
        DecryptWith::Passphrase(&theirs),
        DecryptWith::Identities(&identities),
    ] {
        assert!(matches!(opened(&file, with), Err(AgeError::NotForUs)));
    }
    assert!(matches!(
        opened(b"words", DecryptWith::Passphrase(&ours)),
        Err(AgeError::Form)
    ));
    let text = String::from_utf8_lossy(&file).replace(" 4\n", " 23\n");
    let much = opened(text.as_bytes(), DecryptWith::Passphrase(&ours));
    assert!(matches!(much, Err(AgeError::TooMuchWork)));
    let nobody = encrypt(Vec::new(), EncryptTo::Recipients(&[]));
    assert!(matches!(nobody.err(), Some(AgeError::NoRecipient)));
}

#[test]
fn a_recipient_or_identity_with_a_wrong_letter_is_none() {
    assert!(RECIPIENT.parse::<Recipient>().is_ok());
    assert!(RECIPIENT.to_uppercase().parse::<Recipient>().is_ok());
    let mixed = RECIPIENT.replacen('l', "L", 1);
    let wrong = RECIPIENT.replace("tj7el", "tj7ex");
    for none in ["", "age1", &mixed, &wrong, &RECIPIENT[..61], "age1é"] {
        assert!(none.parse::<Recipient>().is_err(), "{none}");
    }
    assert!(Identity::read_all("# nothing\n").is_err());
    assert!(Identity::read_all(&IDENTITY.replace("27PTJ", "27PTK")).is_err());
    assert_eq!(
        format!("{:?}", Identity::read_all(IDENTITY).unwrap()),
        "[Identity]"
    );
}
