//! Frames between an application node and its site's relay.
//!
//! The node opens a bidirectional stream and sends [`Hello`]; the relay answers [`Welcome`] on it, or a refusal and
//! the end of the connection. This control stream also carries the views that the relay pushes (request id 0).
//! Requests then go on any bidirectional stream, pipelined, and are answered by request id in any order. A subscription
//! has a stream of its own: [`Subscribe`], then [`Subscribed`], then [`Event`]s until either side ends the stream.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MAX_REQUEST_KEYS;
use crate::{
    blob, bounded,
    name::{CacheName, NodeName, SiteName},
    record::{Key, WriteToken},
    time::{Millis, Timestamp},
    version::{Clock, RunId, Version},
};

/// The first frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest protocol version that the node speaks.
    pub version_min: u16,
    /// The highest.
    pub version_max: u16,
    /// The site that the node takes the relay for.
    pub site: SiteName,
    /// The site that the node itself is of; differs from `site` only when it has failed over.
    pub home: SiteName,
    /// The node's name.
    pub node: NodeName,
    /// Whether it joins the site view. Commands of the binary don't, and fence nobody.
    pub member: bool,
    /// Name and version of the client software, for the log.
    pub software: String,
}

/// The relay's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of the session.
    pub version: u16,
    /// The relay's site.
    pub site: SiteName,
    /// The relay's run.
    pub run: RunId,
    /// The relay's clock now; see [`Write::retry`].
    pub clock: Clock,
    /// The largest frame that the relay takes, in bytes.
    pub max_frame_bytes: u32,
    /// The site view at this moment, the node itself in it if it is a member.
    pub site_view: View,
    /// The relay view at this moment.
    pub relay_view: View,
}

/// Members at one moment: `[first|number] (count) [members]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Changes since the relay started, from 0.
    pub number: u64,
    /// The members; the site view's in join order, the relay view's by name.
    pub members: Vec<String>,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.members.first().map_or("", String::as_str);
        write!(f, "[{first}|{}] ({}) [{}]", self.number, self.members.len(), self.members.join(", "))
    }
}

/// The frame kinds of requests hold one of these each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Reads an entry. Answered by [`Reply::Entry`].
    Get(KeyRef),
    /// Whether there is an entry. Answered by [`Reply::Found`].
    Contains(KeyRef),
    /// Reads several entries of one cache. Answered by [`Reply::Entries`], found ones only.
    GetAll(GetAll),
    /// Decides and does one write. Answered by [`Reply::Written`].
    Write(Write),
    /// Several unconditional puts, each decided by itself. Answered by [`Reply::WrittenAll`].
    PutAll(PutAll),
    /// Removes everything. Answered by [`Reply::Written`].
    Clear(Clear),
    /// Number of live entries. Answered by [`Reply::Size`].
    Size(CacheRef),
    /// A page of entries in key order. Answered by [`Reply::Page`].
    List(List),
    /// Nothing; shows that the relay answers. Answered by [`Reply::Pong`].
    Ping,
}

/// A key of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// The cache.
    pub cache: CacheName,
    /// The key.
    pub key: Key,
}

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRef {
    /// The cache.
    pub cache: CacheName,
}

/// Several keys of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAll {
    /// The cache.
    pub cache: CacheName,
    /// The keys.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_REQUEST_KEYS>")]
    pub keys: Vec<Key>,
}

/// What a [`Write`] does, and when. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Writes, whatever is there.
    Put = 1,
    /// Writes only where no entry is; else the outcome tells the one present.
    PutIfAbsent = 2,
    /// Writes only where an entry is.
    Replace = 3,
    /// Writes only over the entry of version `expected`.
    ReplaceIfVersion = 4,
    /// Removes, whatever is there; writes a tombstone even where nothing is.
    Remove = 5,
    /// Removes only the entry of version `expected`.
    RemoveIfVersion = 6,
}

/// One write of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// What is done, and when.
    pub operation: Operation,
    /// The cache.
    pub cache: CacheName,
    /// The key.
    pub key: Key,
    /// For the conditional operations on a version.
    pub expected: Option<Version>,
    /// Counted from when the relay decides; the cache's default where there is none.
    pub lifespan: Option<Millis>,
    /// Reserved: refused in this version.
    pub max_idle: Option<Millis>,
    /// Names this write, for retries.
    pub token: WriteToken,
    /// Set on a retry of a request whose answer was not seen: the relay's clock as the client had last heard it before
    /// its first try. What the first try wrote, if anything, has a later clock.
    pub retry: Option<Clock>,
    /// Whether the outcome shall carry the entry that was there.
    pub return_previous: bool,
    /// The value; empty where the operation removes.
    #[serde(with = "blob")]
    pub value: Bytes,
}

impl Write {
    /// A write without further wishes: no version expected, the cache's lifespan, a first try, no previous entry.
    pub fn new(operation: Operation, cache: CacheName, key: Key, token: WriteToken, value: Bytes) -> Self {
        Self {
            operation,
            cache,
            key,
            expected: None,
            lifespan: None,
            max_idle: None,
            token,
            retry: None,
            return_previous: false,
            value,
        }
    }
}

/// Unconditional puts of one cache; the i-th has the token number `token.number + i`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAll {
    /// The cache.
    pub cache: CacheName,
    /// As in [`Write`].
    pub lifespan: Option<Millis>,
    /// The token of the first.
    pub token: WriteToken,
    /// As in [`Write`].
    pub retry: Option<Clock>,
    /// Keys and values.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_REQUEST_KEYS>")]
    pub entries: Vec<(Key, blob::Blob)>,
}

/// Removal of all entries of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// The cache.
    pub cache: CacheName,
    /// As in [`Write`].
    pub token: WriteToken,
    /// As in [`Write`].
    pub retry: Option<Clock>,
}

/// A page of a cache's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The cache.
    pub cache: CacheName,
    /// Keys that begin so.
    #[serde(with = "blob")]
    pub prefix: Bytes,
    /// Keys after this one.
    pub after: Option<Key>,
    /// Entries at most; the relay may send fewer.
    pub limit: u32,
    /// Whether values are wanted, or keys and versions only.
    pub values: bool,
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The version.
    pub version: Version,
    /// When it expires.
    pub deadline: Option<Timestamp>,
    /// The value.
    #[serde(with = "blob")]
    pub value: Bytes,
}

/// The frame kinds of answers hold one of these each. A [`crate::error::Refusal`] may stand in place of any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Get`].
    Entry(Option<Entry>),
    /// To [`Request::Contains`].
    Found(bool),
    /// To [`Request::GetAll`].
    Entries(Vec<Entry>),
    /// To [`Request::Write`] and [`Request::Clear`].
    Written(Outcome),
    /// To [`Request::PutAll`]: the version of each, in order.
    WrittenAll(Vec<Version>),
    /// To [`Request::Size`].
    Size(u64),
    /// To [`Request::List`].
    Page(Page),
    /// To [`Request::Ping`].
    Pong,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether the condition held and the write was done.
    pub done: bool,
    /// The version written; where it was not done, none.
    pub version: Option<Version>,
    /// Whether a live entry was there before.
    pub existed: bool,
    /// The entry that was there, where asked for, or where a condition failed because of it.
    pub previous: Option<Entry>,
}

/// A page of entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in key order.
    pub entries: Vec<Entry>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// Begins a subscription; the first and only request on its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The cache.
    pub cache: CacheName,
    /// Resume from here; without it, from now.
    pub from: Option<blob::Blob>,
    /// Whether the entries of this moment come first, as `Created` events, and `SnapshotEnd`. Ignored with a token that
    /// can be resumed from.
    pub snapshot: bool,
}

/// The subscription stands; events follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Resumes from just before the first event.
    #[serde(with = "blob")]
    pub token: Bytes,
}

/// What an event says. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A life began: an entry where none was.
    Created = 1,
    /// An entry has a new value.
    Modified = 2,
    /// An entry was removed.
    Removed = 3,
    /// An entry's deadline passed.
    Expired = 4,
    /// Everything below the floor (the event's version) is gone.
    Cleared = 5,
    /// Events were missed that can't be told any more; a snapshot follows.
    Gap = 6,
    /// The snapshot is complete: what was not in it is not there.
    SnapshotEnd = 7,
}

/// Something changed in the cache, anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The key; `None` for `Cleared`, `Gap` and `SnapshotEnd`.
    pub key: Option<Key>,
    /// The record's version (its origin's site is where it was written); `None` for `Gap` and `SnapshotEnd`.
    pub version: Option<Version>,
    /// Of `Created` and `Modified` in a cache where removals win: the version of the write that began the entry's life, where
    /// that is an earlier one. A clear ends the entry where its floor is above this; where it is `None`, above `version`.
    pub birth: Option<Version>,
    /// The node that wrote it.
    pub node: Option<NodeName>,
    /// When it expires.
    pub deadline: Option<Timestamp>,
    /// Resumes after this event.
    #[serde(with = "blob")]
    pub token: Bytes,
    /// The value; empty but for `Created` and `Modified`.
    #[serde(with = "blob")]
    pub value: Bytes,
}
