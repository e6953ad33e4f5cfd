//! The log of a directory: a journal that takes each commit, and sled, where the commits are in the end.
//!
//! ```text
//!  append, rewrite, remove ─► journal ─ flush: one write, one fdatasync ─► acknowledged
//!                     └─────► pending ─ a generation is full ─► settling, a thread ─► trees (sled)
//!  covering, following ◄───── pending, and what is not there: trees
//! ```
//!
//! After a crash the journal's generations that the engine does not have for sure are brought into it before anything reads.
//! Each change says what a key is from now on, so that those which it has already do no harm.

use std::{
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::{
    blobs::Blobs,
    directory::Directory,
    error::OpenError,
    journal::{Change, Generation, Journal, Part},
    log::{Log, LogError, LogReader, Place},
    pending::{Found, Pending},
    renew,
    settling::{Settler, Settling, seal},
    trees::{Trees, is_for_want_of_room},
};

/// See the module.
pub struct SledLog {
    // Declared in the order in which they must go: sled lets go of its files before the directory's lock does.
    settling: Settling,
    trees: Trees,
    pending: Arc<Pending>,
    journal: Journal,
    directory: Directory,
    fsync: bool,
    newest: Sequence,
    /// Whether the directory says that the log has come anywhere.
    is_noted: bool,
}

impl SledLog {
    /// Opens the log of a directory. With `fsync` off a flush survives a kill, not a power cut.
    pub fn open(directory: Directory, fsync: bool) -> Result<Self, (Directory, OpenError)> {
        let opened = catch_unwind(AssertUnwindSafe(|| open_whole(&directory, fsync)));
        let opened = opened.unwrap_or_else(|_| Err(damaged(&directory, "the storage engine failed on it".into())));
        let (trees, journal, newest) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err((directory, error)),
        };
        let pending = Arc::<Pending>::default();
        let blobs = Blobs::of(directory.log().join("blobs"));
        let settler = Settler { trees: trees.clone(), pending: pending.clone(), blobs };
        match Settling::start(settler) {
            Ok(settling) => {
                let is_noted = newest > Sequence::ZERO;
                Ok(Self { settling, trees, pending, journal, directory, fsync, newest, is_noted })
            }
            Err(error) => {
                drop(trees);
                Err((directory, error))
            }
        }
    }

    /// Written anew, where its file has more than `let_be_bytes` and far more than what it holds. No reader may be left.
    pub(super) fn tidied(mut self, held_bytes: u64, let_be_bytes: u64) -> Result<Self, OpenError> {
        let place = || self.directory.log();
        let failed = |source| OpenError::File { path: place(), source };
        if !renew::is_due(self.trees.file(), held_bytes, let_be_bytes).map_err(failed)? {
            return Ok(self);
        }
        tracing::info!(held_bytes, "the log's file has far more than what it holds: it is written anew");
        if let Err(error) = self.copy_aside() {
            tracing::warn!(%error, "the log's file can't be written anew, and stays as it is");
            return Ok(self);
        }
        let fsync = self.fsync;
        let directory = self.into_directory();
        renew::exchange(&directory)?;
        Self::open(directory, fsync).map_err(|(_, error)| error)
    }

    pub(super) fn copy_aside(&mut self) -> Result<(), LogError> {
        self.settle()?;
        renew::copy(&self.directory, self.trees.both())
    }

    /// Closes the engine and gives the directory back.
    pub fn into_directory(self) -> Directory {
        let Self { settling, trees, directory, .. } = self;
        drop(settling);
        drop(trees);
        directory
    }

    fn take(&mut self, change: Change) {
        self.journal.add(&change);
        self.pending.take(change);
    }

    /// Has all that was taken so far brought into the engine, and waits for it.
    fn settle(&mut self) -> Result<(), LogError> {
        self.journal.write().map_err(LogError::Io)?;
        self.turn()?;
        self.settling.arrived()
    }

    fn turn(&mut self) -> Result<(), LogError> {
        self.settling.arrived()?;
        let generation = self.journal.generation();
        self.journal.turn().map_err(LogError::Io)?;
        self.pending.turn();
        self.settling.bring(generation);
        Ok(())
    }

    fn note_newest(&mut self) -> Result<(), LogError> {
        self.is_noted = true;
        self.directory.note_newest(self.newest).map_err(LogError::Io)
    }
}

impl Log for SledLog {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.newest = first;
        self.rewrite(first, bytes)
    }

    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.take(Change { part: Part::Commits, key: first.get(), bytes: Some(bytes) });
        Ok(())
    }

    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.take(Change { part: Part::Commits, key: first.get(), bytes: None });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.settling.goes_well()?;
        self.journal.write().map_err(LogError::Io)?;
        if self.fsync && !self.is_noted && self.newest > Sequence::ZERO {
            self.note_newest()?;
        }
        if self.journal.is_full() { self.turn() } else { Ok(()) }
    }

    fn close(&mut self, _head: Sequence) -> Result<(), LogError> {
        self.settle()?;
        if self.newest > Sequence::ZERO { self.note_newest() } else { Ok(()) }
    }

    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.take(Change { part: Part::Notes, key: number, bytes: Some(bytes) });
        Ok(())
    }

    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.take(Change { part: Part::Notes, key: number, bytes: None });
        Ok(())
    }

    fn tidy(self: Box<Self>, held_bytes: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(self.tidied(held_bytes, renew::LET_BE_BYTES)?))
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(SledReader { trees: self.trees.clone(), pending: self.pending.clone(), path: self.directory.log() })
    }
}

struct SledReader {
    trees: Trees,
    pending: Arc<Pending>,
    path: PathBuf,
}

impl SledReader {
    // What is pending is asked first: it goes from there only once it is in the trees.
    fn covering(&self, part: Part, at: u64) -> Result<Option<(u64, Bytes)>, LogError> {
        covering(|at| Ok(self.pending.covering(part, at)), |at| self.trees.covering(part, at), at)
    }

    fn following(&self, part: Part, after: Bound<u64>) -> Result<Option<(u64, Bytes)>, LogError> {
        following(|after| Ok(self.pending.following(part, after)), |after| self.trees.following(part, after), after)
    }
}

/// What has the greatest key that is not after `at`, where what is known of the newest overrules what has arrived.
pub(super) fn covering(
    newest: impl Fn(u64) -> Result<Option<Found>, LogError>,
    arrived: impl Fn(u64) -> Result<Option<(u64, Bytes)>, LogError>,
    mut at: u64,
) -> Result<Option<(u64, Bytes)>, LogError> {
    loop {
        match (newest(at)?, arrived(at)?) {
            (Some((key, bytes)), arrived) if arrived.as_ref().is_none_or(|(other, _)| key >= *other) => match bytes {
                Some(bytes) => return Ok(Some((key, bytes))),
                None if key == 0 => return Ok(None),
                None => at = key - 1,
            },
            (_, arrived) => return Ok(arrived),
        }
    }
}

/// What has the least key that is after `after`, likewise.
pub(super) fn following(
    newest: impl Fn(Bound<u64>) -> Result<Option<Found>, LogError>,
    arrived: impl Fn(Bound<u64>) -> Result<Option<(u64, Bytes)>, LogError>,
    mut after: Bound<u64>,
) -> Result<Option<(u64, Bytes)>, LogError> {
    loop {
        match (newest(after)?, arrived(after)?) {
            (Some((key, bytes)), arrived) if arrived.as_ref().is_none_or(|(other, _)| key <= *other) => match bytes {
                Some(bytes) => return Ok(Some((key, bytes))),
                None => after = Bound::Excluded(key),
            },
            (_, arrived) => return Ok(arrived),
        }
    }
}

impl LogReader for SledReader {
    fn covering(&self, at: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        Ok(self.covering(Part::Commits, at.get())?.map(commit))
    }

    fn following(&self, after: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        Ok(self.following(Part::Commits, Bound::Excluded(after.get()))?.map(commit))
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&**self.trees.file()).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn notes(&self) -> Result<Option<(u64, u64)>, LogError> {
        let (first, last) = (self.following(Part::Notes, Bound::Unbounded)?, self.covering(Part::Notes, u64::MAX)?);
        Ok(first.zip(last).map(|((first, _), (last, _))| (first, last)))
    }

    fn read_note(&self, number: u64) -> Result<Option<Bytes>, LogError> {
        let found = self.covering(Part::Notes, number)?;
        Ok(found.filter(|(key, _)| *key == number).map(|(_, bytes)| bytes))
    }

    fn place(&self) -> Place {
        Place::Directory(self.path.clone())
    }
}

/// The engine with all of the journal in it, a journal to go on with, and the newest commit.
fn open_whole(directory: &Directory, fsync: bool) -> Result<(Trees, Journal, Sequence), OpenError> {
    let log = directory.log();
    let damaged = |problem: String| damaged(directory, problem);
    let failed = |error: LogError| match error {
        LogError::Corrupt(problem) => damaged(problem),
        LogError::Io(source) if is_for_want_of_room(&source) => OpenError::File { path: log.clone(), source },
        source => OpenError::Log { place: log.display().to_string(), source },
    };
    let trees = Trees::open(directory)?;
    let journal = match (trees.settled().map_err(failed)?, Journal::read(&log)) {
        (None, found) => {
            // An error: the first start was cut short while it made the files.
            let has_any = |found: [Generation; 2]| found.iter().any(|generation| !generation.changes.is_empty());
            if found.is_ok_and(|found| found.is_some_and(has_any)) {
                return Err(damaged("its storage engine has lost that there is a journal".into()));
            }
            let journal = Journal::create(&log, fsync)?;
            trees.note_settled(0).and_then(|()| trees.flush()).map_err(failed)?;
            journal
        }
        (Some(_), Err(error)) => return Err(error),
        (Some(_), Ok(None)) => return Err(damaged("its journal is missing".into())),
        (Some(settled), Ok(Some(found))) => {
            let [older, newer] = found.each_ref().map(|generation| generation.number);
            if settled + 1 < older || settled > newer {
                return Err(damaged(format!(
                    "its storage engine has generation {settled} of a journal that has {older} and {newer}"
                )));
            }
            for generation in found.into_iter().filter(|generation| generation.number > settled) {
                generation.changes.iter().try_for_each(|change| trees.apply(change)).map_err(failed)?;
            }
            let mut blobs = Blobs::of(log.join("blobs"));
            seal(&trees, &mut blobs, newer).map_err(failed)?;
            Journal::resume(&log, newer, fsync)?
        }
    };
    directory.raise_format()?;
    let noted = directory.newest()?;
    let newest = trees.covering(Part::Commits, u64::MAX).map_err(failed)?;
    let newest = newest.map_or(Sequence::ZERO, |(first, _)| Sequence::new(first));
    if newest < noted {
        return Err(damaged(format!("the log once reached commit {noted}, and now ends at {newest}")));
    }
    if !fsync {
        directory.forget_newest()?;
    }
    Ok((trees, journal, newest))
}

fn damaged(directory: &Directory, problem: String) -> OpenError {
    OpenError::Damaged { file: directory.log().display().to_string(), problem }
}

fn commit((first, bytes): (u64, Bytes)) -> (Sequence, Bytes) {
    (Sequence::new(first), bytes)
}

#[cfg(test)]
#[path = "sled_log_tests.rs"]
mod tests;
