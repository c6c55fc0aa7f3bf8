//! Beliefs: whom the broker trusts and who it is, read from files and replaced part by part.
//!
//! Each part is replaced whole or not at all. What was revoked here and what lists were seen is
//! kept before it counts.

use super::files;
use super::memory::{Entry, Memory};
use super::{
    Anchors, Authority, Generation, ListFile, Live, TrustError, check_together, enter, read_anchor,
    read_lists,
};
use crate::config::{Config, Listener};
use certs::admin::Target;
use certs::{Anchor, RegistryExport, RevocationSet, Standing};
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
    /// What was read at the start and is to be remembered.
    lists: Vec<ListFile>,
    memory: Option<Memory>,
}

impl Beliefs {
    /// Reads all files that a configuration names.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<TrustError>> {
        let authorities = read_authorities(config)?;
        let all = authorities.concat();
        let mut errors = Vec::new();
        let lists = read_lists(&config.revocation.lists, &all);
        let lists = lists.unwrap_or_else(|found| {
            errors.extend(found);
            Vec::new()
        });
        let revoked = enter(&RevocationSet::default(), &lists);
        let revoked = revoked.unwrap_or_else(|found| {
            errors.extend(found);
            RevocationSet::default()
        });
        let registry = read_registry(config, &all);
        let registry = registry.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let standing = Live::new(Standing {
            anchors: anchors(&authorities),
            revoked,
            stale_grace: config.revocation.grace,
            registry,
            requires_registry: config.registry.required,
        });
        let mut generations = Vec::new();
        for listener in &config.listeners {
            let anchors = Arc::new(anchors_of(listener, &authorities));
            match Generation::load(listener, (anchors, &standing), None) {
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
            lists,
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
        let memory = Memory::open(data, &self.authorities.concat(), &mut revoked)?;
        for file in std::mem::take(&mut self.lists) {
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
        self.change(|standing| standing.revoked = revoked);
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

    /// Reads the anchors again. Listeners that go by one that has changed, or speak TLS in another
    /// way, begin with new tickets.
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
            let (anchors, before) = (anchors_of(listener, &authorities), live.get());
            if anchors != **before.anchors() || !before.speaks_as(listener) {
                let made = (Arc::new(anchors), &self.standing);
                let generation = Generation::load(listener, made, None);
                begun.push((Arc::clone(live), generation.map_err(|error| vec![error])?));
            }
        }
        if begun.is_empty() && authorities == self.authorities {
            return Ok(Replacement::Same);
        }
        self.change(|standing| standing.anchors = anchors(&authorities));
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
            match Generation::load(listener, made, Some(&before)) {
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
        self.change(|standing| {
            standing.revoked = revoked;
            standing.stale_grace = grace;
        });
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
        self.change(|standing| {
            standing.registry = registry;
            standing.requires_registry = requires_registry;
        });
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

    /// Revokes somebody here.
    ///
    /// # Errors
    /// If the disk fails or is full; nobody is revoked then.
    pub(crate) fn revoke(&mut self, entry: &Entry) -> io::Result<()> {
        if let Some(memory) = &mut self.memory {
            memory.keep_entry(entry)?;
        }
        self.change(|standing| entry.enter(&mut standing.revoked));
        Ok(())
    }

    /// From here on another standing counts.
    fn change(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = (*self.standing.get()).clone();
        change(&mut standing);
        self.standing.set(Arc::new(standing));
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
    let signers: Vec<_> = authorities.iter().map(|it| it.signer.clone()).collect();
    let export = RegistryExport::read(&files::read(path)?, &signers);
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

fn anchors(authorities: &[Vec<Authority>]) -> Vec<Arc<Anchor>> {
    let all = authorities.iter().flatten();
    all.map(|it| Arc::clone(&it.anchor)).collect()
}
