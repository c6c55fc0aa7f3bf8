//! Contents: messages read again from where they were written, neighbours at once.

use super::desk::Desk;
use super::ledger::Place;
use super::log::record::{checked, read_content};
use super::log::segment::name_of;
use super::log::shelf::{NamedFile, Shelf};
use super::log::{Damage, LogError, Malformed};
use crate::engine::{Message, MessageNumber};
use std::sync::Arc;

/// What is between two messages is read with them up to this length.
const GAP_MAX: u64 = 16 * 1024;
/// So much is read at once, unless a single message is longer.
const READ_LEN_MAX: u64 = 1 << 20;

/// A message and where it is.
type Placed = (MessageNumber, Place);

/// The messages at these places, in the order in which they are named.
///
/// # Errors
/// If the disk fails, or one is not as it was written.
pub(super) fn messages(
    shelf: &Shelf,
    placed: &[Placed],
) -> Result<Vec<(MessageNumber, Arc<Message>)>, LogError> {
    let mut messages: Vec<(MessageNumber, Arc<Message>)> = Vec::with_capacity(placed.len());
    each(shelf, placed, |number, content| {
        messages.push((number, read_content(content)?));
        Ok(())
    })?;
    messages.sort_unstable_by_key(|(number, _)| *number);
    let asked = placed.iter().filter_map(|(number, _)| {
        let place = messages.binary_search_by_key(number, |(it, _)| *it);
        messages.get(place.ok()?).cloned()
    });
    Ok(asked.collect())
}

/// The same as they are written, to be written elsewhere.
///
/// # Errors
/// If the disk fails, or one is not as it was written.
pub(super) fn bytes(
    shelf: &Shelf,
    placed: &[Placed],
) -> Result<Vec<(MessageNumber, Vec<u8>)>, LogError> {
    let mut all = Vec::with_capacity(placed.len());
    each(shelf, placed, |number, content| {
        checked(content)?;
        all.push((number, content.to_vec()));
        Ok(())
    })?;
    Ok(all)
}

/// Reads what is needed of some messages, wherever it is by now. Those that nobody needs any more
/// are left out.
///
/// # Errors
/// If one that is needed cannot be read.
pub(super) fn of_needed<T>(
    desk: &Desk,
    numbers: &[MessageNumber],
    read: impl Fn(&[Placed]) -> Result<T, LogError>,
) -> Result<T, LogError> {
    let find = || -> Vec<Placed> {
        desk.with(|ledger| {
            let placed = |number: &MessageNumber| Some((*number, ledger.place(*number)?));
            numbers.iter().filter_map(placed).collect()
        })
    };
    let mut placed = find();
    loop {
        match read(&placed) {
            Ok(found) => return Ok(found),
            Err(error) => {
                // Its segment may have been let go meanwhile, which is no damage.
                let now = find();
                if now == placed {
                    return Err(error);
                }
                placed = now;
            }
        }
    }
}

fn each(
    shelf: &Shelf,
    placed: &[Placed],
    mut take: impl FnMut(MessageNumber, &[u8]) -> Result<(), Malformed>,
) -> Result<(), LogError> {
    let mut sorted = placed.to_vec();
    sorted.sort_unstable_by_key(|(_, place)| *place);
    let mut open: Option<(u32, NamedFile)> = None;
    let mut bytes = Vec::new();
    for run in sorted.chunk_by(joined()) {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else {
            continue;
        };
        let file = match open.take() {
            Some((segment, file)) if segment == first.segment => file,
            _ => shelf.open(&name_of(first.segment.into()))?,
        };
        let len = last.end() - u64::from(first.offset);
        bytes.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        file.read_at(&mut bytes, first.offset.into())?;
        for (number, place) in run {
            let begin = (place.offset - first.offset) as usize;
            let content = bytes.get(begin..begin + place.len as usize);
            take(*number, content.unwrap_or_default()).map_err(|_| {
                let number = number.0.get();
                file.damaged(place.offset.into(), Damage::Content { number })
            })?;
        }
        open = Some((first.segment, file));
    }
    Ok(())
}

/// Whether two messages, the first of which is before the second, are read at once.
fn joined() -> impl FnMut(&Placed, &Placed) -> bool {
    let mut run_begin = None;
    move |(_, one), (_, next)| {
        let begin = *run_begin.get_or_insert(one.offset);
        let is_near = next.segment == one.segment
            && u64::from(next.offset) <= one.end() + GAP_MAX
            && next.end() - u64::from(begin) <= READ_LEN_MAX;
        if !is_near {
            run_begin = None;
        }
        is_near
    }
}

impl Place {
    fn end(self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}
