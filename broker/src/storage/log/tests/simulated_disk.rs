//! A disk in memory that behaves as badly as a disk may.
//!
//! What was not synced may be there or not after a power cut, each sector by itself and in any
//! order of time; names change in their order. A sync that fails forgets what it was to write,
//! and the cache goes on as if it were there.

use crate::storage::log::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_LEN: usize = 512;

/// All clones are one disk.
#[derive(Clone, Default)]
pub(in crate::storage) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: Vec<Content>,
    /// The names as they were synced, and after each change since.
    names: Vec<Names>,
    steps: u64,
    fault: Option<(u64, Fault)>,
    capacity: Option<usize>,
}

type Names = BTreeMap<String, usize>;

/// What goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Fault {
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

/// A file of the disk.
struct SimulatedFile {
    disk: SimulatedDisk,
    id: usize,
}

/// Random numbers from a seed (`SplitMix64`).
pub(in crate::storage) struct Random(pub(in crate::storage) u64);

impl Random {
    pub(in crate::storage) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

impl SimulatedDisk {
    /// The fault strikes at this step, counted from now on.
    pub(in crate::storage) fn break_at(&self, step: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.steps + step, fault));
    }

    /// No fault strikes any more.
    pub(in crate::storage) fn mend(&self) {
        self.state().fault = None;
    }

    /// How many writes, syncs and changes of names there were.
    pub(in crate::storage) fn steps(&self) -> u64 {
        self.state().steps
    }

    pub(in crate::storage) fn fill_up_at(&self, capacity: usize) {
        self.state().capacity = Some(capacity);
    }

    /// A disk that the power came back to: what was synced is there, and of the rest what the
    /// seed says.
    pub(in crate::storage) fn after_power_cut(&self, seed: u64) -> Self {
        let mut random = Random(seed);
        let state = self.state();
        let names = random.pick(&state.names).clone();
        let files = state.files.iter().map(|it| it.after_power_cut(&mut random));
        Self::of(files.collect(), names)
    }

    /// The same with everything in it on the disk.
    pub(in crate::storage) fn copy(&self) -> Self {
        let state = self.state();
        let mut files = state.files.clone();
        files.iter_mut().for_each(Content::settle);
        Self::of(files, state.current().clone())
    }

    pub(in crate::storage) fn file_names(&self) -> Vec<String> {
        self.state().current().keys().cloned().collect()
    }

    /// Changes a file as nobody should.
    pub(in crate::storage) fn tamper<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> T {
        let mut state = self.state();
        let id = state.current()[name];
        let content = &mut state.files[id];
        let outcome = change(&mut content.cached);
        content.settle();
        outcome
    }

    fn of(files: Vec<Content>, names: Names) -> Self {
        Self(Arc::new(Mutex::new(State {
            files,
            names: vec![names],
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        if state.names.is_empty() {
            state.names.push(Names::new());
        }
        state
    }

    /// Takes a step that `change` does, unless the power is off.
    fn step(&self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        state.steps += 1;
        let (at, fault) = state.fault.unwrap_or((u64::MAX, Fault::SyncFails));
        let off = || Err(io::Error::other("the power is off"));
        match fault {
            Fault::PowerCut if state.steps > at => return off(),
            Fault::PowerCut if state.steps == at => {
                change(&mut state)?;
                return off();
            }
            Fault::PowerCut | Fault::SyncFails => {}
        }
        change(&mut state)
    }

    fn change_names(&self, change: impl FnOnce(&mut Names)) -> io::Result<()> {
        self.step(|state| {
            let mut names = state.current().clone();
            change(&mut names);
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
        ids.map(|id| self.files[*id].cached.len()).sum()
    }

    /// Whether the sync that is this step fails.
    fn sync_fails(&self) -> bool {
        self.fault == Some((self.steps, Fault::SyncFails))
    }

    /// Whether the sync that is this step ends before it is done.
    fn is_cut(&self) -> bool {
        self.fault == Some((self.steps, Fault::PowerCut))
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
        self.synced = self.on_disk(|versions| versions.checked_sub(1));
        self.forget();
    }

    /// What the disk has if of each number of versions it took the one that `choose` says.
    fn on_disk(&self, mut choose: impl FnMut(usize) -> Option<usize>) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        if let Some(choice) = choose(self.lengths.len()) {
            bytes.resize(self.lengths[choice], 0);
        }
        for (sector, versions) in &self.sectors {
            let Some(choice) = choose(versions.len()) else {
                continue;
            };
            let room = bytes.iter_mut().skip(sector * SECTOR_LEN);
            room.zip(&versions[choice])
                .for_each(|(byte, new)| *byte = *new);
        }
        bytes
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let bytes = self.on_disk(|versions| random.below(versions + 1).checked_sub(1));
        Self {
            cached: bytes.clone(),
            synced: bytes,
            ..Self::default()
        }
    }
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.file_names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = {
            let mut state = self.state();
            state.files.push(Content::default());
            state.files.len() - 1
        };
        self.change_names(|names| {
            names.insert(name.to_owned(), id);
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
            let id = names.remove(from).expect("it is there");
            names.insert(to.to_owned(), id);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change_names(|names| {
            names.remove(name).expect("it is there");
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step(|state| {
            if state.sync_fails() {
                return Err(io::Error::other("the sync failed"));
            }
            if !state.is_cut() {
                let last = state.names.len() - 1;
                state.names.drain(..last);
            }
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        let capacity = state.capacity.unwrap_or(usize::MAX);
        Ok((capacity - state.used()) as u64)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.id].cached.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state();
        let begin = usize::try_from(offset).unwrap();
        let bytes = state.files[self.id].cached.get(begin..begin + into.len());
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.disk.step(|state| {
            let len = state.files[self.id].cached.len();
            let grown = (offset + bytes.len()).saturating_sub(len);
            if state.used() + grown > state.capacity.unwrap_or(usize::MAX) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.files[self.id].write(bytes, offset);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(|state| {
            if state.sync_fails() {
                state.files[self.id].forget();
                return Err(io::Error::other("the sync failed"));
            }
            if !state.is_cut() {
                state.files[self.id].sync();
            }
            Ok(())
        })
    }
}
