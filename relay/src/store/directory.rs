//! The store's directory: one process at a time, of a format that this program knows.
//!
//! ```text
//! DIR/FORMAT            "landbridge store, format 2"
//! DIR/lock              locked while a relay runs; holds its process id
//! DIR/log/              the storage engine's files
//! DIR/newest            "newest commit N": the log reached at least that far
//! DIR/log.new/, log.old/ while the log is written anew (`renew`)
//! DIR/damaged-MILLIS/   what `--recover` set aside
//! ```

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use landbridge_protocol::{position::Sequence, time::Timestamp};

use super::error::OpenError;

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 2;

pub(super) const FORMAT_FILE: &str = "FORMAT";
pub(super) const LOG_DIR: &str = "log";
pub(super) const LOCK_FILE: &str = "lock";
const FORMAT_WORDS: &str = "landbridge store, format ";
const NEWEST_FILE: &str = "newest";
const NEWEST_WORDS: &str = "newest commit ";

/// A locked directory. Dropping it lets the next process in.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes it where there is none, for its own user alone as values are in the clear; locks it and checks its format.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = Self::locked(path)?;
        directory.check_format()?;
        Ok(directory)
    }

    /// As [`Directory::open`]. One that names no format any more is as damaged as its log may be: what is there is set aside
    /// under the name of `now`, and where it went is given.
    pub fn recover(path: &Path, now: Timestamp) -> Result<(Self, Option<(OpenError, PathBuf)>), OpenError> {
        let directory = Self::locked(path)?;
        let aside = match directory.check_format() {
            Ok(()) => None,
            Err(damage @ OpenError::Damaged { .. }) => Some((damage, directory.set_aside(now)?)),
            Err(other) => return Err(other),
        };
        Ok((directory, aside))
    }

    fn locked(path: &Path) -> Result<Self, OpenError> {
        let unwritable = |source| OpenError::Unwritable { dir: path.to_owned(), source };
        if !path.exists() {
            let private = || fs::set_permissions(path, Permissions::from_mode(0o700));
            fs::create_dir_all(path).and_then(|()| private()).map_err(unwritable)?;
        }
        let lock = lock(path, unwritable)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the storage engine's files are.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// How far the log had certainly come; [`Sequence::ZERO`] where nothing was noted.
    pub fn newest(&self) -> Result<Sequence, OpenError> {
        newest_of(&self.path)
    }

    /// Notes that the log has come to `newest`, for [`Directory::newest`]. Atomic and durable.
    pub fn note_newest(&self, newest: Sequence) -> io::Result<()> {
        write_whole(&self.path, NEWEST_FILE, &format!("{NEWEST_WORDS}{newest}\n"))
    }

    /// Forgets how far the log had come, where a power cut may take some of it back.
    pub fn forget_newest(&self) -> Result<(), OpenError> {
        let path = self.path.join(NEWEST_FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OpenError::File { path, source }),
            _ => Ok(()),
        }
    }

    /// Moves the log to a directory named after `now`, and begins without one. Gives the new place of the old files.
    pub fn set_aside(&self, now: Timestamp) -> Result<PathBuf, OpenError> {
        let to = (0u32..)
            .map(|n| match n {
                0 => self.path.join(format!("damaged-{}", now.as_millis())),
                n => self.path.join(format!("damaged-{}-{n}", now.as_millis())),
            })
            .find(|path| !path.exists())
            .expect("among four thousand million names one is free");
        let failed = |source| OpenError::File { path: to.clone(), source };
        fs::create_dir(&to).map_err(failed)?;
        for name in [LOG_DIR, NEWEST_FILE, FORMAT_FILE] {
            match fs::rename(self.path.join(name), to.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
                _ => {}
            }
        }
        self.check_format()?;
        Ok(to)
    }

    /// Says that it has the newest format, where it had an older one: a program that knows only that reads it no more. Format 2 has a
    /// journal beside the engine's files, with what format 1 does not know of.
    pub(super) fn raise_format(&self) -> Result<(), OpenError> {
        let words = format!("{FORMAT_WORDS}{FORMAT}\n");
        let path = self.path.join(FORMAT_FILE);
        if fs::read_to_string(&path).is_ok_and(|text| text == words) {
            return Ok(());
        }
        write_whole(&self.path, FORMAT_FILE, &words).map_err(|source| OpenError::File { path, source })
    }

    fn check_format(&self) -> Result<(), OpenError> {
        if format_of(&self.path)?.is_some() {
            return Ok(());
        }
        write_whole(&self.path, FORMAT_FILE, &format!("{FORMAT_WORDS}{FORMAT}\n"))
            .map_err(|source| OpenError::Unwritable { dir: self.path.clone(), source })
    }
}

/// The format that a directory names; `None`: it has neither that nor a log.
pub(super) fn format_of(dir: &Path) -> Result<Option<u32>, OpenError> {
    let path = dir.join(FORMAT_FILE);
    let damaged = |problem: &str| OpenError::Damaged { file: path.display().to_string(), problem: problem.to_owned() };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let without = || damaged("it is missing, and there is a log beside it");
            return if dir.join(LOG_DIR).exists() { Err(without()) } else { Ok(None) };
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged("it is not text")),
        Err(source) => return Err(OpenError::File { path, source }),
    };
    match text.strip_prefix(FORMAT_WORDS).and_then(|rest| rest.trim().parse::<u32>().ok()) {
        None | Some(0) => Err(damaged("it names no format")),
        Some(found) if found > FORMAT => Err(OpenError::NewerFormat { dir: dir.to_owned(), found, known: FORMAT }),
        found => Ok(found),
    }
}

/// How far the log of a directory had certainly come; [`Sequence::ZERO`] where nothing was noted.
pub(super) fn newest_of(dir: &Path) -> Result<Sequence, OpenError> {
    let path = dir.join(NEWEST_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sequence::ZERO),
        Err(source) => return Err(OpenError::File { path, source }),
    };
    // What is no text is as damaged as what has no number in it.
    let text = str::from_utf8(&text).ok();
    let number = text.and_then(|text| text.strip_prefix(NEWEST_WORDS)?.trim().parse().ok());
    number.map(Sequence::new).ok_or_else(|| OpenError::Damaged {
        file: path.display().to_string(),
        problem: "it does not say which commit was the newest".into(),
    })
}

/// What a locked file says of its holder.
pub(super) fn holder(lock: impl Read) -> String {
    let mut pid = String::new();
    // More than a number it never has.
    let read = lock.take(32).read_to_string(&mut pid);
    if read.is_err() || pid.trim().is_empty() { "unknown".into() } else { pid.trim().into() }
}

fn lock(dir: &Path, unwritable: impl Fn(io::Error) -> OpenError) -> Result<File, OpenError> {
    let mut options = File::options();
    let open = options.read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_FILE));
    let mut file = open.map_err(&unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse { dir: dir.to_owned(), pid: holder(&file) });
        }
        Err(TryLockError::Error(source)) => return Err(unwritable(source)),
    }
    let note = || -> io::Result<()> {
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
    };
    let mut note = note;
    note().map_err(&unwritable)?;
    Ok(file)
}

// All of the text or none of it, whatever happens meanwhile.
fn write_whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let fresh = dir.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_for_its_owner_and_one_that_was_there_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (new, old) = (parent.path().join("a/store"), parent.path().join("old"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o750)).unwrap();
        for path in [&new, &old] {
            Directory::open(path).unwrap();
        }
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o750));
    }

    #[test]
    fn a_second_opener_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&error, OpenError::InUse { pid: found, .. } if *found == pid), "{error}");
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::open(dir.path()).unwrap());
        fs::write(dir.path().join(FORMAT_FILE), "landbridge store, format 3\n").unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 3, known: 2, .. }), "{error}");
        fs::write(dir.path().join(FORMAT_FILE), "something else").unwrap();
        assert!(matches!(Directory::open(dir.path()).unwrap_err(), OpenError::Damaged { .. }));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Directory::open(&file.join("store")).unwrap_err();
        assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains("file/store"), "{error}");
    }

    #[test]
    fn a_note_of_the_newest_commit_that_is_no_text_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        for damaged in [&b"newest commit \xb7\n"[..], b"newest\xff", b"newest commit \n", b""] {
            fs::write(dir.path().join(NEWEST_FILE), damaged).unwrap();
            let error = directory.newest().unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn the_newest_commit_is_remembered_and_set_aside_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert_eq!(directory.newest().unwrap(), Sequence::ZERO);
        directory.note_newest(Sequence::new(7)).unwrap();
        assert_eq!(directory.newest().unwrap(), Sequence::new(7));
        fs::create_dir(directory.log()).unwrap();
        let aside = directory.set_aside(Timestamp::from_millis(5)).unwrap();
        assert_eq!(aside, dir.path().join("damaged-5"));
        assert!(aside.join("log").exists() && !directory.log().exists());
        assert_eq!(directory.newest().unwrap(), Sequence::ZERO);
        assert_ne!(directory.set_aside(Timestamp::from_millis(5)).unwrap(), aside);
    }
}
