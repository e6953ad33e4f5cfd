//! What peers say: handshakes, batches, heartbeats, acknowledgements.

use std::collections::BTreeSet;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        MAX_ENTRY_BYTES,
        peer::{Batch, Introduction},
    },
    name::SiteName,
    position::{Cursor, Sequence, Through},
    record::{Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{Clock, Origin, RunId},
};

use super::{
    command::{Answer, Decided},
    group::Group,
    guards::Guard,
    header::{PeerCursor, Records},
    index::{MAX_CACHES, MAX_ORIGINS},
    peer::PeerReport,
    reconfigure::MAX_SITES,
    widening::Unspoken,
};

impl Group<'_> {
    /// A handshake replaces what was held as the peer's report. What tombstones go by (`heard`) begins with the handshake
    /// that opens the peer's own stream, and goes with a run of the peer.
    pub(crate) fn introduced(&mut self, peer: Introduction, incoming: bool) -> Decided {
        let guards = self.guards();
        self.peer(&peer.site)?;
        self.check_claims([&peer.seen, &peer.dropped])?;
        self.check_runs(&peer.runs)?;
        let own = self.base.config.site;
        if peer.sites.len() > MAX_SITES || peer.former_sites.len() > MAX_SITES {
            return Err(Refusal::new(ErrorCode::ConfigMismatch, "more sites than a relay has"));
        }
        if peer.caches.len() > MAX_CACHES || peer.lacks.iter().filter(|(of, _)| *of == own).count() > MAX_CACHES {
            return Err(Refusal::new(ErrorCode::ConfigMismatch, "more caches than a relay has"));
        }
        let skew_ms = super::link::offset_ms(peer.wall, self.now);
        // One that serves as it reached nobody in time goes on serving.
        self.latch_filled();
        self.core.round.take_if(|round| round.isolated == peer.site);
        let (own, head) = (self.base.config.site, self.core.head);
        let lacks = self.core.cursors.get(&peer.site).is_some_and(|known| !known.lacks.is_empty());
        let report = self.peer(&peer.site)?;
        if report.run != Some(peer.run) {
            if guards.hold(Guard::KeepReport) {
                report.heard = Vector::new();
            }
            report.acknowledged = Through::default();
            report.lacks = None;
            report.unspoken = Unspoken::default();
            report.past = Timestamp::ZERO;
            report.reconcile = None;
            report.caught_up = None;
        }
        report.run = Some(peer.run);
        self.note_skew(&peer.site, skew_ms)?;
        let report = self.peer(&peer.site)?;
        if guards.hold(Guard::KeepReport) {
            report.seen = peer.seen.clone();
        } else {
            report.seen.join(&peer.seen);
        }
        report.dropped = peer.dropped;
        report.filling = peer.filling;
        report.sites = peer.sites.into_iter().collect();
        report.former_sites = peer.former_sites.into_iter().collect();
        report.caches = peer.caches.into_iter().map(|cache| (cache.cache.clone(), cache)).collect();
        if incoming {
            report.incoming = true;
            report.stale = false;
            report.began = peer.seen.clone();
            report.head = if lacks { peer.head } else { Sequence::ZERO };
            report.past = Timestamp::ZERO;
            report.reconcile = None;
            report.caught_up = None;
            report.runs = peer.runs.iter().map(|origin| (origin.site, origin.run)).collect();
            report.runs.insert(peer.site, peer.run);
        } else {
            report.outgoing = true;
            // What it lacks it is sent from the beginning, whatever it had passed before.
            if !peer.lacks.is_empty() {
                report.acknowledged = Through::default();
            }
            report.unspoken = Unspoken::of(&peer.lacks, &peer.seen);
            let lacks: BTreeSet<_> =
                peer.lacks.into_iter().filter(|(of, _)| *of == own).map(|(_, cache)| cache).collect();
            report.lacks_until = if lacks.is_empty() { Sequence::ZERO } else { head };
            report.lacks = Some(lacks);
        }
        if incoming || !guards.hold(Guard::AnyHandshake) {
            report.heard = peer.seen.clone();
        }
        if !guards.hold(Guard::JoinHandshake) {
            self.join_seen(&peer.seen);
        }
        self.latch_filled();
        self.sweep_soon();
        let known = self.core.cursors.get(&peer.site);
        Ok(Answer::Introduced {
            cursor: known.map(|known| known.cursor),
            cursor_digest: known.map_or(0, |known| known.digest),
        })
    }

    /// The sender says where its stream begins: the cursor from now on.
    pub(crate) fn started(&mut self, peer: SiteName, run: RunId, after: Through) -> Decided {
        self.taken_from(&peer, run)?;
        let known = self.core.cursors.get(&peer).map(|known| known.cursor.through).unwrap_or_default();
        if after.direct > known.direct || after.complete > known.complete {
            return Err(Refusal::new(ErrorCode::CursorMismatch, "the stream begins beyond this relay's cursor"));
        }
        self.move_cursor(peer, run, after);
        Ok(Answer::Done)
    }

    pub(crate) fn apply(&mut self, peer: SiteName, run: RunId, batch: Batch, read: &dyn Records) -> Decided {
        self.check_batch(&peer, run, &batch)?;
        let greatest = batch.records.iter().map(|record| record.version.clock).max().unwrap_or_default();
        self.pass(greatest.max(batch.vector.greatest()));
        for record in batch.records {
            self.open_for(&peer, &record);
            self.merge(record, &peer, read);
        }
        self.join_seen(&self.believed(&peer, &batch.vector));
        self.move_cursor(peer, run, batch.through);
        let report = self.peer(&peer)?;
        report.seen.join(&batch.vector);
        report.heard.join(&batch.vector);
        report.runs.extend(batch.runs.iter().map(|origin| (origin.site, origin.run)));
        report.caught_up = batch.caught_up.then(|| report.runs.clone());
        // While others write, something of theirs is unsent nearly always: what matters is what it held when it began.
        let whole = self.core.seen.includes(&self.core.peers[&peer].began);
        self.peer(&peer)?.filled |= batch.caught_up || whole;
        self.latch_filled();
        self.sweep_soon();
        Ok(Answer::Applied(batch.through))
    }

    pub(crate) fn heard(&mut self, peer: SiteName, run: RunId, past: Timestamp, skew_ms: i64) -> Decided {
        let report = self.taken_from(&peer, run)?;
        report.past = report.past.max(past);
        self.note_skew(&peer, skew_ms)?;
        self.sweep_soon();
        Ok(Answer::Done)
    }

    pub(crate) fn skewed(&mut self, peer: SiteName, skew_ms: i64) -> Decided {
        self.note_skew(&peer, skew_ms)?;
        Ok(Answer::Done)
    }

    fn note_skew(&mut self, peer: &SiteName, skew_ms: i64) -> Result<(), Refusal> {
        let (now, limit) = (self.now, self.base.config.max_clock_skew.get());
        let report = self.peer(peer)?;
        report.skew_ms = Some(skew_ms);
        report.skewed_at = if skew_ms.unsigned_abs() > limit { now } else { Timestamp::ZERO };
        Ok(())
    }

    pub(crate) fn acknowledged(&mut self, peer: SiteName, run: RunId, through: Through) -> Decided {
        let head = self.core.head;
        let report = self.present(&peer, run)?;
        report.acknowledged = Through { direct: through.direct.min(head), complete: through.complete.min(head) };
        if report.acknowledged_all() >= report.lacks_until {
            report.lacks = report.lacks.take().map(|_| Default::default());
        }
        if !report.unspoken.is_empty() {
            self.sweep_soon();
        }
        Ok(Answer::Done)
    }

    /// Out of band as in a handshake: nothing but what need not be sent goes by it.
    pub(crate) fn reported(&mut self, peer: SiteName, run: RunId, seen: &Vector) -> Decided {
        self.check_claims([seen])?;
        self.present(&peer, run)?.seen.join(seen);
        Ok(Answer::Done)
    }

    pub(crate) fn lost(&mut self, peer: SiteName, incoming: bool) -> Decided {
        let report = self.peer(&peer)?;
        if incoming {
            report.incoming = false;
            report.stale = false;
            report.caught_up = None;
            report.reconcile = None;
        } else {
            report.outgoing = false;
        }
        Ok(Answer::Done)
    }

    /// The report of a peer whose present run this is; a former run's stream is refused.
    pub(crate) fn present(&mut self, peer: &SiteName, run: RunId) -> Result<&mut PeerReport, Refusal> {
        let guards = self.guards();
        let report = self.peer(peer)?;
        if report.run != Some(run) && guards.hold(Guard::FormerRun) {
            return Err(Refusal::new(ErrorCode::FormerRun, "a later handshake has replaced the run of this stream"));
        }
        Ok(report)
    }

    /// As [`Group::present`], for what comes in the peer's own stream: one that was opened under a former configuration said
    /// nothing of what this one asks.
    pub(crate) fn taken_from(&mut self, peer: &SiteName, run: RunId) -> Result<&mut PeerReport, Refusal> {
        let report = self.present(peer, run)?;
        if report.stale {
            return Err(Refusal::new(ErrorCode::HandshakeAnew, "this relay was configured anew since the handshake"));
        }
        Ok(report)
    }

    fn move_cursor(&mut self, peer: SiteName, run: RunId, through: Through) {
        let digest = self.base.digest_by(self.core.peers.get(&peer));
        let lacks = self.lacked_at(&peer, through);
        self.core.cursors.insert(peer, PeerCursor { cursor: Cursor { run, through }, digest, lacks });
    }

    fn check_batch(&mut self, peer: &SiteName, run: RunId, batch: &Batch) -> Result<(), Refusal> {
        self.taken_from(peer, run)?;
        let cursor = self.core.cursors.get(peer).map(|known| known.cursor);
        if cursor != Some(Cursor { run, through: batch.after }) {
            return Err(Refusal::new(ErrorCode::CursorMismatch, "the batch does not begin at this relay's cursor"));
        }
        if batch.through.direct < batch.after.direct || batch.through.complete < batch.after.complete {
            return Err(Refusal::new(ErrorCode::Malformed, "a batch that takes the cursor back"));
        }
        let limit = self.base.config.max_clock_skew.get();
        let report = self.peer(peer)?;
        if report.skew_ms.is_some_and(|skew| skew.unsigned_abs() > limit) {
            return Err(Refusal::new(ErrorCode::ClockSkew, "the wall clocks of the two sites are too far apart"));
        }
        if report.reconcile.is_some() {
            return Err(Refusal::new(ErrorCode::HandshakeAnew, "a batch in the midst of a reconcile"));
        }
        let mut heard = report.heard.clone();
        heard.join(&batch.vector);
        if self.guards().hold(Guard::NoGate) && !heard.includes(&self.core.dropped) {
            return Err(Refusal::new(
                ErrorCode::ReconcileFirst,
                "what was dropped here is not covered: a reconcile comes first",
            ));
        }
        self.check_claims([&batch.vector])?;
        self.check_runs(&batch.runs)?;
        self.check_records(peer, &batch.records)
    }

    /// Clocks, origins and caches of what a peer sends; of the origins it takes note.
    pub(crate) fn check_records(&mut self, peer: &SiteName, records: &[Record]) -> Result<(), Refusal> {
        let malformed = |why: &str| Err(Refusal::new(ErrorCode::Malformed, why));
        let mut cleared = BTreeSet::new();
        for record in records {
            self.check_claim(&record.version.origin, record.version.clock)?;
            self.check_claim(&record.birth.origin, record.birth.clock)?;
            self.check_vector(&record.context)?;
            if !self.replicates(&record.cache, peer) {
                let why = format!("cache {} is configured differently at the two sites", record.cache);
                return Err(Refusal::new(ErrorCode::ConfigMismatch, why));
            }
            if record.birth > record.version {
                return malformed("a record of a life that began after it");
            }
            let keyless = record.kind == landbridge_protocol::record::Kind::Clear;
            if keyless != record.key.is_none() {
                return malformed("a clear has no key, and every other record has one");
            }
            // Each looks at all that is held, and a sender holds one.
            if keyless && !cleared.insert(&record.cache) {
                return malformed("two clears of one cache together, of which only one can be held");
            }
            // It could not be passed on in a frame.
            if record.value.len() > MAX_ENTRY_BYTES as usize {
                return malformed("a value above the bound of every cache");
            }
        }
        let caches = records.iter().map(|record| &record.cache).chain(self.opened());
        if self.base.index.caches_with(caches) > MAX_CACHES {
            return Err(Refusal::new(ErrorCode::ConfigMismatch, "more caches than a relay has"));
        }
        self.take_origins(records)
    }

    /// Takes note of the origins that records bring in. What was decided and is not published counts as well, or a group
    /// could take more than the index can number. What is known goes on where there is no room for more.
    fn take_origins(&mut self, records: &[Record]) -> Result<(), Refusal> {
        let named = records.iter().flat_map(|record| [record.version.origin, record.birth.origin]);
        let index = &self.base.index;
        let new: BTreeSet<Origin> =
            named.filter(|origin| !index.knows(origin) && !self.origins.contains(origin)).collect();
        if !new.is_empty() && index.origins().len() + self.origins.len() + new.len() > MAX_ORIGINS / 2 {
            return Err(Refusal::new(ErrorCode::ForeignOrigin, "more origins than this relay can tell apart"));
        }
        self.origins.extend(new);
        Ok(())
    }

    /// Vectors that V and G are to be joined with. They are kept for good and are in every handshake: somebody who claims a
    /// new run in each batch must not make them grow without end.
    pub(crate) fn check_claims<const N: usize>(&self, vectors: [&Vector; N]) -> Result<(), Refusal> {
        let mut named = self.core.seen.clone();
        for vector in vectors {
            self.check_vector(vector)?;
            named.join(vector);
        }
        if named.len() > self.base.config.max_runs.max(self.core.seen.len()) {
            let why = "more runs of stores than this relay keeps account of; see max_runs";
            return Err(Refusal::new(ErrorCode::ForeignOrigin, why));
        }
        Ok(())
    }

    pub(crate) fn check_vector(&self, vector: &Vector) -> Result<(), Refusal> {
        for (origin, clock) in vector.iter() {
            self.check_claim(&origin, clock)?;
        }
        Ok(())
    }

    fn check_runs(&self, runs: &[Origin]) -> Result<(), Refusal> {
        runs.iter().try_for_each(|origin| self.check_origin(origin))
    }

    /// Whether a peer may say that `origin` has issued `clock`.
    fn check_claim(&self, origin: &Origin, clock: Clock) -> Result<(), Refusal> {
        self.check_origin(origin)?;
        if clock.wall() > self.now.after(self.far()) {
            return Err(Refusal::new(
                ErrorCode::ClockSkew,
                "a record or vector from too far ahead; check the clocks of the sites",
            ));
        }
        let own = *origin == Origin { site: self.base.config.site, run: self.core.run };
        if own && clock > self.core.seen.clock(origin) {
            return Err(Refusal::new(ErrorCode::ForeignOrigin, "a peer claims more of this run than it has written"));
        }
        Ok(())
    }

    fn check_origin(&self, origin: &Origin) -> Result<(), Refusal> {
        let config = &self.base.config;
        let known = origin.site == config.site || config.peers.contains(&origin.site);
        if !known && !config.former_sites.contains(&origin.site) {
            let why = format!(
                "a record or vector of site {0}, which is not configured here; where it was decommissioned, name it in \
                 `former_sites`",
                origin.site
            );
            return Err(Refusal::new(ErrorCode::ForeignOrigin, why));
        }
        Ok(())
    }

    /// As [`super::replica::Replica::replicates`], by the group so far.
    pub(crate) fn replicates(&self, cache: &landbridge_protocol::name::CacheName, peer: &SiteName) -> bool {
        self.base.replicates_by(self.core.peers.get(peer), cache)
    }

    /// A cache that is not declared here is kept, under the peer's merge, until it is.
    pub(crate) fn open_for(&mut self, peer: &SiteName, record: &Record) {
        if self.merge_of(&record.cache).is_none() {
            let theirs = self.core.peers.get(peer).and_then(|report| report.caches.get(&record.cache));
            let merge = theirs.map_or(Merge::Latest, |cache| cache.merge);
            self.open(&record.cache, merge);
        }
    }
}
