//! What is to happen in a run: drawn from its seed ([`super::draw`]) as plain data, so that a run that fails can be made
//! shorter by leaving things out.

use super::network::Weather;

/// Sites of a world at most.
pub const MAX_SITES: usize = 3;
/// The caches: name, merge, and the lifespan of what is written without one.
pub const CACHES: [(&str, &str, Option<u64>); 3] =
    [("sessions", "remove_wins", None), ("tokens", "latest", None), ("brief", "remove_wins", Some(4_000))];

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From which it was drawn; jitter, losses and the like are drawn from it while it runs.
    pub seed: u64,
    /// How many sites there are.
    pub sites: usize,
    /// The last of them is in nobody's configuration at first.
    pub guest_is_out: bool,
    /// Between the few moments at which something is done hours pass.
    pub hours: bool,
    /// What their relays are configured with.
    pub bounds: Bounds,
    /// Nodes that read and write.
    pub nodes: Vec<Node>,
    /// Nodes that listen.
    pub listeners: Vec<Listener>,
    /// What goes wrong.
    pub faults: Vec<Planned<Fault>>,
    /// When nothing goes wrong any more.
    pub calm_at_ms: u64,
}

/// Something at a moment, in milliseconds from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned<T> {
    /// When, at the earliest.
    pub at_ms: u64,
    /// What.
    pub what: T,
}

/// Numbers of the configuration that differ between worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `max_tombstones`
    pub max_tombstones: u64,
    /// `tombstone_min_age`
    pub tombstone_min_age_ms: u64,
    /// `tombstone_max_age`
    pub tombstone_max_age_ms: u64,
    /// `max_batch_records`
    pub max_batch_records: u64,
    /// `max_batches_in_flight`
    pub max_batches_in_flight: u64,
    /// `max_commit_commands`
    pub max_commit_commands: u64,
    /// `drift_check_every`; `None`: off.
    pub drift_check_every_ms: Option<u64>,
    /// How long what is put is.
    pub value_bytes: usize,
}

impl Bounds {
    /// Whether tombstones may be let go that an absent site has not seen.
    pub fn forces_drops(&self) -> bool {
        self.max_tombstones < 1_000 || self.tombstone_max_age_ms < 100_000_000
    }
}

/// A node that reads and writes, one operation after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its site.
    pub site: usize,
    /// What it does.
    pub operations: Vec<Planned<Operation>>,
}

/// A node that listens to a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it begins.
    pub site: usize,
    /// To which cache.
    pub cache: usize,
    /// When it leaves, for how long, and at which site it resumes.
    pub moves: Vec<Planned<Move>>,
    /// How long it takes to read an event.
    pub reads_ms: u64,
    /// When it stops reading, and for how many milliseconds.
    pub pauses: Vec<Planned<u64>>,
}

impl Listener {
    /// Where it is in the end.
    pub fn last_site(&self) -> usize {
        self.moves.last().map_or(self.site, |last| last.what.to)
    }
}

/// A listener leaves and resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// How long it is away.
    pub away_ms: u64,
    /// Where it resumes.
    pub to: usize,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// In which cache.
    pub cache: usize,
    /// With which key.
    pub key: u64,
    /// What.
    pub what: What,
    /// The lifespan of what is written, where it is to have one of its own.
    pub lifespan_ms: Option<u64>,
}

/// Operations. Values and versions come with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `get`
    Get,
    /// `put`
    Put,
    /// `put_if_absent`
    PutIfAbsent,
    /// `replace_if_version`, with the version that the node saw last.
    ReplaceIfVersion,
    /// `remove`
    Remove,
    /// `remove_if_version`, with the version that the node saw last.
    RemoveIfVersion,
    /// `put_all`, of this key and the next ones.
    PutAll(u64),
    /// `clear`
    Clear,
}

/// What a relay finds on its disk when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// What survived.
    Same,
    /// Nothing.
    Wiped,
    /// The copy that was made last; what survived, where none was made.
    Copy,
}

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The site's relay.
    Relay,
    /// The nodes that go to it.
    Nodes,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine fails, what it had not flushed is lost from some point on; it comes back.
    Kill {
        /// Whose.
        site: usize,
        /// After so long.
        down_ms: u64,
        /// With this.
        disk: Disk,
    },
    /// The relay is ended in order and started again.
    Restart {
        /// Whose.
        site: usize,
        /// After so long.
        down_ms: u64,
    },
    /// A copy of the disk is made.
    Copy {
        /// Whose.
        site: usize,
    },
    /// The disk's next flush fails; an operator starts the relay anew.
    FlushFails {
        /// Whose.
        site: usize,
        /// After so long.
        for_ms: u64,
    },
    /// The disk is full.
    DiskFull {
        /// Whose.
        site: usize,
        /// For so long.
        for_ms: u64,
    },
    /// Bad weather from one relay to another, this way only.
    Weather {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Which.
        weather: Weather,
        /// For so long.
        for_ms: u64,
    },
    /// A relay and its site's nodes hear little of each other.
    NodesWeather {
        /// Whose.
        site: usize,
        /// Which, both ways.
        weather: Weather,
        /// For so long.
        for_ms: u64,
    },
    /// The wall clock is set, and runs fast by parts of a million.
    Clock {
        /// Whose.
        site: usize,
        /// By so much.
        by_ms: i64,
        /// And so fast.
        fast_by: i64,
        /// Until it is set right.
        for_ms: u64,
    },
    /// An operator takes the link to a peer offline.
    Offline {
        /// Whose link.
        site: usize,
        /// To whom.
        peer: usize,
        /// For so long.
        for_ms: u64,
    },
    /// A site hears nothing of the others, nor they of it.
    Isolate {
        /// Which.
        site: usize,
        /// For so long.
        for_ms: u64,
    },
    /// The last site is taken into the others' configurations by reloads, one after the other, and started.
    Join {
        /// After so long the next one.
        apart_ms: u64,
        /// Which of the others is first.
        first: usize,
        /// With the disk that it left with; else with an empty one.
        kept: bool,
    },
    /// The last site is decommissioned by reloads of the others, one after the other, and ended.
    Leave {
        /// After so long the next one.
        apart_ms: u64,
        /// Which of the others is first.
        first: usize,
    },
    /// A certificate has ended.
    CertificateEnds {
        /// At which site.
        site: usize,
        /// Whose.
        whose: Holder,
        /// It is renewed after so long; the relay's by a reload.
        for_ms: u64,
    },
    /// A relay that is killed finds that its disk has lost an entry, which the others have.
    Loses {
        /// Whose.
        site: usize,
        /// So long after it is up again an operator has the drift repaired.
        for_ms: u64,
    },
}

/// Which kinds of faults a run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// How many faults at most.
    pub most: u64,
    /// Whether a few of the runs go on for hours.
    pub hours: bool,
}

impl Kinds {
    /// All.
    pub const ALL: Self = Self { most: 14, hours: true };
}

impl Plan {
    /// Whether the last site comes or goes.
    pub fn has_guest(&self) -> bool {
        self.guest_is_out
            || self.faults.iter().any(|fault| matches!(fault.what, Fault::Join { .. } | Fault::Leave { .. }))
    }

    /// Whether a disk loses something that was durable on it.
    pub fn loses(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, Fault::Loses { .. }))
    }

    /// When certificates end of that holder.
    pub fn certificate_ends(&self, at: usize, of: Holder) -> impl Iterator<Item = u64> {
        self.faults.iter().filter_map(move |fault| match fault.what {
            Fault::CertificateEnds { site, whose, .. } if site == at && whose == of => Some(fault.at_ms),
            _ => None,
        })
    }
}

/// After so long a relay gives up a connection on which nothing is heard, in a run of hours or a short one.
pub fn idle_timeout_ms(hours: bool) -> u64 {
    if hours { 120_000 } else { 10_000 }
}
