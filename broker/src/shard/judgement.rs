//! Judgement: whoever changes what devices are judged by hears when all were, and when those who
//! had to go are gone.

use super::Shard;
use crate::engine::{ConnectionId, Input, Judged, Verdicts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Those who wait to hear of a judgement, by its version.
#[derive(Debug, Default)]
pub(super) struct Judgements(Mutex<BTreeMap<u64, oneshot::Sender<Vec<ConnectionId>>>>);

impl Judgements {
    /// All were judged.
    pub(super) fn tell(&self, judged: Judged) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = waiting.remove(&judged.version) {
            // Who asked may have given up.
            let _ = told.send(judged.closed);
        }
    }

    fn wait(&self, version: u64) -> oneshot::Receiver<Vec<ConnectionId>> {
        let (told, hears) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(version, told);
        hears
    }
}

impl Shard {
    /// Judges all who are here by new verdicts. How many had to go, once the last connection of
    /// theirs is closed.
    pub async fn judge(self: &Arc<Self>, verdicts: Verdicts) -> usize {
        let judged = self.judgements.wait(verdicts.version);
        self.tell(Input::Standing(verdicts));
        // An engine that failed judges nobody, and lets nobody stay either.
        let closed = judged.await.unwrap_or_default();
        self.outboxes.all_gone(&closed).await;
        closed.len()
    }
}
