//! What can be told of a store without opening it. Nothing is written, as whoever asks may be another user than the relay's;
//! and a relay that runs has its store for itself.
//!
//! Read are the format, how far the log had come, and the journal. The storage engine's own file is read in whole at a start
//! only: the engine writes when it opens.

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    path::Path,
};

use landbridge_protocol::position::Sequence;

use super::{
    directory::{self, FORMAT, LOCK_FILE, LOG_DIR, holder},
    error::OpenError,
    journal::Journal,
    renew,
};

/// What was found, in words when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// There is no store yet.
    Nothing,
    /// A relay has it: nothing was read.
    InUse {
        /// What the lock file says of its process.
        pid: String,
    },
    /// All that is read of it is whole.
    Whole {
        /// Its format.
        format: u32,
        /// What the journal has.
        changes: usize,
        /// Of the engine's file, which was not read.
        unread_bytes: u64,
    },
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is none yet"),
            Self::InUse { pid } => write!(f, "in use by the process {pid}, and not read"),
            Self::Whole { format, changes, unread_bytes } => write!(
                f,
                "format {format}, {changes} changes in the journal; `log/db` ({unread_bytes} bytes) is read at a start only"
            ),
        }
    }
}

/// Reads of the store in `dir` what can be read without opening it. Locked meanwhile, which is for milliseconds.
///
/// # Errors
///
/// What a start would say of it, as far as that shows.
pub fn inspect(dir: &Path) -> Result<Inspected, OpenError> {
    if !dir.is_dir() {
        return Ok(Inspected::Nothing);
    }
    let path = dir.join(LOCK_FILE);
    let lock = match File::open(&path) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(OpenError::File { path, source }),
    };
    if let Some(lock) = &lock {
        match lock.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Inspected::InUse { pid: holder(lock) }),
            Err(TryLockError::Error(source)) => return Err(OpenError::File { path, source }),
        }
    }
    let format = directory::format_of(dir)?;
    let newest = directory::newest_of(dir)?;
    let damaged = |problem: &str| OpenError::Damaged {
        file: dir.join(LOG_DIR).display().to_string(),
        problem: problem.to_owned(),
    };
    let log = renew::place(dir);
    let db = log.join("db");
    // Writable, too: nothing is written.
    let file = match File::options().read(true).write(true).open(&db) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && newest == Sequence::ZERO => {
            return Ok(Inspected::Nothing);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("its file `db` is missing")),
        Err(source) => return Err(OpenError::File { path: db, source }),
    };
    let unread_bytes = file.metadata().map_err(|source| OpenError::File { path: db, source })?.len();
    let format = format.unwrap_or(FORMAT);
    let changes = match Journal::read(&log)? {
        Some(generations) => generations.iter().map(|generation| generation.changes.len()).sum(),
        None if format > 1 && newest > Sequence::ZERO => return Err(damaged("its journal is missing")),
        None => 0,
    };
    Ok(Inspected::Whole { format, changes, unread_bytes })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{directory::Directory, log::Log, sled_log::SledLog},
        *,
    };

    fn log_of(dir: &Path) -> SledLog {
        let mut log = SledLog::open(Directory::open(dir).unwrap(), true).map_err(|(_, error)| error).unwrap();
        log.append(Sequence::new(1), "one".into()).unwrap();
        log.flush().unwrap();
        log
    }

    fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { all.extend(files(&path)) } else { all.push((path.clone(), fs::read(path).unwrap())) }
        }
        all.sort();
        all
    }

    #[test]
    fn a_store_is_looked_at_and_left_as_it_is_and_one_in_use_is_let_be() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(inspect(&dir.path().join("nowhere")).unwrap(), Inspected::Nothing);
        assert_eq!(inspect(dir.path()).unwrap(), Inspected::Nothing);
        let log = log_of(dir.path());
        let pid = std::process::id().to_string();
        assert_eq!(inspect(dir.path()).unwrap(), Inspected::InUse { pid });
        drop(log);
        let before = files(dir.path());
        let found = inspect(dir.path()).unwrap();
        assert!(matches!(found, Inspected::Whole { format: 2, changes: 1, .. }), "{found:?}");
        assert_eq!(files(dir.path()), before);
        log_of(dir.path());
    }

    #[test]
    fn what_a_start_would_not_read_is_told() {
        type Harm = fn(&Path);
        let harms: [(&str, Harm); 6] = [
            ("FORMAT is damaged", |dir| fs::write(dir.join("FORMAT"), "something else").unwrap()),
            ("has format 3", |dir| fs::write(dir.join("FORMAT"), "landbridge store, format 3\n").unwrap()),
            ("newest is damaged", |dir| fs::write(dir.join("newest"), b"newest \xff").unwrap()),
            ("`db` is missing", |dir| fs::remove_file(dir.join("log/db")).unwrap()),
            ("journal is missing", |dir| {
                ["0", "1"].into_iter().for_each(|n| fs::remove_file(dir.join(format!("log/journal.{n}"))).unwrap());
            }),
            ("no header that can be read", |dir| fs::write(dir.join("log/journal.1"), vec![7; 16384]).unwrap()),
        ];
        for (words, harm) in harms {
            let dir = tempfile::tempdir().unwrap();
            drop(log_of(dir.path()));
            harm(dir.path());
            let told = inspect(dir.path()).unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
            let directory = Directory::open(dir.path());
            let started = directory.map(|directory| SledLog::open(directory, true).map_err(|(_, error)| error));
            assert!(!matches!(started, Ok(Ok(_))), "{words}: a start takes it");
        }
    }
}
