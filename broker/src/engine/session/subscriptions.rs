//! Subscriptions of one session, and the retained messages it is still to get for them.
//!
//! Both are bounded by the limit on subscriptions: there is one of each for a filter.

use crate::engine::policy::SubscribePermit;
use crate::engine::router::{Grant, Scan};
use protocol::topic::TopicFilter;
use std::collections::VecDeque;

/// What one session subscribes to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Subscriptions {
    /// In the order of the filters.
    held: Vec<Held>,
    runs: VecDeque<RetainedRun>,
}

/// One subscription.
#[derive(Debug)]
struct Held {
    filter: TopicFilter,
    grant: Grant,
}

/// The retained messages of a new subscription, sent a few at a time.
#[derive(Debug)]
pub(in crate::engine) struct RetainedRun {
    pub(in crate::engine) filter: TopicFilter,
    pub(in crate::engine) grant: Grant,
    pub(in crate::engine) scan: Scan,
}

impl Subscriptions {
    pub(in crate::engine) fn len(&self) -> usize {
        self.held.len()
    }

    pub(in crate::engine) fn contains(&self, filter: &TopicFilter) -> bool {
        self.place(filter).is_ok()
    }

    /// All of them, in the order of their filters.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, Grant)> {
        self.held.iter().map(|held| (&held.filter, held.grant))
    }

    /// Adds a subscription, or replaces how it was granted. The filter is held in memory of its
    /// own: what is shared takes more.
    pub(in crate::engine) fn set(&mut self, filter: &TopicFilter, grant: Grant) {
        match self.place(filter) {
            Ok(place) => {
                if let Some(held) = self.held.get_mut(place) {
                    held.grant = grant;
                }
            }
            Err(place) => {
                let filter = filter.detached();
                self.held.insert(place, Held { filter, grant });
            }
        }
    }

    /// Notes what a new permit for a subscription withholds. How it is granted then.
    pub(in crate::engine) fn judge(&mut self, permit: &SubscribePermit) -> Option<Grant> {
        let place = self.place(permit.filter()).ok()?;
        let held = self.held.get_mut(place)?;
        held.grant.withholds = permit.is_partial();
        held.grant.qos = held.grant.qos.min(permit.qos_max());
        let grant = held.grant;
        for run in self
            .runs
            .iter_mut()
            .filter(|run| run.filter == *permit.filter())
        {
            run.grant = grant;
        }
        Some(grant)
    }

    /// Gives back what more subscriptions would have taken.
    pub(in crate::engine) fn shrink(&mut self) {
        self.held.shrink_to_fit();
        self.runs.shrink_to_fit();
    }

    /// Removes a subscription. Whether there was one.
    pub(in crate::engine) fn remove(&mut self, filter: &TopicFilter) -> bool {
        let Ok(place) = self.place(filter) else {
            return false;
        };
        self.held.remove(place);
        self.runs.retain(|run| run.filter != *filter);
        true
    }

    /// Begins to send retained messages for a subscription, anew if that was under way.
    pub(in crate::engine) fn begin_run(&mut self, filter: TopicFilter, grant: Grant) {
        self.runs.retain(|run| run.filter != filter);
        self.runs.push_back(RetainedRun {
            filter,
            grant,
            scan: Scan::new(),
        });
    }

    /// Whether retained messages are still to be sent.
    pub(in crate::engine) fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    /// The run that is next.
    pub(in crate::engine) fn run_mut(&mut self) -> Option<&mut RetainedRun> {
        while self.runs.front().is_some_and(|run| run.scan.is_done()) {
            self.runs.pop_front();
        }
        self.runs.front_mut()
    }

    fn place(&self, filter: &TopicFilter) -> Result<usize, usize> {
        self.held.binary_search_by(|held| held.filter.cmp(filter))
    }
}
