//! A disk in memory that behaves as badly as a disk may.
//!
//! What was not synced may be there or not after a power cut, each sector by itself and in any
//! order of time; names change in their order. A sync that fails forgets what it was to write,
//! and the cache goes on as if it were there.

use broker::storage::log::{Disk, DiskFile};
use countersign_tests::seeded::Seeded;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_LEN: usize = 512;

/// All clones are one disk.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone)]
struct State {
    files: BTreeMap<usize, Content>,
    next_file: usize,
    /// The names as they were synced, and after each change since.
    names: Vec<Names>,
    steps: u64,
    fault: Option<(u64, Fault)>,
    capacity: usize,
}

type Names = BTreeMap<String, usize>;

/// What goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing works from here on; the step itself may be half done.
    PowerCut,
    /// If the step is a sync, it fails and forgets.
    SyncFails,
}

#[derive(Clone, Default)]
struct Content {
    /// As everybody reads it.
    cached: Vec<u8>,
    /// As the disk has it.
    synced: Vec<u8>,
    /// What the disk may have instead: each length and each sector since the last sync.
    lengths: Vec<usize>,
    sectors: BTreeMap<usize, Vec<Vec<u8>>>,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    id: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            next_file: 0,
            names: vec![Names::new()],
            steps: 0,
            fault: None,
            capacity: usize::MAX,
        }
    }
}

impl SimulatedDisk {
    /// The fault strikes at this step, counted from now on.
    pub(crate) fn break_at(&self, step: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.steps + step, fault));
    }

    /// No fault strikes any more.
    pub(crate) fn mend(&self) {
        self.state().fault = None;
    }

    /// It has room for so many bytes.
    pub(crate) fn fill_up_at(&self, capacity: usize) {
        self.state().capacity = capacity;
    }

    /// The power went and came back: what was synced is there, and of the rest something.
    pub(crate) fn lose_power(&self, random: &mut Seeded) {
        let mut state = self.state();
        let names = random.choose(&state.names).clone();
        state
            .files
            .retain(|id, _| names.values().any(|it| it == id));
        for content in state.files.values_mut() {
            content.lose_power(random);
        }
        state.names = vec![names];
    }

    /// Another disk with the same in it, and one bit the other way round. None if it is empty.
    pub(crate) fn flipped(&self, random: &mut Seeded) -> Option<Self> {
        let mut state = self.state().clone();
        let names: Vec<_> = state.current().clone().into_iter().collect();
        let files: Vec<_> = names
            .iter()
            .filter(|(name, id)| !name.starts_with("spare") && !state.files[id].cached.is_empty())
            .collect();
        if files.is_empty() {
            return None;
        }
        let (_, id) = *random.choose(&files);
        let content = state.files.get_mut(id)?;
        content.settle();
        let at = random.below(content.cached.len());
        content.cached[at] ^= 1 << random.below(8);
        content.synced[at] = content.cached[at];
        Some(Self(Arc::new(Mutex::new(state))))
    }

    /// Another disk with the same in it.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.state().clone();
        state.files.values_mut().for_each(Content::settle);
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Takes a step that `change` does, unless the power is off.
    fn step(&self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        state.steps += 1;
        let (at, fault) = state.fault.unwrap_or((u64::MAX, Fault::SyncFails));
        let off = || Err(io::Error::other("the power is off"));
        match fault {
            Fault::PowerCut if state.steps > at => off(),
            Fault::PowerCut if state.steps == at => {
                change(&mut state)?;
                off()
            }
            Fault::PowerCut | Fault::SyncFails => change(&mut state),
        }
    }

    fn change_names(&self, change: impl FnOnce(&mut Names) -> Option<()>) -> io::Result<()> {
        self.step(|state| {
            let mut names = state.current().clone();
            change(&mut names).ok_or(io::ErrorKind::NotFound)?;
            state.names.push(names);
            Ok(())
        })
    }
}

impl State {
    fn current(&self) -> &Names {
        self.names.last().unwrap()
    }

    fn used(&self) -> usize {
        let ids = self.current().values();
        ids.map(|id| self.files[id].cached.len()).sum()
    }

    /// Whether the sync that is this step fails.
    fn sync_fails(&self) -> bool {
        self.fault == Some((self.steps, Fault::SyncFails))
    }

    /// Whether the sync that is this step ends before it is done.
    fn is_cut(&self) -> bool {
        self.fault == Some((self.steps, Fault::PowerCut))
    }

    /// Forgets the files that have no name and will never have one again.
    fn sweep(&mut self) {
        let names = &self.names;
        let is_named = |id: &usize| names.iter().any(|it| it.values().any(|named| named == id));
        self.files.retain(|id, _| is_named(id));
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.cached.len() {
            self.cached.resize(end, 0);
            self.lengths.push(end);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_LEN..end.div_ceil(SECTOR_LEN) {
            let begin = sector * SECTOR_LEN;
            let end = self.cached.len().min(begin + SECTOR_LEN);
            let versions = self.sectors.entry(sector).or_default();
            versions.push(self.cached[begin..end].to_vec());
        }
    }

    fn forget(&mut self) {
        self.lengths.clear();
        self.sectors.clear();
    }

    /// Makes the disk have what everybody reads.
    fn settle(&mut self) {
        self.forget();
        self.synced.clone_from(&self.cached);
    }

    /// Only what is new goes to the disk: what was forgotten does not.
    fn sync(&mut self) {
        self.take_to_disk(|versions| versions.checked_sub(1));
    }

    fn lose_power(&mut self, random: &mut Seeded) {
        self.take_to_disk(|versions| random.below(versions + 1).checked_sub(1));
        self.cached.clone_from(&self.synced);
    }

    /// Of each number of versions the disk takes the one that `choose` says.
    fn take_to_disk(&mut self, mut choose: impl FnMut(usize) -> Option<usize>) {
        if let Some(choice) = choose(self.lengths.len()) {
            self.synced.resize(self.lengths[choice], 0);
        }
        for (sector, versions) in &self.sectors {
            let Some(choice) = choose(versions.len()) else {
                continue;
            };
            let room = self.synced.iter_mut().skip(sector * SECTOR_LEN);
            room.zip(&versions[choice])
                .for_each(|(byte, new)| *byte = *new);
        }
        self.forget();
    }
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().current().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = {
            let mut state = self.state();
            state.next_file += 1;
            let id = state.next_file;
            state.files.insert(id, Content::default());
            id
        };
        self.change_names(|names| {
            names.insert(name.to_owned(), id);
            Some(())
        })?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.state().current().get(name).copied();
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        let disk = self.clone();
        Ok(Box::new(SimulatedFile { disk, id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change_names(|names| {
            let id = names.remove(from)?;
            names.insert(to.to_owned(), id);
            Some(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change_names(|names| names.remove(name).map(drop))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step(|state| {
            if state.sync_fails() {
                return Err(io::Error::other("the sync failed"));
            }
            if !state.is_cut() {
                let last = state.names.len() - 1;
                state.names.drain(..last);
                state.sweep();
            }
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()) as u64)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[&self.id].cached.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state();
        let begin = usize::try_from(offset).unwrap();
        let bytes = state.files[&self.id].cached.get(begin..begin + into.len());
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.disk.step(|state| {
            let used = state.used();
            let capacity = state.capacity;
            let content = state.files.get_mut(&self.id).unwrap();
            let grown = (offset + bytes.len()).saturating_sub(content.cached.len());
            if grown > 0 && used + grown > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.write(bytes, offset);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(|state| {
            let (fails, is_cut) = (state.sync_fails(), state.is_cut());
            let content = state.files.get_mut(&self.id).unwrap();
            if fails {
                content.forget();
                return Err(io::Error::other("the sync failed"));
            }
            if !is_cut {
                content.sync();
            }
            Ok(())
        })
    }
}
