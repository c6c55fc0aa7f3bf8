//! The admin socket: operators' requests, a line of JSON each.
//!
//! Whoever may open it may do all of this, so its owner alone may.

use super::Operator;
use certs::admin::{
    AdminError as Refused, Answer, ErrorCode, REQUEST_LEN_MAX, Request, read_request, write_answer,
};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// So many may talk at once; the next ones wait.
const TALKS_MAX: usize = 8;
/// So long one may take to ask.
const ASK_TIMEOUT: Duration = Duration::from_mins(1);

/// The socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: the admin socket cannot be opened there", .path.display())]
pub struct AdminError {
    path: PathBuf,
    source: io::Error,
}

/// Opens the socket in place of one that is there and that nobody answers at.
pub(crate) fn open_socket(path: &Path) -> Result<UnixListener, AdminError> {
    let failed = |source| AdminError {
        path: path.to_owned(),
        source,
    };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::ErrorKind::AddrInUse.into()));
    }
    // Nobody else may open it, not even for a moment: it gets its name when its mode is right.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(failed)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}

/// Answers requests for as long as the broker runs.
pub(crate) async fn serve_admin(listener: UnixListener, operator: Arc<Operator>) {
    let talks = Arc::new(Semaphore::new(TALKS_MAX));
    loop {
        // Never closed.
        let Ok(talk) = Arc::clone(&talks).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let operator = Arc::clone(&operator);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &operator).await {
                tracing::debug!(%error, "an operator's connection ended");
            }
            drop(talk);
        });
    }
}

async fn converse(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(REQUEST_LEN_MAX as u64 + 1);
        let read = timeout(ASK_TIMEOUT, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let answer = match read_request(&line) {
            Ok(request) => operator.answer(request).await,
            Err(invalid) => Err(Refused::from(&invalid)),
        };
        let answer = write_answer(answer).or_else(|invalid| write_answer(Err((&invalid).into())));
        writer.write_all(&answer.map_err(io::Error::other)?).await?;
        // What comes behind a line that is too long is not read as another.
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

impl Operator {
    async fn answer(&self, request: Request) -> Result<Answer, Refused> {
        Ok(match request {
            Request::Status => Answer::Status(self.status().await),
            Request::Reload => Answer::Reloaded(self.reload().await),
            Request::Revoke(revoke) => Answer::Revoked(self.revoke(revoke).await?),
            Request::Explain(explain) => Answer::Explained(self.explain(&explain).await?),
            Request::Sessions(filter) => Answer::Sessions(self.sessions(&filter)),
            Request::WouldCut(new) => Answer::WouldCut(self.would_cut(&new).await?),
            Request::Why(asked) => Answer::Why(self.why(&asked)),
            Request::Unknown(filter) => Answer::Unknown(self.unknown(&filter)),
            _ => {
                return Err(Refused {
                    code: ErrorCode::BadRequest,
                    message: "this broker does not answer that".to_owned(),
                    details: Vec::new(),
                });
            }
        })
    }
}
