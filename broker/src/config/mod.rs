//! The configuration: what the program believes, parsed and checked.
//!
//! A `Config` exists only where nothing was wrong with the file. What needs the disk, such as
//! whether a key is there and fits, is not known here.

mod choice;
mod example;
mod file;
mod quantity;
mod reader;
mod section;

pub use crate::engine::policy::Mistake;
pub use example::{NewConfig, example};

use crate::engine::limits::Limits;
use certs::TrustDomain;
use choice::Named;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where devices connect; at least one, and no two on one address.
    pub listeners: Vec<Listener>,
    /// Whose certificates are accepted; at least one.
    pub anchors: Vec<Anchor>,
    /// Who is not accepted any more.
    pub revocation: Revocation,
    /// Which devices are known.
    pub registry: Registry,
    /// The policy file, where there is one beside the built-in rule.
    pub policy: Option<PathBuf>,
    /// Where what must last is kept, and how.
    pub storage: Storage,
    /// The maxima that the engine keeps.
    pub limits: Limits,
    /// The maxima that connections keep.
    pub net: NetLimits,
    /// The socket on which operators talk to the broker, if there is one.
    pub admin_socket: Option<PathBuf>,
    /// What is logged, and how.
    pub log: Log,
    /// Where the audit log is, and how long.
    pub audit: Audit,
}

/// One address on which we listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What policy calls it.
    pub name: Option<String>,
    /// Where; port 0 takes any that is free.
    pub address: SocketAddr,
    /// The PEM file with our certificate and those between it and the root.
    pub certificate: PathBuf,
    /// The PEM file with its private key.
    pub key: PathBuf,
    /// The oldest version of TLS that is spoken.
    pub tls_min: TlsVersion,
    /// Key exchanges, the preferred one first; at least one, and each once.
    pub key_exchange: Vec<KeyExchange>,
    /// Whose devices may come here: the places of these among the anchors.
    pub anchors: Vec<usize>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A key exchange, named as rustls and IANA name its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyExchange {
    /// X25519 with ML-KEM-768, against whoever records now and computes later.
    X25519MlKem768,
    /// X25519 (RFC 7748).
    X25519,
    /// The curve P-256.
    Secp256r1,
    /// The curve P-384.
    Secp384r1,
}

/// An authority whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The PEM file with its certificate.
    pub file: PathBuf,
    /// The trust domain it speaks for.
    pub trust_domain: TrustDomain,
    /// What listeners and policy call it.
    pub name: Option<String>,
    /// Where an id stands in its certificates.
    pub id_from: IdSource,
    /// What each id begins with.
    pub id_prefix: String,
    /// PEM files with authorities below it whose lists count.
    pub intermediates: Vec<PathBuf>,
    /// Which certificate is which device's; there where ids come from it.
    pub fingerprints: Option<PathBuf>,
}

/// Where a device id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdSource {
    /// In the one URI among the alternative names.
    Uri,
    /// In the one common name.
    CommonName,
    /// In the one DNS name among the alternative names.
    DnsName,
    /// In a table of ours.
    Fingerprint,
}

/// Who is not accepted any more, and what becomes of what they leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Files with revocation lists, or directories of them.
    pub lists: Vec<PathBuf>,
    /// How long a list may be out of date.
    pub grace: Duration,
    /// What becomes of wills.
    pub wills: RevokedWills,
    /// What becomes of sessions.
    pub sessions: RevokedSessions,
}

/// Which devices are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// A signed export, if there is one.
    pub file: Option<PathBuf>,
    /// Whether only these are let in.
    pub required: bool,
}

/// What becomes of the will of a session that is cut off because its device may be here no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevokedWills {
    /// Nobody gets it.
    #[default]
    Drop,
    /// It is published as if the connection was lost.
    Publish,
}

/// What becomes of that session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevokedSessions {
    /// It waits for the device to come with another certificate, as long as it lasts.
    #[default]
    Keep,
    /// It ends, with all that waits for it.
    End,
}

/// Where what must last is kept, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The data directory; without one everything lasts as long as the process.
    pub directory: Option<PathBuf>,
    /// What is survived.
    pub durability: Durability,
    /// How long the files of a log are: 1 to 256 MiB.
    pub segment_bytes: u64,
    /// As many bytes may be kept in all.
    pub disk_bytes_max: u64,
}

/// What that which was acknowledged survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power.
    Sync,
    /// The end of the process.
    Os,
}

/// The maxima of connections, and what happens at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Peers whose ClientHello is not complete; a newcomer displaces the oldest.
    pub waiting_max: usize,
    /// Peers in the middle of a handshake; the next ones wait with their ClientHello.
    pub handshaking_max: usize,
    /// Peers of one address that have not finished; the next one is closed.
    pub unfinished_per_address_max: usize,
    /// How long a peer may take for its ClientHello; then it is closed.
    pub hello_timeout: Duration,
    /// How long the rest of the handshake may take; then the peer is closed.
    pub handshake_timeout: Duration,
    /// How long a device may take for its CONNECT; then it is closed.
    pub connect_timeout: Duration,
    /// Connections in all; the next one is closed.
    pub connections_max: usize,
    /// Connections from one IPv4 address or IPv6 /64; the next one is closed.
    pub connections_per_address_max: usize,
    /// Percent of `waiting_max` and `handshaking_max` that no stranger takes.
    pub known_reserve_percent: u32,
    /// Handshakes in a second from a strange address; 0 where any number may come.
    pub stranger_rate_max: u32,
    /// Memory of the process; 0: nine tenths of what there is.
    pub memory_bytes_max: u64,
    /// How long a shutdown waits for what is still to be sent; then it closes.
    pub drain_timeout: Duration,
    /// After this long without a byte, TCP asks whether the peer is still there.
    pub tcp_keep_alive: Duration,
}

/// Where the audit log is, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file; none where no audit log is kept.
    pub file: Option<PathBuf>,
    /// How long it may be.
    pub file_bytes_max: u64,
    /// How many of them there may be.
    pub files_max: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least that is told.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, with colours on a terminal.
    Text,
    /// JSON, an object a line.
    Json,
}

/// How much is told; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What stops us.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens.
    Info,
    /// What happens within.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// The level as it is written.
    pub fn as_str(self) -> &'static str {
        self.name().unwrap_or_default()
    }
}

impl Config {
    /// Reads a configuration file that stands at `path`. Its relative paths begin in its folder.
    ///
    /// # Errors
    /// All mistakes in it that can be seen without looking at the disk.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Mistake>> {
        reader::config(path, text)
    }
}

impl Default for NetLimits {
    fn default() -> Self {
        Self::from(&file::Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str = "[[listener]]\ncertificate = 'c.pem'\nkey = 'k.pem'\n";
    const ANCHOR: &str = "[[trust.anchor]]\nfile = 'ca.pem'\ntrust_domain = 'fleet.example'\n";

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        Config::parse(Path::new("etc/broker.toml"), text)
            .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
    }

    fn minimal() -> Config {
        parse(&[LISTENER, ANCHOR].concat()).unwrap()
    }

    #[track_caller]
    fn check_mistakes(text: &str, expected: &[&str]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|mistake| format!("etc/broker.toml{mistake}"))
            .collect();
        assert_eq!(parse(text).err().unwrap_or_default(), expected, "{text}");
    }

    #[test]
    fn what_is_not_written_is_at_its_default() {
        assert_eq!(
            minimal(),
            Config {
                listeners: vec![Listener {
                    name: None,
                    address: "127.0.0.1:8883".parse().unwrap(),
                    certificate: "etc/c.pem".into(),
                    key: "etc/k.pem".into(),
                    tls_min: TlsVersion::Tls13,
                    key_exchange: vec![
                        KeyExchange::X25519MlKem768,
                        KeyExchange::X25519,
                        KeyExchange::Secp256r1
                    ],
                    anchors: vec![0],
                }],
                anchors: vec![Anchor {
                    file: "etc/ca.pem".into(),
                    trust_domain: TrustDomain::parse("fleet.example").unwrap(),
                    name: None,
                    id_from: IdSource::Uri,
                    id_prefix: String::new(),
                    intermediates: Vec::new(),
                    fingerprints: None,
                }],
                revocation: Revocation {
                    lists: Vec::new(),
                    grace: Duration::from_hours(24),
                    wills: RevokedWills::Drop,
                    sessions: RevokedSessions::Keep,
                },
                registry: Registry::default(),
                policy: None,
                storage: Storage {
                    directory: None,
                    durability: Durability::Sync,
                    segment_bytes: 64 << 20,
                    disk_bytes_max: 1 << 40,
                },
                limits: Limits::default(),
                net: NetLimits {
                    waiting_max: 4096,
                    handshaking_max: 1024,
                    unfinished_per_address_max: 512,
                    hello_timeout: Duration::from_secs(5),
                    handshake_timeout: Duration::from_secs(5),
                    connect_timeout: Duration::from_secs(5),
                    connections_max: 100_000,
                    connections_per_address_max: 100_000,
                    known_reserve_percent: 25,
                    stranger_rate_max: 20,
                    memory_bytes_max: 0,
                    drain_timeout: Duration::from_secs(10),
                    tcp_keep_alive: Duration::from_mins(1),
                },
                admin_socket: None,
                log: Log {
                    format: LogFormat::Text,
                    level: LogLevel::Info
                },
                audit: Audit {
                    file: None,
                    file_bytes_max: 64 << 20,
                    files_max: 16,
                },
            }
        );
    }

    #[test]
    fn what_is_written_holds() {
        let text = "[[listener]]\naddress = '[::1]:0'\ncertificate = '/c.pem'\nkey = '../k.pem'\n\
                    tls_min = '1.2'\nkey_exchange = ['secp384r1', 'X25519']\n\
                    [[trust.anchor]]\nfile = 'a.pem'\ntrust_domain = 'a'\n\
                    [[trust.anchor]]\nfile = 'b.pem'\ntrust_domain = 'b'\n\
                    intermediates = 'c.pem'\n\
                    [policy]\nfile = 'policy.toml'\n\
                    [storage]\ndirectory = 'data'\ndurability = 'os'\nsegment_bytes = '4 MiB'\n\
                    [limits]\nhello_timeout = '250ms'\nkeep_alive_max = '60s'\n\
                    session_expiry_max = '1d'\nreceive_maximum = 20\n\
                    packet_size_max = '64 KiB'\nqueue_bytes_max = 1000\n\
                    disk_bytes_max = '64 MiB'\n\
                    [log]\nformat = 'json'\nlevel = 'debug'\n";
        let config = parse(text).unwrap();
        assert_eq!(config.listeners[0].address, "[::1]:0".parse().unwrap());
        assert_eq!(config.listeners[0].certificate, Path::new("/c.pem"));
        assert_eq!(config.listeners[0].key, Path::new("etc/../k.pem"));
        assert_eq!(config.listeners[0].tls_min, TlsVersion::Tls12);
        assert_eq!(
            config.listeners[0].key_exchange,
            [KeyExchange::Secp384r1, KeyExchange::X25519]
        );
        assert_eq!(config.anchors[1].file, Path::new("etc/b.pem"));
        assert_eq!(config.anchors[1].intermediates, [Path::new("etc/c.pem")]);
        assert_eq!(config.policy.as_deref(), Some(Path::new("etc/policy.toml")));
        let storage = Storage {
            directory: Some("etc/data".into()),
            durability: Durability::Os,
            segment_bytes: 4 << 20,
            disk_bytes_max: 64 << 20,
        };
        assert_eq!(config.storage, storage);
        assert_eq!(config.net.hello_timeout, Duration::from_millis(250));
        assert_eq!(config.limits.keep_alive_max.get(), 60);
        assert_eq!(config.limits.session_expiry_max, 24 * 3600);
        assert_eq!(config.limits.receive_maximum.get(), 20);
        assert_eq!(config.limits.packet_size_max.get(), 1 << 16);
        assert_eq!(config.limits.queue_bytes_max, 1000);
        assert_eq!(
            (config.log.format, config.log.level.as_str()),
            (LogFormat::Json, "debug")
        );
    }

    #[test]
    fn an_empty_file_has_nobody_to_talk_to() {
        let listener = ": listener: none; write a `[[listener]]` with a certificate and a key";
        let anchor = ": trust.anchor: none, so that nobody could connect; write a \
                      `[[trust.anchor]]` with a file and a trust_domain";
        check_mistakes("", &[listener, anchor]);
        check_mistakes(LISTENER, &[anchor]);
        check_mistakes(ANCHOR, &[listener]);
    }

    #[test]
    fn every_mistake_is_told() {
        check_mistakes(
            "[[listener]]\naddress = 'localhost:8883'\ntls_min = '1.1'\nkey_exchange = ['P-256']\n\
             [[listener]]\ncertificate = 5\nkey = ''\nport = 1\n\
             [[trust.anchor]]\ntrust_domain = 'Fleet'\n\
             [limits]\nreceive_maximum = 0\nhello_timeout = 5\npacket_size_max = '1 TB'\n\
             [log]\nformat = 'xml'\n[store]\n",
            &[
                ":1: listener.certificate: missing; it has no default",
                ":1: listener.key: missing; it has no default",
                ":2: listener.address: \"localhost:8883\" is not an address with a port, as in \
                 \"127.0.0.1:8883\" or \"[::1]:8883\"",
                ":3: listener.tls_min: \"1.1\" is none of \"1.3\", \"1.2\"",
                ":4: listener.key_exchange: \"P-256\" is none of \"X25519MLKEM768\", \"X25519\", \
                 \"secp256r1\", \"secp384r1\"",
                ":6: listener.certificate: invalid type: integer `5`, expected a string",
                ":7: listener.key: an empty path; write the name of a file",
                ":8: listener.port: unknown field `port`, expected one of `address`, \
                 `certificate`, `key`, `tls_min`, `key_exchange`, `anchors`, `name`",
                ":9: trust.anchor.file: missing; it has no default",
                ":10: trust.anchor.trust_domain: \"Fleet\": a trust domain has 1 to 255 lower-case \
                 letters, digits, '.', '-' or '_'",
                ":12: limits.receive_maximum: invalid value: integer `0`, expected a whole number, \
                 from 1 to 65535",
                ":13: limits.hello_timeout: invalid value: integer `5`, expected a duration in ms, \
                 s, m or h, from \"10ms\" to \"5m\"",
                ":14: limits.packet_size_max: invalid value: string \"1 TB\", expected a size in \
                 bytes, KiB, MiB or GiB, from 64 to \"256 MiB\"",
                ":16: log.format: \"xml\" is none of \"text\", \"json\"",
                ":17: store: unknown field `store`, expected one of `listener`, `trust`, \
                 `revocation`, `registry`, `policy`, `storage`, `limits`, `admin`, `log`, `audit`",
            ],
        );
    }

    #[test]
    fn two_listeners_are_not_at_one_address() {
        let at = |address: &str| format!("{LISTENER}address = '{address}'\n");
        let text = [&at("[::1]:1"), ANCHOR, &at("127.0.0.1:1"), &at("[::1]:1")].concat();
        check_mistakes(
            &text,
            &[":12: listener.address: the listener in line 1 is already at [::1]:1"],
        );
        assert!(parse(&[&at("[::1]:0"), ANCHOR, &at("[::1]:0")].concat()).is_ok());
    }
}
