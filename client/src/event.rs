//! Events: what changed in a cache, and where to resume after it.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use landbridge_protocol::{
    frame::node::{self, EventKind},
    name::{NodeName, SiteName},
    record::Key,
    time::Timestamp,
    version::Version,
};
use serde::de::DeserializeOwned;

use crate::{
    error::Error,
    key::{self, CacheKey},
    value,
};

/// Something changed in the cache, at whatever site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<K, V> {
    /// What.
    pub change: Change<K, V>,
    /// Resumes after this event. There is none inside a snapshot, as resuming there would leave its rest out.
    pub token: Option<Token>,
}

/// What an [`Event`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<K, V> {
    /// An entry where none was.
    Created(Written<K, V>),
    /// An entry has a new value.
    Modified(Written<K, V>),
    /// An entry was removed.
    Removed(Ended<K>),
    /// An entry's deadline passed.
    Expired(Ended<K>),
    /// The cache was cleared: each entry whose [`Written::birth`] is below the floor is gone.
    Cleared {
        /// The version of the clear.
        floor: Version,
        /// The node that did it.
        node: Option<NodeName>,
    },
    /// Changes were missed that can't be told any more. A snapshot follows: drop what is not in it.
    Gap,
    /// The snapshot is complete: what was not in it is not there.
    SnapshotEnd,
}

/// An entry that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The write.
    pub version: Version,
    /// The write that a [`Change::Cleared`] judges the entry by: where removals win the first of the entry's life, else this one.
    pub birth: Version,
    /// The node that wrote it.
    pub node: Option<NodeName>,
    /// When the entry expires.
    pub deadline: Option<Timestamp>,
}

/// An entry that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<K> {
    /// The key.
    pub key: K,
    /// The removal; of an expired entry the write that had made it.
    pub version: Version,
    /// The node that removed it.
    pub node: Option<NodeName>,
}

impl<K, V> Event<K, V> {
    /// What kind of change.
    pub fn kind(&self) -> EventKind {
        match &self.change {
            Change::Created(_) => EventKind::Created,
            Change::Modified(_) => EventKind::Modified,
            Change::Removed(_) => EventKind::Removed,
            Change::Expired(_) => EventKind::Expired,
            Change::Cleared { .. } => EventKind::Cleared,
            Change::Gap => EventKind::Gap,
            Change::SnapshotEnd => EventKind::SnapshotEnd,
        }
    }

    /// The key, of changes to one.
    pub fn key(&self) -> Option<&K> {
        match &self.change {
            Change::Created(written) | Change::Modified(written) => Some(&written.key),
            Change::Removed(ended) | Change::Expired(ended) => Some(&ended.key),
            Change::Cleared { .. } | Change::Gap | Change::SnapshotEnd => None,
        }
    }

    /// The value written.
    pub fn value(&self) -> Option<&V> {
        match &self.change {
            Change::Created(written) | Change::Modified(written) => Some(&written.value),
            _ => None,
        }
    }

    /// The version of the change.
    pub fn version(&self) -> Option<Version> {
        match &self.change {
            Change::Created(written) | Change::Modified(written) => Some(written.version),
            Change::Removed(ended) | Change::Expired(ended) => Some(ended.version),
            Change::Cleared { floor, .. } => Some(*floor),
            Change::Gap | Change::SnapshotEnd => None,
        }
    }

    /// What a clear judges the entry by that was written.
    pub fn birth(&self) -> Option<Version> {
        match &self.change {
            Change::Created(written) | Change::Modified(written) => Some(written.birth),
            _ => None,
        }
    }

    /// The site at which the change was made.
    pub fn site(&self) -> Option<SiteName> {
        self.version().map(|version| version.origin.site)
    }

    /// The node that made the change.
    pub fn node(&self) -> Option<&NodeName> {
        match &self.change {
            Change::Created(written) | Change::Modified(written) => written.node.as_ref(),
            Change::Removed(ended) | Change::Expired(ended) => ended.node.as_ref(),
            Change::Cleared { node, .. } => node.as_ref(),
            Change::Gap | Change::SnapshotEnd => None,
        }
    }
}

impl Event<Key, Bytes> {
    /// Of the wire's event; `None` where it lacks what its kind must have.
    pub(crate) fn from_wire(event: node::Event, token: Option<Token>) -> Option<Self> {
        let node::Event { kind, key, version, birth, node, deadline, value, token: _ } = event;
        let written = |key: Option<Key>, node| {
            let version = version?;
            Some(Written { key: key?, value, version, birth: birth.unwrap_or(version), node, deadline })
        };
        let ended = |key: Option<Key>, node| Some(Ended { key: key?, version: version?, node });
        let change = match kind {
            EventKind::Created => Change::Created(written(key, node)?),
            EventKind::Modified => Change::Modified(written(key, node)?),
            EventKind::Removed => Change::Removed(ended(key, node)?),
            EventKind::Expired => Change::Expired(ended(key, node)?),
            EventKind::Cleared => Change::Cleared { floor: version?, node },
            EventKind::Gap => Change::Gap,
            EventKind::SnapshotEnd => Change::SnapshotEnd,
        };
        Some(Self { change, token })
    }

    pub(crate) fn typed<K: CacheKey, V: DeserializeOwned>(self) -> Result<Event<K, V>, Error> {
        let written = |w: Written<Key, Bytes>| {
            let value = value::decode(&w.value)?;
            let key = key::typed(&w.key)?;
            let Written { version, birth, node, deadline, .. } = w;
            Ok::<_, Error>(Written { key, value, version, birth, node, deadline })
        };
        let ended =
            |e: Ended<Key>| Ok::<_, Error>(Ended { key: key::typed(&e.key)?, version: e.version, node: e.node });
        let change = match self.change {
            Change::Created(w) => Change::Created(written(w)?),
            Change::Modified(w) => Change::Modified(written(w)?),
            Change::Removed(e) => Change::Removed(ended(e)?),
            Change::Expired(e) => Change::Expired(ended(e)?),
            Change::Cleared { floor, node } => Change::Cleared { floor, node },
            Change::Gap => Change::Gap,
            Change::SnapshotEnd => Change::SnapshotEnd,
        };
        Ok(Event { change, token: self.token })
    }
}

/// Where a listener stands. Opaque; as text it is base64 without padding, of the alphabet for URLs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) Bytes);

impl Token {
    /// A token kept as bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, to be kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a resume token; give one that an event carried, whole")]
pub struct TokenTextError(#[source] base64::DecodeError);

impl FromStr for Token {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        URL_SAFE_NO_PAD.decode(text).map(|bytes| Self(bytes.into())).map_err(TokenTextError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_being_text() {
        let token = Token::from_bytes(vec![0, 1, 254, 255, 62]);
        assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        assert!("not a token!".parse::<Token>().is_err());
    }

    #[test]
    fn an_event_without_what_its_kind_needs_is_none() {
        let wire = node::Event {
            kind: EventKind::Removed,
            key: None,
            version: None,
            birth: None,
            node: None,
            deadline: None,
            token: Bytes::new(),
            value: Bytes::new(),
        };
        assert_eq!(Event::from_wire(wire.clone(), None), None);
        let gap = Event::from_wire(node::Event { kind: EventKind::Gap, ..wire }, None).unwrap();
        assert_eq!((gap.kind(), gap.version(), gap.site()), (EventKind::Gap, None, None));
    }
}
