//! From the state to what a new engine begins with.
//!
//! Only what an engine needs at once is read from the log: what was sent under an identifier, what
//! another member of a shared subscription may be given, and what other shards are to get.

use super::{Kept, Owed, State};
use crate::engine::{
    Message, MessageNumber, Restored, RestoredPending, RestoredSession, SessionNumber,
};
use crate::storage::by_number::ByNumber;
use crate::storage::ledger::Place;
use crate::storage::log::LogError;
use crate::storage::state::Waiting;
use std::collections::HashMap;
use std::sync::Arc;

/// Fetches contents from their places.
pub(in crate::storage) type Contents<'a> =
    &'a dyn Fn(&[(MessageNumber, Place)]) -> Result<Vec<(MessageNumber, Arc<Message>)>, LogError>;

/// Makes of the state what an engine begins with.
///
/// # Errors
/// If a content is not where it should be.
pub(in crate::storage) fn restore(
    state: State,
    contents: Contents<'_>,
) -> Result<Restored, LogError> {
    let needed: Vec<_> = needed(&state);
    let contents: HashMap<_, _> = contents(&needed)?.into_iter().collect();
    let messages = &state.messages;
    let sessions = state.sessions.into_iter();
    Ok(Restored {
        sessions: sessions
            .map(|(number, kept)| session(number, kept, (messages, &contents)))
            .collect(),
        retained: state.retained.into_values().collect(),
        forwards: state
            .forwards
            .into_iter()
            .filter_map(|number| Some((number, Arc::clone(contents.get(&number)?))))
            .collect(),
        forwards_taken: state.forwards_taken,
        next_session: state.next_session,
        next_message: state.next_message,
    })
}

/// The messages whose content is needed at once, each once, and where they are.
fn needed(state: &State) -> Vec<(MessageNumber, Place)> {
    let owed = state.sessions.values().flat_map(|kept| &kept.pending);
    let mut numbers: Vec<_> = owed
        .filter(|owed| owed.needs_content())
        .map(|owed| owed.number)
        .chain(state.forwards.iter().copied())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let place = |number| Some((number, state.messages.get(number)?.place));
    numbers.into_iter().filter_map(place).collect()
}

type Known<'a> = (
    &'a ByNumber<Waiting>,
    &'a HashMap<MessageNumber, Arc<Message>>,
);

fn session(number: SessionNumber, kept: Kept, known: Known<'_>) -> RestoredSession {
    RestoredSession {
        number,
        key: kept.key,
        expiry: kept.expiry,
        left_at: kept.left_at,
        subscriptions: kept.subscriptions.into_iter().collect(),
        will: kept.will,
        pending: kept
            .pending
            .into_iter()
            .map(|owed| pending(owed, known))
            .collect(),
        received: kept.received,
        accepted: kept.accepted,
        last_sent: kept.last_sent,
    }
}

fn pending(owed: Owed, (messages, contents): Known<'_>) -> RestoredPending {
    let outline = messages.get(owed.number).map(|waiting| waiting.outline);
    let message = owed
        .needs_content()
        .then(|| contents.get(&owed.number).cloned());
    let extra = owed.extra.map(|extra| *extra);
    let (subscription_ids, share) = extra
        .map(|extra| (extra.subscription_ids, extra.share))
        .unwrap_or_default();
    RestoredPending {
        number: owed.number,
        sent: owed.sent,
        qos: owed.qos,
        retain: owed.retain,
        subscription_ids,
        share,
        expires_at: outline.and_then(|it| it.expires_at),
        payload_len: outline.map_or(0, |it| it.payload_len),
        message: message.flatten(),
    }
}

impl Owed {
    fn needs_content(&self) -> bool {
        let is_shared = self.extra.as_ref().is_some_and(|it| it.share.is_some());
        self.sent.is_some() || is_shared
    }
}
