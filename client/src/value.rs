//! What operations give back, and values as serde writes them.

use bytes::Bytes;
use landbridge_protocol::{frame::node, record::Key, time::Timestamp, version::Version};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Error,
    key::{self, CacheKey},
};

/// A value and what stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<V> {
    /// The value.
    pub value: V,
    /// The write that made it.
    pub version: Version,
    /// When it expires.
    pub deadline: Option<Timestamp>,
}

/// An entry of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The write that made it.
    pub version: Version,
    /// When it expires.
    pub deadline: Option<Timestamp>,
}

/// What became of a write that has a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional<V> {
    /// The condition held; what was written (for a removal: its tombstone) has this version.
    Done(Version),
    /// The condition did not hold, because of the entry that is present, or because none is.
    Failed(Option<Versioned<V>>),
}

impl<V> Conditional<V> {
    /// Whether the write was done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The version written.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Done(version) => Some(*version),
            Self::Failed(_) => None,
        }
    }

    /// The entry because of which it was not done.
    pub fn present(self) -> Option<Versioned<V>> {
        match self {
            Self::Done(_) => None,
            Self::Failed(present) => present,
        }
    }

    pub(crate) fn try_map<W>(self, f: impl FnOnce(V) -> Result<W, Error>) -> Result<Conditional<W>, Error> {
        Ok(match self {
            Self::Done(version) => Conditional::Done(version),
            Self::Failed(present) => Conditional::Failed(present.map(|present| present.try_map(f)).transpose()?),
        })
    }
}

impl<V> Versioned<V> {
    pub(crate) fn try_map<W>(self, f: impl FnOnce(V) -> Result<W, Error>) -> Result<Versioned<W>, Error> {
        Ok(Versioned { value: f(self.value)?, version: self.version, deadline: self.deadline })
    }
}

impl From<node::Entry> for Versioned<Bytes> {
    fn from(entry: node::Entry) -> Self {
        Self { value: entry.value, version: entry.version, deadline: entry.deadline }
    }
}

impl From<node::Entry> for Entry<Key, Bytes> {
    fn from(entry: node::Entry) -> Self {
        Self { key: entry.key, value: entry.value, version: entry.version, deadline: entry.deadline }
    }
}

impl<K: CacheKey, V: DeserializeOwned> Entry<K, V> {
    pub(crate) fn typed(raw: Entry<Key, Bytes>) -> Result<Self, Error> {
        let (key, value) = (key::typed(&raw.key)?, decode(&raw.value)?);
        Ok(Self { key, value, version: raw.version, deadline: raw.deadline })
    }
}

/// MessagePack with field names, so that a struct may gain fields while nodes of both releases run.
pub(crate) fn encode<V: Serialize>(value: &V) -> Result<Bytes, Error> {
    rmp_serde::to_vec_named(value).map(Bytes::from).map_err(|error| Error::Encode(error.into()))
}

pub(crate) fn decode<V: DeserializeOwned>(bytes: impl AsRef<[u8]>) -> Result<V, Error> {
    rmp_serde::from_slice(bytes.as_ref()).map_err(|error| Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Newer {
        user: &'static str,
        realm: &'static str,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Older {
        user: String,
    }

    #[test]
    fn an_older_release_reads_what_a_newer_one_wrote() {
        let bytes = encode(&Newer { user: "alice", realm: "main" }).unwrap();
        assert_eq!(decode::<Older>(bytes).unwrap(), Older { user: "alice".into() });
    }

    #[test]
    fn bytes_of_another_type_are_an_error() {
        let bytes = encode(&7_u64).unwrap();
        assert!(matches!(decode::<Older>(bytes), Err(Error::Decode(_))));
    }
}
