//! The files that sled puts beside its own, one for each value or page above some size: it leaves them in the page cache.
//!
//! The kernel tells which have come in since the last time, so that a commit costs the same however many there are; where
//! it does not (other systems, no watch left to be had, too many at once), the directory is read.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// See the module.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    watch: Option<Watch>,
    /// Whether the directory has been read since the watch began.
    was_read: bool,
    /// Known to be on disk; only where there is no watch.
    settled: HashSet<OsString>,
    /// Files that were made durable so far.
    pub(super) count: u64,
}

impl Blobs {
    /// Those of a directory that is there.
    pub fn of(dir: PathBuf) -> Self {
        let watch = Watch::of(&dir).inspect_err(|error| tracing::debug!(%error, "no watch: reading the directory"));
        Self { watch: watch.ok(), ..Self::unwatched(dir) }
    }

    pub(super) fn unwatched(dir: PathBuf) -> Self {
        Self { dir, watch: None, was_read: false, settled: HashSet::new(), count: 0 }
    }

    /// Makes durable what has come in since the last time, its name included.
    ///
    /// # Errors
    ///
    /// Where a file, or the directory, can't be read or made durable.
    pub fn settle(&mut self) -> io::Result<()> {
        let told = self.watch.as_mut().map(Watch::created).transpose()?.flatten();
        let new = match told.filter(|_| self.was_read) {
            Some(created) => created,
            None => self.read()?,
        };
        let mut grew = false;
        for name in new {
            match File::open(self.dir.join(&name)) {
                Ok(file) => file.sync_all()?,
                // Sled removes those that it has outgrown, in threads of its own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            grew = true;
            self.count += 1;
        }
        if grew { File::open(&self.dir)?.sync_all() } else { Ok(()) }
    }

    /// All that are there; those not known to be on disk, where that is known.
    fn read(&mut self) -> io::Result<Vec<OsString>> {
        let present = fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name()));
        let present = present.collect::<io::Result<HashSet<OsString>>>()?;
        let new = present.difference(&self.settled).cloned().collect();
        if self.watch.is_none() {
            self.settled = present;
        }
        self.was_read = true;
        Ok(new)
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Watch(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Watch {
    fn of(dir: &std::path::Path) -> io::Result<Self> {
        use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, dir, WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        Ok(Self(watch))
    }

    /// The names that have come in since it was last asked; `None`: it does not know them all.
    fn created(&mut self) -> io::Result<Option<Vec<OsString>>> {
        use std::{mem::MaybeUninit, os::unix::ffi::OsStrExt};

        use rustix::{
            fs::inotify::{ReadFlags, Reader},
            io::Errno,
        };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut space);
        let (mut names, mut all) = (Vec::new(), true);
        loop {
            match events.next() {
                Ok(event) => {
                    // The queue was full, or the directory is another one by now.
                    all &= !event.events().intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED);
                    names.extend(event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned()));
                }
                Err(Errno::AGAIN) => return Ok(all.then_some(names)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Watch;

#[cfg(not(target_os = "linux"))]
impl Watch {
    fn of(_: &std::path::Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn created(&mut self) -> io::Result<Option<Vec<OsString>>> {
        Ok(None)
    }
}

/// What a kill has left beside an empty log: sled would give the same number to the next one, find the file there, and fail.
/// Of a log that is not empty sled removes them itself.
pub(super) fn remove_orphans(blobs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(blobs)? {
        let path = entry?.path();
        tracing::warn!(file = %path.display(), "removing what a commit that was cut short has left");
        fs::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_settled_once_watched_or_not() {
        for watched in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let put = |name: &str| fs::write(dir.path().join(name), name).unwrap();
            put("before");
            let path = dir.path().to_owned();
            let mut blobs = if watched { Blobs::of(path) } else { Blobs::unwatched(path) };
            assert_eq!(blobs.watch.is_some(), watched && cfg!(target_os = "linux"));
            put("between");
            let settled = |blobs: &mut Blobs| {
                blobs.settle().unwrap();
                blobs.count
            };
            assert_eq!(settled(&mut blobs), 2, "watched: {watched}");
            put("one");
            put("two");
            put("outgrown");
            fs::remove_file(dir.path().join("outgrown")).unwrap();
            fs::remove_file(dir.path().join("before")).unwrap();
            assert_eq!(settled(&mut blobs), 4, "watched: {watched}");
            assert_eq!(settled(&mut blobs), 4, "watched: {watched}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn more_than_the_kernel_remembers_are_settled_all_the_same() {
        let bound: u64 = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::of(dir.path().to_owned());
        blobs.settle().unwrap();
        // One file that comes again and again fills the queue, and the last one does not get into it.
        for at in 0..=bound {
            let name = dir.path().join((at % 2).to_string());
            fs::write(&name, "").unwrap();
            fs::remove_file(&name).unwrap();
        }
        fs::write(dir.path().join("last"), "").unwrap();
        blobs.settle().unwrap();
        assert_eq!(blobs.count, 1);
    }
}
