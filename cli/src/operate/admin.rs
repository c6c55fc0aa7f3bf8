//! A client of a broker's admin socket: a request, an answer, and a deadline for both.
//!
//! It never waits for ever: connecting, writing and reading together end at the deadline.

use crate::failure::{FAILED, Failure, NOT_FOUND};
use certs::admin::{
    ANSWER_LEN_MAX, AdminError, Answer, ErrorCode, InvalidLine, Request, read_answer, write_request,
};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// A broker that closes 10,000 sessions takes less than a second.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// Nobody listens there.
    #[error("no broker answers at {}", .0.display())]
    NoBroker(PathBuf),
    /// The socket could not be used.
    #[error("the admin socket {} cannot be used", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The time is over.
    #[error("the broker at {} has not answered for {} s", .0.display(), .1.as_secs())]
    Deadline(PathBuf, Duration),
    /// The broker hung up before its answer was whole.
    #[error("the broker at {} closed the connection without an answer", .0.display())]
    HungUp(PathBuf),
    /// The answer, or the request, is not one.
    #[error("the broker and this program do not understand each other")]
    Line(#[from] InvalidLine),
    /// The answer is one to another request.
    #[error("the broker answers something else than what it was asked")]
    OtherAnswer,
    /// The broker says no.
    #[error("the broker says: {}", said(.0))]
    Refused(AdminError),
}

impl AskError {
    /// As a failure of the command.
    pub(crate) fn failure(&self) -> Failure {
        let code = match self {
            Self::Refused(AdminError {
                code: ErrorCode::NotFound,
                ..
            })
            | Self::NoBroker(_) => NOT_FOUND,
            Self::Refused(_)
            | Self::Socket { .. }
            | Self::Deadline(..)
            | Self::HungUp(_)
            | Self::OtherAnswer
            | Self::Line(_) => FAILED,
        };
        Failure::from_error(code, self)
    }
}

fn said(error: &AdminError) -> String {
    let details = error.details.iter().map(|detail| format!("\n  {detail}"));
    std::iter::once(error.message.clone())
        .chain(details)
        .collect()
}

/// Asks the broker whose admin socket is at `path`.
pub(crate) fn ask(path: &Path, request: &Request) -> Result<Answer, AskError> {
    ask_within(path, request, ANSWER_TIME_MAX)
}

fn ask_within(path: &Path, request: &Request, patience: Duration) -> Result<Answer, AskError> {
    let line = write_request(request)?;
    let end = Instant::now() + patience;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            AskError::Deadline(path.to_owned(), patience)
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => AskError::HungUp(path.to_owned()),
        _ => AskError::Socket {
            path: path.to_owned(),
            source,
        },
    };
    let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        // A socket that a killed broker left behind refuses.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NoBroker(path.to_owned())
        }
        _ => AskError::Socket {
            path: path.to_owned(),
            source,
        },
    })?;
    write_all(&stream, &line, end).map_err(failed)?;
    let answer = read_line(&stream, end).map_err(failed)?;
    read_answer(&answer)?.map_err(AskError::Refused)
}

fn write_all(mut stream: &UnixStream, mut octets: &[u8], end: Instant) -> io::Result<()> {
    while !octets.is_empty() {
        stream.set_write_timeout(Some(left(end)?))?;
        let written = stream.write(octets)?;
        octets = octets.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// One line, with its newline; never more than the longest answer and a little.
fn read_line(mut stream: &UnixStream, end: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while line.len() <= ANSWER_LEN_MAX {
        stream.set_read_timeout(Some(left(end)?))?;
        let read = stream.read(&mut chunk)?;
        let read = chunk.get(..read).unwrap_or_default();
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(newline) = read.iter().position(|octet| *octet == b'\n') {
            line.extend_from_slice(read.get(..=newline).unwrap_or_default());
            return Ok(line);
        }
        line.extend_from_slice(read);
    }
    Ok(line)
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use certs::admin::write_answer;
    use std::os::unix::net::UnixListener;
    use std::thread::{self, JoinHandle};

    /// A broker that hears one request, says `answer` as it is and hangs up.
    pub(crate) fn fake_broker(path: &Path, answer: Vec<u8>) -> JoinHandle<Request> {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let end = Instant::now() + Duration::from_secs(10);
            let heard = read_line(&stream, end).unwrap();
            // Who is told too much hangs up first.
            let _ = stream.write_all(&answer);
            certs::admin::read_request(&heard).unwrap()
        })
    }

    fn answered(answer: Vec<u8>) -> Result<Answer, AskError> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.sock");
        let broker = fake_broker(&path, answer);
        let answer = ask(&path, &Request::Reload);
        assert_eq!(broker.join().unwrap(), Request::Reload);
        answer
    }

    #[test]
    fn a_request_gets_its_answer() {
        let nobody = || Answer::Why(Vec::new());
        let line = write_answer(Ok(nobody())).unwrap();
        assert_eq!(answered(line.clone()).unwrap(), nobody());
        // What comes behind the line is not for us.
        assert_eq!(
            answered([line, b"more".to_vec()].concat()).unwrap(),
            nobody()
        );
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let error = AdminError {
            code: ErrorCode::NotFound,
            message: "no such device".to_owned(),
            details: vec!["dev-9".to_owned()],
        };
        let line = write_answer(Err(error)).unwrap();
        for (line, words) in [
            (line, "the broker says: no such device\n  dev-9"),
            (b"".to_vec(), "closed the connection without an answer"),
            (
                b"{\"version\":1,".to_vec(),
                "closed the connection without an answer",
            ),
            (b"{}\n".to_vec(), "do not understand each other"),
            (
                b"{\"version\":2}\n".to_vec(),
                "do not understand each other",
            ),
            (
                vec![b' '; ANSWER_LEN_MAX + 100_000],
                "do not understand each other",
            ),
        ] {
            let error = answered(line).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn without_a_broker_nobody_waits() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.sock");
        let missing = ask(&path, &Request::Status).unwrap_err();
        assert!(matches!(missing, AskError::NoBroker(_)), "{missing}");
        // As a broker that was killed leaves it.
        drop(UnixListener::bind(&path).unwrap());
        let left_over = ask(&path, &Request::Status).unwrap_err();
        assert!(matches!(left_over, AskError::NoBroker(_)), "{left_over}");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let file = ask(&path, &Request::Status).unwrap_err();
        assert!(matches!(file, AskError::NoBroker(_)), "{file}");
    }

    #[test]
    fn a_broker_that_says_nothing_is_waited_for_until_the_deadline() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.sock");
        // It accepts in the kernel, and nobody reads.
        let _listener = UnixListener::bind(&path).unwrap();
        let late = ask_within(&path, &Request::Status, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(late, AskError::Deadline(..)), "{late}");
    }
}
