//! Reload: every file is read again, and each part of what it makes is replaced whole or kept.

use super::{Operator, State};
use crate::audit::{Changed, Event};
use crate::config::{Config, Storage};
use crate::engine::Input;
use crate::server::{PlanError, Source, load_policy};
use crate::trust::Replacement;
use certs::WithCauses;
use certs::admin::{Outcome, Reloaded, ReloadedPart};
use std::time::Instant;

/// What is replaced on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Limits,
    Policy,
    Anchors,
    Certificate,
    Revocation,
    Registry,
}

/// What became of a part, and what is wrong with its files where it was kept.
type Read = (Part, Result<Replacement, Vec<String>>);

impl Operator {
    /// Reads all files again. A part whose files are not good stays as it was, and the problems
    /// are named.
    pub(crate) async fn reload(&self) -> Reloaded {
        let begun = Instant::now();
        let source = self.source.clone();
        let read = self.apart(move |state| state.read_again(source.as_ref()));
        let (mut state, read) = read.await;
        let is_new = |part: Part| read.contains(&(part, Ok(Replacement::New)));
        if is_new(Part::Limits) {
            let limits = &state.config.limits;
            let limits = || Input::Limits(Box::new(limits.clone()));
            self.shards.tell_all(limits);
            // After that: whoever comes by a rate must find that its shard knows it.
            self.door.go_by(&state.config);
        }
        if is_new(Part::Policy) || is_new(Part::Registry) {
            self.enforce(&mut state);
        }
        let trust = [Part::Anchors, Part::Revocation, Part::Registry];
        let sessions_closed = if trust.into_iter().any(is_new) {
            self.judge_all(&mut state).await as u64
        } else {
            0
        };
        drop(state);
        for (part, outcome) in &read {
            self.report(*part, outcome, sessions_closed);
        }
        Reloaded {
            parts: read.into_iter().map(told).collect(),
            sessions_closed,
            milliseconds: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        }
    }

    /// What was replaced has its line in both logs, and so has what is wrong in ours.
    fn report(&self, part: Part, outcome: &Result<Replacement, Vec<String>>, sessions_closed: u64) {
        let name = part.name();
        match outcome {
            Ok(Replacement::Same) => {}
            Ok(Replacement::New) => {
                tracing::info!(part = name, sessions_closed, "reloaded");
                self.door.audit.note(|| Event::Changed {
                    what: part.changed(),
                    words: format!("{name} reloaded: {sessions_closed} sessions closed").into(),
                });
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(part = name, problem, "not reloaded: it stays as it was");
                }
            }
        }
    }
}

impl State {
    /// Reads all files again. What is new is here when this returns, and in force nowhere else but
    /// at the door.
    fn read_again(&mut self, source: Option<&Source>) -> Vec<Read> {
        let limits = self.read_config_again(source);
        let policy = self.read_policy_again().map_err(|errors| words(&errors));
        let (config, beliefs) = (&self.config, &mut self.beliefs);
        let trust = [
            (Part::Anchors, beliefs.replace_anchors(config)),
            (Part::Certificate, beliefs.replace_identities(config)),
            (Part::Revocation, beliefs.replace_lists(config)),
            (Part::Registry, beliefs.replace_registry(config)),
        ];
        let trust = trust.map(|(part, it)| (part, it.map_err(|errors| words(&errors))));
        let first = [(Part::Limits, limits), (Part::Policy, policy)];
        first.into_iter().chain(trust).collect()
    }

    /// Limits, and which files there are.
    fn read_config_again(&mut self, source: Option<&Source>) -> Result<Replacement, Vec<String>> {
        let Some(source) = source else {
            return Ok(Replacement::Same);
        };
        let config = source.read().map_err(|errors| words(&errors))?;
        let fixed = needs_restart(&self.config, &config);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        if config == self.config {
            return Ok(Replacement::Same);
        }
        self.config = config;
        Ok(Replacement::New)
    }

    fn read_policy_again(&mut self) -> Result<Replacement, Vec<PlanError>> {
        let policy = load_policy(self.config.policy.as_deref())?;
        if policy.text == self.policy.text {
            return Ok(Replacement::Same);
        }
        self.policy = policy;
        self.policy_generation += 1;
        Ok(Replacement::New)
    }
}

impl Part {
    /// What operators call it.
    fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Policy => "policy",
            Self::Anchors => "anchors",
            Self::Certificate => "certificate",
            Self::Revocation => "revocation",
            Self::Registry => "registry",
        }
    }

    /// What the audit log calls it.
    fn changed(self) -> Changed {
        match self {
            Self::Limits => Changed::Configuration,
            Self::Policy => Changed::Policy,
            Self::Anchors | Self::Certificate => Changed::Trust,
            Self::Revocation => Changed::Revocation,
            Self::Registry => Changed::Registry,
        }
    }
}

/// What of a configuration cannot be changed while the broker runs.
fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let names = |config: &Config| -> Vec<_> {
        let listeners = config.listeners.iter();
        listeners.map(|it| it.name.clone()).collect()
    };
    let addresses = |config: &Config| -> Vec<_> {
        let listeners = config.listeners.iter();
        listeners.map(|it| it.address).collect()
    };
    let disk_bytes_max = after.storage.disk_bytes_max;
    let storage = Storage {
        disk_bytes_max,
        ..before.storage.clone()
    };
    let differs = [
        // Their number and what policy calls them.
        ("listener", names(before) != names(after)),
        ("listener.address", addresses(before) != addresses(after)),
        ("storage", storage != after.storage),
        (
            "limits.disk_bytes_max",
            disk_bytes_max != before.storage.disk_bytes_max,
        ),
        ("admin.socket", before.admin_socket != after.admin_socket),
        ("audit", before.audit != after.audit),
        ("log", before.log != after.log),
    ];
    let changed = differs.iter().filter(|(_, differs)| *differs);
    changed
        .map(|(what, _)| format!("{what}: changed, which needs a restart"))
        .collect()
}

fn told((part, outcome): Read) -> ReloadedPart {
    let (outcome, problems) = match outcome {
        Ok(Replacement::New) => (Outcome::Changed, Vec::new()),
        Ok(Replacement::Same) => (Outcome::Same, Vec::new()),
        Err(problems) => (Outcome::Kept, problems),
    };
    ReloadedPart {
        part: part.name().to_owned(),
        outcome,
        problems,
    }
}

/// Each error with its causes, on one line.
fn words<E: std::error::Error>(errors: &[E]) -> Vec<String> {
    let all = errors.iter().map(|error| WithCauses(error).to_string());
    all.collect()
}
