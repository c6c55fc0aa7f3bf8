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

/// How files look from outside.
type Look = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

/// Reloads whenever a file that the configuration names has changed, for as long as the broker
/// runs.
pub(crate) async fn watch_files(operator: Arc<Operator>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What changed since it was read for the start is not known either.
    let mut known = Look::new();
    let mut before = Look::new();
    let mut told = Told::default();
    loop {
        ticks.tick().await;
        let now = look(&operator).await;
        if now != known && now == before {
            known.clone_from(&now);
            operator.reload().await;
        }
        before = now;
        operator.tell_of_stale_lists(&mut told).await;
    }
}

async fn look(operator: &Operator) -> Look {
    let state = operator.state.lock().await;
    let mut look = Look::new();
    let source = operator.source.iter();
    for path in source.cloned().chain(files_of(&state.config)) {
        look_at(&path, &mut look);
    }
    look
}

/// All files and directories that a configuration names and a reload reads.
fn files_of(config: &Config) -> impl Iterator<Item = PathBuf> {
    let own = config.listeners.iter();
    let own = own.flat_map(|it| [&it.certificate, &it.key]);
    let anchors = config.anchors.iter();
    let anchors = anchors.flat_map(|it| std::iter::once(&it.file).chain(&it.fingerprints));
    let lists = &config.revocation.lists;
    let own = own.chain(anchors).chain(lists);
    let single = config.registry.file.iter().chain(&config.policy);
    own.chain(single).cloned()
}

fn look_at(path: &Path, look: &mut Look) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if let Ok(entries) = fs::read_dir(path) {
        entries
            .filter_map(Result::ok)
            .for_each(|entry| look_at_file(&entry.path(), look));
    }
    enter(path, &metadata, look);
}

fn look_at_file(path: &Path, look: &mut Look) {
    if let Ok(metadata) = fs::metadata(path) {
        enter(path, &metadata, look);
    }
}

fn enter(path: &Path, metadata: &fs::Metadata, look: &mut Look) {
    let (inode, len) = (metadata.ino(), metadata.len());
    let seen = (inode, len, metadata.mtime(), metadata.mtime_nsec());
    look.insert(path.to_owned(), seen);
}
