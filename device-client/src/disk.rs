//! What is kept on a disk: for its owner alone, and waited for where nobody else waits.

use std::fs::{DirBuilder, File, OpenOptions};
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;

use tokio::task::spawn_blocking;

/// Does `work`, for which a disk is waited for, off the threads of the runtime.
pub(crate) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is being shut down.
            Err(_) => pending().await,
        },
    }
}

/// A file that is made so is its owner's alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A directory that is made by this is its owner's alone.
pub(crate) fn private_directory() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there is no mode to set"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Makes the names in a directory durable. Elsewhere a directory cannot be opened for that: its
/// file system keeps the order of names.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    // As the parent of `name` is written.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}
