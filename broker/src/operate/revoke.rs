//! Revoke: a device or a certificate is not accepted any more, and whoever it is goes at once.

use super::Operator;
use crate::audit::{Changed, Event};
use crate::trust::Entry;
use certs::admin::{AdminError, ErrorCode, Receipt, Revoke, Target};
use rustls_pki_types::UnixTime;
use std::time::Instant;

impl Operator {
    /// Revokes somebody. Durable, and every session closed, when this returns.
    ///
    /// # Errors
    /// If it cannot be kept; nobody is revoked then.
    pub(crate) async fn revoke(&self, revoke: Revoke) -> Result<Receipt, AdminError> {
        let begun = Instant::now();
        let entry = Entry {
            target: revoke.target,
            reason: revoke.reason,
            time: revoke.time.unwrap_or_else(|| UnixTime::now().as_secs()),
        };
        let revoked = self.apart({
            let entry = entry.clone();
            move |state| {
                let already = state.beliefs.covers(&entry);
                if !already {
                    state.beliefs.revoke(&entry)?;
                }
                Ok((already, state.beliefs.is_durable()))
            }
        });
        let (mut state, revoked) = revoked.await;
        let (already, durable) = revoked.map_err(|it| not_kept(&it))?;
        let sessions_closed = self.judge_all(&mut state).await as u64;
        let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let Entry {
            target,
            reason,
            time,
        } = entry;
        self.door.audit.note(|| Event::Changed {
            what: Changed::Revocation,
            words: format!(
                "{} is revoked ({reason}): {sessions_closed} sessions closed in {milliseconds} ms",
                Named(&target)
            )
            .into(),
        });
        tracing::warn!(
            target = %Named(&target), %reason, already, durable, sessions_closed, milliseconds,
            "revoked"
        );
        Ok(Receipt {
            target: Some(target),
            reason,
            time,
            list_number: None,
            already,
            sessions_closed,
            milliseconds,
            durable,
        })
    }
}

fn not_kept(error: &std::io::Error) -> AdminError {
    AdminError {
        code: ErrorCode::Failed,
        message: "nobody was revoked: it could not be kept in the data directory".to_owned(),
        details: vec![error.to_string()],
    }
}

/// A target in a log line.
struct Named<'a>(&'a Target);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Target::Device(subject) => subject.fmt(f),
            Target::Certificate { issuer, serial } => write!(f, "{serial} of {issuer}"),
        }
    }
}
