//! Handles through which the parts of the relay tell what happens.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use landbridge_protocol::{
    frame::node::{self, Request},
    name::{CacheName, SiteName},
};
use metrics::{Counter, Histogram, Label};

use super::{names, registry::Metrics};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_doc])* $value,)* }

        impl $name {
            /// All there are.
            pub const ALL: &'static [$name] = &[$($name::$value,)*];

            /// As a label's value.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$value => $text,)* }
            }
        }
    };
}

labels! {
    /// What a request asks for.
    Operation {
        /// Reads an entry.
        Get = "get",
        /// Asks whether there is one.
        Contains = "contains",
        /// Reads several.
        GetAll = "get_all",
        /// Asks how many there are.
        Size = "size",
        /// Reads a page of them.
        List = "list",
        /// Writes.
        Put = "put",
        /// Writes where nothing is.
        PutIfAbsent = "put_if_absent",
        /// Writes where something is.
        Replace = "replace",
        /// Writes over one version.
        ReplaceIfVersion = "replace_if_version",
        /// Removes.
        Remove = "remove",
        /// Removes one version.
        RemoveIfVersion = "remove_if_version",
        /// Writes several.
        PutAll = "put_all",
        /// Removes all.
        Clear = "clear",
    }
}

impl Operation {
    /// What that request asks for; nothing in the case of a mere sign of life.
    pub fn of(request: &Request) -> Option<Self> {
        Some(match request {
            Request::Get(_) => Operation::Get,
            Request::Contains(_) => Operation::Contains,
            Request::GetAll(_) => Operation::GetAll,
            Request::Size(_) => Operation::Size,
            Request::List(_) => Operation::List,
            Request::PutAll(_) => Operation::PutAll,
            Request::Clear(_) => Operation::Clear,
            Request::Write(write) => match write.operation {
                node::Operation::Put => Operation::Put,
                node::Operation::PutIfAbsent => Operation::PutIfAbsent,
                node::Operation::Replace => Operation::Replace,
                node::Operation::ReplaceIfVersion => Operation::ReplaceIfVersion,
                node::Operation::Remove => Operation::Remove,
                node::Operation::RemoveIfVersion => Operation::RemoveIfVersion,
            },
            Request::Ping => return None,
        })
    }
}

labels! {
    /// What became of a request.
    Outcome {
        /// Done, or found.
        Done = "done",
        /// Read, and nothing there.
        Missing = "missing",
        /// The write's condition did not hold.
        Failed = "failed",
        /// Answered by an error.
        Refused = "refused",
    }
}

labels! {
    /// A bound that can be reached.
    Bound {
        /// `limits.max_frame_bytes`: the sender lost its connection.
        FrameBytes = "frame_bytes",
        /// `max_entry_bytes` of a cache: the write was refused.
        EntryBytes = "entry_bytes",
        /// `limits.max_handshakes`: further connections waited or were dropped.
        Handshakes = "handshakes",
        /// The places for connections of a role, in all or from one address: a connection was refused.
        Connections = "connections",
        /// `limits.max_connections_per_peer`: the oldest was closed.
        PeerConnections = "peer_connections",
        /// `limits.max_operators`: a connection was refused.
        Operators = "operators",
        /// `limits.max_sessions` or `max_sessions_per_certificate`: a hello was refused.
        Sessions = "sessions",
        /// `limits.max_subscriptions`: a subscription was refused.
        Subscriptions = "subscriptions",
        /// `limits.max_requests`: a session's further requests were left unread for a while.
        Requests = "requests",
        /// `limits.max_session_bytes`: a session's further requests were left unread for a while.
        SessionBytes = "session_bytes",
        /// `limits.max_session_bytes`: a session was ended for the bytes of its frames that had come in part.
        SessionPartBytes = "session_part_bytes",
        /// `limits.max_inbox`: a command waited for a place.
        Inbox = "inbox",
        /// `limits.max_commit_commands` or `max_commit_bytes`: a commit was closed while commands waited.
        Commit = "commit",
        /// `limits.max_conflicts`: the oldest conflict that was kept went.
        Conflicts = "conflicts",
        /// `limits.max_list_entries`: a page was cut short.
        ListEntries = "list_entries",
        /// `limits.hello_timeout`: a connection that said nothing was closed.
        HelloTimeout = "hello_timeout",
        /// `limits.drain_timeout`: what was under way at the end was cut off.
        DrainTimeout = "drain_timeout",
        /// `replication.connect_timeout`: a dial was given up.
        ConnectTimeout = "connect_timeout",
        /// `replication.max_clock_skew`: a link was faulted.
        ClockSkew = "clock_skew",
        /// `store.min_free_bytes`: a put was refused.
        FreeBytes = "free_bytes",
    }
}

const OPERATIONS: usize = Operation::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Counts the requests of one cache. Cheap to clone; counting takes no lock.
#[derive(Clone)]
pub struct CacheMetrics(Arc<CacheHandles>);

struct CacheHandles {
    metrics: Metrics,
    cache: CacheName,
    answered: [[OnceLock<Counter>; OUTCOMES]; OPERATIONS],
    seconds: [OnceLock<Histogram>; OPERATIONS],
    expirations: OnceLock<Counter>,
}

impl fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheMetrics({})", self.0.cache)
    }
}

impl CacheMetrics {
    pub(super) fn new(metrics: Metrics, cache: &CacheName) -> Self {
        Self(Arc::new(CacheHandles {
            metrics,
            cache: cache.clone(),
            answered: Default::default(),
            seconds: Default::default(),
            expirations: OnceLock::new(),
        }))
    }

    /// A request was answered, so long after it came.
    pub fn answered(&self, operation: Operation, outcome: Outcome, after: Duration) {
        let handles = &*self.0;
        let counter = handles.answered[operation as usize][outcome as usize].get_or_init(|| {
            let op = Label::from_static_parts("op", operation.as_str());
            let outcome = Label::from_static_parts("outcome", outcome.as_str());
            handles.metrics.counter(names::REQUESTS, vec![of_cache(&handles.cache), op, outcome])
        });
        counter.increment(1);
        let seconds = handles.seconds[operation as usize].get_or_init(|| {
            let op = Label::from_static_parts("op", operation.as_str());
            handles.metrics.histogram(names::REQUEST_SECONDS, vec![op])
        });
        seconds.record(after.as_secs_f64());
    }

    /// So many entries were marked as expired.
    pub fn expired(&self, count: u64) {
        let handles = &*self.0;
        let counter = handles
            .expirations
            .get_or_init(|| handles.metrics.counter(names::EXPIRATIONS, vec![of_cache(&handles.cache)]));
        counter.increment(count);
    }
}

pub(super) fn of_cache(cache: &CacheName) -> Label {
    Label::new("cache", cache.as_str().to_string())
}

/// Counts what goes over the links with one peer, both ways.
#[derive(Clone)]
pub struct LinkMetrics {
    sent: Direction,
    received: Direction,
    discarded: Counter,
}

#[derive(Clone)]
struct Direction {
    batches: Counter,
    records: Counter,
    bytes: Counter,
}

impl fmt::Debug for LinkMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkMetrics")
    }
}

impl Direction {
    fn new(metrics: &Metrics, peer: SiteName, direction: &'static str) -> Self {
        let labels = || vec![of_peer(peer), Label::from_static_parts("direction", direction)];
        Self {
            batches: metrics.counter(names::BATCHES, labels()),
            records: metrics.counter(names::BATCH_RECORDS, labels()),
            bytes: metrics.counter(names::BATCH_BYTES, labels()),
        }
    }

    fn count(&self, records: usize, bytes: usize) {
        self.batches.increment(1);
        self.records.increment(records as u64);
        self.bytes.increment(bytes as u64);
    }
}

impl LinkMetrics {
    pub(super) fn new(metrics: &Metrics, peer: SiteName) -> Self {
        Self {
            sent: Direction::new(metrics, peer, "sent"),
            received: Direction::new(metrics, peer, "received"),
            discarded: metrics.counter(names::DISCARDED, vec![of_peer(peer)]),
        }
    }

    /// A batch went to the peer.
    pub fn sent(&self, records: usize, bytes: usize) {
        self.sent.count(records, bytes);
    }

    /// A batch came from the peer.
    pub fn received(&self, records: usize, bytes: usize) {
        self.received.count(records, bytes);
    }

    /// A batch from the peer was refused.
    pub fn discarded(&self) {
        self.discarded.increment(1);
    }
}

pub(super) fn of_peer(peer: SiteName) -> Label {
    Label::new("peer", peer.as_str().to_string())
}

/// Measures commits.
#[derive(Clone)]
pub struct StoreMetrics {
    seconds: Histogram,
    records: Histogram,
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl StoreMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            seconds: metrics.histogram(names::COMMIT_SECONDS, Vec::new()),
            records: metrics.histogram(names::COMMIT_RECORDS, Vec::new()),
        }
    }

    /// A commit of so many records became durable in so long.
    pub fn committed(&self, records: usize, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        self.records.record(records as f64);
    }
}
