//! Conflicts: two writes of a key neither of which saw the other, when one is discarded in favour of the other.
//!
//! They are found where two records meet: in a merge, under a clear's floor, in a reconcile. Every record that is
//! discarded meets, at some relay, the one that stands in its place, so each conflict is found at one relay at least;
//! between two sites usually at both. What V covers has met here or elsewhere, and is not looked at again.
//!
//! No conflicts: two removals, as they agree; what has expired by then, as it loses nothing; an expiry, which is no write.
//! A clear conflicts with each live entry that it ends and that its site had not seen. A record that a reconcile wrote
//! anew is a write of the relay that did so, and has seen the first one.

use std::collections::BTreeMap;

use landbridge_protocol::{
    name::{CacheName, SiteName},
    record::{Kind, Merge, Record},
    time::Timestamp,
};

use super::{context::saw, group::Group, header::Records, slot::Slot};

/// Conflicts of one group that are told with their records; more are counted only.
pub const MAX_TOLD: usize = 1024;

/// One conflict, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// When it was found here.
    pub at: Timestamp,
    /// The cache's merge, by which it was decided.
    pub merge: Merge,
    /// The peer from whose stream one of the two came.
    pub peer: SiteName,
    /// What stands; `None`: a removal whose tombstone was let go.
    pub winner: Option<Record>,
    /// What was discarded.
    pub loser: Record,
}

/// Why the winner of a conflict won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It has the greater version.
    Later,
    /// It is of a life that began later.
    LaterLife,
    /// It removed the life that the other went on with.
    Removed,
    /// The other lies below a clear's floor.
    Cleared,
    /// The other went on with a life whose removal has been let go everywhere.
    Dropped,
}

impl Because {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Later => "later",
            Because::LaterLife => "later_life",
            Because::Removed => "removed",
            Because::Cleared => "cleared",
            Because::Dropped => "dropped",
        }
    }
}

impl Conflict {
    /// Why the winner won.
    pub fn because(&self) -> Because {
        match (&self.winner, self.merge) {
            (None, _) => Because::Dropped,
            (Some(winner), _) if winner.kind == Kind::Clear => Because::Cleared,
            (Some(winner), Merge::RemoveWins) if winner.birth != self.loser.birth => Because::LaterLife,
            (Some(winner), Merge::RemoveWins) if winner.kind == Kind::Tombstone => Because::Removed,
            _ => Because::Later,
        }
    }
}

/// How many conflicts were found, by cache and the peer that brought one of the two.
pub type Counts = BTreeMap<(CacheName, SiteName), u64>;

/// What a group finds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) told: Vec<Conflict>,
    pub(crate) counts: Counts,
}

impl Group<'_> {
    /// A peer's record meets what is held of its key; `wins`: it will stand.
    pub(crate) fn meet(&mut self, held: &Slot, coming: &Record, wins: bool, from: &SiteName, read: &dyn Records) {
        let loses_life =
            |kind, deadline: Option<Timestamp>| kind == Kind::Live && deadline.is_none_or(|at| at > self.now);
        let (of_loser, of_winner) = ((held.kind, held.deadline), (coming.kind, coming.deadline));
        let (of_loser, of_winner) = if wins { (of_loser, of_winner) } else { (of_winner, of_loser) };
        let undone = of_loser.0 == Kind::Tombstone && loses_life(of_winner.0, of_winner.1);
        if held.version == coming.version || !(loses_life(of_loser.0, of_loser.1) || undone) {
            return;
        }
        let coming_is_newer = coming.version > held.version;
        if coming_is_newer && saw(&coming.context, &coming.version, &held.version)
            || held.version.origin == coming.version.origin
        {
            return;
        }
        // One that can't be read is told of by what holds the log; here there is nothing to compare by.
        let Ok(record) = self.record(held.sequence, read) else { return };
        if !coming_is_newer && saw(&record.context, &record.version, &coming.version) {
            return;
        }
        let (winner, loser) = if wins { (coming.clone(), record) } else { (record, coming.clone()) };
        self.found(Some(winner), loser, from);
    }

    /// A peer's record is refused as it lies below the floor of its cache.
    pub(crate) fn meet_floor(&mut self, coming: &Record, from: &SiteName, read: &dyn Records) {
        let lives = coming.kind == Kind::Live && !coming.is_expired(self.now);
        let Some(clear) = self.clear_of(&coming.cache).filter(|_| lives) else { return };
        let Ok(clear) = self.record(clear.sequence, read) else { return };
        if !saw(&clear.context, &clear.version, &coming.version) {
            self.found(Some(clear), coming.clone(), from);
        }
    }

    /// A peer's clear meets all that it ends.
    pub(crate) fn meet_all(&mut self, clear: &Record, from: &SiteName, read: &dyn Records) {
        for (_, slot) in self.below(&clear.cache, &clear.version) {
            if slot.is_live(self.now) && !saw(&clear.context, &clear.version, &slot.version) {
                self.loses(&slot, Some(clear.clone()), from, read);
            }
        }
    }

    /// A reconcile takes what the sender had not seen, as it had seen its life end: `offered` stands in its place.
    pub(crate) fn meet_end(&mut self, held: &Slot, offered: Option<&Record>, from: &SiteName, read: &dyn Records) {
        let seen = offered.is_some_and(|offered| saw(&offered.context, &offered.version, &held.version));
        if held.is_live(self.now) && !seen {
            self.loses(held, offered.cloned(), from, read);
        }
    }

    fn loses(&mut self, held: &Slot, winner: Option<Record>, from: &SiteName, read: &dyn Records) {
        if let Ok(loser) = self.record(held.sequence, read) {
            self.found(winner, loser, from);
        }
    }

    fn found(&mut self, winner: Option<Record>, loser: Record, from: &SiteName) {
        *self.found.counts.entry((loser.cache.clone(), *from)).or_default() += 1;
        if self.found.told.len() < MAX_TOLD {
            let merge = self.merge_of(&loser.cache).unwrap_or(Merge::Latest);
            self.found.told.push(Conflict { at: self.now, merge, peer: *from, winner, loser });
        }
    }
}
