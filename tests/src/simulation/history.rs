//! What happened in a run, in order: the checks go by this alone.

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use landbridge_client::{Change, Versioned};
use landbridge_protocol::{
    name::CacheName,
    position::Sequence,
    record::{Key, Record},
    version::Version,
};
use tokio::time::Instant;

use super::plan::{Disk, Fault, Operation};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A node asks its relay.
    Asked {
        /// Which node.
        node: usize,
        /// Its site.
        site: usize,
        /// What.
        operation: Operation,
        /// The value that it would write.
        value: Bytes,
        /// The version on which a condition rests.
        expected: Option<Version>,
    },
    /// The answer to what the node asked last.
    Answered {
        /// Which node.
        node: usize,
        /// What.
        answer: Answer,
    },
    /// A record is durable on a site's disk.
    Durable {
        /// Whose.
        site: usize,
        /// Where.
        sequence: Sequence,
        /// What.
        record: Arc<Record>,
    },
    /// A site is to hold nothing of a key any more: durable, too.
    Forgotten {
        /// Whose.
        site: usize,
        /// The cache.
        cache: CacheName,
        /// The key.
        key: Key,
    },
    /// A fault begins.
    Fault(Fault),
    /// A fault is over.
    Over(Fault),
    /// A copy of a site's disk is kept.
    Copied {
        /// Whose.
        site: usize,
    },
    /// A relay is there no more.
    Down {
        /// Whose.
        site: usize,
    },
    /// A site is decommissioned, and its relay ended.
    Left {
        /// Which.
        site: usize,
    },
    /// A disk that does not run has lost what it held of a key.
    Lost {
        /// Whose.
        site: usize,
        /// What.
        record: Arc<Record>,
    },
    /// A check that a link has made by itself says that something is lacked, or was.
    Drift {
        /// Whose link.
        site: usize,
        /// What, in words.
        how: String,
    },
    /// A relay starts.
    Starts {
        /// Whose.
        site: usize,
        /// On what.
        disk: Disk,
    },
    /// It serves.
    Ready {
        /// Whose.
        site: usize,
    },
    /// A listener's subscription stands.
    Subscribed {
        /// Which listener.
        listener: usize,
        /// At which site.
        site: usize,
        /// Whether it resumes.
        resumes: bool,
    },
    /// A listener is told something.
    Told {
        /// Which listener.
        listener: usize,
        /// What.
        change: Change<Key, Bytes>,
    },
    /// What a listener finds that asks for the key that it was told of.
    Found {
        /// Which listener.
        listener: usize,
        /// The site that told it and that it asked.
        site: usize,
        /// The version that it was told.
        told: Version,
        /// Of which key.
        key: Key,
        /// What is there.
        found: Option<Version>,
    },
    /// Nothing goes wrong any more.
    Calm,
}

/// What a node is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The write, or each of them, was done.
    Written(Vec<Version>),
    /// It was removed, or the cache was cleared.
    Gone,
    /// The condition did not hold, because of this.
    Failed(Option<Version>),
    /// Read.
    Read(Option<Versioned<Bytes>>),
    /// It was not asked, as there was nothing to go by.
    Nothing,
    /// No answer, or a refusal; whether it was done is not known.
    Unknown(String),
}

/// A happening and its moment, in milliseconds from the beginning.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at_ms: u64,
    /// What.
    pub what: Happening,
}

/// The record of a run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    /// An empty one, that begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }

    /// Milliseconds since it began.
    pub fn now_ms(&self) -> u64 {
        (Instant::now() - self.began).as_millis() as u64
    }

    /// The moment so many milliseconds after the beginning.
    pub fn moment(&self, at_ms: u64) -> Instant {
        self.began + std::time::Duration::from_millis(at_ms)
    }

    /// It happens now.
    pub fn happened(&self, what: Happening) {
        let at_ms = self.now_ms();
        self.entries().push(Entry { at_ms, what });
    }

    /// All of it so far.
    pub fn taken(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number for all that happened: equal for equal histories.
pub fn hash(entries: &[Entry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in entries {
        (entry.at_ms, format!("{:?}", entry.what)).hash(&mut hasher);
    }
    hasher.finish()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { at_ms, what } = self;
        write!(f, "{:>4}.{:03}  ", at_ms / 1000, at_ms % 1000)?;
        match what {
            Happening::Durable { site, sequence, record } => {
                let Record { cache, kind, version, birth, deadline, .. } = &**record;
                write!(f, "site{} keeps {sequence} {cache}", site + 1)?;
                if let Some(key) = &record.key {
                    write!(f, " {key:?}")?;
                }
                write!(f, " {kind:?} {version} born {birth}")?;
                deadline.map_or(Ok(()), |deadline| write!(f, " until {deadline:?}"))
            }
            Happening::Asked { node, site, operation, expected, .. } => {
                let Operation { what, cache, key, .. } = operation;
                write!(f, "node{node} at site{}: {what:?} {} k{key}", site + 1, super::plan::CACHES[*cache].0)?;
                expected.map_or(Ok(()), |expected| write!(f, " if {expected}"))
            }
            other => write!(f, "{other:?}"),
        }
    }
}
