//! Sled 0.34.7, where the commits and notes are in the end, with a guard against each of that version's known faults:
//!
//! - `flush()` leaves the data in the page cache on Linux: [`Trees::flush`] calls `sync_data` on its own handle of `db`;
//!   the files of values that sled puts under `blobs/`, and that directory, are [`super::blobs`]' part.
//! - A kill while it writes a snapshot leaves `snap.*.generating`, with which it never opens again: removed before.
//! - It may take a damaged file for a short one, and begin without an error at an earlier moment, or empty: the
//!   directory notes how far the log had come ([`Directory::newest`]), the engine how much of the journal is in it, and less than
//!   either says is damage.
//! - It may panic on damaged files: caught by who opens it, and told as damage.
//! - Each of its flushes wakes all of its seven threads, and waits for the disk to have the data without having it made
//!   durable: it is asked for one by [`super::settling`], never on the way of a commit.
//! - `apply_batch` and transactions take a process-wide lock, `flush_async` can deadlock, its own flusher thread gets
//!   in the way of both, iterators are no snapshot, `len()` is O(n): none of them is used.

use std::{
    fs::{self, File},
    io,
    ops::Bound,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::{
    blobs::remove_orphans,
    directory::Directory,
    error::OpenError,
    journal::{Change, Part},
    log::LogError,
    renew::{self, opened},
};

/// Bytes that sled keeps in memory before it lets pages go.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of one of the pieces in which sled writes its file. What is above a quarter of it goes to a file of its own, and
/// costs a flush of its own: a tree's leaf, which is written as a whole now and then, has up to 16 commits.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// Under which the engine has how much of the journal is in it.
const SETTLED: &str = "journal";

/// The engine, open. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    // Declared first, dropped first.
    commits: sled::Tree,
    notes: sled::Tree,
    db: sled::Db,
    file: Arc<File>,
}

impl Trees {
    /// Opens the engine of a directory. It may panic.
    pub(super) fn open(directory: &Directory) -> Result<Self, OpenError> {
        let path = directory.log();
        renew::settle(directory)?;
        remove_half_snapshots(&path)?;
        let noted = directory.newest()?;
        let damaged = |problem: String| OpenError::Damaged { file: path.display().to_string(), problem };
        // Sled would make a new one, and what was there would be gone in silence.
        if noted > Sequence::ZERO && !path.join("db").exists() {
            return Err(damaged("its file `db` is missing".into()));
        }
        let config = config_of(&path);
        let open = || -> sled::Result<_> {
            let db = opened(&config)?;
            // Where something was durable once, an empty log is a damaged one, of which nothing is removed.
            if !db.was_recovered() && noted == Sequence::ZERO {
                remove_orphans(&path.join("blobs"))?;
            }
            let trees = open_trees(&db)?;
            Ok((db, trees))
        };
        let (db, [commits, notes]) = open().map_err(|error| match error {
            sled::Error::Io(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                OpenError::Unwritable { dir: path.clone(), source }
            }
            // No damage: with `--recover` a good log would be set aside.
            sled::Error::Io(source) if is_for_want_of_room(&source) => OpenError::File { path: path.clone(), source },
            error => damaged(format!("the storage engine can't read it ({error})")),
        })?;
        let file_path = path.join("db");
        let file = File::open(&file_path).map_err(|source| OpenError::File { path: file_path, source })?;
        // The names of files made just now, which a flush of the files themselves does not make durable.
        for dir in [path.as_path(), directory.path()] {
            let synced = File::open(dir).and_then(|dir| dir.sync_all());
            synced.map_err(|source| OpenError::File { path: dir.to_owned(), source })?;
        }
        Ok(Self { commits, notes, db, file: Arc::new(file) })
    }

    /// Its own file.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Both trees, to be copied.
    pub(super) fn both(&self) -> [&sled::Tree; 2] {
        [&self.commits, &self.notes]
    }

    pub(super) fn apply(&self, change: &Change) -> Result<(), LogError> {
        let (tree, key) = (self.tree(change.part), change.key.to_be_bytes());
        match &change.bytes {
            Some(bytes) => tree.insert(key, &bytes[..]).map_err(engine_error)?,
            None => tree.remove(key).map_err(engine_error)?,
        };
        Ok(())
    }

    /// That all of the journal up to `generation` is in the engine. Durable with the next flush, and not before it is.
    pub(super) fn note_settled(&self, generation: u64) -> Result<(), LogError> {
        self.db.insert(SETTLED, &generation.to_be_bytes()).map_err(engine_error)?;
        Ok(())
    }

    /// Up to which generation the journal is in the engine; `None` in one that has never had a journal.
    pub(super) fn settled(&self) -> Result<Option<u64>, LogError> {
        let Some(bytes) = self.db.get(SETTLED).map_err(engine_error)? else { return Ok(None) };
        let number = <[u8; 8]>::try_from(&bytes[..]);
        let number = number.map_err(|_| LogError::Corrupt("it does not say how much of the journal it has".into()))?;
        Ok(Some(u64::from_be_bytes(number)))
    }

    /// Has what it keeps back written to its file.
    pub(super) fn write_out(&self) -> Result<(), LogError> {
        self.db.flush().map_err(engine_error)?;
        Ok(())
    }

    /// Makes durable what is in its own file.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.write_out()?;
        self.file.sync_data().map_err(LogError::Io)
    }

    /// What has the greatest key that is not after `at`.
    pub(super) fn covering(&self, part: Part, at: u64) -> Result<Option<(u64, Bytes)>, LogError> {
        let found = self.tree(part).range(..=at.to_be_bytes()).next_back();
        found.transpose().map_err(engine_error)?.map(known).transpose()
    }

    /// What has the least key that is after `after`.
    pub(super) fn following(&self, part: Part, after: Bound<u64>) -> Result<Option<(u64, Bytes)>, LogError> {
        let tree = self.tree(part);
        let found = match after {
            Bound::Excluded(after) => tree.get_gt(after.to_be_bytes()),
            Bound::Included(from) => tree.range(from.to_be_bytes()..).next().transpose(),
            Bound::Unbounded => tree.first(),
        };
        found.map_err(engine_error)?.map(known).transpose()
    }

    fn tree(&self, part: Part) -> &sled::Tree {
        match part {
            Part::Commits => &self.commits,
            Part::Notes => &self.notes,
        }
    }
}

/// How a log there is opened.
pub(super) fn config_of(log: &Path) -> sled::Config {
    let config = sled::Config::new().path(log).segment_size(segment_bytes(log).unwrap_or(SEGMENT_BYTES));
    config.cache_capacity(CACHE_BYTES).flush_every_ms(None)
}

/// The commits, and the conflict log's notes.
pub(super) fn open_trees(db: &sled::Db) -> sled::Result<[sled::Tree; 2]> {
    Ok([db.open_tree("commits")?, db.open_tree("conflicts")?])
}

/// That of a log that is there: it can't be changed.
fn segment_bytes(log: &Path) -> Option<usize> {
    let settings = fs::read(log.join("conf")).ok()?;
    let settings = String::from_utf8_lossy(&settings);
    settings.lines().find_map(|line| line.strip_prefix("segment_size: ")?.trim().parse().ok())
}

fn remove_half_snapshots(log: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    let entries = match fs::read_dir(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed(log))?,
    };
    for entry in entries {
        let path = entry.map_err(failed(log))?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            tracing::warn!(file = %path.display(), "removing a snapshot that was cut short");
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(())
}

fn known((key, bytes): (sled::IVec, sled::IVec)) -> Result<(u64, Bytes), LogError> {
    let number = <[u8; 8]>::try_from(&key[..]);
    let number = number.map_err(|_| LogError::Corrupt(format!("a key of {} bytes among the commits", key.len())))?;
    Ok((u64::from_be_bytes(number), Bytes::from_owner(bytes)))
}

/// Whether there was no room to write, or nobody may.
pub(super) fn is_for_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

pub(super) fn engine_error(error: sled::Error) -> LogError {
    match error {
        sled::Error::Io(source) => LogError::Io(source),
        other => LogError::Corrupt(other.to_string()),
    }
}
