//! A site's disk: the log in memory that tears and loses, with a history of what became durable on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use landbridge_protocol::{
    name::CacheName,
    position::Sequence,
    record::{Key, Record},
    version::Version,
};
use landbridge_relay::{
    engine::header::{Commit, LogRecord},
    store::{
        encoding,
        error::OpenError,
        log::{Log, LogError, LogReader},
        memory_log::{Fault, MemoryLog},
    },
};

use super::{
    certificates::site_name,
    history::{Happening, History},
    mutation::{DiskLies, Mutation},
};

/// A disk, through all the runs of a site's relay.
#[derive(Debug)]
pub struct SiteDisk {
    site: usize,
    history: History,
    log: MemoryLog,
    copy: Option<(MemoryLog, Arc<Mutex<Sequence>>)>,
    /// The last sequence whose records the history has.
    known: Arc<Mutex<Sequence>>,
    /// Off once the machine has failed: what a relay that is no more still does has no effect.
    attached: Arc<AtomicBool>,
    /// What it has lost.
    lost: BTreeSet<Version>,
    mutation: Option<Mutation>,
}

impl SiteDisk {
    /// An empty one.
    pub fn new(site: usize, history: History, mutation: Option<Mutation>) -> Self {
        Self {
            site,
            history,
            log: MemoryLog::new(),
            copy: None,
            known: Arc::default(),
            attached: Arc::default(),
            lost: BTreeSet::new(),
            mutation,
        }
    }

    /// For the next run of the relay. What a failure has left of what was not flushed is durable from now on.
    pub fn attach(&mut self) -> Box<dyn Log> {
        let log = self.log.clone();
        let reader = log.reader();
        let (mut at, mut last) = (Sequence::ZERO, Sequence::ZERO);
        while let Ok(Some((first, bytes))) = reader.following(at) {
            at = first;
            if let Ok(commit) = encoding::decode(&bytes) {
                last = commit.header.last;
                tell(&self.history, self.site, &self.known, commit);
            }
        }
        // A disk that lied has less than it said.
        *lock(&self.known) = last;
        self.attached = Arc::new(AtomicBool::new(true));
        Box::new(Attached {
            site: self.site,
            history: self.history.clone(),
            log: Box::new(log.clone()),
            pending: Vec::new(),
            known: self.known.clone(),
            attached: self.attached.clone(),
            lies: self.mutation.and_then(Mutation::disk),
            lost: self.lost.clone(),
        })
    }

    /// The machine fails: of what was not flushed a beginning survives, as long as `seed` says.
    pub fn fail(&mut self, seed: u64) {
        self.detach();
        self.log.crash(seed);
    }

    /// The relay is gone; what it still does has no effect.
    pub fn detach(&mut self) {
        self.attached.store(false, Ordering::SeqCst);
        self.log = self.log.snapshot();
    }

    /// It is as a new one.
    pub fn wipe(&mut self) {
        self.log = MemoryLog::new();
        self.known = Arc::default();
    }

    /// Keeps a copy of what is on it.
    pub fn keep_copy(&mut self) {
        self.history.happened(Happening::Copied { site: self.site });
        self.copy = Some((self.log.snapshot(), Arc::new(Mutex::new(*lock(&self.known)))));
    }

    /// Puts the copy in place; whether there was one.
    pub fn restore_copy(&mut self) -> bool {
        let Some((log, known)) = &self.copy else { return false };
        self.log = log.snapshot();
        self.known = Arc::new(Mutex::new(*lock(known)));
        true
    }

    /// What it holds of each key: the newest records, where no clear is.
    pub fn held(&self) -> BTreeMap<(CacheName, Key), Record> {
        let (mut held, mut cleared) = (BTreeMap::new(), BTreeSet::new());
        for (_, commit) in self.commits() {
            for (_, record) in commit.records {
                match record {
                    LogRecord::Record(record) => match record.key.clone() {
                        Some(key) => drop(held.insert((record.cache.clone(), key), record)),
                        None => drop(cleared.insert(record.cache)),
                    },
                    LogRecord::Forgotten { cache, key } => drop(held.remove(&(cache, key))),
                }
            }
        }
        held.retain(|(cache, _), _| !cleared.contains(cache));
        held
    }

    /// Loses what it holds of a key. To be called while no relay has it.
    pub fn lose(&mut self, lost: &Record) {
        for (first, mut commit) in self.commits() {
            let before = commit.records.len();
            commit.records.retain(|(_, record)| match record {
                LogRecord::Record(record) => (&record.cache, &record.key) != (&lost.cache, &lost.key),
                LogRecord::Forgotten { .. } => true,
            });
            if commit.records.len() < before {
                // No fault is asked of it now.
                self.log.rewrite(first, encoding::encode(&commit)).expect("a log in memory takes what it is given");
            }
        }
        self.log.flush().expect("a log in memory takes what it is given");
        self.lost.insert(lost.version);
        self.history.happened(Happening::Lost { site: self.site, record: Arc::new(lost.clone()) });
    }

    fn commits(&self) -> Vec<(Sequence, Commit)> {
        let (reader, mut at, mut commits) = (self.log.reader(), Sequence::ZERO, Vec::new());
        while let Ok(Some((first, bytes))) = reader.following(at) {
            at = first;
            commits.extend(encoding::decode(&bytes).ok().map(|commit| (first, commit)));
        }
        commits
    }

    /// The next flush fails, and all after it.
    pub fn fail_flush(&self) {
        self.log.fail(Fault::Flush(0));
    }

    /// How many bytes are free from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.log.set_free_bytes(bytes);
    }
}

fn lock(known: &Mutex<Sequence>) -> std::sync::MutexGuard<'_, Sequence> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(history: &History, site: usize, known: &Mutex<Sequence>, commit: Commit) {
    let mut known = lock(known);
    for (sequence, record) in commit.records {
        if sequence <= *known {
            continue;
        }
        history.happened(match record {
            LogRecord::Record(record) => Happening::Durable { site, sequence, record: Arc::new(record) },
            LogRecord::Forgotten { cache, key } => Happening::Forgotten { site, cache, key },
        });
    }
    *known = commit.header.last.max(*known);
}

/// The disk in the hands of one run of the relay.
struct Attached {
    site: usize,
    history: History,
    log: Box<dyn Log>,
    /// Appended and not flushed.
    pending: Vec<Commit>,
    known: Arc<Mutex<Sequence>>,
    attached: Arc<AtomicBool>,
    lies: Option<DiskLies>,
    lost: BTreeSet<Version>,
}

impl Attached {
    fn is_attached(&self) -> bool {
        self.attached.load(Ordering::SeqCst)
    }

    fn flushed(&mut self) {
        for commit in self.pending.drain(..) {
            if self.attached.load(Ordering::SeqCst) {
                tell(&self.history, self.site, &self.known, commit);
            }
        }
    }
}

impl Log for Attached {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        if !self.is_attached() {
            return Err(LogError::Asked);
        }
        let commit = encoding::decode(&bytes).map_err(|error| LogError::Corrupt(error.to_string()))?;
        let bytes = match &self.lies {
            Some(lies) => lies
                .instead(&commit, site_name(self.site), &self.lost)
                .map_or(bytes, |commit| encoding::encode(&commit)),
            None => bytes,
        };
        self.pending.push(commit);
        self.log.append(first, bytes)
    }

    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        if self.is_attached() { self.log.rewrite(first, bytes) } else { Err(LogError::Asked) }
    }

    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        if self.is_attached() { self.log.remove(first) } else { Err(LogError::Asked) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if !self.is_attached() {
            return Err(LogError::Asked);
        }
        if self.lies == Some(DiskLies::Flush) {
            return Ok(());
        }
        self.log.flush()?;
        self.flushed();
        Ok(())
    }

    fn close(&mut self, head: Sequence) -> Result<(), LogError> {
        if !self.is_attached() {
            return Err(LogError::Asked);
        }
        self.log.close(head)?;
        self.flushed();
        Ok(())
    }

    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        if self.is_attached() { self.log.keep_note(number, bytes) } else { Err(LogError::Asked) }
    }

    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        if self.is_attached() { self.log.drop_note(number) } else { Err(LogError::Asked) }
    }

    fn tidy(self: Box<Self>, _: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(self)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.log.reader()
    }
}
