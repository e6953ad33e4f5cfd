//! The receiving side of a reconcile: this relay takes from a peer what its own V can't tell it, as the peer has let go of
//! tombstones that it has not seen.
//!
//! The ranges come in key order. Each is one command, or several where more is held here than one should take: the sender cuts
//! its ranges by what it holds itself. Of a command that took a part, the answer has the rest, to be given as the next one; so
//! a range that is left midway is as one between two of them. For each key the sender's V decides: what it covers is replaced by
//! what the sender holds; what it does not is this relay's alone and, where it lives, written anew. V and G are joined at
//! the end only, so that a reconcile that is cut midway has claimed nothing: the next one goes through all keys again.

use std::collections::BTreeMap;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::peer::{Place, ReconcileBegin, ReconcileChunk},
    name::{CacheName, SiteName},
    position::{Cursor, Through},
    record::{Key, Kind, Merge, Record},
    vector::Vector,
    version::RunId,
};

use super::{
    command::{Answer, Decided},
    group::Group,
    guards::Guard,
    header::{PeerCursor, Records},
    peer::Incoming,
    slot::Slot,
};

/// Bytes of values that one command writes anew, about.
const MAX_ANEW_BYTES: u64 = 4 << 20;

/// What a key comes to.
enum Step {
    /// What is held here goes, though the sender had not seen it: it had seen that life end.
    Unseen { held: Slot, offered: Option<Record> },
    /// The sender holds nothing of what its V covers.
    Forget { cache: CacheName, key: Key },
    /// The sender's record stands, whatever is held here.
    Take(Record),
    /// The sender's record is merged.
    Merge(Record),
    /// What is held here, which the sender had not seen, is written anew.
    Anew { held: Slot, record: Record },
}

impl Group<'_> {
    pub(crate) fn reconcile_begin(&mut self, peer: SiteName, run: RunId, begin: ReconcileBegin) -> Decided {
        let mut heard = self.taken_from(&peer, run)?.heard.clone();
        if self.core.cursors.get(&peer).is_none_or(|known| known.cursor.run != run) {
            return Err(Refusal::new(ErrorCode::CursorMismatch, "a reconcile before its stream has begun"));
        }
        self.refuse_needless(&begin.dropped)?;
        heard.join(&begin.seen);
        let gated = self.guards().hold(Guard::NoGate) && !heard.includes(&self.core.dropped);
        // Where each side's V lacks the other's G, that of the site with the lower name goes first.
        let first = peer < self.base.config.site && !self.core.seen.includes(&begin.dropped);
        if gated && !first {
            return Err(Refusal::new(ErrorCode::ReconcileFirst, "this relay's reconcile to the peer comes first"));
        }
        // With its V and G nothing would be left by which the others' reconciles could tell what has gone of that cache.
        if let Some(cache) = self.unspoken_for(&peer) {
            let why = format!(
                "cache {cache} does not replicate with {peer}: the reconcile of a site with which it does comes first"
            );
            return Err(Refusal::new(ErrorCode::ReconcileFirst, why));
        }
        self.check_claims([&begin.seen, &begin.dropped])?;
        self.pass(begin.seen.greatest().max(begin.dropped.greatest()));
        let ReconcileBegin { seen, dropped, head } = begin;
        self.taken_from(&peer, run)?.reconcile = Some(Incoming { run, seen, dropped, head, place: None });
        Ok(Answer::Done)
    }

    pub(crate) fn reconcile_chunk(
        &mut self,
        peer: SiteName,
        run: RunId,
        chunk: ReconcileChunk,
        read: &dyn Records,
    ) -> Decided {
        let begun = || Refusal::new(ErrorCode::HandshakeAnew, "a range of a reconcile that was not begun");
        let incoming = self.taken_from(&peer, run)?.reconcile.clone().ok_or_else(begun)?;
        if incoming.run != run || incoming.place != chunk.after {
            return Err(Refusal::new(
                ErrorCode::HandshakeAnew,
                "a range of a reconcile that does not go on from the last",
            ));
        }
        self.refuse_needless(&incoming.dropped)?;
        self.check_records(&peer, &chunk.records)?;
        self.next_clock()?;
        let (chunk, rest) = self.part(&peer, chunk, &incoming.seen)?;
        let last = chunk.through.is_none();
        let through = chunk.through.clone();
        let (clears, steps) = self.plan(&peer, chunk, &incoming.seen, read)?;
        for record in clears.values().chain(steps.iter().filter_map(Step::record)) {
            self.pass(record.version.clock);
        }
        for clear in clears.into_values() {
            self.open_for(&peer, &clear);
            self.merge(clear, &peer, read);
        }
        for step in steps {
            self.take(&peer, step, &incoming.seen, read)?;
        }
        if last {
            self.reconciled(peer, incoming);
        } else if let Some(under_way) = &mut self.taken_from(&peer, run)?.reconcile {
            under_way.place = through;
        }
        Ok(match rest {
            Some(rest) => Answer::ReconciledPart { rest: Box::new(rest) },
            None => Answer::Reconciled { done: last },
        })
    }

    /// As much of a range as one command takes, and the rest of it.
    fn part(
        &self,
        peer: &SiteName,
        chunk: ReconcileChunk,
        sent_by: &Vector,
    ) -> Result<(ReconcileChunk, Option<ReconcileChunk>), Refusal> {
        let ReconcileChunk { after, through, records } = chunk;
        let inside = |place: &Place| {
            after.as_ref().is_none_or(|after| place > after) && through.as_ref().is_none_or(|through| place <= through)
        };
        if !records.iter().all(|record| inside(&place_of(record))) {
            return Err(Refusal::new(ErrorCode::Malformed, "a record outside of its reconcile's range"));
        }
        let Some(cut) = self.cut(peer, after.as_ref(), through.as_ref(), sent_by) else {
            return Ok((ReconcileChunk { after, through, records }, None));
        };
        let (now, later) = records.into_iter().partition(|record| place_of(record) <= cut);
        let rest = ReconcileChunk { after: Some(cut.clone()), through, records: later };
        Ok((ReconcileChunk { after, through: Some(cut), records: now }, Some(rest)))
    }

    /// Where one command stops within a range; `None`: not before its end.
    fn cut(&self, peer: &SiteName, after: Option<&Place>, through: Option<&Place>, sent_by: &Vector) -> Option<Place> {
        let (mut keys, mut bytes, mut last) = (0, 0, None);
        for cache in self.cache_names() {
            let Some((from, to)) = self.span(peer, &cache, after, through) else { continue };
            // What the group has added itself is little.
            for (key, held) in self.base.index.range(&cache, from, to) {
                let anew = held.kind == Kind::Live && !sent_by.covers(&held.version);
                keys += 1;
                bytes += if anew { u64::from(held.value_bytes) } else { 0 };
                if last.is_some() && (keys > self.base.config.reconcile_keys || bytes > MAX_ANEW_BYTES) {
                    return last;
                }
                last = Some(Place { cache: cache.clone(), key: Some(key) });
            }
        }
        None
    }

    /// One that came too late, after another peer's, is not needed and not taken.
    fn refuse_needless(&mut self, dropped: &Vector) -> Result<(), Refusal> {
        if self.guards().hold(Guard::NeedlessTaken) && self.core.seen.includes(dropped) {
            return Err(Refusal::new(
                ErrorCode::HandshakeAnew,
                "the reconcile is not needed any more: shake hands anew",
            ));
        }
        Ok(())
    }

    /// The clears of a range, and what each of its keys comes to.
    fn plan(
        &mut self,
        peer: &SiteName,
        chunk: ReconcileChunk,
        sent_by: &Vector,
        read: &dyn Records,
    ) -> Result<(BTreeMap<CacheName, Record>, Vec<Step>), Refusal> {
        let ReconcileChunk { after, through, records } = chunk;
        let mut theirs: BTreeMap<(CacheName, Key), Record> = BTreeMap::new();
        let mut clears = BTreeMap::new();
        for record in records {
            let Place { cache, key } = place_of(&record);
            match key {
                Some(key) => drop(theirs.insert((cache, key), record)),
                None => drop(clears.insert(cache, record)),
            }
        }
        let mut steps = Vec::new();
        for (cache, key, held) in self.held_between(peer, after.as_ref(), through.as_ref()) {
            let offered = theirs.remove(&(cache.clone(), key.clone()));
            if self.lacks(peer, &cache) {
                steps.extend(offered.map(Step::Merge));
                continue;
            }
            let cleared = clears.get(&cache).is_some_and(|clear| self.would_clear(clear, &held));
            self.plan_key(cache, key, held, offered, cleared, sent_by, read, &mut steps)?;
        }
        steps.extend(theirs.into_values().map(Step::Merge));
        Ok((clears, steps))
    }

    #[expect(clippy::too_many_arguments, reason = "one key's whole case, decided in one place")]
    fn plan_key(
        &self,
        cache: CacheName,
        key: Key,
        held: Slot,
        offered: Option<Record>,
        cleared: bool,
        sent_by: &Vector,
        read: &dyn Records,
        steps: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        if !cleared && self.is_covered(&cache, &held, offered.as_ref(), sent_by) {
            if !sent_by.covers(&held.version) {
                steps.push(Step::Unseen { held, offered: offered.clone() });
            }
            match offered {
                None => steps.push(Step::Forget { cache, key }),
                Some(record) if is_same(&record, &held) => {}
                Some(record) => steps.push(Step::Take(record)),
            }
            return Ok(());
        }
        steps.extend(offered.map(Step::Merge));
        let unknown = held.kind == Kind::Live && !sent_by.covers(&held.version);
        if unknown && !cleared && self.guards().hold(Guard::NoAnew) {
            steps.push(Step::Anew { held, record: self.record(held.sequence, read)? });
        }
        Ok(())
    }

    /// Whether what is held here is for the sender to say.
    fn is_covered(&self, cache: &CacheName, held: &Slot, offered: Option<&Record>, sent_by: &Vector) -> bool {
        let life_ended = self.merge_of(cache) == Some(Merge::RemoveWins)
            && self.guards().hold(Guard::ByVersion)
            && held.kind == Kind::Live
            && sent_by.covers(&held.birth)
            && offered.is_none_or(|offered| offered.birth != held.birth);
        sent_by.covers(&held.version) || life_ended
    }

    fn would_clear(&self, clear: &Record, held: &Slot) -> bool {
        let merge = self.merge_of(&clear.cache).unwrap_or(Merge::Latest);
        super::slot::is_below(merge, &clear.version, &held.version, &held.birth)
    }

    fn take(&mut self, peer: &SiteName, step: Step, sent_by: &Vector, read: &dyn Records) -> Result<(), Refusal> {
        match step {
            Step::Unseen { held, offered } => self.meet_end(&held, offered.as_ref(), peer, read),
            Step::Forget { cache, key } => self.forget(&cache, &key, true),
            Step::Take(record) => {
                if !self.is_below_floor(&record.cache, &record.version, &record.birth) {
                    self.append(record);
                } else if let Some(key) = &record.key {
                    self.forget(&record.cache, key, true);
                }
            }
            Step::Merge(record) => {
                self.open_for(peer, &record);
                self.merge(record, peer, read);
            }
            Step::Anew { held, record } => self.write_anew(held, record, sent_by)?,
        }
        Ok(())
    }

    fn write_anew(&mut self, held: Slot, record: Record, sent_by: &Vector) -> Result<(), Refusal> {
        let still = record.key.as_ref().and_then(|key| self.slot(&record.cache, key));
        if still.is_none_or(|still| still.sequence != held.sequence) {
            return Ok(());
        }
        let version = self.issue()?;
        let unknown = !sent_by.covers(&held.birth) && self.guards().hold(Guard::WrittenAnew);
        let birth = if unknown || !self.guards().hold(Guard::AnewBirth) { version } else { held.birth };
        let context = self.context_anew(&record);
        self.append(Record { version, birth, context, ..record });
        Ok(())
    }

    fn reconciled(&mut self, peer: SiteName, incoming: Incoming) {
        self.join_seen(&incoming.seen);
        if self.guards().hold(Guard::NoInherit) {
            self.core.dropped.join(&incoming.dropped);
        }
        self.durable = true;
        let through = Through { direct: incoming.head, complete: incoming.head };
        let digest = self.base.digest_by(self.core.peers.get(&peer));
        let lacks = self.lacked_at(&peer, through);
        self.core.cursors.insert(peer, PeerCursor { cursor: Cursor { run: incoming.run, through }, digest, lacks });
        if let Some(report) = self.core.peers.get_mut(&peer) {
            report.reconcile = None;
        }
        self.latch_filled();
    }

    /// What is held in a range of places, of the caches that replicate with the peer.
    fn held_between(
        &self,
        peer: &SiteName,
        after: Option<&Place>,
        through: Option<&Place>,
    ) -> Vec<(CacheName, Key, Slot)> {
        let mut found = Vec::new();
        for cache in self.cache_names() {
            let Some((from, to)) = self.span(peer, &cache, after, through) else { continue };
            let keys = self.range(&cache, from, to);
            found.extend(keys.into_iter().map(|(key, slot)| (cache.clone(), key, slot)));
        }
        found
    }

    /// After which key of a cache a range of places begins, and through which it goes; `None`: it has none of its keys, or the
    /// cache does not replicate with the peer.
    fn span<'p>(
        &self,
        peer: &SiteName,
        cache: &CacheName,
        after: Option<&'p Place>,
        through: Option<&'p Place>,
    ) -> Option<(Option<&'p Key>, Option<&'p Key>)> {
        let inside =
            after.is_none_or(|after| *cache >= after.cache) && through.is_none_or(|through| *cache <= through.cache);
        let from = after.filter(|after| after.cache == *cache).and_then(|after| after.key.as_ref());
        let to = through.filter(|through| through.cache == *cache);
        let none = !inside || !self.replicates(cache, peer) || to.is_some_and(|to| to.key.is_none());
        (!none).then(|| (from, to.and_then(|to| to.key.as_ref())))
    }
}

impl Step {
    fn record(&self) -> Option<&Record> {
        match self {
            Step::Take(record) | Step::Merge(record) => Some(record),
            Step::Unseen { .. } | Step::Forget { .. } | Step::Anew { .. } => None,
        }
    }
}

fn place_of(record: &Record) -> Place {
    Place { cache: record.cache.clone(), key: record.key.clone() }
}

fn is_same(record: &Record, held: &Slot) -> bool {
    (record.kind, record.version, record.birth) == (held.kind, held.version, held.birth)
}
