//! What is to happen in a run: drawn from its seed as plain data, so that a run that fails can be made shorter by leaving
//! things out.

use std::ops::Range;

use super::{dice::Dice, network::Weather};

/// Sites of a world at most.
pub const MAX_SITES: usize = 3;
/// The caches: name, merge, and the lifespan of what is written without one.
pub const CACHES: [(&str, &str, Option<u64>); 3] =
    [("sessions", "remove_wins", None), ("tokens", "latest", None), ("brief", "remove_wins", Some(4_000))];
/// Keys that everybody writes.
const HOT_KEYS: u64 = 3;
/// Keys that are written seldom.
const COLD_KEYS: u64 = 40;

/// Moments that several nodes have are so far apart.
const TOGETHER_MS: u64 = 1_000;

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From which it was drawn; jitter, losses and the like are drawn from it while it runs.
    pub seed: u64,
    /// How many sites there are.
    pub sites: usize,
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
}

impl Bounds {
    /// Whether tombstones may be let go that an absent site has not seen.
    pub fn forces_drops(&self) -> bool {
        self.max_tombstones < 1_000 || self.tombstone_max_age_ms < 1_000_000
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
}

/// Which kinds of faults a run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// How many faults at most.
    pub most: u64,
}

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        Self::drawn(seed, Kinds { most: 14 })
    }

    /// The run of a seed, with faults of these kinds.
    pub fn drawn(seed: u64, kinds: Kinds) -> Self {
        let mut dice = Dice::of(seed);
        let sites = if dice.chance(400) { 3 } else { 2 };
        let calm_at_ms = dice.within(20_000..60_000);
        let bounds = Bounds {
            max_tombstones: dice.one_of(&[2, 5, 20, 1_000_000]),
            tombstone_min_age_ms: dice.one_of(&[0, 500, 5_000]),
            tombstone_max_age_ms: dice.one_of(&[2_000, 10_000, 1_000_000_000]),
            max_batch_records: dice.one_of(&[1, 3, 50, 4096]),
            max_batches_in_flight: dice.one_of(&[1, 2, 8]),
            max_commit_commands: dice.one_of(&[1, 4, 1024]),
        };
        let mut nodes = Vec::new();
        for site in 0..sites {
            for _ in 0..dice.within(1..3) {
                nodes.push(Node { site, operations: operations(&mut dice, calm_at_ms) });
            }
        }
        let listeners = (0..dice.within(1..4)).map(|_| listener(&mut dice, sites, calm_at_ms)).collect();
        let count = if kinds.most == 0 { 0 } else { dice.within(0..kinds.most + 1) };
        let mut faults: Vec<_> = (0..count).map(|_| fault(&mut dice, sites, calm_at_ms)).collect();
        faults.sort_by_key(|fault| fault.at_ms);
        Self { seed, sites, bounds, nodes, listeners, faults, calm_at_ms }
    }
}

fn moments(dice: &mut Dice, count: Range<u64>, until_ms: u64) -> Vec<u64> {
    let count = dice.within(count);
    let mut moments: Vec<u64> = (0..count)
        .map(|_| {
            let at_ms = dice.within(0..until_ms);
            // Many at a moment that others have, too: clocks are then equal.
            if dice.chance(400) { at_ms / TOGETHER_MS * TOGETHER_MS } else { at_ms }
        })
        .collect();
    moments.sort_unstable();
    moments
}

fn operations(dice: &mut Dice, until_ms: u64) -> Vec<Planned<Operation>> {
    let moments = moments(dice, 15..60, until_ms);
    moments.into_iter().map(|at_ms| Planned { at_ms, what: operation(dice) }).collect()
}

fn operation(dice: &mut Dice) -> Operation {
    let what = match dice.within(0..100) {
        0..20 => What::Get,
        20..50 => What::Put,
        50..60 => What::PutIfAbsent,
        60..68 => What::ReplaceIfVersion,
        68..88 => What::Remove,
        88..92 => What::RemoveIfVersion,
        92..97 => What::PutAll(dice.within(2..6)),
        _ => What::Clear,
    };
    let key = if dice.chance(650) { dice.within(0..HOT_KEYS) } else { HOT_KEYS + dice.within(0..COLD_KEYS) };
    let lifespan_ms = dice.chance(150).then(|| dice.one_of(&[300, 2_000, 9_000, 86_400_000]));
    // The brief ones now and then: they are gone by themselves.
    let cache = dice.one_of(&[0, 0, 0, 1, 1, 1, 2]);
    Operation { cache, key, what, lifespan_ms }
}

fn listener(dice: &mut Dice, sites: usize, until_ms: u64) -> Listener {
    let moments = moments(dice, 0..5, until_ms);
    let moves = moments.into_iter().map(|at_ms| {
        let away_ms = dice.one_of(&[0, 100, 3_000, 15_000]);
        Planned { at_ms, what: Move { away_ms, to: dice.within(0..sites as u64) as usize } }
    });
    let moves = moves.collect();
    Listener { site: dice.within(0..sites as u64) as usize, cache: dice.within(0..3) as usize, moves }
}

fn fault(dice: &mut Dice, sites: usize, until_ms: u64) -> Planned<Fault> {
    let at_ms = dice.within(500..until_ms);
    let site = dice.within(0..sites as u64) as usize;
    let other = (site + 1 + dice.within(0..sites as u64 - 1) as usize) % sites;
    let for_ms = dice.one_of(&[200, 1_500, 5_000, 12_000, 25_000]);
    let down_ms = dice.one_of(&[0, 50, 1_000, 8_000, 20_000]);
    let what = match dice.within(0..100) {
        0..22 => Fault::Kill { site, down_ms, disk: Disk::Same },
        22..28 => Fault::Kill { site, down_ms, disk: Disk::Wiped },
        28..34 => Fault::Kill { site, down_ms, disk: Disk::Copy },
        34..40 => Fault::Restart { site, down_ms },
        40..48 => Fault::Copy { site },
        48..53 => Fault::FlushFails { site, for_ms },
        53..57 => Fault::DiskFull { site, for_ms },
        57..77 => Fault::Weather { from: site, to: other, weather: weather(dice), for_ms },
        77..83 => Fault::NodesWeather { site, weather: weather(dice), for_ms },
        83..90 => {
            let by_ms = dice.one_of(&[-20_000, -1_500, -40, 40, 1_500, 4_500, 20_000]);
            Fault::Clock { site, by_ms, fast_by: dice.one_of(&[-100_000, 0, 0, 500, 100_000]), for_ms }
        }
        _ => Fault::Offline { site, peer: other, for_ms },
    };
    Planned { at_ms, what }
}

fn weather(dice: &mut Dice) -> Weather {
    if dice.chance(600) {
        return Weather { cut: true, ..Weather::FAIR };
    }
    Weather {
        cut: false,
        lost: dice.one_of(&[0, 20, 100, 400]),
        twice: dice.one_of(&[0, 0, 50, 300]),
        delay_ms: dice.one_of(&[1, 20, 150, 900]),
        jitter_ms: dice.one_of(&[0, 5, 60, 500]),
    }
}
