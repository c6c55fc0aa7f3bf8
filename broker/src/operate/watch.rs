//! Watch: files that change are read again without being asked.
//!
//! Their names, sizes and times are looked at a few times a second: that sees a file that is
//! replaced through a symbolic link or on a network, which notifications do not. What has just
//! changed is left until it changes no more, so that no half of a file is read.

use super::Operator;
use super::staleness::Told;
use crate::config::Config;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often they are looked at: twice this long after a change, it counts.
const EVERY: Duration = Duration::from_millis(200);

/// How files look from outside: inode, length and time of change, by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look(BTreeMap<PathBuf, (u64, u64, i64, i64)>);

/// Reloads whenever a file that the configuration names looks otherwise than before it was read,
/// for as long as the broker runs.
pub(crate) async fn watch_files(operator: Arc<Operator>, mut known: Look) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = known.clone();
    let mut told = Told::default();
    loop {
        ticks.tick().await;
        let now = operator.look().await;
        if now != known && now == before {
            known.clone_from(&now);
            operator.reload().await;
        }
        before = now;
        operator.tell_of_stale_lists(&mut told).await;
    }
}

impl Operator {
    async fn look(&self) -> Look {
        let state = self.state.lock().await;
        let mut look = Look::default();
        self.source.iter().for_each(|it| look.at(&it.path));
        look.at_files_of(&state.config);
        look
    }
}

impl Look {
    /// Looks at a file, or at a directory and what is in it.
    pub(crate) fn at(&mut self, path: &Path) {
        self.enter(path);
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.enter(&entry.path());
        }
    }

    /// Looks at all that a configuration names and a reload reads.
    pub(crate) fn at_files_of(&mut self, config: &Config) {
        files_of(config).for_each(|path| self.at(path));
    }

    fn enter(&mut self, path: &Path) {
        if let Ok(it) = fs::metadata(path) {
            let seen = (it.ino(), it.len(), it.mtime(), it.mtime_nsec());
            self.0.insert(path.to_owned(), seen);
        }
    }
}

/// All files and directories that a configuration names and a reload reads.
fn files_of(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let own = config.listeners.iter();
    let own = own.flat_map(|it| [&it.certificate, &it.key]);
    let anchors = config.anchors.iter();
    let anchors = anchors.flat_map(|it| {
        let own = std::iter::once(&it.file).chain(&it.fingerprints);
        own.chain(&it.intermediates)
    });
    let single = config.registry.file.iter().chain(&config.policy);
    own.chain(anchors)
        .chain(&config.revocation.lists)
        .chain(single)
}
