//! Foresee: what a policy would cut if it came into force now.
//!
//! Nothing is changed, and the shards go on between one look at some sessions and the next.

use super::{Operator, attributes_of};
use crate::engine::policy::Policy;
use crate::engine::{Engine, Loss};
use certs::admin::{AdminError, Cut, ErrorCode, LossRow, NewPolicy, PAGE_LEN_MAX};

/// So many filters of a session are named.
const FILTERS_MAX: usize = 8;
/// So many characters of each.
const FILTER_LEN_MAX: usize = 128;

impl Operator {
    /// What a policy would cut, and of whom.
    ///
    /// # Errors
    /// All mistakes in it.
    pub(crate) async fn would_cut(&self, new: &NewPolicy) -> Result<Cut, AdminError> {
        let policy = Policy::parse(&new.name, &new.text).map_err(|mistakes| AdminError {
            code: ErrorCode::BadRequest,
            message: "this policy could not come into force".to_owned(),
            details: mistakes.iter().map(ToString::to_string).collect(),
        })?;
        let standing = self.state.lock().await.beliefs.standing();
        let policy = policy.with_attributes(attributes_of(&standing));
        let mut cut = Cut::default();
        for shard in self.shards.all() {
            let mut next = Some(0);
            while let Some(first) = next {
                next = shard.look(|engine| count(&mut cut, engine, (&policy, first)));
                tokio::task::yield_now().await;
            }
        }
        cut.losses
            .sort_by_cached_key(|it| (it.device.to_string(), it.client.clone()));
        Ok(cut)
    }
}

/// Adds what some sessions would lose. Where to go on.
fn count(cut: &mut Cut, engine: &Engine, (policy, first): (&Policy, usize)) -> Option<usize> {
    let some = engine.losses_by(policy, first);
    for loss in some.losses {
        cut.sessions += u64::from(loss.ends);
        cut.connections += u64::from(loss.closes);
        cut.subscriptions += loss.filters.len() as u64;
        if (cut.losses.len() as u64) < u64::from(PAGE_LEN_MAX) {
            cut.losses.push(row(&loss));
        } else {
            cut.more += 1;
        }
    }
    some.next
}

fn row(loss: &Loss<'_>) -> LossRow {
    let filters = loss.filters.iter().take(FILTERS_MAX);
    LossRow {
        device: loss.key.subject.clone(),
        client: loss.key.client_id.escape_debug().to_string(),
        ends: loss.ends,
        closes: loss.closes,
        subscriptions: loss.filters.len() as u64,
        filters: filters.map(|it| cut_short(it.as_str())).collect(),
    }
}

fn cut_short(filter: &str) -> String {
    filter.escape_debug().take(FILTER_LEN_MAX).collect()
}
