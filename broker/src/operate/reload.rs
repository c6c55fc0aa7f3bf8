//! Reload: every file is read again, and each part of what it makes is replaced whole or kept.

use super::{Operator, State};
use crate::audit::{Changed, Event};
use crate::config::Config;
use crate::engine::Input;
use crate::server::{load_policy, read_config};
use crate::trust::{Replacement, TrustError};
use certs::admin::{Outcome, Reloaded, ReloadedPart};
use std::time::Instant;

impl Operator {
    /// Reads all files again. A part whose files are not good stays as it was, and the problems
    /// are named.
    pub(crate) async fn reload(&self) -> Reloaded {
        let begun = Instant::now();
        let mut state = self.state.lock().await;
        let mut parts = Vec::new();
        parts.push(self.reload_config(&mut state));
        parts.push(self.reload_policy(&mut state));
        let State {
            config, beliefs, ..
        } = &mut *state;
        let trust = [
            ("anchors", beliefs.replace_anchors(config)),
            ("certificate", beliefs.replace_identities(config)),
            ("revocation", beliefs.replace_lists(config)),
            ("registry", beliefs.replace_registry(config)),
        ];
        let trust = trust.map(|(part, outcome)| trust_part(part, outcome));
        let is_new = trust.iter().any(|it| it.outcome == Outcome::Changed);
        if trust
            .iter()
            .any(|it| it.part == "registry" && it.outcome == Outcome::Changed)
        {
            self.enforce(&mut state);
        }
        let sessions_closed = if is_new {
            self.judge_all(&mut state).await as u64
        } else {
            0
        };
        drop(state);
        parts.extend(trust);
        for part in &parts {
            self.note(part, sessions_closed);
            report(part, sessions_closed);
        }
        Reloaded {
            parts,
            sessions_closed,
            milliseconds: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        }
    }

    /// What was replaced has its line in the audit log.
    fn note(&self, part: &ReloadedPart, sessions_closed: u64) {
        if part.outcome != Outcome::Changed {
            return;
        }
        let what = match part.part.as_str() {
            "policy" => Changed::Policy,
            "revocation" => Changed::Revocation,
            "registry" => Changed::Registry,
            "limits" => Changed::Configuration,
            _ => Changed::Trust,
        };
        let name = &part.part;
        self.door.audit.note(|| Event::Changed {
            what,
            words: format!("{name} reloaded: {sessions_closed} sessions closed").into(),
        });
    }

    /// Limits of the engine, and which files there are.
    fn reload_config(&self, state: &mut State) -> ReloadedPart {
        let Some(source) = &self.source else {
            return part("limits", Outcome::Same, Vec::new());
        };
        let config = match read_config(source) {
            Ok(config) => config,
            Err(errors) => return part("limits", Outcome::Kept, words(&errors)),
        };
        if config == state.config {
            return part("limits", Outcome::Same, Vec::new());
        }
        let mut config = config;
        for (listener, before) in config.listeners.iter_mut().zip(&state.config.listeners) {
            // The address may have been given on the command line.
            listener.address = before.address;
        }
        let fixed = needs_restart(&state.config, &config);
        if !fixed.is_empty() {
            return part("limits", Outcome::Kept, fixed);
        }
        if config == state.config {
            return part("limits", Outcome::Same, Vec::new());
        }
        if config.limits != state.config.limits {
            let limits = config.limits.clone();
            let limits = || Input::Limits(Box::new(limits.clone()));
            self.shards.tell_all(limits);
        }
        state.config = config;
        part("limits", Outcome::Changed, Vec::new())
    }

    fn reload_policy(&self, state: &mut State) -> ReloadedPart {
        let policy = match load_policy(state.config.policy.as_deref()) {
            Ok(policy) => policy,
            Err(errors) => return part("policy", Outcome::Kept, words(&errors)),
        };
        if policy.text == state.policy.text {
            return part("policy", Outcome::Same, Vec::new());
        }
        state.policy = policy;
        state.policy_generation += 1;
        self.enforce(state);
        part("policy", Outcome::Changed, Vec::new())
    }
}

/// What of a configuration cannot be changed while the broker runs.
fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let differs = [
        ("listener", before.listeners.len() != after.listeners.len()),
        ("storage", before.storage != after.storage),
        ("admin.socket", before.admin_socket != after.admin_socket),
        ("log", before.log != after.log),
        ("the limits of connections", before.net != after.net),
    ];
    let changed = differs.iter().filter(|(_, differs)| *differs);
    changed
        .map(|(what, _)| format!("{what}: changed, which needs a restart"))
        .collect()
}

fn trust_part(name: &str, outcome: Result<Replacement, Vec<TrustError>>) -> ReloadedPart {
    match outcome {
        Ok(Replacement::New) => part(name, Outcome::Changed, Vec::new()),
        Ok(Replacement::Same) => part(name, Outcome::Same, Vec::new()),
        Err(errors) => part(name, Outcome::Kept, words(&errors)),
    }
}

fn part(name: &str, outcome: Outcome, problems: Vec<String>) -> ReloadedPart {
    ReloadedPart {
        part: name.to_owned(),
        outcome,
        problems,
    }
}

/// Each error with its causes, on one line.
fn words<E: std::error::Error>(errors: &[E]) -> Vec<String> {
    let all = errors.iter().map(|error| {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        words
    });
    all.collect()
}

fn report(part: &ReloadedPart, sessions_closed: u64) {
    let name = &part.part;
    match part.outcome {
        Outcome::Same => {}
        Outcome::Changed => tracing::info!(part = name, sessions_closed, "reloaded"),
        Outcome::Kept => {
            for problem in &part.problems {
                tracing::error!(part = name, problem, "not reloaded: it stays as it was");
            }
        }
    }
}
