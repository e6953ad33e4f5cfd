//! What a stream has read, sent, withheld and said.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use landbridge_protocol::{
    frame::peer::Welcome,
    name::{CacheName, SiteName},
    position::{Sequence, Through},
    record::{Key, Record},
    time::Timestamp,
    vector::Vector,
    version::{Origin, RunId, Version},
};

use crate::engine::{claim::Claim, guards::Guard, replica::Replica, slot::Slot, window::Window};

/// Records of other sites that are read and not passed on yet, per link. When it is reached they are passed on, however long
/// they are to wait: what is written here lies behind them.
pub(super) const MAX_WITHHELD: usize = 16_384;

/// A record of another site that the peer should have from there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Withheld {
    cache: CacheName,
    key: Option<Key>,
    version: Version,
    pub(super) stands_from: Sequence,
}

/// What a read of the log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reading {
    Onward,
    Withheld,
    /// What the drift check found the peer to lack.
    Lacked,
}

/// One stream since its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) peer: SiteName,
    pub(super) peer_run: RunId,
    pub(super) window: Window,
    pub(super) claim: Claim,
    /// The log is read through here.
    pub(super) read: Sequence,
    /// The receiver's cursor at the beginning.
    from: Through,
    /// The end of the last batch.
    pub(super) sent: Through,
    /// The head at the beginning: reading through it is a transfer.
    pub(super) whole_from: Sequence,
    /// Caches of which the receiver lacks what lies there, whatever its V covers.
    lacks: BTreeSet<CacheName>,
    pub(super) withheld: BTreeMap<Sequence, Withheld>,
    /// Keys of other sites that were passed on, and where: what comes next of them stands for nothing before.
    passed_on: BTreeMap<(CacheName, Key), Sequence>,
    pub(super) reading: Option<Reading>,
    pub(super) said: Vector,
    pub(super) said_runs: Vec<Origin>,
    pub(super) said_caught_up: bool,
}

impl Stream {
    pub(super) fn begin(
        welcome: &Welcome,
        replica: &Replica,
        window: usize,
        runs: Vec<Origin>,
        now: Timestamp,
    ) -> Self {
        let receiver = &welcome.receiver;
        let same = replica.digest_with(&receiver.site) == welcome.cursor_digest;
        let from = replica.resume(welcome.cursor.as_ref().filter(|_| same));
        let start = from.direct.min(from.complete);
        let said = replica.seen().meet(&receiver.seen);
        Self {
            peer: receiver.site,
            peer_run: receiver.run,
            window: Window::new(window),
            claim: Claim::new(start, replica.head(), replica.seen(), said.clone(), now),
            read: start,
            from,
            sent: from,
            whole_from: replica.head(),
            lacks: receiver
                .lacks
                .iter()
                .filter(|(of, _)| *of == replica.site())
                .map(|(_, cache)| cache.clone())
                .collect(),
            withheld: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            reading: None,
            said,
            said_runs: runs,
            said_caught_up: false,
        }
    }

    /// What the receiver has of the log as the stream begins, where what it had passed before says nothing of that.
    pub(super) fn passed(&self, replica: &Replica) -> Option<Through> {
        replica.report(&self.peer).filter(|report| !report.unspoken.is_empty()).map(|_| self.from)
    }

    /// How far the receiver is when it has what was read: own records go ahead of those that are passed on.
    pub(super) fn through(&self, replica: &Replica) -> Through {
        let complete = self.withheld.first_key_value().map_or(self.read, |(first, _)| first.previous());
        let direct = self.read.max(self.from.direct);
        let one_cursor = !replica.config().guards.hold(Guard::OneCursor);
        Through { direct, complete: if one_cursor { direct } else { complete.max(self.from.complete) } }
    }

    /// Takes a record that lies at `sequence`, next in the log: whether it goes now.
    pub(super) fn takes(&mut self, sequence: Sequence, record: &Record, replica: &Replica, now: Timestamp) -> bool {
        let Some(slot) = held(replica, &record.cache, record.key.as_ref()).filter(|slot| slot.sequence == sequence)
        else {
            return false;
        };
        if !replica.replicates(&record.cache, &self.peer) {
            return false;
        }
        // Its own records it has, or has outgrown.
        let lacked = sequence <= self.whole_from
            && record.version.origin.site != self.peer
            && self.lacks.contains(&record.cache);
        let lacked = lacked || self.is_unspoken(record, replica);
        if self.is_covered(&record.version, replica) && !lacked {
            return false;
        }
        if replica.own(record) {
            return sequence > self.from.direct;
        }
        if sequence <= self.from.complete || !replica.config().guards.hold(Guard::OwnOnly) {
            return false;
        }
        let Slot { version, mut stands_from, .. } = slot;
        let place = record.key.as_ref().map(|key| (record.cache.clone(), own_bytes(key)));
        if let Some(passed_on) = place.as_ref().and_then(|place| self.passed_on.get(place)) {
            stands_from = stands_from.max(passed_on.next());
        }
        if lacked || self.is_due(stands_from, replica, now) {
            self.note_passed_on(place, sequence);
            return true;
        }
        let (cache, key) = (record.cache.clone(), place.map(|(_, key)| key));
        self.withheld.insert(sequence, Withheld { cache, key, version, stands_from });
        false
    }

    /// Lets go of what was withheld and has come to the peer another way, or is superseded here.
    pub(super) fn release(&mut self, replica: &Replica) {
        let Some(report) = replica.report(&self.peer) else { return };
        self.withheld.retain(|sequence, withheld| {
            let held = held(replica, &withheld.cache, withheld.key.as_ref());
            !report.seen.covers(&withheld.version) && held.is_some_and(|slot| slot.sequence == *sequence)
        });
    }

    /// Whether no more may be withheld.
    pub(super) fn is_full(&self) -> bool {
        self.withheld.len() >= MAX_WITHHELD
    }

    /// Whether a record of another site that stands from there has waited long enough to be passed on. By where it stands from
    /// and not by where it is: a key that is written all the time would wait for ever, and the claim with it.
    pub(super) fn is_due(&self, stands_from: Sequence, replica: &Replica, now: Timestamp) -> bool {
        let since = now.before(replica.config().forward_after);
        stands_from <= self.whole_from || self.claim.history().head_at(since).is_some_and(|old| stands_from <= old)
    }

    /// The first withheld record that is to be passed on now.
    pub(super) fn first_due(&self, replica: &Replica, now: Timestamp) -> Option<Sequence> {
        let due = |withheld: &Withheld| self.is_full() || self.is_due(withheld.stands_from, replica, now);
        self.withheld.iter().find(|(_, withheld)| due(withheld)).map(|(sequence, _)| *sequence)
    }

    pub(super) fn pass_on_withheld(&mut self, sequence: Sequence) {
        if let Some(Withheld { cache, key, .. }) = self.withheld.remove(&sequence) {
            self.note_passed_on(key.map(|key| (cache, key)), sequence);
        }
    }

    fn note_passed_on(&mut self, place: Option<(CacheName, Key)>, sequence: Sequence) {
        // One that is forgotten stands for more than it must, and is passed on once more.
        if self.passed_on.len() >= MAX_WITHHELD {
            self.passed_on.clear();
        }
        self.passed_on.extend(place.map(|place| (place, sequence)));
    }

    /// When a withheld record is to be passed on next.
    pub(super) fn next_due(&self, replica: &Replica, now: Timestamp) -> Option<Timestamp> {
        self.withheld.first_key_value()?;
        if self.first_due(replica, now).is_some() {
            return Some(now);
        }
        let wait = replica.config().forward_after;
        self.claim.history().next_after(now.before(wait)).map(|noted| noted.after(wait))
    }

    /// Brings the claim up to date. While there is more to read it stays, as what comes next may stand for anything.
    pub(super) fn advance_claim(&mut self, replica: &Replica) {
        if self.read >= replica.head() {
            let head = replica.head();
            self.claim.advance(head, self.withheld.values().map(|withheld| withheld.stands_from));
            // Own records go at once: one of another site that waits holds them back only where it stands for an older one.
            // Otherwise relays that wait for each other's V would all be told too late.
            let guards = replica.config().guards;
            let older = |at: Sequence, from: Sequence| from < at || at <= self.whole_from;
            let stand = self.withheld.iter().filter(|(at, withheld)| older(**at, withheld.stands_from));
            let stand = stand.filter(|_| guards.hold(Guard::OwnStands)).map(|(_, withheld)| withheld.stands_from);
            if !guards.hold(Guard::EarlierRun) {
                let earlier = replica.seen().iter().filter(|(origin, _)| origin.site == replica.site());
                earlier.for_each(|(origin, _)| self.claim.advance_of(origin, head, stand.clone()));
            }
            self.claim.advance_of(replica.origin(), head, stand);
        }
    }

    /// What may be said of V, and was not: while some of a cache is lacked here, what V says of others' writes is not so
    /// for it.
    pub(super) fn news(&self, replica: &Replica) -> Vector {
        let guards = replica.config().guards;
        let vector = if guards.hold(Guard::EagerVector) { self.claim.vector() } else { replica.seen() };
        let news = vector.beyond(&self.said);
        if !guards.hold(Guard::LackingClaims) || replica.lacked().is_empty() {
            return news;
        }
        news.iter().filter(|(origin, _)| origin.site == replica.site()).collect()
    }

    /// Whether nothing is unsent.
    pub(super) fn is_caught_up(&self, replica: &Replica) -> bool {
        self.read >= replica.head() && self.withheld.is_empty()
    }

    /// Whether the receiver's V covers the record and does not speak for it: it may have been sent since what that outdoes.
    fn is_unspoken(&self, record: &Record, replica: &Replica) -> bool {
        record.version.origin.site != self.peer
            && replica.config().guards.hold(Guard::Unspoken)
            && replica.report(&self.peer).is_some_and(|report| report.unspoken.has(&record.cache, &record.version))
    }

    fn is_covered(&self, version: &Version, replica: &Replica) -> bool {
        replica.report(&self.peer).is_some_and(|report| report.seen.covers(version))
    }
}

fn held(replica: &Replica, cache: &CacheName, key: Option<&Key>) -> Option<Slot> {
    key.map_or_else(|| replica.clear_of(cache), |key| replica.slot(cache, key))
}

/// A key of its own: that of a record keeps the whole commit in memory that it was read from.
fn own_bytes(key: &Key) -> Key {
    Key::new(Bytes::copy_from_slice(key.as_bytes())).unwrap_or_else(|_| key.clone())
}
