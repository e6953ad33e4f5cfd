//! A log whose file has grown far beyond what it holds is written anew, at a start.
//!
//! Sled gives a piece of its file back once it is at least half dead, and it looks at those from before a start only when it has
//! written two pieces more. A relay that is killed again and again with less than that written in between leaves pieces
//! behind. So a start copies what the log holds into a new one, and puts that in its place:
//!
//! ```text
//! log                         as it was
//! log  log.new                being copied           a start that finds this removes log.new
//!      log.new  log.old       one takes the place    a start that finds this puts log.old back
//! log           log.old       of the other           a start that finds this removes log.old
//! log                         as it holds
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    directory::{Directory, LOG_DIR},
    error::OpenError,
    log::LogError,
    trees::{config_of, engine_error, open_trees},
};
use crate::clock::Stopwatch;

/// A file that has no more than this is let be.
pub(super) const LET_BE_BYTES: u64 = 64 * 1024 * 1024;
/// As is one with less than so many times what the log's commits have: sled lets a piece be until half of it is dead.
const TIMES: u64 = 4;

/// A former engine has let go of its file by then.
const LET_GO: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(5);

const NEW: &str = "log.new";
const OLD: &str = "log.old";

/// Whether the file of a log that holds so many bytes is too large, and there is room to do something about it.
pub(super) fn is_due(file: &File, held_bytes: u64, let_be_bytes: u64) -> io::Result<bool> {
    // What is taken of the disk, as the file has holes.
    let taken = file.metadata()?.blocks() * 512;
    if taken <= let_be_bytes.max(TIMES * held_bytes) {
        return Ok(false);
    }
    let stat = rustix::fs::fstatvfs(file)?;
    let has_room = stat.f_bavail.saturating_mul(stat.f_frsize) >= 2 * held_bytes;
    if !has_room {
        tracing::warn!(taken, held_bytes, "there is too little room to write the log anew: it stays as it is");
    }
    Ok(has_room)
}

/// Finishes or undoes what a kill has cut short.
pub(super) fn settle(directory: &Directory) -> Result<(), OpenError> {
    let (log, new, old) = (directory.log(), directory.path().join(NEW), directory.path().join(OLD));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    if old.exists() && !log.exists() {
        fs::rename(&old, &log).map_err(failed(&old))?;
    }
    for left in [new, old] {
        remove(&left).map_err(failed(&left))?;
    }
    Ok(())
}

/// Where the log of a directory lies: where a kill has cut short that another took its place, that is not its own place.
pub(super) fn place(dir: &Path) -> PathBuf {
    let (log, old) = (dir.join(LOG_DIR), dir.join(OLD));
    if old.exists() && !log.exists() { old } else { log }
}

/// Copies the trees of a log beside it, durably. Where that fails, nothing is left of it.
pub(super) fn copy(directory: &Directory, trees: [&sled::Tree; 2]) -> Result<(), LogError> {
    let to = directory.path().join(NEW);
    let copied = copy_to(&to, trees);
    if copied.is_err() {
        remove(&to).map_err(LogError::Io)?;
    }
    copied
}

fn copy_to(to: &Path, trees: [&sled::Tree; 2]) -> Result<(), LogError> {
    remove(to).map_err(LogError::Io)?;
    let db = opened(&config_of(to)).map_err(engine_error)?;
    for (from, to) in trees.into_iter().zip(open_trees(&db).map_err(engine_error)?) {
        for entry in from {
            let (key, value) = entry.map_err(engine_error)?;
            to.insert(key, value).map_err(engine_error)?;
        }
    }
    db.flush().map_err(engine_error)?;
    // It writes something more when it is let go.
    drop(db);
    sync(to).map_err(LogError::Io)
}

/// Opens the engine, and waits for one that this process had there before: sled lets go of its file a moment after it was dropped,
/// by another thread. No other process can have it, as the directory is locked.
pub(super) fn opened(config: &sled::Config) -> sled::Result<sled::Db> {
    let since = Stopwatch::start();
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && since.elapsed() < LET_GO => thread::sleep(AGAIN),
            opened => return opened,
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

/// Puts the copy in the log's place. Nothing may have the log open.
pub(super) fn exchange(directory: &Directory) -> Result<(), OpenError> {
    let (log, new, old) = (directory.log(), directory.path().join(NEW), directory.path().join(OLD));
    let exchanged = || -> io::Result<()> {
        fs::rename(&log, &old)?;
        fs::rename(&new, &log)?;
        File::open(directory.path())?.sync_all()
    };
    exchanged().map_err(|source| OpenError::File { path: log.clone(), source })?;
    settle(directory)
}

fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| sync(&entry?.path()))?;
    }
    File::open(path)?.sync_all()
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use landbridge_protocol::position::Sequence;

    use super::{
        super::{log::Log, sled_log::SledLog},
        *,
    };

    fn open(dir: &Path) -> SledLog {
        SledLog::open(Directory::open(dir).unwrap(), true).map_err(|(_, error)| error).unwrap()
    }

    fn all(log: &dyn Log) -> Vec<(Sequence, Bytes)> {
        let (reader, mut at, mut all) = (log.reader(), Sequence::ZERO, Vec::new());
        while let Some((first, bytes)) = reader.following(at).unwrap() {
            at = first;
            all.push((first, bytes.to_vec().into()));
        }
        all
    }

    #[test]
    fn a_log_that_cannot_be_copied_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (held, _) = bloated(dir.path());
        let log = open(dir.path());
        fs::write(dir.path().join(NEW), "in the way").unwrap();
        let log = log.tidied(0, 0).unwrap();
        assert_eq!(all(&log), held);
    }

    fn taken(dir: &Path) -> u64 {
        fs::metadata(dir.join("log/db")).unwrap().blocks() * 512
    }

    /// As one that was stopped again and again leaves it, with a few of each run's commits still held.
    fn bloated(dir: &Path) -> (Vec<(Sequence, Bytes)>, u64) {
        const RUNS: u64 = 8;
        const EACH: u64 = 800;
        for run in 0..RUNS {
            let mut log = open(dir);
            let commits = || 1 + run * EACH..=(run + 1) * EACH;
            for first in commits() {
                log.append(Sequence::new(first), vec![first as u8; 4000].into()).unwrap();
            }
            // So that they come to the engine before they are taken out again.
            log.close(Sequence::new(run * EACH)).unwrap();
            for first in commits().filter(|first| first % 100 != 0) {
                log.remove(Sequence::new(first)).unwrap();
            }
            log.keep_note(7, "a conflict".into()).unwrap();
            log.close(Sequence::new((run + 1) * EACH)).unwrap();
        }
        let held = all(&open(dir));
        let bytes = held.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        (held, bytes)
    }

    #[test]
    fn a_file_far_beyond_what_is_held_is_written_anew_and_holds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (held, bytes) = bloated(dir.path());
        let log = open(dir.path());
        let before = taken(dir.path());
        let log = log.tidied(bytes, before).unwrap();
        assert_eq!((taken(dir.path()), all(&log)), (before, held.clone()), "let be");

        let mut log = log.tidied(bytes, before / 2).unwrap();
        assert!(taken(dir.path()) < before / 2, "{} of {before}", taken(dir.path()));
        assert_eq!(all(&log), held);
        assert_eq!(log.reader().read_note(7).unwrap(), Some("a conflict".into()));
        log.append(Sequence::new(3001), "more".into()).unwrap();
        log.flush().unwrap();
        drop(log);
        assert_eq!(all(&open(dir.path())).len(), held.len() + 1);
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| name != NEW && name != OLD));
    }

    #[test]
    fn an_engine_that_lets_go_of_its_file_a_moment_later_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let held = File::open(dir.path().join("log/db")).unwrap();
        held.lock().unwrap();
        let lets_go = thread::spawn(move || {
            // So long that an opening which does not wait has failed.
            thread::sleep(AGAIN * 20);
            drop(held);
        });
        drop(open(dir.path()));
        lets_go.join().unwrap();
    }

    #[test]
    fn whenever_a_kill_cuts_it_short_the_next_start_has_it_all() {
        for cut in ["copying", "copied", "neither", "both"] {
            let dir = tempfile::tempdir().unwrap();
            let (held, _) = bloated(dir.path());
            let path = |name: &str| dir.path().join(name);
            let mut log = open(dir.path());
            log.copy_aside().unwrap();
            drop(log);
            match cut {
                "copying" => fs::write(path(NEW).join("db"), "half of it").unwrap(),
                "neither" => fs::rename(path("log"), path(OLD)).unwrap(),
                "both" => {
                    fs::rename(path("log"), path(OLD)).unwrap();
                    fs::rename(path(NEW), path("log")).unwrap();
                }
                _ => {}
            }
            assert_eq!(all(&open(dir.path())), held, "{cut}");
            assert!(!path(NEW).exists() && !path(OLD).exists(), "{cut}");
        }
    }
}
