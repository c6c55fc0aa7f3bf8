//! A disk that forgets what was not synced: each sector of it, or not, as chance has it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::slots::Slots;
use crate::chance::tests::Seeded;

const SECTOR: usize = 512;

/// A handle; all of them are of one disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Simulated(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
pub(super) struct Disk {
    durable: BTreeMap<u32, Vec<u8>>,
    /// Sectors that were written since the last sync of their slot.
    unsynced: Vec<(u32, usize, Vec<u8>)>,
    writes: u32,
    syncs: u32,
    /// 4 KiB pages that were synced: what a file system hands to the flash.
    pub(super) pages: u32,
    /// The power goes at this step, a write or a sync.
    pub(super) dies_at: Option<u32>,
    pub(super) slots_max: Option<usize>,
    pub(super) read_only: bool,
    pub(super) aside: Vec<Vec<u8>>,
}

impl Simulated {
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// The power goes and comes back: of what was not synced, any sectors are there.
    pub(super) fn power_cycle(&self, chance: &mut Seeded) {
        let mut disk = self.disk();
        for (slot, begin, sector) in std::mem::take(&mut disk.unsynced) {
            if chance.below(2) == 0
                && let Some(file) = disk.durable.get_mut(&slot)
            {
                put(file, begin, &sector);
            }
        }
        disk.dies_at = None;
    }

    /// The process ends and the machine stays: all that was written is there.
    pub(super) fn kill(&self) {
        let mut disk = self.disk();
        for (slot, begin, sector) in std::mem::take(&mut disk.unsynced) {
            put(disk.durable.get_mut(&slot).unwrap(), begin, &sector);
        }
        disk.dies_at = None;
    }

    /// Turns over one bit of what is there.
    pub(super) fn spoil(&self, slot: u32, place: usize) {
        self.disk().durable.get_mut(&slot).unwrap()[place] ^= 1;
    }
}

impl Disk {
    /// Writes and syncs so far.
    pub(super) fn steps(&self) -> u32 {
        self.writes + self.syncs
    }

    fn step(&mut self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.dies_at.is_some_and(|step| self.steps() >= step) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    /// As a process sees it.
    fn seen(&self, slot: u32) -> Option<Vec<u8>> {
        let mut file = self.durable.get(&slot)?.clone();
        for (_, begin, sector) in self.unsynced.iter().filter(|(of, ..)| *of == slot) {
            put(&mut file, *begin, sector);
        }
        Some(file)
    }
}

/// A file grows when it is written to behind its end.
fn put(file: &mut Vec<u8>, begin: usize, bytes: &[u8]) {
    file.resize(file.len().max(begin + bytes.len()), 0);
    file[begin..begin + bytes.len()].copy_from_slice(bytes);
}

impl Slots for Simulated {
    fn read_all(&mut self) -> io::Result<BTreeMap<u32, Vec<u8>>> {
        let disk = self.disk();
        let slots = disk.durable.keys();
        Ok(slots
            .map(|slot| (*slot, disk.seen(*slot).unwrap()))
            .collect())
    }

    fn read(&mut self, slot: u32) -> io::Result<Vec<u8>> {
        self.disk().seen(slot).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, slot: u32, len: u32) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.slots_max == Some(disk.durable.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.durable
            .insert(slot, vec![0; usize::try_from(len).unwrap()]);
        Ok(())
    }

    fn remove(&mut self, slot: u32) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.durable.remove(&slot);
        Ok(())
    }

    fn set_aside(&mut self, slot: u32) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let file = disk.durable.remove(&slot).unwrap();
        disk.aside.push(file);
        Ok(())
    }

    fn write(&mut self, slot: u32, begin: u32, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let mut file = disk.seen(slot).ok_or(io::ErrorKind::NotFound)?;
        let begin = usize::try_from(begin).unwrap();
        put(&mut file, begin, bytes);
        file.resize(file.len().next_multiple_of(SECTOR), 0);
        for sector in begin / SECTOR..(begin + bytes.len()).div_ceil(SECTOR) {
            let place = sector * SECTOR..(sector + 1) * SECTOR;
            let sector = file[place.clone()].to_vec();
            disk.unsynced.push((slot, place.start, sector));
        }
        // What was begun may be on the disk whether or not it is finished.
        let result = disk.step();
        disk.writes += 1;
        result
    }

    fn sync(&mut self, slot: u32) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.syncs += 1;
        let all = std::mem::take(&mut disk.unsynced);
        let (synced, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(of, ..)| *of == slot);
        disk.unsynced = rest;
        let mut pages: Vec<_> = synced.iter().map(|(_, begin, _)| begin / 4096).collect();
        pages.dedup();
        disk.pages += u32::try_from(pages.len()).unwrap();
        for (slot, begin, sector) in synced {
            put(disk.durable.get_mut(&slot).unwrap(), begin, &sector);
        }
        Ok(())
    }

    fn path(&self, slot: u32) -> PathBuf {
        format!("{slot:03}.slot").into()
    }
}
