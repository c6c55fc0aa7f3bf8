//! A root on a machine without a network: what is done there, and what is done where it is asked.
//!
//! Files go back and forth; each command says which one to type next, and on which machine.

pub(crate) mod install;
pub(crate) mod request;
pub(crate) mod root;

use crate::provision::ca_commands::words_of;
use certs::{Fingerprints, Hex};
use provisioning::{Algorithm, Awaited};
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal, Write};

/// Where a terminal is, whether somebody types `yes`.
fn confirmed(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!("{question} (yes or no): ");
    let mut line = String::new();
    let asked = io::stderr().flush().and_then(|()| {
        let mut stdin = io::stdin().lock();
        stdin.read_line(&mut line)
    });
    asked.is_ok() && line.trim() == "yes"
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    Fingerprints::parse(text).ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
}

/// What waits for its certificate, as JSON.
pub(crate) fn awaited_json(it: &Awaited) -> Value {
    json!({
        "authority": it.role.as_str(),
        "number": it.number,
        "algorithm": it.algorithm.map(Algorithm::as_str),
        "key_sha256": Hex(&it.key).to_string(),
        "key": it.kept.as_str(),
    })
}

/// What waits for its certificate, in one line.
pub(crate) fn awaited_words(it: &Awaited) -> String {
    let algorithm = it.algorithm.map_or("other".to_owned(), words_of);
    let (role, number, kept) = (it.role.as_str(), it.number, it.kept.as_str());
    format!(
        "{role} {number}, {algorithm}, {kept}, key SHA-256 {}",
        Hex(&it.key)
    )
}
