//! Records: what a cache's key holds, as it lies in the log and travels on links.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    name::{CacheName, MAX_KEY, NodeName},
    time::{Millis, Timestamp},
    vector::Vector,
    version::Version,
};

/// A key: 1 to [`MAX_KEY`] bytes that the relay never interprets. Ordered bytewise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// A key of no bytes, or of too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {MAX_KEY} bytes, this one has {0}")]
pub struct KeyError(usize);

impl Key {
    /// Takes these bytes as a key.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > MAX_KEY { Err(KeyError(bytes.len())) } else { Ok(Self(bytes)) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// What a record says of its key. The numbers are those of the wire and the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An entry with a value.
    Live = 1,
    /// What a removal leaves.
    Tombstone = 2,
    /// What an expiry leaves: same version as the entry that expired, no value; equals that entry in comparisons.
    Mark = 3,
    /// A `clear` of the whole cache; it has no key, and its version is the floor below which everything is dead.
    Clear = 4,
}

impl Kind {
    /// The kind of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Live, Self::Tombstone, Self::Mark, Self::Clear].into_iter().find(|k| *k as u8 == number)
    }
}

/// A client's identity in its write tokens: random, drawn once per client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u64);

/// Names one write for ever, so that a retry of it can be told from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteToken {
    /// Whose write.
    pub client: ClientId,
    /// Which of the client's writes; counts up.
    pub number: u64,
}

/// Origins in a record's context at most.
pub const MAX_CONTEXT: usize = 8;

/// A record. See `WIRE.md` for its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The cache.
    pub cache: CacheName,
    /// The key; `None` for [`Kind::Clear`] only.
    pub key: Option<Key>,
    /// What it says.
    pub kind: Kind,
    /// The write that made it. A mark has the version of the entry that expired.
    pub version: Version,
    /// The write that began this life of the key (`remove_wins` orders by it).
    pub birth: Version,
    /// When the entry expires.
    pub deadline: Option<Timestamp>,
    /// How long the entry may go untouched. Reserved: not in this version.
    pub max_idle: Option<Millis>,
    /// The client's write that made it; `None` on marks.
    pub token: Option<WriteToken>,
    /// The node that wrote it.
    pub node: Option<NodeName>,
    /// What the writer's relay held of this key when it decided: at most [`MAX_CONTEXT`] origins.
    pub context: Vector,
    /// Reserved; 0.
    pub flags: u16,
    /// The value; empty but for [`Kind::Live`].
    pub value: Bytes,
}

impl Record {
    /// A record that begins a life and says no more than that: no value, deadline, token, node or context.
    pub fn bare(cache: CacheName, key: Option<Key>, kind: Kind, version: Version) -> Self {
        Self {
            cache,
            key,
            kind,
            version,
            birth: version,
            deadline: None,
            max_idle: None,
            token: None,
            node: None,
            context: Vector::new(),
            flags: 0,
            value: Bytes::new(),
        }
    }

    /// CRC-32 (IEEE) of the value, as it stands in the record's bytes and in drift hashes.
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.value)
    }

    /// Whether the deadline is past.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.kind == Kind::Mark || self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// How two records of one key are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The greater version wins.
    Latest,
    /// Birth, then removed over live, then version: a removal beats a concurrent update of the life it ended.
    RemoveWins,
}

impl Merge {
    /// As configurations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Merge::Latest => "latest",
            Merge::RemoveWins => "remove_wins",
        }
    }
}
