//! The log in sled 0.34.7, with a guard against each of that version's known faults:
//!
//! - `flush()` leaves the data in the page cache on Linux: [`Log::flush`] calls `sync_data` on its own handle of `db`,
//!   and `sync_all` on the files of values that sled put under `blobs/`, and on that directory.
//! - A kill while it writes a snapshot leaves `snap.*.generating`, with which it never opens again: removed before.
//! - It may take a damaged file for a short one, and begin without an error at an earlier moment, or empty: the
//!   directory notes how far the log had come ([`Directory::newest`]), and less than that is damage.
//! - It may panic on damaged files: caught, and told as damage.
//! - `apply_batch` and transactions take a process-wide lock, `flush_async` can deadlock, its own flusher thread gets
//!   in the way of both, iterators are no snapshot, `len()` is O(n): none of them is used.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::{
    blobs::{Blobs, remove_orphans},
    directory::Directory,
    error::OpenError,
    log::{Log, LogError, LogReader, Place},
    renew::{self, opened},
};

/// Bytes that sled keeps in memory before it lets pages go.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of one of the pieces in which sled writes its file. What is above a quarter of it goes to a file of its own, and
/// costs a flush of its own: a tree's leaf, which is written as a whole now and then, has up to 16 commits.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// How many appended bytes may pass before the directory notes again how far the log has come. One small file
/// synchronised per that many bytes is lost in the noise.
const NOTE_EVERY_BYTES: u64 = 16 * 1024 * 1024;

/// See the module.
pub struct SledLog {
    // Declared first, dropped first: sled lets go of its files before the directory's lock does.
    tree: sled::Tree,
    notes: sled::Tree,
    db: sled::Db,
    file: Arc<File>,
    blobs: Blobs,
    directory: Directory,
    fsync: bool,
    newest: Sequence,
    unnoted_bytes: u64,
}

impl SledLog {
    /// Opens the log of a directory. With `fsync` off a flush survives a kill, not a power cut.
    pub fn open(directory: Directory, fsync: bool) -> Result<Self, (Directory, OpenError)> {
        match open_engine(&directory) {
            Ok((db, [tree, notes], file, newest)) => {
                let unnoted = if newest == Sequence::ZERO { NOTE_EVERY_BYTES } else { 0 };
                if !fsync && let Err(error) = directory.forget_newest() {
                    return Err((directory, error));
                }
                let blobs = directory.log().join("blobs");
                // Without `fsync` they are settled once, at the end.
                let blobs = if fsync { Blobs::of(blobs) } else { Blobs::unwatched(blobs) };
                Ok(Self { tree, notes, db, file, blobs, directory, fsync, newest, unnoted_bytes: unnoted })
            }
            Err(error) => Err((directory, error)),
        }
    }

    /// Written anew, where its file has more than `let_be_bytes` and far more than what it holds. No reader may be left.
    pub(super) fn tidied(self, held_bytes: u64, let_be_bytes: u64) -> Result<Self, OpenError> {
        let place = || self.directory.log();
        let failed = |source| OpenError::File { path: place(), source };
        if !renew::is_due(&self.file, held_bytes, let_be_bytes).map_err(failed)? {
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

    pub(super) fn copy_aside(&self) -> Result<(), LogError> {
        renew::copy(&self.directory, [&self.tree, &self.notes])
    }

    /// Closes the engine and gives the directory back.
    pub fn into_directory(self) -> Directory {
        let Self { tree, notes, db, directory, .. } = self;
        drop((tree, notes));
        drop(db);
        directory
    }

    fn put(&mut self, first: Sequence, bytes: &[u8]) -> Result<(), LogError> {
        self.tree.insert(key(first), bytes).map_err(engine_error)?;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.blobs.settle()
    }

    fn note_newest(&mut self) -> Result<(), LogError> {
        self.unnoted_bytes = 0;
        self.directory.note_newest(self.newest).map_err(LogError::Io)
    }
}

impl Log for SledLog {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.put(first, &bytes)?;
        self.newest = first;
        self.unnoted_bytes += bytes.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.put(first, &bytes)
    }

    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.tree.remove(key(first)).map_err(engine_error)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.db.flush().map_err(engine_error)?;
        if !self.fsync {
            return Ok(());
        }
        self.settle().map_err(LogError::Io)?;
        if self.unnoted_bytes >= NOTE_EVERY_BYTES { self.note_newest() } else { Ok(()) }
    }

    fn close(&mut self, _head: Sequence) -> Result<(), LogError> {
        self.db.flush().map_err(engine_error)?;
        self.settle().map_err(LogError::Io)?;
        if self.newest > Sequence::ZERO { self.note_newest() } else { Ok(()) }
    }

    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.notes.insert(number.to_be_bytes(), &bytes[..]).map_err(engine_error)?;
        Ok(())
    }

    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.notes.remove(number.to_be_bytes()).map_err(engine_error)?;
        Ok(())
    }

    fn tidy(self: Box<Self>, held_bytes: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(Box::new(self.tidied(held_bytes, renew::LET_BE_BYTES)?))
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        let (tree, notes, file) = (self.tree.clone(), self.notes.clone(), self.file.clone());
        Arc::new(SledReader { tree, notes, file, path: self.directory.log() })
    }
}

struct SledReader {
    tree: sled::Tree,
    notes: sled::Tree,
    file: Arc<File>,
    path: PathBuf,
}

impl LogReader for SledReader {
    fn covering(&self, at: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        match self.tree.get(key(at)).map_err(engine_error)? {
            Some(bytes) => Ok(Some((at, Bytes::from_owner(bytes)))),
            None => self.tree.get_lt(key(at)).map_err(engine_error)?.map(commit).transpose(),
        }
    }

    fn following(&self, after: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError> {
        self.tree.get_gt(key(after)).map_err(engine_error)?.map(commit).transpose()
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&*self.file).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn notes(&self) -> Result<Option<(u64, u64)>, LogError> {
        let number = |found: Option<(sled::IVec, sled::IVec)>| found.map(commit).transpose();
        let (first, last) = (self.notes.first().map_err(engine_error)?, self.notes.last().map_err(engine_error)?);
        Ok(number(first)?.zip(number(last)?).map(|((first, _), (last, _))| (first.get(), last.get())))
    }

    fn read_note(&self, number: u64) -> Result<Option<Bytes>, LogError> {
        Ok(self.notes.get(number.to_be_bytes()).map_err(engine_error)?.map(Bytes::from_owner))
    }

    fn place(&self) -> Place {
        Place::Directory(self.path.clone())
    }
}

type Engine = (sled::Db, [sled::Tree; 2], Arc<File>, Sequence);

fn open_engine(directory: &Directory) -> Result<Engine, OpenError> {
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
    let outcome = catch_unwind(AssertUnwindSafe(|| -> sled::Result<_> {
        let db = opened(&config)?;
        // Where something was durable once, an empty log is a damaged one, of which nothing is removed.
        if !db.was_recovered() && noted == Sequence::ZERO {
            remove_orphans(&path.join("blobs"))?;
        }
        let trees = open_trees(&db)?;
        let newest = trees[0].last()?;
        Ok((db, trees, newest))
    }));
    let (db, trees, newest) = match outcome {
        Ok(Ok(opened)) => opened,
        Ok(Err(sled::Error::Io(source))) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(OpenError::Unwritable { dir: path, source });
        }
        Ok(Err(error)) => return Err(damaged(format!("the storage engine can't read it ({error})"))),
        Err(_) => return Err(damaged("the storage engine failed on it".into())),
    };
    let newest = match newest {
        None => Sequence::ZERO,
        Some(newest) => commit(newest).map_err(|error| damaged(error.to_string()))?.0,
    };
    if newest < noted {
        return Err(damaged(format!("the log once reached commit {noted}, and now ends at {newest}")));
    }
    let file_path = path.join("db");
    let file = File::open(&file_path).map_err(|source| OpenError::File { path: file_path, source })?;
    // The names of files made just now, which a flush of the files themselves does not make durable.
    for dir in [path.as_path(), directory.path()] {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| OpenError::File { path: dir.to_owned(), source })?;
    }
    Ok((db, trees, Arc::new(file), newest))
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

fn key(first: Sequence) -> [u8; 8] {
    first.get().to_be_bytes()
}

fn commit((key, bytes): (sled::IVec, sled::IVec)) -> Result<(Sequence, Bytes), LogError> {
    let number = <[u8; 8]>::try_from(&key[..]);
    let number = number.map_err(|_| LogError::Corrupt(format!("a key of {} bytes among the commits", key.len())))?;
    Ok((Sequence::new(u64::from_be_bytes(number)), Bytes::from_owner(bytes)))
}

pub(super) fn engine_error(error: sled::Error) -> LogError {
    match error {
        sled::Error::Io(source) => LogError::Io(source),
        other => LogError::Corrupt(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Sequence {
        Sequence::new(number)
    }

    fn open(dir: &Path) -> Result<SledLog, OpenError> {
        SledLog::open(Directory::open(dir).unwrap(), true).map_err(|(_, error)| error)
    }

    fn filled(dir: &Path) {
        let mut log = open(dir).unwrap();
        for first in 1..=50 {
            log.append(at(first), vec![first as u8; 3000].into()).unwrap();
        }
        log.flush().unwrap();
        log.close(at(50)).unwrap();
    }

    #[test]
    fn commits_are_found_by_cover_and_by_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        for first in [1, 5, 900] {
            log.append(at(first), first.to_string().into()).unwrap();
        }
        log.remove(at(5)).unwrap();
        log.rewrite(at(1), "one".into()).unwrap();
        log.flush().unwrap();
        drop(log);
        let reader = open(dir.path()).unwrap().reader();
        assert_eq!(reader.covering(at(899)).unwrap(), Some((at(1), "one".into())));
        assert_eq!(reader.covering(at(900)).unwrap(), Some((at(900), "900".into())));
        assert_eq!(reader.covering(at(0)).unwrap(), None);
        assert_eq!(reader.following(at(1)).unwrap().unwrap().0, at(900));
        assert_eq!(reader.following(at(900)).unwrap(), None);
    }

    /// As a kill leaves it: what was written is there, what waited for a flush is not.
    fn killed(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if from.is_dir() {
                killed(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    #[test]
    fn a_large_commit_that_a_kill_has_cut_short_does_not_stand_in_the_way_of_the_next() {
        for before in [0, 1, 30] {
            let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let mut log = open(dir.path()).unwrap();
            for first in 1..=before {
                log.append(at(first), vec![first as u8; 100_000].into()).unwrap();
                log.flush().unwrap();
            }
            let large = || Bytes::from(vec![7; 3 << 20]);
            log.append(at(before + 1), large()).unwrap();
            killed(dir.path(), after.path());
            assert_eq!(fs::read_dir(after.path().join("log/blobs")).unwrap().count(), 1, "the file of the large one");
            let mut log = open(after.path()).unwrap();
            log.append(at(before + 1), large()).unwrap();
            log.flush().unwrap();
            assert_eq!(log.reader().covering(at(before + 1)).unwrap(), Some((at(before + 1), large())));
        }
    }

    #[test]
    fn a_log_that_has_lost_its_file_s_content_is_damaged_and_keeps_what_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        log.append(at(1), vec![7; 3 << 20].into()).unwrap();
        log.flush().unwrap();
        log.close(at(1)).unwrap();
        drop(log);
        let path = dir.path().join("log");
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "db" => File::create(path).map(drop).unwrap(),
                snapshot if snapshot.starts_with("snap.") => fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        let blobs = || fs::read_dir(path.join("blobs")).unwrap().count();
        assert_eq!(blobs(), 1);
        let error = open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert_eq!(blobs(), 1, "it may still be of use to somebody");
    }

    #[test]
    fn a_snapshot_cut_short_does_not_keep_it_from_opening() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let half = dir.path().join("log/snap.0000000000000010.generating");
        fs::write(&half, "half").unwrap();
        let reader = open(dir.path()).unwrap().reader();
        assert!(!half.exists());
        assert_eq!(reader.covering(at(50)).unwrap().unwrap().0, at(50));
    }

    #[test]
    fn a_log_made_with_smaller_segments_opens() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let db = sled::Config::new().path(directory.log()).segment_size(512 * 1024).open().unwrap();
        db.open_tree("commits").unwrap().insert(key(at(1)), "one").unwrap();
        drop((db, directory));
        let reader = open(dir.path()).unwrap().reader();
        assert_eq!(reader.covering(at(1)).unwrap(), Some((at(1), "one".into())));
    }

    #[test]
    fn values_beside_the_file_are_settled_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        log.append(at(1), vec![7; 3 * 1024 * 1024].into()).unwrap();
        log.flush().unwrap();
        let blobs = || fs::read_dir(dir.path().join("log/blobs")).unwrap().count() as u64;
        assert_eq!(log.blobs.count, blobs());
        assert!(blobs() > 0, "a value of this size is what sled puts under blobs/");
        log.append(at(2), vec![7; 3 * 1024 * 1024].into()).unwrap();
        log.flush().unwrap();
        assert!(log.blobs.count >= blobs() && blobs() > 1, "also what comes later");
        drop(log);
        let (_, bytes) = open(dir.path()).unwrap().reader().covering(at(1)).unwrap().unwrap();
        assert_eq!(bytes, vec![7; 3 * 1024 * 1024]);
    }

    #[test]
    fn without_fsync_a_flush_survives_the_process_and_waits_for_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = SledLog::open(Directory::open(dir.path()).unwrap(), false).map_err(|(_, error)| error).unwrap();
        log.append(at(1), vec![7; 3 * 1024 * 1024].into()).unwrap();
        log.flush().unwrap();
        assert!(fs::read_dir(dir.path().join("log/blobs")).unwrap().count() > 0);
        assert_eq!(log.blobs.count, 0, "nothing was asked of the disk");
        log.close(at(1)).unwrap();
        assert!(log.blobs.count > 0, "the end in order is on disk all the same");
        drop(log);
        assert!(open(dir.path()).unwrap().reader().covering(at(1)).unwrap().is_some());
    }

    #[test]
    fn damage_is_never_an_empty_or_shorter_log_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let db = dir.path().join("log/db");
        let whole = fs::read(&db).unwrap();
        let mut cases = vec![("cut to nothing", Vec::new()), ("cut in half", whole[..whole.len() / 2].to_vec())];
        cases.push(("zeroed", vec![0; whole.len()]));
        let mut flipped = whole.clone();
        for at in (100..flipped.len()).step_by(4096) {
            flipped[at] ^= 0xff;
        }
        cases.push(("flipped", flipped));
        for (name, bytes) in cases {
            fs::write(&db, bytes).unwrap();
            remove_snapshots(dir.path());
            match open(dir.path()) {
                Err(OpenError::Damaged { file, .. }) => assert!(file.contains("log"), "{name}: {file}"),
                Err(other) => panic!("{name}: {other}"),
                Ok(log) => panic!("{name}: opened, newest {}", log.newest),
            }
        }
        fs::remove_file(&db).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })), "removed");
    }

    fn remove_snapshots(dir: &Path) {
        for entry in fs::read_dir(dir.join("log")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}
