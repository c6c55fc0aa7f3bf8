//! What the pure parts never touch, and what only one crate knows.
//!
//! `protocol`, `certs` and the engine get bytes and time as arguments. MQTT's bytes are read and
//! written in `protocol`, certificates in `certs`.

use crate::code::Path;
use crate::source::Source;
use crate::{Breach, code, finds, holds};

/// The pure parts.
const PURE: &[&str] = &["protocol/src/", "certs/src/", "broker/src/engine/"];

/// What nothing pure names: the network, the disk, threads, clocks, chance, other programs.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "async_std",
    "mio",
    "smol",
    "socket2",
    "tokio",
    "getrandom",
    "rand",
    "SystemRandom",
];

/// Names of addresses are text like any other.
const ADDRESSES: &[&str] = &[
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];

/// What the engine does not name either: it does not log, and its time is `Time`.
const IMPURE_IN_ENGINE: &[&str] = &[
    "Instant",
    "aws_lc_rs",
    "rustls",
    "tokio_rustls",
    "tracing",
    "x509_parser",
];

/// Crates that run something: no pure crate depends on them.
const RUNTIMES: &[&str] = &[
    "async-std",
    "mio",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
];

/// What goes onto devices, whatever processor they have.
const PORTABLE: &[&str] = &["device-client/src/", "certs/src/", "pkcs11/src/"];

/// What some processors have not: those of 32 bits often no atomics of 64.
const OF_SOME_PROCESSORS: &[&str] = &[
    "AtomicI64",
    "AtomicU64",
    "core::arch",
    "std::arch",
    "target_arch",
    "target_pointer_width",
];

/// How bytes are taken apart and put together.
const BYTES: &[&str] = &[
    "from_be_bytes",
    "from_le_bytes",
    "to_be_bytes",
    "to_le_bytes",
    "get_u8",
    "get_u16",
    "get_u32",
    "get_u64",
    "put_u8",
    "put_u16",
    "put_u32",
    "put_u64",
];

/// Who handles bytes outside `protocol`, and why: a file, or all in a folder.
const OTHER_BYTES: &[(&str, &str)] = &[
    (
        "fleet/src/wire/",
        "a load generator that shared the broker's codec would measure itself",
    ),
    (
        "fleet/src/load/",
        "packet ids are compared, and its tests fill what they send",
    ),
    (
        "device-client/src/outbox/disk/",
        "the outbox is a log on the device's own disk, which no broker sees",
    ),
    (
        "provisioning/src/commands/payload/pkcs12.rs",
        "a password is UTF-16 in the order of the network, as PKCS #12 says",
    ),
    (
        "provisioning/src/age/",
        "the chunks of an encrypted file are numbered, as its format says",
    ),
];

/// Who reads certificates beside `certs`, and why.
const OTHER_CERTIFICATES: &[(&str, &str)] = &[];

fn the_pure_parts_touch_nothing(sources: &[Source]) -> Vec<Breach> {
    each_path(sources, |source, path| {
        if !PURE.iter().any(|part| source.path.starts_with(part)) {
            return None;
        }
        let address = path
            .segments
            .last()
            .is_some_and(|last| ADDRESSES.contains(&&**last));
        let engine = source.path.starts_with("broker/src/engine/");
        let more = if engine { IMPURE_IN_ENGINE } else { &[] };
        let touched = IMPURE.iter().chain(more).find(|impure| path.has(impure));
        let touched = touched.filter(|impure| **impure != "std::net" || !address)?;
        Some(format!(
            "{touched} in a pure part; let the caller do it and pass the result in"
        ))
    })
}

fn pure_crates_have_no_runtime(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for crate_name in ["protocol", "certs"] {
        let manifest = format!("{crate_name}/Cargo.toml");
        for source in sources.iter().filter(|source| source.path == manifest) {
            for (number, line) in source.text.lines().enumerate() {
                let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
                if RUNTIMES.contains(&name) {
                    let what = format!("{crate_name} is pure; it must not depend on {name}");
                    breaches.push(Breach::new(source, number + 1, what));
                }
            }
        }
    }
    breaches
}

fn only_protocol_knows_mqtt_bytes(sources: &[Source]) -> Vec<Breach> {
    each_path(sources, |source, path| {
        let name = path.segments.last()?;
        let excepted = is_in(source, OTHER_BYTES) || source.path.starts_with("protocol/");
        let breach = BYTES.contains(&&**name) && !excepted;
        breach.then(|| {
            format!(
                "{name} outside protocol; if these are MQTT's bytes, move it there, \
                 otherwise say in purity.rs whose they are"
            )
        })
    })
}

fn only_certs_reads_certificates(sources: &[Source]) -> Vec<Breach> {
    each_path(sources, |source, path| {
        let excepted = is_in(source, OTHER_CERTIFICATES) || source.path.starts_with("certs/");
        let breach = path.has("x509_parser") && !excepted;
        breach.then(|| "x509_parser outside certs; ask certs::Certificate instead".to_owned())
    })
}

fn what_goes_onto_devices_runs_on_any(sources: &[Source]) -> Vec<Breach> {
    each_path(sources, |source, path| {
        let portable = PORTABLE.iter().any(|part| source.path.starts_with(part));
        let found = OF_SOME_PROCESSORS.iter().find(|name| path.has(name));
        let found = found.filter(|_| portable)?;
        Some(format!("{found} is not on every device's processor"))
    })
}

/// What `judge` says of each path in code that is not for tests.
fn each_path(sources: &[Source], judge: impl Fn(&Source, &Path) -> Option<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.is_rust() && !source.is_test)
    {
        for path in code::paths(&source.own_code()) {
            breaches.extend(judge(source, &path).map(|what| Breach::new(source, path.line, what)));
        }
    }
    breaches
}

fn is_in(source: &Source, exceptions: &[(&str, &str)]) -> bool {
    exceptions
        .iter()
        .any(|(path, _)| source.path.starts_with(path))
}

#[test]
fn the_pure_parts_do_no_io_and_read_no_clock() {
    holds(the_pure_parts_touch_nothing);
    let protocol = "use std::{fs, net::IpAddr, net::TcpStream};\n\
                    fn f(now: std::time::Instant) { Instant::now(); }\n\
                    // std::fs\nconst X: &str = \"tokio\";\n\
                    #[cfg(test)]\nmod tests { use std::fs; }\n";
    let engine = "use std::time::{Duration, Instant};\nfn f() { tracing::info!(1); }\n\
                  use rustls::pki_types;\nuse rustls_pki_types::X;\n";
    finds(
        the_pure_parts_touch_nothing,
        &[
            ("protocol/src/a.rs", protocol),
            (
                "certs/src/b.rs",
                "fn f() { let _ = std::time::SystemTime::now(); }\n",
            ),
            ("broker/src/engine/c.rs", engine),
            ("broker/src/net/d.rs", "use std::fs;\n"),
        ],
        &[
            "protocol/src/a.rs:1",
            "protocol/src/a.rs:1",
            "protocol/src/a.rs:2",
            "certs/src/b.rs:1",
            "broker/src/engine/c.rs:1",
            "broker/src/engine/c.rs:2",
            "broker/src/engine/c.rs:3",
        ],
    );
}

#[test]
fn the_pure_crates_depend_on_no_runtime() {
    holds(pure_crates_have_no_runtime);
    finds(
        pure_crates_have_no_runtime,
        &[
            (
                "protocol/Cargo.toml",
                "[dependencies]\nbytes = \"1\"\ntokio.workspace = true\n",
            ),
            (
                "certs/Cargo.toml",
                "[dev-dependencies]\ntokio-rustls = \"0.26\"\n",
            ),
            ("broker/Cargo.toml", "[dependencies]\ntokio = \"1\"\n"),
        ],
        &["protocol/Cargo.toml:3", "certs/Cargo.toml:2"],
    );
}

#[test]
fn mqtt_bytes_are_known_to_protocol_alone() {
    holds(only_protocol_knows_mqtt_bytes);
    let bytes = "fn f() {\n    u16::from_be_bytes(x);\n    buf.put_u16(1);\n}\n";
    finds(
        only_protocol_knows_mqtt_bytes,
        &[
            ("protocol/src/wire.rs", bytes),
            ("broker/src/net/x.rs", bytes),
            ("tests/src/raw.rs", bytes),
            ("cli/src/y.rs", "fn put_u16x() {} // to_be_bytes\n"),
        ],
        &["broker/src/net/x.rs:2", "broker/src/net/x.rs:3"],
    );
}

#[test]
fn certificates_are_read_by_certs_alone() {
    holds(only_certs_reads_certificates);
    let parser = "use x509_parser::prelude::*;\n";
    finds(
        only_certs_reads_certificates,
        &[
            ("certs/src/certificate.rs", parser),
            ("provisioning/src/issue.rs", parser),
            ("tests/src/raw.rs", parser),
        ],
        &["provisioning/src/issue.rs:1"],
    );
}

#[test]
fn what_goes_onto_devices_asks_for_no_certain_processor() {
    holds(what_goes_onto_devices_runs_on_any);
    let counts = "use std::sync::atomic::{AtomicU32, AtomicU64};\n\
                  #[cfg(target_arch = \"x86_64\")]\nfn f() { std::arch::x(); }\n";
    finds(
        what_goes_onto_devices_runs_on_any,
        &[
            ("device-client/src/a.rs", counts),
            ("broker/src/b.rs", counts),
        ],
        &[
            "device-client/src/a.rs:1",
            "device-client/src/a.rs:2",
            "device-client/src/a.rs:3",
        ],
    );
}
