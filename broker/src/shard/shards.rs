//! All shards of a broker: which one a device belongs to, and how they reach each other.
//!
//! A device is always served by the same shard, so that takeover, quotas and revocation stay
//! within one engine.

use super::Shard;
use super::outgoing::Other;
use crate::engine::Input;
use crate::storage::StorageError;
use certs::Subject;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The shards, at least one.
pub struct Shards {
    first: Arc<Shard>,
    others: Vec<Arc<Shard>>,
}

impl Shards {
    /// Joins shards, so that messages of one reach the sessions of the others.
    pub fn new(first: Shard, others: Vec<Shard>) -> Self {
        let shards = Self {
            first: Arc::new(first),
            others: others.into_iter().map(Arc::new).collect(),
        };
        for shard in shards.all() {
            let others = shards.all().zip(0..).map(|(shard, index)| Other {
                index,
                shard: Arc::downgrade(shard),
            });
            let is_other = |other: &Other| !std::ptr::eq(other.shard.as_ptr(), Arc::as_ptr(shard));
            // Set here and nowhere else.
            let _ = shard.others.set(others.filter(is_other).collect());
        }
        shards
    }

    /// Every shard.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Shard>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The shard that this device's sessions are in.
    pub fn of(&self, subject: &Subject) -> &Arc<Shard> {
        if self.others.is_empty() {
            return &self.first;
        }
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let count = self.others.len() as u64 + 1;
        let place = usize::try_from(hasher.finish() % count).unwrap_or_default();
        self.all().nth(place).unwrap_or(&self.first)
    }

    /// Tells every shard.
    pub fn tell_all(&self, input: impl Fn() -> Input) {
        self.all().for_each(|shard| shard.tell(input()));
    }

    /// Resolves when the log of a shard has failed.
    pub async fn failure(&self) -> Arc<StorageError> {
        let mut watched = JoinSet::new();
        for shard in self.all() {
            let mut failure = shard.failure();
            watched.spawn(async move {
                let failed = failure.wait_for(Option::is_some).await;
                failed.ok().and_then(|error| error.clone())
            });
        }
        loop {
            match watched.join_next().await {
                Some(Ok(Some(error))) => return error,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}
