//! The bytes of a segment: a header, and frames one after the other.
//!
//! ```text
//! segment  magic and version (8) │ number (4) │ CRC-32C of these (4) │ frames …
//! frame    CRC-32C of what follows (4) │ length of the records (4) │ number (8)
//!          │ oldest segment still needed (4) │ zero (4) │ records │ zeros up to a multiple of 8
//! ```
//!
//! The CRC of a frame begins with the number of its segment, so that a frame which an earlier use
//! of the same file left behind is never taken for one of this.

use bytes::{BufMut, Bytes};

const MAGIC: [u8; 8] = *b"CSOUTBX1";

/// Where the first frame of a segment begins.
pub(super) const SEGMENT_HEADER_LEN: usize = 16;

/// What a frame takes besides its records and the zeros behind them.
pub(super) const FRAME_HEADER_LEN: usize = 24;

/// Frames begin at multiples of this.
const ALIGNMENT: usize = 8;

/// A frame as it stands in a segment.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) number: u64,
    /// Segments before this one are not needed any more.
    pub(super) oldest: u32,
    pub(super) records: Bytes,
    /// Where it begins, and where the next one does.
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// The header of the segment with this number.
pub(super) fn segment_header(segment: u32) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.put_u32_le(segment);
    header.put_u32_le(crc32c::crc32c(&header));
    header
}

/// Which segment this is; `None` when it is none, or not any more.
pub(super) fn segment_of(file: &[u8]) -> Option<u32> {
    let header = file.first_chunk::<SEGMENT_HEADER_LEN>()?;
    let (begin, crc) = header.split_last_chunk::<4>()?;
    let (magic, number) = begin.split_last_chunk::<4>()?;
    let sound = magic == MAGIC && crc32c::crc32c(begin) == u32::from_le_bytes(*crc);
    sound.then(|| u32::from_le_bytes(*number))
}

/// How much room a frame takes with records of this length.
pub(super) fn frame_len(records: usize) -> usize {
    (FRAME_HEADER_LEN + records).next_multiple_of(ALIGNMENT)
}

/// Adds a frame of `segment` to `out`.
pub(super) fn write_frame(
    out: &mut Vec<u8>,
    segment: u32,
    number: u64,
    (oldest, records): (u32, &[u8]),
) {
    let begin = out.len();
    let mut rest = Vec::with_capacity(frame_len(records.len()));
    rest.put_u32_le(u32::try_from(records.len()).unwrap_or(u32::MAX));
    rest.put_u64_le(number);
    rest.put_u32_le(oldest);
    rest.put_u32_le(0);
    rest.put_slice(records);
    out.put_u32_le(crc(segment, &rest));
    out.put_slice(&rest);
    out.resize(begin + frame_len(records.len()), 0);
}

/// The frame of `segment` that begins here, if a whole one does.
pub(super) fn read_frame(file: &Bytes, segment: u32, begin: usize) -> Option<Frame> {
    let rest = file.get(begin..)?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let (len, behind) = rest.split_first_chunk::<4>()?;
    let (number, behind) = behind.split_first_chunk::<8>()?;
    let (oldest, _) = behind.split_first_chunk::<4>()?;
    let (number, oldest) = (u64::from_le_bytes(*number), u32::from_le_bytes(*oldest));
    // Most places where none begins are known by this alone.
    if number == 0 || oldest > segment {
        return None;
    }
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let covered = rest.get(..(FRAME_HEADER_LEN - 4).checked_add(len)?)?;
    if crc(segment, covered) != u32::from_le_bytes(*expected) {
        return None;
    }
    let records_begin = begin + FRAME_HEADER_LEN;
    Some(Frame {
        number,
        oldest,
        records: file.slice(records_begin..records_begin + len),
        begin,
        end: begin + frame_len(len),
    })
}

/// All frames from the beginning of a segment up to the first place where none begins.
pub(super) fn read_frames(file: &Bytes, segment: u32) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let begin = frames.last().map_or(SEGMENT_HEADER_LEN, |last| last.end);
        match read_frame(file, segment, begin) {
            Some(frame) => frames.push(frame),
            None => return frames,
        }
    }
}

/// All frames at or behind `begin`, whatever lies between them.
pub(super) fn find_frames(file: &Bytes, segment: u32, begin: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut place = begin;
    while place + FRAME_HEADER_LEN <= file.len() {
        match read_frame(file, segment, place) {
            Some(frame) => {
                place = frame.end;
                frames.push(frame);
            }
            None => place += ALIGNMENT,
        }
    }
    frames
}

fn crc(segment: u32, covered: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u32, frames: &[&[u8]]) -> Bytes {
        let mut file = segment_header(number);
        for (place, records) in (1..).zip(frames) {
            write_frame(&mut file, number, place, (number, records));
        }
        file.resize(file.len() + 100, 0);
        file.into()
    }

    #[test]
    fn frames_are_read_back_up_to_where_none_begins() {
        let file = segment(7, &[b"one", b"", b"and three"]);
        assert_eq!(segment_of(&file), Some(7));
        let frames = read_frames(&file, 7);
        let records: Vec<_> = frames.iter().map(|frame| &frame.records[..]).collect();
        assert_eq!(records, [&b"one"[..], b"", b"and three"]);
        assert!(frames.iter().all(|frame| frame.begin % ALIGNMENT == 0));
    }

    #[test]
    fn no_single_bit_turns_over_unseen() {
        let sound = segment(7, &[b"one"]);
        let end = SEGMENT_HEADER_LEN + FRAME_HEADER_LEN + 3;
        for bit in 0..end * 8 {
            let mut file = sound.to_vec();
            file[bit / 8] ^= 1 << (bit % 8);
            let seen = segment_of(&file) != Some(7) || read_frames(&file.into(), 7).is_empty();
            assert!(seen, "bit {bit}");
        }
    }

    #[test]
    fn what_an_earlier_use_of_the_file_left_is_no_frame_of_this() {
        let mut file = segment(7, &[b"one", b"two"]).to_vec();
        file[..SEGMENT_HEADER_LEN].copy_from_slice(&segment_header(8));
        let file = Bytes::from(file);
        assert_eq!(segment_of(&file), Some(8));
        assert!(find_frames(&file, 8, SEGMENT_HEADER_LEN).is_empty());
    }

    #[test]
    fn frames_behind_a_damaged_one_are_found() {
        let mut file = segment(7, &[b"one", b"two", b"three"]).to_vec();
        file[SEGMENT_HEADER_LEN + FRAME_HEADER_LEN] ^= 1;
        let file = Bytes::from(file);
        assert!(read_frames(&file, 7).is_empty());
        let found = find_frames(&file, 7, SEGMENT_HEADER_LEN);
        let numbers: Vec<_> = found.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers, [2, 3]);
    }
}
