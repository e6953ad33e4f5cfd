//! Draws what is to happen in the run of a seed.

use std::ops::Range;

use super::{
    dice::Dice,
    network::Weather,
    plan::{Bounds, Disk, Fault, Holder, Kinds, Listener, MAX_SITES, Move, Node, Operation, Plan, Planned, What},
};

/// Keys that everybody writes.
const HOT_KEYS: u64 = 3;
/// Keys that are written seldom.
const COLD_KEYS: u64 = 40;
/// Moments that several nodes have are so far apart.
const TOGETHER_MS: u64 = 1_000;
/// Of a thousand runs so many go on for hours: one takes as long as some tens of the others.
const HOURS_PER_MILLE: u64 = 20;
/// In a run of hours all that is done and heard is done in a few spells of so long.
const SPELL_MS: u64 = 25_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// In so many of a thousand short runs a site is cut off for so long that removals are let go, and writes what others remove.
const QUARRELS_PER_MILLE: u64 = 350;
/// For so long: until others take it for isolated, and removals are old enough to be let go.
const QUARREL_MS: u64 = 16_000;
/// Of a thousand runs so many have values so large that they fill what a feed may keep for a listener that does not read.
const LARGE_PER_MILLE: u64 = 60;
/// The size of those.
const LARGE_BYTES: usize = 20_000;

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        Self::drawn(seed, Kinds::ALL)
    }

    /// The run of a seed, with faults of these kinds.
    pub fn drawn(seed: u64, kinds: Kinds) -> Self {
        let mut dice = Dice::of(seed);
        let faulty = kinds.most > 0;
        let guest = dice.chance(150) && faulty;
        let hours = dice.chance(HOURS_PER_MILLE) && faulty && kinds.hours;
        let large = dice.chance(LARGE_PER_MILLE) && !hours;
        let of_three = if guest { 800 } else { 400 };
        let sites = if dice.chance(of_three) { MAX_SITES } else { MAX_SITES - 1 };
        let times = if hours { Times::of_hours(&mut dice) } else { Times::short(dice.within(20_000..60_000)) };
        let mut bounds = bounds(&mut dice, hours, large);
        let mut nodes = Vec::new();
        for site in 0..sites {
            for _ in 0..dice.within(1..3) {
                nodes.push(Node { site, operations: operations(&mut dice, &times) });
            }
        }
        let mut listeners: Vec<_> = (0..dice.within(1..4)).map(|_| listener(&mut dice, sites, &times)).collect();
        if large {
            fill(&mut dice, &mut nodes[0], &mut listeners[0], &times);
        }
        let count = if faulty { dice.within(0..kinds.most + 1) } else { 0 };
        let mut faults: Vec<_> = (0..count).map(|_| fault(&mut dice, sites, &times)).collect();
        if dice.chance(QUARRELS_PER_MILLE) && faulty && !hours {
            quarrel(&mut dice, &mut nodes, &times, &mut faults);
            bounds.max_tombstones = dice.one_of(&[1, 2]);
            bounds.tombstone_min_age_ms = 0;
        }
        let guest_is_out = guest && dice.chance(500);
        if guest {
            come_and_go(&mut dice, sites, guest_is_out, &times, &mut faults);
        }
        faults.sort_by_key(|fault| fault.at_ms);
        Self { seed, sites, guest_is_out, hours, bounds, nodes, listeners, faults, calm_at_ms: times.calm_at_ms }
    }
}

/// When something may happen.
struct Times {
    calm_at_ms: u64,
    /// When spells begin, in a run of hours.
    spells: Vec<u64>,
    /// How long what goes wrong does.
    lasts: &'static [u64],
    /// How long a listener is away.
    away: &'static [u64],
}

impl Times {
    fn short(calm_at_ms: u64) -> Self {
        let lasts = &[200, 1_500, 5_000, 12_000, 25_000];
        Self { calm_at_ms, spells: Vec::new(), lasts, away: &[0, 100, 3_000, 15_000] }
    }

    fn of_hours(dice: &mut Dice) -> Self {
        let calm_at_ms = dice.within(HOUR_MS..5 * HOUR_MS);
        let last = calm_at_ms - 2 * SPELL_MS;
        let mut spells: Vec<u64> = (0..dice.within(1..4)).map(|_| dice.within(MINUTE_MS..last)).collect();
        spells.extend([0, last]);
        spells.sort_unstable();
        let lasts = &[1_500, 25_000, 20 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS];
        Self { calm_at_ms, spells, lasts, away: &[] }
    }

    /// Any moment at which something is done.
    fn moment(&self, dice: &mut Dice) -> u64 {
        if self.spells.is_empty() {
            return dice.within(0..self.calm_at_ms);
        }
        dice.one_of(&self.spells) + dice.within(0..SPELL_MS)
    }

    fn moments(&self, dice: &mut Dice, count: Range<u64>) -> Vec<u64> {
        let count = dice.within(count);
        let mut moments: Vec<u64> = (0..count)
            .map(|_| {
                let at_ms = self.moment(dice);
                // Many at a moment that others have, too: clocks are then equal.
                if dice.chance(400) { at_ms / TOGETHER_MS * TOGETHER_MS } else { at_ms }
            })
            .collect();
        moments.sort_unstable();
        moments
    }

    /// A moment for a fault: in a run of hours mostly about when something is done.
    fn of_fault(&self, dice: &mut Dice) -> u64 {
        let any = self.spells.is_empty() || dice.chance(300);
        let at_ms = if any { dice.within(500..self.calm_at_ms) } else { self.moment(dice) };
        at_ms.max(500)
    }
}

fn bounds(dice: &mut Dice, hours: bool, large: bool) -> Bounds {
    let (min_ages, max_ages) = if hours {
        ([0, 5_000, 10 * MINUTE_MS], [MINUTE_MS, HOUR_MS, 1_000_000_000])
    } else {
        ([0, 500, 5_000], [2_000, 10_000, 1_000_000_000])
    };
    Bounds {
        max_tombstones: dice.one_of(&[2, 5, 20, 1_000_000]),
        tombstone_min_age_ms: dice.one_of(&min_ages),
        tombstone_max_age_ms: dice.one_of(&max_ages),
        max_batch_records: dice.one_of(&[1, 3, 50, 4096]),
        max_batches_in_flight: dice.one_of(&[1, 2, 8]),
        max_commit_commands: dice.one_of(&[1, 4, 1024]),
        drift_check_every_ms: if hours { None } else { dice.one_of(&[None, Some(1_000), Some(5_000)]) },
        value_bytes: if large { LARGE_BYTES } else { 0 },
    }
}

fn operations(dice: &mut Dice, times: &Times) -> Vec<Planned<Operation>> {
    let moments = times.moments(dice, 15..60);
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

/// More than a feed keeps for who does not read, and then some of that is removed.
fn fill(dice: &mut Dice, node: &mut Node, listener: &mut Listener, times: &Times) {
    let at_ms = times.moment(dice);
    let cache = dice.one_of(&[0, 1]);
    let does = |what, key, at_ms| Planned { at_ms, what: Operation { cache, key, what, lifespan_ms: None } };
    for time in 0..4 {
        node.operations.push(does(What::PutAll(COLD_KEYS), HOT_KEYS, at_ms + time * 500));
    }
    for key in HOT_KEYS..HOT_KEYS + 4 {
        node.operations.push(does(What::Remove, key, at_ms + 4_000));
    }
    node.operations.sort_by_key(|operation| operation.at_ms);
    (listener.site, listener.cache) = (node.site, cache);
    listener.moves.clear();
    listener.pauses = vec![Planned { at_ms: at_ms.saturating_sub(1_000), what: 12_000 }];
}

/// A site is isolated, others remove what it writes meanwhile, and it removes nothing: what it then is told is a reconcile, as the
/// others alone have let removals go.
fn quarrel(dice: &mut Dice, nodes: &mut [Node], times: &Times, faults: &mut Vec<Planned<Fault>>) {
    let alone = dice.one_of(nodes).site;
    let cache = dice.one_of(&[0, 0, 1]);
    let latest = times.calm_at_ms.saturating_sub(QUARREL_MS).max(1_000);
    let at_ms = dice.within(0..latest);
    let until_ms = at_ms + QUARREL_MS + dice.within(0..5_000);
    for node in nodes.iter_mut() {
        let mut does = |what, at_ms: Range<u64>, dice: &mut Dice| {
            let operation = Operation { cache, key: dice.within(0..HOT_KEYS), what, lifespan_ms: None };
            node.operations.push(Planned { at_ms: dice.within(at_ms), what: operation });
        };
        for _ in 0..2 {
            does(What::Put, at_ms.saturating_sub(2_000)..at_ms, dice);
        }
        let meanwhile = at_ms + 500..at_ms + 6_000;
        for _ in 0..4 {
            let what = if node.site == alone { dice.one_of(&[What::Put, What::Get]) } else { What::Remove };
            does(what, meanwhile.clone(), dice);
        }
        if node.site == alone {
            let removes = |what| matches!(what, What::Remove | What::RemoveIfVersion | What::Clear);
            node.operations.retain(|operation| {
                let then = at_ms.saturating_sub(2_000)..until_ms;
                !(removes(operation.what.what) && then.contains(&operation.at_ms))
            });
        }
        node.operations.sort_by_key(|operation| operation.at_ms);
    }
    faults.push(Planned { at_ms, what: Fault::Isolate { site: alone, for_ms: until_ms - at_ms } });
    if dice.chance(400) {
        let what = Fault::Kill { site: alone, down_ms: 50, disk: Disk::Same };
        faults.push(Planned { at_ms: until_ms + dice.within(200..4_000), what });
    }
}

fn listener(dice: &mut Dice, sites: usize, times: &Times) -> Listener {
    let any_site = |dice: &mut Dice| dice.within(0..sites as u64) as usize;
    let mut moves: Vec<Planned<Move>> = Vec::new();
    if times.spells.is_empty() {
        for at_ms in times.moments(dice, 0..8) {
            moves.push(Planned { at_ms, what: Move { away_ms: dice.one_of(times.away), to: any_site(dice) } });
        }
    } else {
        // Away between spells: a connection that stands for hours is all heartbeats.
        for spell in times.spells.windows(2) {
            let at_ms = spell[0] + dice.within(0..2 * SPELL_MS);
            let back_ms = spell[1] + dice.within(0..SPELL_MS);
            moves.push(Planned { at_ms, what: Move { away_ms: back_ms.saturating_sub(at_ms), to: any_site(dice) } });
        }
    }
    let slow = dice.chance(200);
    let mut pauses = Vec::new();
    if slow {
        let moments = times.moments(dice, 1..3);
        pauses.extend(moments.into_iter().map(|at_ms| Planned { at_ms, what: dice.one_of(&[2_000, 10_000, 20_000]) }));
    }
    let reads_ms = if slow { dice.one_of(&[0, 0, 20, 150]) } else { 0 };
    Listener { site: any_site(dice), cache: dice.within(0..3) as usize, moves, reads_ms, pauses }
}

fn fault(dice: &mut Dice, sites: usize, times: &Times) -> Planned<Fault> {
    let at_ms = times.of_fault(dice);
    let site = dice.within(0..sites as u64) as usize;
    let other = (site + 1 + dice.within(0..sites as u64 - 1) as usize) % sites;
    // In a run of hours nothing lasts longer than the run.
    let for_ms = dice.one_of(times.lasts).min(times.calm_at_ms);
    let moment_ms = dice.one_of(&[200, 1_500, 5_000, 12_000, 25_000]);
    let down_ms = if times.spells.is_empty() { dice.one_of(&[0, 50, 1_000, 8_000, 20_000]) } else { for_ms };
    let what = match dice.within(0..108) {
        0..20 => Fault::Kill { site, down_ms, disk: Disk::Same },
        20..26 => Fault::Kill { site, down_ms, disk: Disk::Wiped },
        26..33 => Fault::Kill { site, down_ms, disk: Disk::Copy },
        33..38 => Fault::Restart { site, down_ms },
        38..47 => Fault::Copy { site },
        47..51 => Fault::FlushFails { site, for_ms },
        51..54 => Fault::DiskFull { site, for_ms },
        54..72 => Fault::Weather { from: site, to: other, weather: weather(dice), for_ms },
        72..77 => Fault::NodesWeather { site, weather: weather(dice), for_ms },
        77..83 => {
            let by_ms = dice.one_of(&[-600_000, -20_000, -1_500, -40, 40, 1_500, 4_500, 20_000]);
            Fault::Clock { site, by_ms, fast_by: dice.one_of(&[-100_000, 0, 0, 500, 100_000]), for_ms: moment_ms }
        }
        83..90 => Fault::Offline { site, peer: other, for_ms },
        90..99 => Fault::Isolate { site, for_ms: for_ms.max(5_000) },
        99..104 => {
            let whose = if dice.chance(600) { Holder::Relay } else { Holder::Nodes };
            Fault::CertificateEnds { site, whose, for_ms: moment_ms }
        }
        _ => Fault::Loses { site, for_ms: moment_ms },
    };
    Planned { at_ms, what }
}

/// The last site comes and goes, in turns.
fn come_and_go(dice: &mut Dice, sites: usize, mut is_out: bool, times: &Times, faults: &mut Vec<Planned<Fault>>) {
    let count = dice.within(1..4);
    let mut moments: Vec<u64> = (0..count).map(|_| times.of_fault(dice)).collect();
    moments.sort_unstable();
    for at_ms in moments {
        let apart_ms = dice.one_of(&[0, 100, 3_000, 8_000]);
        let first = dice.within(0..sites as u64 - 1) as usize;
        let what = if is_out {
            Fault::Join { apart_ms, first, kept: dice.chance(350) }
        } else {
            Fault::Leave { apart_ms, first }
        };
        is_out = !is_out;
        faults.push(Planned { at_ms, what });
    }
}

fn weather(dice: &mut Dice) -> Weather {
    if dice.chance(600) {
        return Weather { cut: true, ..Weather::FAIR };
    }
    Weather {
        cut: false,
        lost: dice.one_of(&[0, 20, 100, 400]),
        twice: dice.one_of(&[0, 0, 50, 300]),
        delay_ms: dice.one_of(&[1, 20, 150, 900, 20_000, 45_000]),
        jitter_ms: dice.one_of(&[0, 5, 60, 500, 15_000]),
    }
}
