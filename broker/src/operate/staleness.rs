//! Staleness: a revocation list whose successor does not come is told of before it shuts anybody
//! out, and when it does.

use super::Operator;
use certs::{Freshness, ListId};
use rustls_pki_types::UnixTime;
use std::collections::BTreeMap;

/// What was told of lists that are out of date: whether the grace is over.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<ListId, bool>);

impl Operator {
    /// Tells of each list that has gone out of date, and again when its grace is over.
    pub(super) async fn tell_of_stale_lists(&self, told: &mut Told) {
        let standing = self.state.lock().await.beliefs.standing();
        let (now, grace) = (UnixTime::now(), standing.stale_grace);
        let mut stale = BTreeMap::new();
        for list in standing.revoked.lists() {
            let Freshness::Stale { since } = list.freshness(now) else {
                continue;
            };
            let is_over = since > grace;
            stale.insert(list.id().clone(), is_over);
            if told.0.get(list.id()) == Some(&is_over) {
                continue;
            }
            let (id, number) = (list.id(), list.number());
            if is_over {
                tracing::error!(
                    %id, %number, ?since,
                    "a revocation list is out of date for too long: nobody new is let in"
                );
            } else {
                tracing::warn!(%id, %number, ?since, ?grace, "a revocation list is out of date");
            }
        }
        told.0 = stale;
    }
}
