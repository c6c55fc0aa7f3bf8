//! The configuration file: exactly what may be written in it.
//!
//! Every setting has a default or is asked for by name; `mod.rs` makes of it what the program
//! believes.

use super::choice::{Address, Domain, FilePath, Named, OneOf};
use super::quantity::{Count, Millis, Seconds, Size};
use super::section::section;
use super::{
    Durability, IdSource, KeyExchange, LogFormat, LogLevel, RevokedSessions, RevokedWills,
    TlsVersion,
};
use crate::engine::limits::Limits as EngineLimits;
use crate::engine::policy::{List, Tables, table};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listener: Tables<Listener>,
    #[serde(deserialize_with = "table")]
    pub(super) trust: Trust,
    #[serde(deserialize_with = "table")]
    pub(super) revocation: Revocation,
    #[serde(deserialize_with = "table")]
    pub(super) registry: Registry,
    #[serde(deserialize_with = "table")]
    pub(super) policy: Policy,
    #[serde(deserialize_with = "table")]
    pub(super) storage: Storage,
    #[serde(deserialize_with = "table")]
    pub(super) limits: Limits,
    #[serde(deserialize_with = "table")]
    pub(super) admin: Admin,
    #[serde(deserialize_with = "table")]
    pub(super) log: Log,
    #[serde(deserialize_with = "table")]
    pub(super) audit: Audit,
}

/// Whom we trust.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Trust {
    pub(super) anchor: Tables<Anchor>,
}

section! {
    #[header = "[[listener]]"]
    /// Where devices connect. Repeat the section for more addresses.
    pub(super) struct Listener {
        /// Address and port. IPv6 in brackets, `[::1]:8883`; port 0 takes any that is free.
        address: Address = Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 8883))),
        /// Our certificate, and after it those between it and the root, as PEM.
        certificate: Option<FilePath> = None,
        /// Its private key, as PEM. Nobody but the broker may be able to read it.
        key: Option<FilePath> = None,
        /// The oldest version of TLS that is spoken: "1.3" or "1.2".
        tls_min: OneOf<TlsVersion> = OneOf(TlsVersion::Tls13),
        /// Key exchanges, the preferred one first.
        key_exchange: List<OneOf<KeyExchange>> = default_key_exchange(),
        /// The names of the trust anchors whose devices may come here; all where none is written.
        anchors: Option<List<String>> = None,
        /// What policy calls it.
        name: Option<String> = None,
    }
}

section! {
    #[header = "[[trust.anchor]]"]
    /// Whose certificates are accepted. Repeat the section for more authorities.
    pub(super) struct Anchor {
        /// The certificate of the authority that issues to devices, as PEM.
        file: Option<FilePath> = None,
        /// The trust domain it speaks for: it vouches for spiffe://<trust domain>/… only.
        trust_domain: Option<Domain> = None,
        /// What listeners and policy call it.
        name: Option<String> = None,
        /// Where a device id stands in its certificates: "uri", which is
        /// spiffe://<trust domain>/device/<id>; "cn"; "dns"; or "fingerprint", which is in the
        /// table `fingerprints`.
        id_from: OneOf<IdSource> = OneOf(IdSource::Uri),
        /// What each id begins with. Anchors of several trust domains need prefixes that tell their
        /// devices apart.
        id_prefix: String = String::new(),
        /// Authorities below it, as PEM files. Their revocation lists are believed, and devices
        /// need not send their certificates.
        intermediates: Option<List<FilePath>> = None,
        /// A TOML file that says which SHA-256 of a certificate is which device: "…" = "sensor-7".
        fingerprints: Option<FilePath> = None,
    }
}

section! {
    #[header = "[revocation]"]
    /// Who may not come in any more. Whoever is there and is revoked is cut off.
    pub(super) struct Revocation {
        /// Revocation lists of the trust anchors and their intermediates, PEM or DER: files, or
        /// directories of them.
        lists: Option<List<FilePath>> = None,
        /// How long a list may be out of date; then nobody new of its issuer is let in.
        grace: Seconds<u32, 0, { 365 * 24 * 3600 }> = Seconds::new(24 * 3600),
        /// The will of a session that is cut off: "drop" it or "publish" it.
        will: OneOf<RevokedWills> = OneOf(RevokedWills::Drop),
        /// The session itself: "keep" it for a new certificate of the device, or "end" it.
        session: OneOf<RevokedSessions> = OneOf(RevokedSessions::Keep),
    }
}

section! {
    #[header = "[registry]"]
    /// Which devices are known: what policy knows of them, and who may come in.
    pub(super) struct Registry {
        /// An export of the device registry, signed by a trust anchor.
        file: Option<FilePath> = None,
        /// Whether only devices in it are let in; the others are listed by `countersign broker
        /// unknown`.
        required: bool = false,
    }
}

section! {
    #[header = "[policy]"]
    /// Who may publish and subscribe to what.
    pub(super) struct Policy {
        /// The policy file. Without one, devices have their own topics and nobody has more.
        file: Option<FilePath> = None,
    }
}

section! {
    #[header = "[storage]"]
    /// What outlives the broker: sessions, what waits for them, retained messages, wills.
    pub(super) struct Storage {
        /// Where it is kept, a directory of its own. Without one, it lasts as long as the process.
        directory: Option<FilePath> = None,
        /// "sync": what was acknowledged survives the loss of power. "os": the end of the process.
        durability: OneOf<Durability> = OneOf(Durability::Sync),
        /// Size of the files it is written to; each is made whole before it is used.
        segment_bytes: Size<u64, { 1 << 20 }, { 256 << 20 }> = Size::new(64 << 20),
    }
}

section! {
    #[header = "[limits]"]
    /// Every maximum, and what happens there. Sizes are bytes or strings as in "64 KiB".
    pub(super) struct Limits {
        /// Peers whose ClientHello is not complete; a newcomer displaces the oldest.
        waiting_max: Count<usize, 1, 1_000_000> = Count::new(4096),
        /// Peers in the middle of a handshake; the next ones wait with their ClientHello.
        handshaking_max: Count<usize, 1, 1_000_000> = Count::new(1024),
        /// Peers of one address that have not finished; the next one is closed.
        unfinished_per_address_max: Count<usize, 1, 1_000_000> = Count::new(512),
        /// How long a peer may take for its ClientHello; then it is closed.
        hello_timeout: Millis<10, 300_000> = seconds(5),
        /// How long the rest of the handshake may take; then the peer is closed.
        handshake_timeout: Millis<10, 300_000> = seconds(5),
        /// How long a device may take for its CONNECT; then it is closed.
        connect_timeout: Millis<10, 300_000> = seconds(5),
        /// Connections in all; the next one is closed.
        connections_max: Count<usize, 1, 10_000_000> = Count::new(100_000),
        /// Connections from one IPv4 address or IPv6 /64; the next one is closed. A whole fleet may
        /// stand behind one address.
        connections_per_address_max: Count<usize, 1, 10_000_000> = Count::new(100_000),
        /// How long a shutdown waits for what is still to be sent; then it closes.
        drain_timeout: Millis<0, 3_600_000> = seconds(10),
        /// Percent of the two first maxima that are kept for addresses from which a device has come
        /// in within the hour; strangers take no such place.
        known_reserve_percent: Count<u32, 0, 90> = Count::new(25),
        /// Handshakes in a second from an address from which no device has come in within the hour,
        /// after a hundred at once; the next one is closed. 0: any number.
        stranger_rate_max: Count<u32, 0, 1_000_000> = Count::new(20),
        /// Memory of the process. At 85 % of it no new connections are let in, at 92 % QoS 0 is
        /// dropped, at 97 % no message is taken (0x97). 0: nine tenths of what there is, in the
        /// machine or in our control group.
        memory_bytes_max: Size<u64, 0, { 1 << 50 }> = Size::new(0),
        /// After this long without a byte, TCP asks whether the peer is still there.
        tcp_keep_alive: Millis<1000, 7_200_000> = seconds(60),

        /// The longest packet a client may send; a longer one closes the connection (0x95).
        packet_size_max: Size<NonZeroU32, 64, { 256 << 20 }> = Size::new(engine().packet_size_max),
        /// Unacknowledged QoS 1 and 2 messages from one client; one more closes it (0x93).
        receive_maximum: Count<NonZeroU16, 1, 65_535> = Count::new(engine().receive_maximum),
        /// Topic aliases of one client, and of ours towards it; a higher one closes it (0x94).
        topic_alias_max: Count<u16, 0, 65_535> = Count::new(engine().topic_alias_max),
        /// The longest keep-alive of a 5.0 client; a longer one, and none, is replaced by it.
        keep_alive_max: Seconds<NonZeroU16, 1, 65_535> = Seconds::new(engine().keep_alive_max),
        /// How long a session may outlive its connection; longer wishes are cut to it.
        session_expiry_max: Seconds<u32, 0, { 3650 * 24 * 3600 }> =
            Seconds::new(engine().session_expiry_max),
        /// Levels of a topic; a deeper one is refused (0x90, 0x8F).
        topic_levels_max: Count<usize, 1, 65_536> = Count::new(engine().topic_levels_max),
        /// Subscriptions of one session; one more is refused (0x97).
        subscriptions_max: Count<usize, 1, 10_000_000> = Count::new(engine().subscriptions_max),
        /// Sessions in all; one more is refused (0x97).
        sessions_max: Count<usize, 1, 1_000_000_000> = Count::new(engine().sessions_max),
        /// Sessions of one device; one more is refused (0x97).
        sessions_per_device_max: Count<usize, 1, 10_000_000> =
            Count::new(engine().sessions_per_device_max),
        /// Connections of one device; one more is refused (0x97).
        connections_per_device_max: Count<usize, 1, 10_000_000> =
            Count::new(engine().connections_per_device_max),
        /// How often in a minute newer connections may take over one session; one more is refused
        /// (0x9F), and the older one stays.
        takeovers_per_minute_max: Count<u32, 1, 1_000_000> =
            Count::new(engine().takeovers_per_minute_max),
        /// Messages a device may publish in a second, on all its connections together; it is heard
        /// later, and closed (0x96) if that does not help. 0: any number.
        publish_rate_max: Count<u32, 0, 10_000_000> = Count::new(engine().publish_rate_max),
        /// Bytes of topics and payload likewise. 0: any number.
        publish_bytes_rate_max: Size<u64, 0, { 1 << 40 }> =
            Size::new(engine().publish_bytes_rate_max),
        /// Messages in flight to one client; the next ones wait.
        in_flight_len_max: Count<NonZeroU16, 1, 65_535> = Count::new(engine().in_flight_len_max),
        /// Payload in flight to one client; the next ones wait. One message may exceed it.
        in_flight_bytes_max: Size<usize, 1, { 1 << 40 }> = Size::new(engine().in_flight_bytes_max),
        /// Messages that wait for one session; one more is dropped.
        queue_len_max: Count<usize, 1, 100_000_000> = Count::new(engine().queue_len_max),
        /// Payload that waits for one session; a message beyond it is dropped.
        queue_bytes_max: Size<usize, 1, { 1 << 40 }> = Size::new(engine().queue_bytes_max),
        /// Whether QoS 0 waits too, in its turn, and is stored for a session whose client is away;
        /// otherwise it is sent before all that waits, or dropped.
        queue_qos0: bool = false,
        /// Payload that waits in memory for all sessions; beyond it, in the data directory.
        queue_cache_bytes_max: Size<usize, 0, { 1 << 40 }> =
            Size::new(engine().queue_cache_bytes_max),
        /// Topics with a retained message; one more is refused (0x97).
        retained_len_max: Count<usize, 0, 1_000_000_000> = Count::new(engine().retained_len_max),
        /// Topics on which one device retains messages; one more is refused (0x97).
        retained_per_device_max: Count<usize, 0, 1_000_000_000> =
            Count::new(engine().retained_per_device_max),
        /// Payload retained in all; a message beyond it is refused (0x97).
        retained_bytes_max: Size<usize, 0, { 1 << 40 }> = Size::new(engine().retained_bytes_max),
        /// Size of the data directory. At 90 % of it, or of the disk, what would have to be stored
        /// is refused (0x97); what is stored stays, and can be read and acknowledged.
        disk_bytes_max: Size<u64, { 8 << 20 }, { 1 << 50 }> = Size::new(1 << 40),
        /// Bytes that wait for the socket of one connection; beyond it QoS 0 is dropped until all
        /// of them are sent.
        outbox_bytes_max: Size<usize, 1, { 1 << 40 }> = Size::new(engine().outbox_bytes_max),
    }
}

section! {
    #[header = "[admin]"]
    /// How operators talk to the broker while it runs.
    pub(super) struct Admin {
        /// A Unix socket for `countersign broker status`, `reload`, `revoke` and others; its owner
        /// alone may use it.
        socket: Option<FilePath> = None,
    }
}

section! {
    #[header = "[log]"]
    /// What is told to whoever runs the broker, on standard error.
    pub(super) struct Log {
        /// "text", or "json": an object a line.
        format: OneOf<LogFormat> = OneOf(LogFormat::Text),
        /// The least that is told: "error", "warn", "info", "debug" or "trace".
        level: OneOf<LogLevel> = OneOf(LogLevel::Info),
    }
}

section! {
    #[header = "[audit]"]
    /// Who came, who was refused or cut off and why, and what was changed: an object of JSON a
    /// line, each chained to the one before. `countersign audit verify FILE` checks it.
    pub(super) struct Audit {
        /// Where it is written; nowhere without one.
        file: Option<FilePath> = None,
        /// How long the file may be; then it is put aside as FILE.1, FILE.1 as FILE.2, and so on.
        file_bytes_max: Size<u64, { 4 << 10 }, { 1 << 40 }> = Size::new(64 << 20),
        /// How many files there may be; the oldest one goes.
        files_max: Count<usize, 1, 10_000> = Count::new(16),
    }
}

impl Named for TlsVersion {
    const NAMES: &'static [(&'static str, Self)] = &[("1.3", Self::Tls13), ("1.2", Self::Tls12)];
}

impl Named for KeyExchange {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("X25519MLKEM768", Self::X25519MlKem768),
        ("X25519", Self::X25519),
        ("secp256r1", Self::Secp256r1),
        ("secp384r1", Self::Secp384r1),
    ];
}

impl Named for IdSource {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("uri", Self::Uri),
        ("cn", Self::CommonName),
        ("dns", Self::DnsName),
        ("fingerprint", Self::Fingerprint),
    ];
}

impl Named for RevokedWills {
    const NAMES: &'static [(&'static str, Self)] =
        &[("drop", Self::Drop), ("publish", Self::Publish)];
}

impl Named for RevokedSessions {
    const NAMES: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("end", Self::End)];
}

impl Named for Durability {
    const NAMES: &'static [(&'static str, Self)] = &[("sync", Self::Sync), ("os", Self::Os)];
}

impl Named for LogFormat {
    const NAMES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Named for LogLevel {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

fn default_key_exchange() -> List<OneOf<KeyExchange>> {
    let preferred = [
        KeyExchange::X25519MlKem768,
        KeyExchange::X25519,
        KeyExchange::Secp256r1,
    ];
    List(
        preferred
            .map(|group| Spanned::new(0..0, OneOf(group)))
            .into(),
    )
}

fn seconds<const MIN: u64, const MAX: u64>(seconds: u64) -> Millis<MIN, MAX> {
    Millis::new(Duration::from_secs(seconds))
}

fn engine() -> EngineLimits {
    EngineLimits::default()
}
