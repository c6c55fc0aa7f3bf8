//! Packets written down by hand in `tests/golden`, and what they mean.
//!
//! There, bytes are hexadecimal; `'…'` is a string with its two length bytes, `"…"` one without,
//! `[ … ]` has its length in front as a variable byte integer, and ` # ` begins a comment. With
//! `UPDATE_GOLDEN=1` the meanings are written anew, to be looked at before they are kept.

use crate::{read_one, written};
use countersign_protocol::packet::Version;
use countersign_protocol::wire::Direction;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn golden_packets_are_read_and_written_as_they_stand() {
    let files = golden("packets");
    assert_eq!(files.len(), 12);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let found: Vec<String> = text.split("\n\n").map(described).collect();
        let found = found.join("\n\n") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, found).unwrap();
        } else {
            assert_eq!(found, text, "{}", path.display());
        }
    }
}

#[test]
fn malformed_packets_are_refused_for_the_reason_that_stands_with_them() {
    let mut checked = 0;
    for path in golden("malformed") {
        let text = fs::read_to_string(&path).unwrap();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let mut words = line.splitn(4, ' ');
            let (version, direction) = spoken(&mut words);
            let (error, hex) = (words.next().unwrap(), words.next().unwrap());
            let read = read_one(&bytes(hex), version, direction);
            assert_eq!(format!("{:?}", read.unwrap_err()), error, "{line}");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

fn golden(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(root.join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// One entry with the meaning that its bytes have: comments, how it is spoken, the bytes, `=`,
/// the packet. `loose` means that we would write it otherwise.
fn described(entry: &str) -> String {
    let (head, _) = entry.split_once("\n=").expect("an entry has a meaning");
    let mut lines = head.lines().skip_while(|line| line.starts_with('#'));
    let mut words = lines.next().unwrap().split(' ');
    let (version, direction) = spoken(&mut words);
    let bytes = bytes(&lines.collect::<Vec<_>>().join("\n"));
    let packet = read_one(&bytes, version, direction).unwrap().unwrap();
    let is_loose = words.next() == Some("loose");
    assert_eq!(written(&packet, version) != bytes, is_loose, "{head}");
    format!("{head}\n=\n{packet:#?}")
}

fn spoken<'a>(words: &mut impl Iterator<Item = &'a str>) -> (Version, Direction) {
    let version = match words.next() {
        Some("3.1.1") => Version::V311,
        Some("5.0") => Version::V5,
        other => panic!("version {other:?}"),
    };
    let direction = match words.next() {
        Some("to-server") => Direction::ToServer,
        Some("to-client") => Direction::ToClient,
        other => panic!("direction {other:?}"),
    };
    (version, direction)
}

/// The bytes that some lines stand for.
fn bytes(text: &str) -> Vec<u8> {
    let code = text.lines().map(|line| line.split(" # ").next().unwrap());
    let code = code.collect::<Vec<_>>().join(" ");
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    for word in code.split_ascii_whitespace() {
        let last = open.last_mut().unwrap();
        match word.as_bytes() {
            [b'\'', text @ .., b'\''] => {
                last.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                last.extend(text);
            }
            [b'"', text @ .., b'"'] => last.extend(text),
            b"[" => open.push(Vec::new()),
            b"]" => {
                let block = open.pop().unwrap();
                let length = crate::damage::framed(0, &block);
                open.last_mut().unwrap().extend(&length[1..]);
            }
            _ => last.push(u8::from_str_radix(word, 16).unwrap()),
        }
    }
    assert_eq!(open.len(), 1, "{text}");
    open.pop().unwrap()
}
