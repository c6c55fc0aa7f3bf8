//! Beliefs: whom the broker trusts and who it is, read from files and replaced part by part.
//!
//! Each part is replaced whole or not at all. What was revoked here and what lists were seen is
//! kept before it counts.

use super::memory::{Entry, Memory};
use super::{
    Anchors, Authority, Generation, ListFile, Live, TlsSettings, TrustError, check_together, enter,
    read_anchor, read_lists,
};
use crate::config::{Config, KeyExchange, Listener, TlsVersion};
use certs::admin::Target;
use certs::{RegistryExport, RevocationSet, Standing};
use rustls::SupportedProtocolVersion;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What became of a part that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// The new one counts.
    New,
    /// There was nothing new.
    Same,
}

/// Whom the broker trusts, and who it is.
#[derive(Debug)]
pub(crate) struct Beliefs {
    standing: Arc<Live<Standing>>,
    /// Of each listener.
    generations: Vec<Arc<Live<Generation>>>,
    /// Of each anchor of the configuration.
    authorities: Vec<Vec<Authority>>,
    memory: Option<Memory>,
}

impl Beliefs {
    /// Reads all files that a configuration names.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<TrustError>> {
        let authorities = read_authorities(config)?;
        let lists = read_lists(&config.revocation.lists, &authorities.concat());
        let revoked = lists.and_then(|lists| enter(&RevocationSet::default(), &lists));
        let mut errors = Vec::new();
        let revoked = revoked.unwrap_or_else(|found| {
            errors.extend(found);
            RevocationSet::default()
        });
        let registry = read_registry(config, &authorities.concat());
        let registry = registry.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let standing = Live::new(Standing {
            registry,
            requires_registry: config.registry.required,
            ..standing(&authorities, revoked, config)
        });
        let mut generations = Vec::new();
        for listener in &config.listeners {
            let anchors = Arc::new(anchors_of(listener, &authorities));
            match load_generation(listener, (anchors, &standing), None) {
                Ok(generation) => generations.push(Live::new(generation)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            standing,
            generations,
            authorities,
            memory: None,
        })
    }

    /// Remembers, from here on, in a data directory, and what is remembered there. Lists in files
    /// that are older than those are named and left out.
    ///
    /// # Errors
    /// If the memory cannot be read or be written.
    pub(crate) fn remember(&mut self, config: &Config, data: &Path) -> Result<(), TrustError> {
        let mut revoked = RevocationSet::default();
        let authorities = self.authorities.concat();
        let memory = Memory::open(data, &authorities, &mut revoked)?;
        // They were read a moment ago.
        let lists = read_lists(&config.revocation.lists, &authorities).unwrap_or_default();
        for file in lists {
            match enter(&revoked, std::slice::from_ref(&file)) {
                Ok(entered) => {
                    let kept = memory.keep_lists(std::iter::once(&file));
                    kept.map_err(|source| TrustError::NotKept { source })?;
                    revoked = entered;
                }
                Err(errors) => {
                    for error in errors {
                        tracing::warn!(%error, "an old revocation list is left out");
                    }
                }
            }
        }
        let now = self.standing.get();
        self.standing.set(Arc::new(Standing {
            revoked,
            ..(*now).clone()
        }));
        self.memory = Some(memory);
        let registry = self.standing.get().registry.clone();
        self.check_rises(config, registry.as_deref())
    }

    /// Whom we trust now.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.get()
    }

    /// What each listener goes by.
    pub(crate) fn generations(&self) -> &[Arc<Live<Generation>>] {
        &self.generations
    }

    /// Reads the anchors again. Listeners that go by one that has changed begin with new tickets.
    ///
    /// # Errors
    /// All that is wrong with their files; nothing is replaced then.
    pub(crate) fn replace_anchors(
        &mut self,
        config: &Config,
    ) -> Result<Replacement, Vec<TrustError>> {
        let authorities = read_authorities(config)?;
        let mut begun = Vec::new();
        for (listener, live) in config.listeners.iter().zip(&self.generations) {
            let anchors = anchors_of(listener, &authorities);
            if anchors != **live.get().anchors() {
                let made = (Arc::new(anchors), &self.standing);
                let generation = load_generation(listener, made, None);
                begun.push((Arc::clone(live), generation.map_err(|error| vec![error])?));
            }
        }
        if begun.is_empty() && authorities == self.authorities {
            return Ok(Replacement::Same);
        }
        let revoked = self.standing.get().revoked.clone();
        let now = self.standing.get();
        self.standing.set(Arc::new(Standing {
            registry: now.registry.clone(),
            requires_registry: now.requires_registry,
            ..standing(&authorities, revoked, config)
        }));
        self.authorities = authorities;
        for (live, generation) in begun {
            live.set(Arc::new(generation));
        }
        Ok(Replacement::New)
    }

    /// Reads our own certificates and keys again. The tickets stay good.
    ///
    /// # Errors
    /// All that is wrong with their files; nothing is replaced then.
    pub(crate) fn replace_identities(
        &mut self,
        config: &Config,
    ) -> Result<Replacement, Vec<TrustError>> {
        let (mut begun, mut errors) = (Vec::new(), Vec::new());
        for (listener, live) in config.listeners.iter().zip(&self.generations) {
            let before = live.get();
            let made = (Arc::clone(before.anchors()), &self.standing);
            match load_generation(listener, made, Some(&before)) {
                Ok(generation) if generation.has_identity_of(&before) => {}
                Ok(generation) => begun.push((live, generation)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if begun.is_empty() {
            return Ok(Replacement::Same);
        }
        for (live, generation) in begun {
            live.set(Arc::new(generation));
        }
        Ok(Replacement::New)
    }

    /// Reads the revocation lists again. One that is there no more counts all the same.
    ///
    /// # Errors
    /// All that is wrong with their files; nothing is replaced then.
    pub(crate) fn replace_lists(
        &mut self,
        config: &Config,
    ) -> Result<Replacement, Vec<TrustError>> {
        let lists = read_lists(&config.revocation.lists, &self.authorities.concat())?;
        let now = self.standing.get();
        let revoked = enter(&now.revoked, &lists)?;
        let is_new = |file: &&ListFile| {
            let before = now.revoked.lists().find(|it| it.id() == file.list.id());
            before.is_none_or(|it| it.sha256() != file.list.sha256())
        };
        let mut new = lists.iter().filter(is_new).peekable();
        let grace = config.revocation.grace;
        if new.peek().is_none() && now.stale_grace == grace {
            return Ok(Replacement::Same);
        }
        if let Some(memory) = &self.memory {
            let kept = memory.keep_lists(new);
            kept.map_err(|source| vec![TrustError::NotKept { source }])?;
        }
        self.standing.set(Arc::new(Standing {
            revoked,
            stale_grace: grace,
            ..(*now).clone()
        }));
        Ok(Replacement::New)
    }

    /// Reads the registry export again.
    ///
    /// # Errors
    /// If its file is not good, or older than one that was seen; nothing is replaced then.
    pub(crate) fn replace_registry(
        &mut self,
        config: &Config,
    ) -> Result<Replacement, Vec<TrustError>> {
        let registry = read_registry(config, &self.authorities.concat());
        let registry = registry.map_err(|error| vec![error])?;
        let now = self.standing.get();
        let requires_registry = config.registry.required;
        if registry == now.registry && requires_registry == now.requires_registry {
            return Ok(Replacement::Same);
        }
        self.check_rises(config, registry.as_deref())
            .map_err(|error| vec![error])?;
        self.standing.set(Arc::new(Standing {
            registry,
            requires_registry,
            ..(*now).clone()
        }));
        Ok(Replacement::New)
    }

    /// An export that is older than one that was seen brings back whoever was taken out since.
    fn check_rises(
        &mut self,
        config: &Config,
        registry: Option<&RegistryExport>,
    ) -> Result<(), TrustError> {
        let Some(registry) = registry else {
            return Ok(());
        };
        let (number, now) = (registry.header().number, self.standing.get());
        let known = now.registry.as_ref().map(|it| it.header().number);
        let kept = self.memory.as_ref().and_then(Memory::registry_number);
        let seen = known.max(kept).unwrap_or_default();
        if number < seen {
            return Err(TrustError::OldRegistry {
                path: config.registry.file.clone().unwrap_or_default(),
                number,
                seen,
            });
        }
        if let Some(memory) = &mut self.memory {
            let kept = memory.keep_registry_number(number);
            kept.map_err(|source| TrustError::NotKept { source })?;
        }
        Ok(())
    }

    /// Whether an entry would say nothing new: it is there, or one that covers more.
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        let standing = self.standing.get();
        let known = match &entry.target {
            Target::Device(subject) => standing.revoked.find_subject(subject),
            Target::Certificate { issuer, serial } => {
                standing.revoked.find_certificate(&issuer.0, *serial)
            }
        };
        let is_device = matches!(entry.target, Target::Device(_));
        known.is_some_and(|known| !is_device || known.at.as_secs() >= entry.time)
    }

    /// Whether what is revoked here is remembered.
    pub(crate) fn is_durable(&self) -> bool {
        self.memory.is_some()
    }

    /// Revokes somebody here. Whether it is durable.
    ///
    /// # Errors
    /// If the disk fails or is full; nobody is revoked then.
    pub(crate) fn revoke(&mut self, entry: &Entry) -> io::Result<bool> {
        if let Some(memory) = &mut self.memory {
            memory.keep_entry(entry)?;
        }
        let mut standing = (*self.standing.get()).clone();
        entry.enter(&mut standing.revoked);
        self.standing.set(Arc::new(standing));
        Ok(self.memory.is_some())
    }
}

fn read_authorities(config: &Config) -> Result<Vec<Vec<Authority>>, Vec<TrustError>> {
    let (mut authorities, mut errors) = (Vec::new(), Vec::new());
    for anchor in &config.anchors {
        match read_anchor(anchor) {
            Ok(read) => authorities.push(read),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        check_together(&authorities.concat()).map_err(|error| vec![error])?;
        return Ok(authorities);
    }
    Err(errors)
}

fn read_registry(
    config: &Config,
    authorities: &[Authority],
) -> Result<Option<Arc<RegistryExport>>, TrustError> {
    let Some(path) = &config.registry.file else {
        return Ok(None);
    };
    let octets = std::fs::read(path).map_err(|source| TrustError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let signers: Vec<_> = authorities.iter().map(|it| it.signer.clone()).collect();
    let export = RegistryExport::read(&octets, &signers);
    let export = export.map_err(|why| TrustError::NotARegistry {
        path: path.clone(),
        why,
    })?;
    Ok(Some(Arc::new(export)))
}

fn anchors_of(listener: &Listener, authorities: &[Vec<Authority>]) -> Anchors {
    let named = listener.anchors.iter();
    Anchors::new(named.filter_map(|place| authorities.get(*place)).flatten())
}

fn standing(authorities: &[Vec<Authority>], revoked: RevocationSet, config: &Config) -> Standing {
    let anchors = authorities.iter().flatten();
    Standing {
        anchors: anchors.map(|it| Arc::clone(&it.anchor)).collect(),
        revoked,
        stale_grace: config.revocation.grace,
        registry: None,
        requires_registry: false,
    }
}

fn load_generation(
    listener: &Listener,
    made_of: (Arc<Anchors>, &Arc<Live<Standing>>),
    before: Option<&Generation>,
) -> Result<Generation, TrustError> {
    let key_exchange: Vec<_> = listener.key_exchange.iter().copied().map(group).collect();
    let settings = TlsSettings {
        certificate: &listener.certificate,
        key: &listener.key,
        versions: &versions(listener.tls_min),
        key_exchange: &key_exchange,
    };
    Generation::load(&settings, made_of, before)
}

fn versions(oldest: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match oldest {
        TlsVersion::Tls12 => vec![&TLS13, &TLS12],
        TlsVersion::Tls13 => vec![&TLS13],
    }
}

fn group(key_exchange: KeyExchange) -> &'static dyn SupportedKxGroup {
    match key_exchange {
        KeyExchange::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Secp256r1 => kx_group::SECP256R1,
        KeyExchange::Secp384r1 => kx_group::SECP384R1,
    }
}
