//! Frames between an operator's command and a relay: requests and reports, as named maps that tolerate unknown fields.
//! The reports are also what the commands print with `--json`.

use serde::{Deserialize, Serialize};

use crate::{
    blob::Blob,
    name::{CacheName, NodeName, SiteName},
    record::Key,
    time::Timestamp,
};

/// The first frame of an operator's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest protocol version that the command speaks.
    pub version_min: u16,
    /// The highest.
    pub version_max: u16,
    /// The site that it takes the relay for.
    pub site: SiteName,
    /// Name and version of the software, for the log.
    pub software: String,
}

/// The relay's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of the connection.
    pub version: u16,
    /// The relay's site.
    pub site: SiteName,
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Everything about the relay. Answered by [`Status`].
    Status,
    /// Stop the link to this peer, and take nothing from it. Answered by [`LinkReport`].
    TakeOffline {
        /// The peer.
        peer: SiteName,
    },
    /// The conflict log, oldest first. Answered by [`Conflicts`].
    Conflicts {
        /// Of this cache only.
        cache: Option<CacheName>,
        /// After this number.
        after: u64,
        /// At most so many; the relay may send fewer.
        limit: u32,
    },
    /// The whole log as it is now, as a file. Answered by [`BackupPart`]s, one after the other.
    Backup,
    /// Undo [`Request::TakeOffline`]. Answered by [`LinkReport`].
    BringOnline {
        /// The peer.
        peer: SiteName,
    },
    /// Read the configuration anew and take over what has changed. Answered by [`Reloaded`].
    Reload {
        /// This file, at the relay's machine, instead of the one that the relay was started with.
        file: Option<String>,
    },
    /// Check whether this relay and a peer hold the same. Answered by [`Drift`] at once: it is asked again until the check is
    /// done.
    Drift {
        /// This peer only.
        peer: Option<SiteName>,
        /// This cache only.
        cache: Option<CacheName>,
        /// Whether what is lacked is to be sent to the side that lacks it.
        repair: bool,
        /// Begin a check; else tell of the last.
        begin: bool,
    },
}

/// What the relay answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::TakeOffline`] and [`Request::BringOnline`].
    Link(LinkReport),
    /// To [`Request::Conflicts`].
    Conflicts(Conflicts),
    /// To [`Request::Backup`]: one of several.
    Backup(BackupPart),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Drift`].
    Drift(Drift),
}

/// A relay at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its site.
    pub site: SiteName,
    /// Its present run, as `SITE/RUN`.
    pub origin: String,
    /// Version of the software.
    pub software: String,
    /// Whether it serves reads and writes.
    pub ready: bool,
    /// Why not, where it does not.
    pub not_ready_because: Option<String>,
    /// Head of its change log.
    pub head: u64,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Bytes of live records in the log.
    pub log_live_bytes: u64,
    /// Bytes of superseded records that compaction has not yet taken out.
    pub log_dead_bytes: u64,
    /// V, as origin and clock.
    pub seen: Vec<(String, u64)>,
    /// G, as origin and clock.
    pub dropped: Vec<(String, u64)>,
    /// Connected nodes and commands.
    pub sessions: Vec<SessionReport>,
    /// The outgoing links, by peer.
    pub links: Vec<LinkReport>,
    /// The caches, by name.
    pub caches: Vec<CacheReport>,
    /// Site view, as logged.
    pub site_view: String,
    /// Relay view, as logged.
    pub relay_view: String,
    /// Sites that were decommissioned.
    #[serde(default)]
    pub former_sites: Vec<SiteName>,
    /// When certificates end: the relay's own, the first of each role's authorities, and each peer's as it was shown last.
    #[serde(default)]
    pub certificates: Vec<CertificateReport>,
    /// What needs somebody's attention, in sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A certificate that ends some day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// `own`, `trust_nodes`, `trust_peers`, `trust_admins` or `peer`.
    pub certificate: String,
    /// The site that it is of; for authorities that of the relay.
    pub site: SiteName,
    /// Its last moment.
    pub ends: Timestamp,
}

/// A configuration that was taken over whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file that was read.
    pub file: String,
    /// What it changed, a line each; nothing where it says what the relay goes by already.
    pub changes: Vec<String>,
    /// What is not wrong yet, in sentences.
    pub warnings: Vec<String>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The node's name; commands show as `NODE/cli`.
    pub node: NodeName,
    /// Its own site.
    pub site: SiteName,
    /// Whether it is in the site view.
    pub member: bool,
    /// Address and port.
    pub address: String,
    /// Subscriptions that it holds.
    pub subscriptions: u32,
    /// Milliseconds since it connected.
    pub connected_ms: u64,
}

/// One link and what comes the other way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The peer's site.
    pub peer: SiteName,
    /// Where it is dialled.
    pub address: String,
    /// `offline`, `waiting`, `connecting`, `handshaking`, `streaming`, `transferring`, `reconciling` or `faulted`.
    pub state: String,
    /// Reason or progress, in words; empty where the state says all.
    pub detail: String,
    /// Whether the peer's link to this relay streams.
    pub incoming: bool,
    /// Changes that the peer has not acknowledged.
    pub lag_changes: u64,
    /// Age of the oldest of them in seconds.
    pub lag_seconds: f64,
    /// The peer's wall clock less this relay's, in milliseconds, where known.
    pub skew_ms: Option<i64>,
    /// The protocol version that the link speaks, once the peer has answered.
    #[serde(default)]
    pub version: Option<u16>,
    /// The peer's software, once it has answered.
    #[serde(default)]
    pub software: Option<String>,
    /// How the peer's configuration differs from this relay's in what must be equal, in sentences.
    #[serde(default)]
    pub differences: Vec<String>,
    /// What the drift check has found.
    #[serde(default)]
    pub drift: Option<Box<DriftSummary>>,
}

/// What the last drift check has found, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftSummary {
    /// When this relay last was done with a check of what the peer holds.
    pub checked: Option<Timestamp>,
    /// Why there is no check, in words.
    pub why_not: Option<String>,
    /// Records of each cache that the peer lacks.
    pub there: Vec<(CacheName, u64)>,
    /// Records of each cache that this relay lacks.
    pub here: Vec<(CacheName, u64)>,
}

/// How the relay and its peers stand to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The links that were asked for.
    pub links: Vec<LinkDrift>,
}

/// One link, checked both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDrift {
    /// The peer.
    pub peer: SiteName,
    /// The newest check that was asked for; counts up.
    pub asked: u64,
    /// Why it can't be checked now what the peer lacks, in words.
    pub why_not: Option<String>,
    /// Why it can't be checked now what this relay lacks, in words.
    pub why_not_here: Option<String>,
    /// What the peer lacks.
    pub there: DriftSide,
    /// What this relay lacks.
    pub here: DriftSide,
}

/// What one side lacks, by the last check that was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftSide {
    /// The check that was asked for; 0 where it was done by itself.
    pub asked: u64,
    /// When it was done.
    pub checked: Option<Timestamp>,
    /// The caches of which something is to be told.
    pub caches: Vec<DriftCache>,
    /// The records, as many as are kept.
    pub records: Vec<DriftRecord>,
}

/// One cache in a drift check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftCache {
    /// The cache.
    pub cache: CacheName,
    /// Records that are lacked, or were until they were sent.
    pub found: u64,
    /// Of these, how many were taken when they were sent.
    pub repaired: u64,
    /// Why it was left out, in words.
    pub left_out: Option<String>,
}

/// One record that a side should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// Its cache.
    pub cache: CacheName,
    /// Its key; none in the case of a clear.
    pub key: Option<Key>,
    /// `live`, `removed`, `expired` or `cleared`: what the other side holds.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// What this side holds of the key: `nothing`, `older` or, where the version is the same and what it says is not,
    /// `other`.
    pub holds: String,
    /// The version of that.
    pub held: Option<String>,
}

/// One cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheReport {
    /// Its name.
    pub name: CacheName,
    /// `latest` or `remove_wins`.
    pub merge: String,
    /// `async` or `local`.
    pub replicate: String,
    /// Live entries.
    pub entries: u64,
    /// Tombstones and marks.
    pub tombstones: u64,
    /// Bytes of keys and values of live entries.
    pub bytes: u64,
    /// Conflicts that were found since the relay started.
    #[serde(default)]
    pub conflicts: u64,
}

/// Bytes of a backup, which follow those of the part before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupPart {
    /// The bytes.
    pub bytes: Blob,
    /// Through which sequence the log is in what came so far.
    pub through: u64,
    /// Through which it will be in the end.
    pub head: u64,
    /// Whether no part follows.
    pub last: bool,
}

/// A page of the conflict log, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflicts {
    /// The conflicts.
    pub conflicts: Vec<ConflictReport>,
    /// Where there may be more: the number after which to ask for them.
    pub more_after: Option<u64>,
}

/// One conflict: two writes neither of which saw the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Counts up over the relay's life.
    pub number: u64,
    /// When it was found here.
    pub at: Timestamp,
    /// The cache.
    pub cache: CacheName,
    /// The loser's key.
    pub key: Key,
    /// The cache's merge, by which it was decided.
    pub merge: String,
    /// Why the winner won: `later` (its version), `later_life` (its birth), `removed` (a removal beats a write of the life
    /// that it ended), `cleared` (the loser is below a clear's floor), `dropped` (the loser went on with a life whose
    /// removal has been let go everywhere).
    pub because: String,
    /// The peer from whose stream one of the two came.
    pub peer: SiteName,
    /// What stands; absent where `because` is `dropped`.
    pub winner: Option<ConflictRecord>,
    /// What was discarded.
    pub loser: ConflictRecord,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictRecord {
    /// `live`, `removed`, `expired` or `cleared`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// The version that began its life of the key.
    pub birth: String,
    /// The node that wrote it.
    pub node: Option<NodeName>,
    /// When it expires or has expired.
    pub deadline: Option<Timestamp>,
    /// What its writer's relay had seen of the key: origins and clocks.
    pub context: Vec<(String, u64)>,
    /// Its value, or the beginning of a long one.
    pub value: Blob,
    /// Bytes of its whole value.
    pub value_bytes: u64,
}
