//! The first sector of a file: what the file is, whose, and how long, sealed by a check.
//!
//! It has the same form in every version of what follows it, so that a file of a later version is
//! told from a damaged one.

use super::error::{Damage, LogError};
use super::shelf::NamedFile;
use bytes::{Buf, BufMut};

/// So long is it, and there what follows begins: a disk writes it as a whole.
pub(in crate::storage) const SECTOR_LEN: usize = 512;

/// What stands in the first sector of one kind of file.
pub(in crate::storage) trait Sector: Sized {
    /// What kind of file it is.
    const MAGIC: [u8; 8];
    /// The version of all that is in the file.
    const VERSION: u32;
    /// How long its fields are.
    const FIELDS_LEN: usize;

    /// Writes the fields.
    fn put(&self, out: &mut impl BufMut);

    /// The fields, which are there.
    fn get(fields: &mut impl Buf) -> Self;

    /// How long the file is by them.
    fn size(&self) -> u64;
}

/// The bytes of the first sector.
pub(in crate::storage) fn seal<S: Sector>(header: &S) -> [u8; SECTOR_LEN] {
    let mut bytes = [0; SECTOR_LEN];
    let mut out = bytes.as_mut_slice();
    out.put_slice(&S::MAGIC);
    out.put_u32_le(S::VERSION);
    header.put(&mut out);
    if let Some((checked, mut rest)) = bytes.split_at_mut_checked(checked_len::<S>()) {
        rest.put_u32_le(crc32c::crc32c(checked));
    }
    bytes
}

/// Reads the first sector of a file.
///
/// # Errors
/// If it is damaged or of another version, or if the file is not as long as it says.
pub(in crate::storage) fn open<S: Sector>(file: &NamedFile) -> Result<S, LogError> {
    let size = file.size()?;
    if size < SECTOR_LEN as u64 {
        return Err(file.damaged(size, Damage::Header));
    }
    let mut bytes = [0; SECTOR_LEN];
    file.read_at(&mut bytes, 0)?;
    let fields = unseal::<S>(&bytes).ok_or_else(|| file.damaged(0, Damage::Header))?;
    let (found, mut fields) = fields;
    if found != S::VERSION {
        return Err(LogError::Version {
            path: file.path(),
            found,
            known: S::VERSION,
        });
    }
    let header = S::get(&mut fields);
    let (found, made) = (size, header.size());
    if found != made {
        return Err(file.damaged(found.min(made), Damage::Size { found, made }));
    }
    Ok(header)
}

/// Looks whether a file is of this shard.
///
/// # Errors
/// If it is of another one.
pub(in crate::storage) fn check_shard(
    file: &NamedFile,
    found: u32,
    expected: u32,
) -> Result<(), LogError> {
    if found == expected {
        return Ok(());
    }
    Err(LogError::Shard {
        path: file.path(),
        found,
        expected,
    })
}

/// The version and the fields, if the check says that they are as they were written.
fn unseal<S: Sector>(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (checked, mut rest) = bytes.split_at_checked(checked_len::<S>())?;
    let mut fields = checked.strip_prefix(&S::MAGIC)?;
    if rest.try_get_u32_le().ok()? != crc32c::crc32c(checked) {
        return None;
    }
    Some((fields.try_get_u32_le().ok()?, fields))
}

/// What the check is over: magic, version and fields.
const fn checked_len<S: Sector>() -> usize {
    S::MAGIC.len() + size_of::<u32>() + S::FIELDS_LEN
}
