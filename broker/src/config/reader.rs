//! The way from what was written to what is believed.
//!
//! Every part of the file is looked at, whatever was wrong with the parts before it.

use super::choice::{FilePath, Named, OneOf};
use super::file::{self, File};
use super::{
    Anchor, Audit, Config, IdSource, KeyExchange, Listener, Log, Mistake, NetLimits, Registry,
    Revocation, Storage,
};
use crate::engine::limits::Limits;
use crate::engine::policy::{Document, List};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Reads the configuration file at `path`.
pub(super) fn config(path: &Path, text: &str) -> Result<Config, Vec<Mistake>> {
    let name = path.display().to_string();
    let mut reader = Reader {
        document: Document::new(&name, text),
        folder: path.parent().unwrap_or(Path::new("")),
    };
    let config = reader.document.read().and_then(|file| reader.config(file));
    reader.document.finish(config)
}

struct Reader<'t> {
    document: Document<'t>,
    folder: &'t Path,
}

impl Reader<'_> {
    fn config(&mut self, file: File) -> Option<Config> {
        let names = self.anchor_names(&file.trust.anchor.0);
        let listeners = self.listeners(file.listener.0, &names);
        let anchors = self.anchors(file.trust.anchor.0);
        Some(Config {
            listeners: listeners?,
            anchors: anchors?,
            revocation: self.revocation(file.revocation),
            registry: self.registry(file.registry),
            policy: file.policy.file.map(|path| self.path(path)),
            storage: Storage {
                directory: file.storage.directory.map(|path| self.path(path)),
                durability: file.storage.durability.0,
                segment_bytes: file.storage.segment_bytes.value,
                disk_bytes_max: file.limits.disk_bytes_max.value,
            },
            limits: Limits::from(&file.limits),
            net: NetLimits::from(&file.limits),
            admin_socket: file.admin.socket.map(|path| self.path(path)),
            log: Log {
                format: file.log.format.0,
                level: file.log.level.0,
            },
            audit: Audit {
                file: file.audit.file.map(|path| self.path(path)),
                file_bytes_max: file.audit.file_bytes_max.value,
                files_max: file.audit.files_max.value,
            },
        })
    }

    fn listeners(
        &mut self,
        tables: Vec<Spanned<file::Listener>>,
        anchors: &[Option<String>],
    ) -> Option<Vec<Listener>> {
        if tables.is_empty() && !self.document.is_wrong("listener") {
            let what = "none; write a `[[listener]]` with a certificate and a key";
            self.document.mistake_of_all("listener", what);
        }
        let mut lines = BTreeMap::new();
        let all: Vec<_> = tables
            .into_iter()
            .map(|table| self.listener(table, anchors, &mut lines))
            .collect();
        all.into_iter().collect()
    }

    fn listener(
        &mut self,
        table: Spanned<file::Listener>,
        anchors: &[Option<String>],
        lines: &mut BTreeMap<SocketAddr, usize>,
    ) -> Option<Listener> {
        let at = table.span();
        let table = table.into_inner();
        let address = table.address.0;
        let line = self.document.line(&at);
        if address.port() != 0
            && !self.document.is_left_out(&at, "address")
            && let Some(other) = lines.insert(address, line)
        {
            let what = format!("the listener in line {other} is already at {address}");
            self.document.mistake(&at, "listener.address", what);
        }
        let certificate = self.required(&at, "listener.certificate", table.certificate);
        let key = self.required(&at, "listener.key", table.key);
        Some(Listener {
            name: table.name,
            address,
            certificate: self.path(certificate?),
            key: self.path(key?),
            tls_min: table.tls_min.0,
            key_exchange: self.key_exchange(table.key_exchange.0),
            anchors: match table.anchors {
                Some(named) => self.named_anchors(named.0, anchors),
                None => (0..anchors.len()).collect(),
            },
        })
    }

    /// The places of those anchors that a listener names.
    fn named_anchors(
        &mut self,
        named: Vec<Spanned<String>>,
        anchors: &[Option<String>],
    ) -> Vec<usize> {
        let mut places = Vec::new();
        for name in named {
            let place = anchors
                .iter()
                .position(|it| it.as_deref() == Some(name.get_ref()));
            match place {
                Some(place) if !places.contains(&place) => places.push(place),
                Some(_) => {
                    let what = format!("{:?} stands here twice", name.get_ref());
                    self.document
                        .mistake(&name.span(), "listener.anchors", what);
                }
                None => {
                    let what = format!("no trust anchor has the name {:?}", name.get_ref());
                    self.document
                        .mistake(&name.span(), "listener.anchors", what);
                }
            }
        }
        places
    }

    /// What the anchors are called, each by a name of its own.
    fn anchor_names(&mut self, tables: &[Spanned<file::Anchor>]) -> Vec<Option<String>> {
        let mut names: Vec<Option<String>> = Vec::new();
        for table in tables {
            let name = table.get_ref().name.clone();
            if name.is_some() && names.contains(&name) {
                let what = format!("there is already an anchor {:?}", name.unwrap_or_default());
                self.document
                    .mistake(&table.span(), "trust.anchor.name", what);
                names.push(None);
            } else {
                names.push(name);
            }
        }
        names
    }

    fn registry(&mut self, table: file::Registry) -> Registry {
        if table.required && table.file.is_none() && !self.document.is_wrong("registry.file") {
            let what = "missing; `required` without it would let nobody in";
            self.document.mistake_of_all("registry.file", what);
        }
        Registry {
            file: table.file.map(|path| self.path(path)),
            required: table.required,
        }
    }

    fn revocation(&self, table: file::Revocation) -> Revocation {
        Revocation {
            lists: self.paths(table.lists),
            grace: Duration::from_secs(table.grace.value.into()),
            wills: table.will.0,
            sessions: table.session.0,
        }
    }

    fn key_exchange(&mut self, groups: Vec<Spanned<OneOf<KeyExchange>>>) -> Vec<KeyExchange> {
        let mut preferred = Vec::new();
        for group in groups {
            let OneOf(value) = *group.get_ref();
            if preferred.contains(&value) {
                let what = format!("{} stands here twice", value.name().unwrap_or_default());
                self.document
                    .mistake(&group.span(), "listener.key_exchange", what);
            }
            preferred.push(value);
        }
        preferred
    }

    fn anchors(&mut self, tables: Vec<Spanned<file::Anchor>>) -> Option<Vec<Anchor>> {
        if tables.is_empty() && !self.document.is_wrong("trust") {
            let what = "none, so that nobody could connect; write a `[[trust.anchor]]` with a \
                        file and a trust_domain";
            self.document.mistake_of_all("trust.anchor", what);
        }
        let all: Vec<_> = tables.into_iter().map(|table| self.anchor(table)).collect();
        all.into_iter().collect()
    }

    fn anchor(&mut self, table: Spanned<file::Anchor>) -> Option<Anchor> {
        let at = table.span();
        let table = table.into_inner();
        let file = self.required(&at, "trust.anchor.file", table.file);
        let trust_domain = self.required(&at, "trust.anchor.trust_domain", table.trust_domain);
        let id_from = table.id_from.0;
        if (id_from == IdSource::Fingerprint) != table.fingerprints.is_some() {
            let what = "is there exactly where `id_from` is \"fingerprint\"";
            self.document
                .mistake(&at, "trust.anchor.fingerprints", what);
        }
        Some(Anchor {
            file: self.path(file?),
            trust_domain: trust_domain?.0,
            name: table.name,
            id_from,
            id_prefix: table.id_prefix,
            intermediates: self.paths(table.intermediates),
            fingerprints: table.fingerprints.map(|path| self.path(path)),
        })
    }

    /// A value that the table at `at` must have under the last part of `key`.
    fn required<T>(&mut self, at: &Range<usize>, key: &str, value: Option<T>) -> Option<T> {
        let last = key.rsplit('.').next().unwrap_or(key);
        if value.is_none() && !self.document.is_left_out(at, last) {
            self.document.mistake(at, key, "missing; it has no default");
        }
        value
    }

    fn paths(&self, list: Option<List<FilePath>>) -> Vec<PathBuf> {
        let paths = list.map(List::values).unwrap_or_default();
        paths.into_iter().map(|path| self.path(path)).collect()
    }

    fn path(&self, FilePath(path): FilePath) -> PathBuf {
        self.folder.join(path)
    }
}

impl From<&file::Limits> for Limits {
    fn from(file: &file::Limits) -> Self {
        Self {
            packet_size_max: file.packet_size_max.value,
            receive_maximum: file.receive_maximum.value,
            topic_alias_max: file.topic_alias_max.value,
            keep_alive_max: file.keep_alive_max.value,
            session_expiry_max: file.session_expiry_max.value,
            topic_levels_max: file.topic_levels_max.value,
            subscriptions_max: file.subscriptions_max.value,
            sessions_max: file.sessions_max.value,
            connections_per_device_max: file.connections_per_device_max.value,
            takeovers_per_minute_max: file.takeovers_per_minute_max.value,
            publish_rate_max: file.publish_rate_max.value,
            publish_bytes_rate_max: file.publish_bytes_rate_max.value,
            sessions_per_device_max: file.sessions_per_device_max.value,
            in_flight_len_max: file.in_flight_len_max.value,
            in_flight_bytes_max: file.in_flight_bytes_max.value,
            queue_len_max: file.queue_len_max.value,
            queue_bytes_max: file.queue_bytes_max.value,
            queue_qos0: file.queue_qos0,
            queue_cache_bytes_max: file.queue_cache_bytes_max.value,
            retained_len_max: file.retained_len_max.value,
            retained_per_device_max: file.retained_per_device_max.value,
            retained_bytes_max: file.retained_bytes_max.value,
            outbox_bytes_max: file.outbox_bytes_max.value,
            // There are no settings for more shards before there is more than one.
            ..Self::default()
        }
    }
}

impl From<&file::Limits> for NetLimits {
    fn from(file: &file::Limits) -> Self {
        Self {
            waiting_max: file.waiting_max.value,
            handshaking_max: file.handshaking_max.value,
            unfinished_per_address_max: file.unfinished_per_address_max.value,
            hello_timeout: file.hello_timeout.value,
            handshake_timeout: file.handshake_timeout.value,
            connect_timeout: file.connect_timeout.value,
            connections_max: file.connections_max.value,
            connections_per_address_max: file.connections_per_address_max.value,
            known_reserve_percent: file.known_reserve_percent.value,
            stranger_rate_max: file.stranger_rate_max.value,
            memory_bytes_max: file.memory_bytes_max.value,
            drain_timeout: file.drain_timeout.value,
            tcp_keep_alive: file.tcp_keep_alive.value,
        }
    }
}
