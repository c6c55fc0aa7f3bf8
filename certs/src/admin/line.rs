//! Requests and answers as lines: each begins with the version, so that the two ends notice when
//! they do not speak one language.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::VERSION;
use super::answer::{AdminError, Answer};
use super::request::Request;

/// The longest request, with its newline: a topic has up to 64 KiB, escaped perhaps more.
pub const REQUEST_LEN_MAX: usize = 512 * 1024;
/// The longest answer, with its newline: long tables come in pages.
pub const ANSWER_LEN_MAX: usize = 4 * 1024 * 1024;

/// A line is not a request, or not an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidLine {
    /// It is longer than any line that is read or written.
    #[error("the line has {len} octets, at most {max} are permitted")]
    TooLong {
        /// Its length.
        len: usize,
        /// The most there may be.
        max: usize,
    },
    /// The other end speaks another version.
    #[error(
        "the other end speaks version {0} of the admin protocol, this program version {VERSION}"
    )]
    Version(u32),
    /// It is not JSON with what is expected in it.
    #[error("not understood: {0}")]
    Malformed(Box<str>),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    version: u32,
    request: Request,
}

/// Exactly one of the two is there.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AnswerLine {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<AdminError>,
}

/// Writes a request as a line, newline included.
///
/// # Errors
/// [`InvalidLine::TooLong`].
pub fn write_request(request: &Request) -> Result<Vec<u8>, InvalidLine> {
    let request = request.clone();
    write(
        &RequestLine {
            version: VERSION,
            request,
        },
        REQUEST_LEN_MAX,
    )
}

/// Reads a request from a line, with or without its newline.
///
/// # Errors
/// [`InvalidLine`]; the other end is told by an [`AdminError`].
pub fn read_request(line: &[u8]) -> Result<Request, InvalidLine> {
    read(line, REQUEST_LEN_MAX).map(|line: RequestLine| line.request)
}

/// Writes an answer or an error as a line, newline included.
///
/// # Errors
/// [`InvalidLine::TooLong`].
pub fn write_answer(answer: Result<Answer, AdminError>) -> Result<Vec<u8>, InvalidLine> {
    let (answer, error) = match answer {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error)),
    };
    let version = VERSION;
    write(
        &AnswerLine {
            version,
            answer,
            error,
        },
        ANSWER_LEN_MAX,
    )
}

/// Reads an answer or an error from a line, with or without its newline.
///
/// # Errors
/// [`InvalidLine`].
pub fn read_answer(line: &[u8]) -> Result<Result<Answer, AdminError>, InvalidLine> {
    let line: AnswerLine = read(line, ANSWER_LEN_MAX)?;
    match (line.answer, line.error) {
        (Some(answer), None) => Ok(Ok(answer)),
        (None, Some(error)) => Ok(Err(error)),
        (Some(_), Some(_)) | (None, None) => Err(InvalidLine::Malformed(
            "neither an answer nor an error".into(),
        )),
    }
}

fn write(line: &impl Serialize, max: usize) -> Result<Vec<u8>, InvalidLine> {
    let mut octets =
        serde_json::to_vec(line).map_err(|e| InvalidLine::Malformed(e.to_string().into()))?;
    octets.push(b'\n');
    check_len(&octets, max)?;
    Ok(octets)
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8], max: usize) -> Result<T, InvalidLine> {
    /// Any version of the language has this.
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u32,
    }
    check_len(line, max)?;
    let malformed = |error: serde_json::Error| {
        InvalidLine::Malformed(crate::text::escape::escaped(&error.to_string()).into())
    };
    let any: AnyVersion = serde_json::from_slice(line).map_err(malformed)?;
    if any.version != VERSION {
        return Err(InvalidLine::Version(any.version));
    }
    serde_json::from_slice(line).map_err(malformed)
}

fn check_len(line: &[u8], max: usize) -> Result<(), InvalidLine> {
    if line.len() > max {
        Err(InvalidLine::TooLong {
            len: line.len(),
            max,
        })
    } else {
        Ok(())
    }
}
