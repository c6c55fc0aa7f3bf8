//! The timer of a shard: tells the engine when the moment it waits for has come.

use super::clock::wall_time;
use super::{Input, Shard};
use std::sync::Arc;
use std::time::Duration;
use tokio::time;

/// Ticks the shard whenever its deadline is reached, for as long as the shard lives.
pub(crate) async fn keep_time(shard: Arc<Shard>) {
    let mut deadlines = shard.deadline.subscribe();
    let mut ticked = None;
    loop {
        let deadline = *deadlines.borrow_and_update();
        // Wall time may jump: look again now and then, however far the deadline is.
        let mut wait = deadline.map_or(LOOK_AGAIN, |at| at.since(wall_time()).min(LOOK_AGAIN));
        // It may be a while until somebody can take the turn.
        if ticked.is_some() && ticked == deadline {
            wait = wait.max(TICK_AGAIN);
        }
        tokio::select! {
            changed = deadlines.changed() => if changed.is_err() { return },
            () = time::sleep(wait) => {
                if deadline.is_some_and(|at| at <= wall_time()) {
                    ticked = deadline;
                    shard.tell(Input::Tick);
                }
            }
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_mins(1);
const TICK_AGAIN: Duration = Duration::from_millis(50);
