//! A log in memory that can be killed, can lose what was not flushed, can be damaged and can fail on demand.
//!
//! A [`MemoryLog`] is a handle: clones share the contents, so a test keeps one, gives the other to a store, kills the
//! store, calls [`MemoryLog::crash`] and opens a new store on what is left.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::{
    error::OpenError,
    log::{Log, LogError, LogReader, Place},
};

/// What a test may ask to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th append from now on (0 is the next), and all after it.
    Append(u32),
    /// The n-th flush from now on (0 is the next), and all after it.
    Flush(u32),
}

/// How often each operation was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// [`Log::append`].
    pub appends: u64,
    /// [`Log::rewrite`].
    pub rewrites: u64,
    /// [`Log::remove`].
    pub removes: u64,
    /// [`Log::flush`] and [`Log::close`].
    pub flushes: u64,
}

#[derive(Debug, Clone)]
enum Operation {
    Put(Sequence, Bytes),
    Remove(Sequence),
    Note(u64, Bytes),
    DropNote(u64),
}

#[derive(Debug, Default, Clone)]
struct Held {
    commits: BTreeMap<Sequence, Bytes>,
    notes: BTreeMap<u64, Bytes>,
}

#[derive(Debug, Default)]
struct Contents {
    durable: Held,
    // Given, not flushed, in order.
    pending: Vec<Operation>,
    // Durable and pending: what the process sees.
    visible: Held,
    fault: Option<Fault>,
    failed: bool,
    free_bytes: Option<u64>,
    calls: Calls,
}

fn apply(held: &mut Held, operation: Operation) {
    match operation {
        Operation::Put(first, bytes) => drop(held.commits.insert(first, bytes)),
        Operation::Remove(first) => drop(held.commits.remove(&first)),
        Operation::Note(number, bytes) => drop(held.notes.insert(number, bytes)),
        Operation::DropNote(number) => drop(held.notes.remove(&number)),
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Contents>>);

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine loses power: of what was not flushed, as long a beginning survives as `seed` says. Faults end.
    pub fn crash(&self, seed: u64) {
        let mut contents = self.contents();
        let pending = std::mem::take(&mut contents.pending);
        let survivors = (splitmix(seed) % (pending.len() as u64 + 1)) as usize;
        for operation in pending.into_iter().take(survivors) {
            apply(&mut contents.durable, operation);
        }
        contents.visible = contents.durable.clone();
        contents.fault = None;
        contents.failed = false;
    }

    /// Asks for a fault.
    pub fn fail(&self, fault: Fault) {
        self.contents().fault = Some(fault);
    }

    /// What [`LogReader::free_bytes`] says from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.contents().free_bytes = Some(bytes);
    }

    /// Cuts the commit under `first` off after `keep` bytes, as a disk does that tears a write it had acknowledged.
    pub fn tear(&self, first: Sequence, keep: usize) {
        let mut contents = self.contents();
        let Contents { durable, visible, .. } = &mut *contents;
        for held in [durable, visible] {
            if let Some(bytes) = held.commits.get_mut(&first) {
                bytes.truncate(keep);
            }
        }
    }

    /// Flips a bit of the commit under `first`.
    pub fn flip(&self, first: Sequence, bit: usize) {
        let mut contents = self.contents();
        let Contents { durable, visible, .. } = &mut *contents;
        for held in [durable, visible] {
            if let Some(bytes) = held.commits.get_mut(&first) {
                let mut changed = bytes.to_vec();
                let at = bit / 8 % changed.len().max(1);
                changed[at] ^= 1 << (bit % 8);
                *bytes = changed.into();
            }
        }
    }

    /// Loses the commit under `first`.
    pub fn lose(&self, first: Sequence) {
        let mut contents = self.contents();
        contents.durable.commits.remove(&first);
        contents.visible.commits.remove(&first);
    }

    /// How often each operation was called since the log was made.
    pub fn calls(&self) -> Calls {
        self.contents().calls
    }

    /// First sequences and sizes of the commits, in order.
    pub fn commits(&self) -> Vec<(Sequence, usize)> {
        self.contents().visible.commits.iter().map(|(first, bytes)| (*first, bytes.len())).collect()
    }

    /// A copy that shares nothing: what a backup of this moment would hold, flushed or not.
    pub fn snapshot(&self) -> MemoryLog {
        let visible = self.contents().visible.clone();
        MemoryLog(Arc::new(Mutex::new(Contents { durable: visible.clone(), visible, ..Contents::default() })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn give(&self, count: impl Fn(&mut Calls), operation: Operation) -> Result<(), LogError> {
        let mut contents = self.contents();
        let concerned = matches!(contents.fault, Some(Fault::Append(_)));
        contents.check(concerned)?;
        count(&mut contents.calls);
        apply(&mut contents.visible, operation.clone());
        contents.pending.push(operation);
        Ok(())
    }
}

impl Contents {
    // Once an operation has failed all do, as with sled.
    fn check(&mut self, concerned: bool) -> Result<(), LogError> {
        if concerned {
            self.fault = match self.fault {
                Some(Fault::Append(0) | Fault::Flush(0)) => {
                    self.failed = true;
                    self.fault
                }
                Some(Fault::Append(n)) => Some(Fault::Append(n - 1)),
                Some(Fault::Flush(n)) => Some(Fault::Flush(n - 1)),
                None => None,
            };
        }
        if self.failed { Err(LogError::Asked) } else { Ok(()) }
    }
}

impl Log for MemoryLog {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.give(|calls| calls.appends += 1, Operation::Put(first, bytes))
    }

    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.give(|calls| calls.rewrites += 1, Operation::Put(first, bytes))
    }

    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.give(|calls| calls.removes += 1, Operation::Remove(first))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let mut contents = self.contents();
        let concerned = matches!(contents.fault, Some(Fault::Flush(_)));
        contents.check(concerned)?;
        contents.calls.flushes += 1;
        for operation in std::mem::take(&mut contents.pending) {
            apply(&mut contents.durable, operation);
        }
        Ok(())
    }

    fn close(&mut self, _head: Sequence) -> Result<(), LogError> {
        self.flush()
    }

    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.give(|_| {}, Operation::Note(number, bytes))
    }

    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.give(|_| {}, Operation::DropNote(number))
    }

    fn tidy(self: Box<Self>, _: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(self)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(self.clone())
    }
}

impl LogReader for MemoryLog {
    fn covering(&self, at: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        Ok(self.contents().visible.commits.range(..=at).next_back().map(|(first, bytes)| (*first, bytes.clone())))
    }

    fn following(&self, after: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        Ok(self.contents().visible.commits.range(range).next().map(|(first, bytes)| (*first, bytes.clone())))
    }

    fn notes(&self) -> Result<Option<(u64, u64)>, LogError> {
        let notes = &self.contents().visible.notes;
        let number = |found: Option<(&u64, &Bytes)>| found.map(|(number, _)| *number);
        Ok(number(notes.first_key_value()).zip(number(notes.last_key_value())))
    }

    fn read_note(&self, number: u64) -> Result<Option<Bytes>, LogError> {
        Ok(self.contents().visible.notes.get(&number).cloned())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.contents().free_bytes
    }

    fn place(&self) -> Place {
        Place::Memory
    }
}

// One step of splitmix64, so that neighbouring seeds give unlike numbers.
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Sequence {
        Sequence::new(number)
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_a_beginning_of_the_rest() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut log = MemoryLog::new();
            log.append(at(1), Bytes::from_static(b"one")).unwrap();
            log.flush().unwrap();
            for first in 2..6 {
                log.append(at(first), Bytes::from_static(b"more")).unwrap();
            }
            log.crash(seed);
            let left: Vec<u64> = log.commits().iter().map(|(first, _)| first.get()).collect();
            assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>(), "seed {seed}");
            lengths.insert(left.len());
        }
        assert_eq!(lengths, (1..=5).collect(), "every length of beginning comes up");
    }

    #[test]
    fn after_a_fault_everything_fails_until_the_crash() {
        let mut log = MemoryLog::new();
        log.fail(Fault::Append(1));
        log.append(at(1), Bytes::new()).unwrap();
        log.append(at(2), Bytes::new()).unwrap_err();
        log.flush().unwrap_err();
        log.crash(0);
        log.flush().unwrap();
    }
}
