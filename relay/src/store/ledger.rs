//! Which commits the log has, and how much of each is still held: what compaction goes by. Rebuilt at start.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_protocol::position::Sequence;

use crate::engine::replica::Gone;

/// A commit whose records have less than this is merged with its neighbours when there are enough of them.
pub(super) const SMALL_BYTES: u64 = 8 * 1024;
/// What a merged commit has about, at most.
pub(super) const MERGED_BYTES: u64 = 64 * 1024;
/// As many small neighbours make a merge worth its flush.
pub(super) const MERGE_RUN: usize = 8;
/// Stuck records that are let be whatever their share.
const STUCK_ALLOWED: u64 = 1024;
/// What is read for one rewrite, about, at most: it is in memory at once.
const READ_AT_ONCE_BYTES: u64 = 8 * 1024 * 1024;
/// The same while there is other work, which waits for it.
const READ_BETWEEN_BYTES: u64 = 512 * 1024;
/// As many small commits are let be while there is other work: those that die before need not be copied.
const SMALL_ALLOWED: usize = 16 * 1024;
/// As many bytes of headers are let be, while there is other work: each has the store's vector, with every run there ever was.
const HEADERS_ALLOWED: u64 = 8 * 1024 * 1024;
/// Commits that one search for small neighbours looks at.
const SEARCH_BOUND: usize = 1024;

/// What is known of a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) last: Sequence,
    pub(super) bytes: u64,
    /// Those of its header, which a merge leaves out of all but one.
    pub(super) header: u64,
    pub(super) records: u32,
    /// Held by the replica.
    pub(super) live: u32,
    /// Not held, and must stay: a removal whose older records may still lie before it.
    pub(super) stuck: u32,
    /// Not held, and a later record of the log has their key. They are of no use whatever becomes of that one: as long as
    /// something older of the key lies in the log, the last that had it stays.
    pub(super) superseded: u32,
}

/// Bytes that must be read to rewrite these as one: all but those of commits of which nothing can be left; of the last
/// one the header is needed.
pub(super) fn read_bytes(plan: &[(Sequence, Use)]) -> u64 {
    let last = plan.last().map(|(_, usage)| usage.bytes).unwrap_or_default();
    last + plan.iter().rev().skip(1).map(|(_, usage)| usage.read_bytes()).sum::<u64>()
}

impl Use {
    /// Whether all of it is superseded, so that it can go unread.
    pub(super) fn is_superseded(&self) -> bool {
        self.records > 0 && self.superseded == self.records
    }

    fn read_bytes(&self) -> u64 {
        if self.is_superseded() { 0 } else { self.bytes }
    }

    fn record_bytes(&self) -> u64 {
        self.bytes - self.header
    }

    fn is_small(&self) -> bool {
        self.record_bytes() < SMALL_BYTES
    }

    fn dead(&self) -> u32 {
        self.records - self.live
    }

    fn is_half_dead(&self) -> bool {
        let removable = self.dead().saturating_sub(self.stuck);
        removable > 0 && removable * 2 >= self.records
    }

    /// What must stay of it, in sixteenths.
    fn held_share(&self) -> u32 {
        (self.live + self.stuck).min(self.records) * 16 / self.records.max(1)
    }

    fn dead_bytes(&self) -> u64 {
        if self.records == 0 { 0 } else { self.bytes * u64::from(self.dead()) / u64::from(self.records) }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    commits: BTreeMap<Sequence, Use>,
    /// Those that are half dead, by [`Use::held_share`]: the deadest first, as it gives the most room for the least copied.
    half_dead: BTreeSet<(u32, Sequence)>,
    dirty: BTreeSet<Sequence>,
    bytes: u64,
    dead_bytes: u64,
    stuck: u64,
    records: u64,
    small: usize,
    headers: u64,
    // Where the search for small neighbours goes on, and how many there were when a whole round found none.
    search_from: Sequence,
    searched_small: usize,
}

impl Ledger {
    /// Notes a commit, new or rewritten.
    pub(super) fn put(&mut self, first: Sequence, usage: Use) {
        self.take(first);
        self.bytes += usage.bytes;
        self.dead_bytes += usage.dead_bytes();
        self.stuck += u64::from(usage.stuck);
        self.records += u64::from(usage.records);
        self.small += usize::from(usage.is_small());
        self.headers += usage.header;
        if usage.is_half_dead() {
            self.half_dead.insert((usage.held_share(), first));
        }
        if usage.dead() > 0 {
            self.dirty.insert(first);
        }
        self.commits.insert(first, usage);
    }

    /// Forgets a commit.
    pub(super) fn take(&mut self, first: Sequence) {
        let Some(usage) = self.commits.remove(&first) else { return };
        self.bytes -= usage.bytes;
        self.dead_bytes -= usage.dead_bytes();
        self.stuck -= u64::from(usage.stuck);
        self.records -= u64::from(usage.records);
        self.small -= usize::from(usage.is_small());
        self.headers -= usage.header;
        self.half_dead.remove(&(usage.held_share(), first));
        self.dirty.remove(&first);
    }

    /// What is known of the commit under this sequence.
    #[cfg(test)]
    pub(super) fn usage(&self, first: Sequence) -> Option<Use> {
        self.commits.get(&first).copied()
    }

    /// These records are not held any more.
    pub(super) fn died(&mut self, gone: Gone) {
        self.count_dead(gone.superseded, true);
        self.count_dead(gone.taken, false);
    }

    fn count_dead(&mut self, mut sequences: Vec<Sequence>, superseded: bool) {
        sequences.sort_unstable();
        let mut rest = &sequences[..];
        while let Some(sequence) = rest.first() {
            let commit = self.commits.range(..=*sequence).next_back().map(|(first, usage)| (*first, *usage));
            let last = commit.map_or(*sequence, |(_, usage)| usage.last.max(*sequence));
            let (here, later) = rest.split_at(rest.partition_point(|sequence| *sequence <= last));
            rest = later;
            let Some((first, usage)) = commit else { continue };
            let dead = here.iter().filter(|sequence| **sequence <= usage.last).count() as u32;
            let superseded = usage.superseded + if superseded { dead } else { 0 };
            self.change(first, usage, Use { live: usage.live.saturating_sub(dead), superseded, ..usage });
        }
    }

    // As `put`, where nothing but `live` and `superseded` is another.
    fn change(&mut self, first: Sequence, old: Use, new: Use) {
        self.dead_bytes = self.dead_bytes - old.dead_bytes() + new.dead_bytes();
        let place = |usage: &Use| usage.is_half_dead().then(|| (usage.held_share(), first));
        if place(&old) != place(&new) {
            place(&old).map(|place| self.half_dead.remove(&place));
            self.half_dead.extend(place(&new));
        }
        if old.dead() == 0 && new.dead() > 0 {
            self.dirty.insert(first);
        }
        self.commits.insert(first, new);
    }

    /// Bytes of what is held, and of what is not, about.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.bytes - self.dead_bytes, self.dead_bytes)
    }

    /// No commit before the one under this sequence has a record that is not held.
    pub(super) fn low_water(&self) -> Sequence {
        self.dirty.first().copied().unwrap_or(Sequence::new(u64::MAX))
    }

    /// Adjacent commits to be rewritten as one, and what they have now; nothing where it isn't worth it. Never the newest.
    ///
    /// While there is other work (`idle` is off) half dead commits are let be as long as less than half of the whole log is
    /// dead: the longer they wait, the less of them is left to be copied, and the log is at most twice what is held.
    pub(super) fn plan(&mut self, idle: bool) -> Option<Vec<(Sequence, Use)>> {
        let newest = *self.commits.last_key_value()?.0;
        let pressed = idle || self.dead_bytes * 2 > self.bytes;
        let half_dead = self.half_dead.iter().map(|(_, first)| *first).find(|first| *first != newest);
        if let Some(first) = half_dead.filter(|_| pressed) {
            return Some(self.neighbours(first, newest, if idle { READ_AT_ONCE_BYTES } else { READ_BETWEEN_BYTES }));
        }
        if self.stuck > STUCK_ALLOWED && self.stuck * 4 > self.records {
            let first = self.dirty.first().copied().filter(|first| *first != newest)?;
            return Some(vec![(first, self.commits[&first])]);
        }
        let headers = self.headers > HEADERS_ALLOWED && self.headers * 2 > self.bytes;
        if idle || headers || self.small > SMALL_ALLOWED { self.small_run(newest) } else { None }
    }

    // The commit, and those after it that are small or half dead too, as long as what is held of them fits together.
    fn neighbours(&self, first: Sequence, newest: Sequence, max_read: u64) -> Vec<(Sequence, Use)> {
        let (mut sum, mut read) = (0, 0);
        let fits = |(at, usage): &(&Sequence, &Use)| {
            sum += usage.bytes - usage.dead_bytes();
            read += usage.read_bytes();
            let joins = usage.is_half_dead() || usage.is_small();
            **at == first || (**at != newest && joins && sum <= MERGED_BYTES && read <= max_read)
        };
        self.commits.range(first..).take_while(fits).take(SEARCH_BOUND).map(|(at, usage)| (*at, *usage)).collect()
    }

    fn small_run(&mut self, newest: Sequence) -> Option<Vec<(Sequence, Use)>> {
        // A search that came round in vain is not repeated before there are more.
        self.searched_small = self.searched_small.min(self.small);
        if self.small < self.searched_small + MERGE_RUN {
            return None;
        }
        let mut run: Vec<(Sequence, Use)> = Vec::new();
        let (mut sum, mut read) = (0, 0);
        let mut looked = 0;
        for (&first, &usage) in self.commits.range(self.search_from..) {
            looked += 1;
            let small = usage.is_small() && first != newest;
            if small && sum + usage.record_bytes() <= MERGED_BYTES && read + usage.bytes <= READ_BETWEEN_BYTES {
                sum += usage.record_bytes();
                read += usage.bytes;
                run.push((first, usage));
                continue;
            }
            if run.len() >= MERGE_RUN {
                self.search_from = run[0].0;
                return Some(run);
            }
            (run, sum, read) =
                if small { (vec![(first, usage)], usage.record_bytes(), usage.bytes) } else { (Vec::new(), 0, 0) };
            if looked >= SEARCH_BOUND {
                self.search_from = first;
                return None;
            }
        }
        if self.search_from == Sequence::ZERO {
            self.searched_small = self.small;
        }
        self.search_from = Sequence::ZERO;
        (run.len() >= MERGE_RUN).then_some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(taken: Vec<Sequence>) -> Gone {
        Gone { taken, ..Gone::default() }
    }

    #[test]
    fn what_is_superseded_as_a_whole_goes_unread_and_what_was_taken_does_not() {
        let mut ledger = Ledger::default();
        let usage = Use { bytes: 100_000, records: 10, live: 10, ..Use::default() };
        for at in [1, 11, 21, 31, 41] {
            ledger.put(Sequence::new(at), Use { last: Sequence::new(at + 9), ..usage });
        }
        ledger.died(Gone { superseded: (1..=20).map(Sequence::new).collect(), taken: vec![Sequence::new(21)] });
        ledger.died(Gone { superseded: (22..=30).map(Sequence::new).collect(), taken: Vec::new() });
        let plan = ledger.plan(false).expect("more than half is dead");
        let places: Vec<u64> = plan.iter().map(|(at, _)| at.get()).collect();
        assert_eq!(places, [1, 11, 21]);
        assert_eq!(plan.iter().map(|(_, usage)| usage.is_superseded()).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(read_bytes(&plan), 100_000);
        assert_eq!(read_bytes(&plan[..2]), 100_000, "the header of the last one is needed");
    }

    #[test]
    fn commits_that_are_all_dead_are_not_read_all_at_once() {
        let mut ledger = Ledger::default();
        for at in 1..=1000 {
            let bytes = 1024 * 1024;
            ledger.put(Sequence::new(at), Use { last: Sequence::new(at), bytes, records: 1, ..Use::default() });
        }
        let read = |plan: Vec<(Sequence, Use)>| plan.iter().map(|(_, usage)| usage.bytes).sum::<u64>();
        assert!(ledger.plan(true).map(read).is_some_and(|bytes| (1..=READ_AT_ONCE_BYTES).contains(&bytes)));
    }

    #[test]
    fn while_there_is_other_work_the_deadest_go_first_and_only_beyond_the_bound() {
        let mut ledger = Ledger::default();
        let usage = |at, live| Use { last: Sequence::new(at), bytes: 100_000, records: 100, live, ..Use::default() };
        for (at, live) in [(1, 45), (2, 90), (3, 20), (4, 90), (5, 100)] {
            ledger.put(Sequence::new(at), usage(at, live));
        }
        assert_eq!(ledger.plan(false), None, "less than half of all is dead");
        assert_eq!(ledger.plan(true).map(|plan| plan[0].0), Some(Sequence::new(3)));
        ledger.died(taken(vec![Sequence::new(4); 90]));
        assert_eq!(ledger.bytes(), (255_000, 245_000));
        assert_eq!(ledger.plan(false), None);
        ledger.died(taken(vec![Sequence::new(2); 10]));
        assert_eq!(ledger.plan(false).map(|plan| plan[0].0), Some(Sequence::new(4)), "the deadest");
    }

    #[test]
    fn commits_that_are_hardly_more_than_headers_are_merged_however_large_those_are() {
        for (header, count, idle) in [(20_000, 100, true), (20_000, 1000, false), (2_000, 5_000, false)] {
            let mut ledger = Ledger::default();
            for at in 1..=count {
                let usage = Use { bytes: header + 300, header, records: 1, live: 1, ..Use::default() };
                ledger.put(Sequence::new(at), Use { last: Sequence::new(at), ..usage });
            }
            let plan = ledger.plan(idle).expect("headers are most of it");
            assert!(plan.len() >= MERGE_RUN && read_bytes(&plan) <= READ_BETWEEN_BYTES, "{} commits", plan.len());
        }
        let mut ledger = Ledger::default();
        for at in 1..=5_000 {
            let usage = Use { last: Sequence::new(at), bytes: 600, header: 300, records: 1, live: 1, ..Use::default() };
            ledger.put(Sequence::new(at), usage);
        }
        assert_eq!(ledger.plan(false), None, "small ones, with small headers, wait");
    }

    #[test]
    fn a_full_neighbour_of_a_dead_commit_is_let_be() {
        let mut ledger = Ledger::default();
        let usage = |at, live| Use { last: Sequence::new(at), bytes: 1024 * 1024, records: 1, live, ..Use::default() };
        for (at, live) in [(1, 0), (2, 1), (3, 1)] {
            ledger.put(Sequence::new(at), usage(at, live));
        }
        assert_eq!(ledger.plan(true), Some(vec![(Sequence::new(1), usage(1, 0))]));
    }
}
