//! Storing: from the configuration to shards that go on where the ones before ended.
//!
//! Nothing is listened to before all that there was has been read.

use crate::config::{Config, Durability};
use crate::engine::policy::Policy;
use crate::engine::{Engine, NotRestored, Restored, ShardPlace};
use crate::shard::{Shard, Shards, Waiting};
use crate::storage::log::{self, Disk, Folder, LogError, SegmentBytes};
use crate::storage::{DataDirectory, DirectoryError, Durable, Memory, Opened, Storage};
use crate::trust::draw_nonce;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::spawn_blocking;

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is somebody else's, or not for us.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What is in it cannot be read or be written.
    #[error("the data directory {}", path.display())]
    Log {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: LogError,
    },
    /// What was read does not fit together.
    #[error("the data directory {}", path.display())]
    NotRestored {
        /// Which one.
        path: PathBuf,
        /// What does not fit.
        source: NotRestored,
    },
    /// The operating system gave no folder or no thread.
    #[error("the data directory {}", path.display())]
    System {
        /// Which one.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Opens what has the files of a shard, by the path of its folder.
pub type OpenDisk = fn(PathBuf) -> io::Result<Arc<dyn Disk>>;

/// The folder itself.
pub(crate) fn open_folder(path: PathBuf) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(Folder::open(path)?))
}

/// Shards with their storage.
pub(crate) struct Stored {
    pub(crate) shards: Shards,
    /// Must be ours for longer than the shards live.
    pub(crate) directory: Option<DataDirectory>,
}

/// There is one so far.
const PLACE: ShardPlace = ShardPlace { index: 0, count: 1 };

/// Builds the shards.
pub(crate) async fn open(
    config: &Config,
    policy: Arc<Policy>,
    disk: OpenDisk,
) -> Result<Stored, OpenError> {
    let limits = config.limits.clone();
    let engine = Engine::new(limits, policy, PLACE, draw_nonce());
    let waiting = Arc::new(Waiting::default());
    let Some(path) = config.storage.directory.clone() else {
        tracing::info!("no `storage.directory` is set: sessions and messages last as long as this");
        let shard = Shard::new(engine, Box::new(Memory::default()), waiting);
        return Ok(Stored {
            shards: Shards::new(shard, Vec::new()),
            directory: None,
        });
    };
    let settings = settings(config);
    let system = |source| OpenError::System {
        path: path.clone(),
        source,
    };
    let opening = Opening {
        path: path.clone(),
        settings,
        disk,
    };
    // It reads for as long as there is something to be read.
    let opened = spawn_blocking(move || opening.open(engine)).await;
    let (engine, opened, directory) = opened.map_err(|lost| system(io::Error::other(lost)))??;
    let storage = {
        let waiting = Arc::clone(&waiting);
        let started = opened.start(move |progress| waiting.hear(progress));
        Box::new(started.map_err(system)?) as Box<dyn Storage>
    };
    Ok(Stored {
        shards: Shards::new(Shard::new(engine, storage, waiting), Vec::new()),
        directory: Some(directory),
    })
}

fn settings(config: &Config) -> log::Settings {
    let storage = &config.storage;
    log::Settings::new(
        PLACE.index,
        SegmentBytes::new(storage.segment_bytes).unwrap_or_default(),
        match storage.durability {
            Durability::Sync => log::Durability::Sync,
            Durability::Os => log::Durability::Os,
        },
        storage.disk_bytes_max,
    )
    .seeded(draw_nonce())
}

/// What is to be opened.
struct Opening {
    path: PathBuf,
    settings: log::Settings,
    disk: OpenDisk,
}

impl Opening {
    /// Reads all that there is into the engine.
    fn open(self, engine: Engine) -> Result<(Engine, Opened, DataDirectory), OpenError> {
        let begun = Instant::now();
        let directory = DataDirectory::take(&self.path, PLACE.count)?;
        let path = &self.path;
        let disk = (self.disk)(directory.shard(PLACE.index));
        let disk = disk.map_err(|source| OpenError::System {
            path: path.clone(),
            source,
        })?;
        let durability = self.settings.durability;
        let opened = Durable::open(disk, self.settings);
        let (restored, opened) = opened.map_err(|source| OpenError::Log {
            path: path.clone(),
            source,
        })?;
        report(path, durability, &restored);
        let engine = engine.restored(restored);
        let engine = engine.map_err(|source| OpenError::NotRestored {
            path: path.clone(),
            source,
        })?;
        if let Some(torn) = &opened.torn {
            tracing::warn!(
                file = %torn.path.display(), offset = torn.offset, bytes = torn.len,
                "the log ended in what was never acknowledged: cut"
            );
        }
        tracing::info!(took = ?begun.elapsed(), "read the data directory");
        Ok((engine, opened, directory))
    }
}

fn report(path: &Path, durability: log::Durability, restored: &Restored) {
    let messages: usize = restored.sessions.iter().map(|it| it.pending.len()).sum();
    tracing::info!(
        directory = %path.display(),
        durability = match durability {
            log::Durability::Sync => "sync: survives the loss of power",
            log::Durability::Os => "os: survives the end of the process, not the loss of power",
        },
        sessions = restored.sessions.len(), messages, retained = restored.retained.len(),
        "storage"
    );
}
