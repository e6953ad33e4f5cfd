//! A backup: all commits of the log up to one moment, and a log that is made of them.
//!
//! ```text
//! "landbridge backup, format 1, of SITE\n"
//! u32 length, the commit's bytes        each commit, oldest first
//! u32 0, u64 last sequence              the end: without it, the backup is not whole
//! ```
//!
//! All integers are big-endian. A log that was restored is one that has lost its newest commits, as after a power cut
//! without `fsync`: the relay begins a new run, and the peers bring what it lacks.

use std::{
    ffi::OsString,
    fs::{self, File, ReadDir},
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::{BufMut, Bytes, BytesMut};
use landbridge_protocol::{name::SiteName, position::Sequence};

use super::{
    directory::{Directory, FORMAT_FILE, LOG_DIR},
    encoding,
    error::OpenError,
    hold::Held,
    log::{Log, LogError},
    reader::Reader,
    sled_log::SledLog,
};
use crate::engine::header::ReadError;

/// The format of a backup that is written, and the newest that is read.
pub const BACKUP_FORMAT: u32 = 1;

const WORDS: &str = "landbridge backup, format ";
/// Bytes of the first line at most.
const MAX_WORDS_BYTES: usize = 128;
/// Commits are gathered until they have so many bytes.
const PART_BYTES: usize = 1 << 20;
/// Bytes of a commit at most; no writer makes a longer one.
const MAX_COMMIT_BYTES: u32 = 256 << 20;
/// What a store is called while it is put together.
const RESTORING: &str = ".restoring";
/// What a file system may have in its root.
const LOST_AND_FOUND: &str = "lost+found";
/// Bytes that are restored between two flushes.
const FLUSH_BYTES: usize = 8 << 20;

/// A backup that is being made. Compaction is held back as long as it lives.
#[derive(Debug)]
pub struct Backup {
    reader: Reader,
    through: Sequence,
    head: Sequence,
    next: Next,
    _held: Held,
}

#[derive(Debug)]
enum Next {
    Words(SiteName),
    Commits,
    End,
}

/// Bytes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The bytes; they follow those of the part before.
    pub bytes: Bytes,
    /// Through which sequence the log is in what came so far.
    pub through: Sequence,
    /// Through which it will be in the end.
    pub head: Sequence,
    /// Whether nothing follows.
    pub is_last: bool,
}

impl Backup {
    pub(super) fn new(reader: Reader, site: SiteName, head: Sequence, held: Held) -> Self {
        Self { reader, through: Sequence::ZERO, head, next: Next::Words(site), _held: held }
    }

    /// The next part; `None` after the last.
    pub fn next_part(&mut self) -> Result<Option<Part>, ReadError> {
        let mut bytes = BytesMut::new();
        match self.next {
            Next::Words(site) => {
                bytes.put_slice(format!("{WORDS}{BACKUP_FORMAT}, of {site}\n").as_bytes());
                self.next = Next::Commits;
            }
            Next::Commits => {}
            Next::End => return Ok(None),
        }
        while bytes.len() < PART_BYTES && self.through < self.head {
            let next = self.through.next();
            let (first, commit) = self.reader.commit_at(next)?;
            let failed = |reason: String| ReadError { sequence: first, reason };
            let last = encoding::decode(&commit).map_err(|error| failed(error.to_string()))?.header.last;
            let length = u32::try_from(commit.len()).ok().filter(|length| *length <= MAX_COMMIT_BYTES);
            let length = length.ok_or_else(|| failed("the commit is too long for a backup".into()))?;
            if first != next || last > self.head {
                return Err(failed(format!("a commit that begins at {next} is missing")));
            }
            bytes.put_u32(length);
            bytes.put_slice(&commit);
            self.through = last;
        }
        let is_last = self.through >= self.head;
        if is_last {
            bytes.put_u32(0);
            bytes.put_u64(self.head.get());
            self.next = Next::End;
        }
        Ok(Some(Part { bytes: bytes.freeze(), through: self.through, head: self.head, is_last }))
    }
}

/// Why a backup was not restored. Nothing is left in the store's directory then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("{} is there already; move it away, or restore to another `store.dir`", .0.display())]
    Present(PathBuf),
    /// What a restore was putting together.
    #[error(
        "{} is there, of a restore that was cut off or is under way; remove it once you know that none is", .0.display()
    )]
    Unfinished(PathBuf),
    /// It is none, or one of something else.
    #[error("the backup can't be restored: {0}")]
    Unfit(String),
    /// It is not what was written.
    #[error("the backup is damaged or not whole: {0}; take another one")]
    Damaged(String),
    /// The backup can't be read, or a file of the store can't be written.
    #[error("the backup can't be restored: {0}")]
    Io(#[from] io::Error),
    /// The new store can't be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Makes the store of `site` in `dir`, which must not be there, of a backup; tells now and then through which sequence it is
/// restored. Gives the last one. The store is put together beside `dir`, or within it where it is an empty directory, as a
/// mounted one can't be replaced; and put there when it is whole.
pub fn restore(
    from: &mut impl Read,
    site: SiteName,
    dir: &Path,
    mut tell: impl FnMut(Sequence),
) -> Result<Sequence, RestoreError> {
    let is_there = dir.is_dir();
    let beside = if is_there { dir.join(RESTORING) } else { with_suffix(dir, RESTORING) };
    let holds_any = |path: &Path| {
        let counts = |name: OsString| name != LOST_AND_FOUND && name != RESTORING;
        let any = |entries: ReadDir| entries.flatten().any(|entry| counts(entry.file_name()));
        fs::read_dir(path).is_ok_and(any) || path.is_file()
    };
    if holds_any(&beside) {
        return Err(RestoreError::Unfinished(beside));
    }
    if holds_any(dir) {
        return Err(RestoreError::Present(dir.to_owned()));
    }
    check_words(from, site)?;
    let restored = fill(from, &beside, &mut tell).and_then(|head| {
        if is_there {
            move_up(&beside, dir)?
        } else {
            fs::rename(&beside, dir)?
        }
        Ok(head)
    });
    if restored.is_err() {
        // It is half a store, or one that can't be put there; what is wrong matters more than that it can't be removed.
        drop(fs::remove_dir_all(&beside));
    }
    let head = restored?;
    let synced = if is_there { dir } else { dir.parent().unwrap_or(dir) };
    File::open(if synced.as_os_str().is_empty() { Path::new(".") } else { synced })?.sync_all()?;
    Ok(head)
}

fn with_suffix(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts what a directory holds into the one that it lies in. The log goes first and the format's file last: a store that is
/// half there does not open.
fn move_up(beside: &Path, dir: &Path) -> io::Result<()> {
    let mut names = fs::read_dir(beside)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_by_key(|name| (name == FORMAT_FILE, name != LOG_DIR));
    for name in names {
        fs::rename(beside.join(&name), dir.join(&name))?;
    }
    fs::remove_dir(beside)
}

fn check_words(from: &mut impl Read, site: SiteName) -> Result<(), RestoreError> {
    let unfit = |problem: String| Err(RestoreError::Unfit(problem));
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < MAX_WORDS_BYTES {
        line.push(number::<1>(from)?[0]);
    }
    let line = String::from_utf8_lossy(&line);
    let Some((format, of)) = line.trim_end().strip_prefix(WORDS).and_then(|rest| rest.split_once(", of ")) else {
        return unfit("it is no backup of a landbridge relay".into());
    };
    match format.parse::<u32>() {
        Ok(BACKUP_FORMAT) => {}
        _ => return unfit(format!("it has format {format}, and this landbridge knows formats up to {BACKUP_FORMAT}")),
    }
    if of != site.as_str() {
        return unfit(format!("it is of the relay of {of}, and the configuration is that of {site}"));
    }
    Ok(())
}

fn fill(from: &mut impl Read, dir: &Path, tell: &mut impl FnMut(Sequence)) -> Result<Sequence, RestoreError> {
    let damaged = |problem: String| RestoreError::Damaged(problem);
    let mut log = SledLog::open(Directory::open(dir)?, true).map_err(|(_, error)| error)?;
    let (mut last, mut unflushed) = (Sequence::ZERO, 0);
    loop {
        let length = u32::from_be_bytes(number(from)?);
        if length == 0 {
            break;
        }
        if length > MAX_COMMIT_BYTES {
            return Err(damaged(format!("a commit of {length} bytes after sequence {last}")));
        }
        let mut bytes = Vec::new();
        if from.take(length.into()).read_to_end(&mut bytes)? < length as usize {
            return Err(damaged(format!("it ends after sequence {last}")));
        }
        let bytes = Bytes::from(bytes);
        let commit = encoding::decode(&bytes).map_err(|e| damaged(format!("the commit after {last}: {e}")))?;
        if commit.header.first != last.next() || commit.header.last < commit.header.first {
            return Err(damaged(format!("the commit after {last} is of other sequences")));
        }
        unflushed += bytes.len();
        log.append(commit.header.first, bytes)?;
        last = commit.header.last;
        if unflushed >= FLUSH_BYTES {
            unflushed = 0;
            log.flush()?;
            tell(last);
        }
    }
    if Sequence::new(u64::from_be_bytes(number(from)?)) != last {
        return Err(damaged(format!("it ends after sequence {last}, and says that it does not")));
    }
    log.close(last)?;
    Ok(last)
}

fn number<const N: usize>(from: &mut impl Read) -> Result<[u8; N], RestoreError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => RestoreError::Damaged("it ends too early".into()),
        _ => RestoreError::Io(error),
    })?;
    Ok(bytes)
}
