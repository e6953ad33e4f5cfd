//! Letting tombstones and marks go: when all have seen them or, beyond a bound, when the isolated site alone has not.

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::peer::{DropAnswer, DropProposal},
    name::{CacheName, SiteName},
    record::{Key, Kind},
    time::{Millis, Timestamp},
    vector::Vector,
    version::Clock,
};

use super::{
    command::{Answer, Decided},
    group::Group,
    guards::Guard,
    header::Records,
    peer::Round,
    slot::Slot,
};

/// Tombstones that are looked at in one go.
pub(crate) const MAX_SWEEP: usize = 4096;
/// Tombstones that are looked at when some must be forced out.
pub(crate) const MAX_FORCED: usize = 16_384;
/// For so many tombstones that there are, a millisecond passes before they are looked through again for what a peer says: of
/// those that one absent peer keeps from going there may be a million, and the others say something every second.
const LOOKED_AT_PER_MILLISECOND: u64 = 100;
/// Tombstones that nobody has said anything new about are looked at again after this time.
pub(crate) const SWEEP_EVERY: Millis = Millis::from_secs(10);
/// The others' answers to a proposal are awaited so long.
pub(crate) const ROUND_TIMEOUT: Millis = Millis::from_secs(10);

impl Group<'_> {
    /// A peer has said something new: looks through the tombstones at once, or when enough time has passed since the last time.
    pub(crate) fn sweep_soon(&mut self) {
        // Further off than that it was by a wall clock that has been set back since.
        let rests = Some(self.core.sweep_rests_until).filter(|until| *until <= self.now.after(SWEEP_EVERY));
        let at = rests.map_or(self.now, |until| until.max(self.now));
        self.core.sweep_at = Some(self.core.sweep_at.map_or(at, |due| due.min(at)));
    }

    /// Drops what every site has seen, oldest first; tells whether there is more to do at once.
    pub(crate) fn sweep(&mut self) -> bool {
        let min_age = self.base.config.tombstone_min_age;
        let mut found = Vec::new();
        let mut next = None;
        let mut again = (self.base.index.dead_count() > 0).then(|| self.now.after(SWEEP_EVERY));
        for (at, (cache, key, slot)) in self.base.index.dead_from(self.core.sweep_from).enumerate() {
            let due = slot.version.clock.wall().after(min_age);
            if due > self.now {
                again = Some(due.min(self.now.after(SWEEP_EVERY)));
                break;
            }
            if at == MAX_SWEEP {
                next = Some(slot.version.clock);
                break;
            }
            if self.is_held(&cache, &key, &slot) && self.is_droppable(&cache, &slot, None) {
                found.push((cache, key, slot));
            }
        }
        if next.is_none() {
            let rest = Millis::new(self.base.index.dead_count() / LOOKED_AT_PER_MILLISECOND).min(SWEEP_EVERY);
            // Few need none: then nothing depends on when they were looked through.
            let rests = rest > Millis::ZERO;
            self.core.sweep_rests_until = if rests { self.now.after(rest) } else { Timestamp::ZERO };
        }
        self.core.sweep_from = next.unwrap_or(Clock::ZERO);
        self.core.sweep_at = if next.is_some() { Some(self.now) } else { again };
        for (cache, key, slot) in &found {
            self.drop_dead(cache, key, slot);
        }
        next.is_some()
    }

    fn is_held(&self, cache: &CacheName, key: &Key, slot: &Slot) -> bool {
        self.slot(cache, key).is_some_and(|held| held.sequence == slot.sequence)
    }

    /// Whether own V and every site's own stream, `left_out` apart, cover it; a mark also waits until each of those
    /// streams is past its deadline and the skew, as a site may have refreshed the entry before.
    fn is_droppable(&self, cache: &CacheName, slot: &Slot, left_out: Option<&SiteName>) -> bool {
        let guards = self.guards();
        if guards.hold(Guard::DropUnseen) && !self.core.seen.covers(&slot.version) {
            return false;
        }
        let skew = self.base.config.max_clock_skew;
        let streamed = slot.deadline.filter(|_| slot.kind == Kind::Mark && guards.hold(Guard::MarkEarly));
        self.is_local(cache)
            || self.core.peers.iter().filter(|(site, _)| Some(*site) != left_out).all(|(_, peer)| {
                let in_time = streamed.is_none_or(|deadline| peer.past > deadline.after(skew));
                let seen = if guards.hold(Guard::OutOfBand) { &peer.heard } else { &peer.seen };
                // What it has ended may have been sent before.
                let told = !peer.unspoken.has(cache, &slot.version) || peer.acknowledged_all() >= slot.sequence;
                let had = peer.lacks.as_ref().is_some_and(|lacks| !lacks.contains(cache));
                in_time && had && seen.covers(&slot.version) && told
            })
    }

    fn drop_dead(&mut self, cache: &CacheName, key: &Key, slot: &Slot) {
        if !self.is_local(cache) {
            self.core.dropped.raise(slot.version.origin, slot.version.clock);
        }
        self.forget(cache, key, false);
    }

    /// Beyond the bounds of number and age, leaves the isolated peer to reconcile.
    pub(crate) fn force(&mut self, read: &dyn Records) {
        let timed_out = |round: &Round| self.now >= round.begun.after(ROUND_TIMEOUT);
        if self.core.round.as_ref().is_some_and(timed_out) {
            self.core.round = None;
        }
        let Some(isolated) = self.isolated().filter(|_| self.core.round.is_none()) else { return };
        let forced = self.forcible(&isolated, None, read);
        if forced.is_empty() {
            return;
        }
        let alone = self.core.peers.len() == 1 || !self.guards().hold(Guard::Unannounced);
        if alone {
            for (cache, key, slot) in &forced {
                self.drop_dead(cache, key, slot);
            }
            return;
        }
        let mut dropped = self.core.dropped.clone();
        for (_, _, slot) in &forced {
            dropped.raise(slot.version.origin, slot.version.clock);
        }
        self.core.rounds += 1;
        self.core.round = Some(Round {
            number: self.core.rounds,
            isolated,
            dropped,
            isolated_seen: part_of(&self.core.seen, &isolated),
            agreed: Default::default(),
            begun: self.now,
        });
        self.core.sweep_at =
            Some(self.core.sweep_at.map_or(self.now.after(ROUND_TIMEOUT), |at| at.min(self.now.after(ROUND_TIMEOUT))));
    }

    /// The one peer that is cut from this relay both ways while all others are linked both ways.
    fn isolated(&self) -> Option<SiteName> {
        let mut away = self.core.peers.iter().filter(|(_, peer)| peer.is_isolated());
        let (isolated, _) = away.next()?;
        let others = |(site, peer): (&SiteName, &super::replica::PeerReport)| {
            site == isolated || (peer.incoming && peer.outgoing)
        };
        self.core.peers.iter().all(others).then_some(*isolated)
    }

    /// Tombstones that may be forced out: `within` a G that was agreed on, or else those beyond the bounds.
    fn forcible(
        &self,
        isolated: &SiteName,
        within: Option<&Vector>,
        read: &dyn Records,
    ) -> Vec<(CacheName, Key, Slot)> {
        let config = &self.base.config;
        let surplus = self.base.index.dead_count().saturating_sub(config.max_tombstones);
        let mut forced = Vec::new();
        for (cache, key, slot) in self.base.index.dead_from(Clock::ZERO).take(MAX_FORCED) {
            let old = self.now >= slot.version.clock.wall().after(config.tombstone_max_age);
            let wanted = match within {
                Some(dropped) => dropped.covers(&slot.version),
                None => old || (forced.len() as u64) < surplus,
            };
            if !wanted && within.is_none() {
                break;
            }
            let kind = slot.kind == Kind::Tombstone || !self.guards().hold(Guard::MarkForced);
            let held = wanted && kind && self.is_held(&cache, &key, &slot);
            if held && self.is_droppable(&cache, &slot, Some(isolated)) && self.is_context_seen(&slot, read) {
                forced.push((cache, key, slot));
            }
        }
        forced
    }

    /// Whether V covers what the tombstone replaced: its context and its birth. One that can't be read stays: what holds
    /// the log tells of that, and the rest of what is owed to time goes on.
    fn is_context_seen(&self, slot: &Slot, read: &dyn Records) -> bool {
        if !self.guards().hold(Guard::ContextUnseen) {
            return true;
        }
        let seen = &self.core.seen;
        seen.covers(&slot.birth) && self.record(slot.sequence, read).is_ok_and(|record| seen.includes(&record.context))
    }

    /// A peer asks: it has the same of the isolated site as this relay, which is cut from it too? Then this relay holds
    /// the new G from this commit on.
    pub(crate) fn drop_proposed(&mut self, peer: SiteName, proposal: DropProposal) -> Decided {
        self.peer(&peer)?;
        self.check_vector(&proposal.dropped)?;
        self.check_vector(&proposal.isolated_seen)?;
        let isolated = proposal.isolated;
        if isolated == peer || isolated == self.base.config.site {
            return Err(Refusal::new(ErrorCode::BadArgument, "neither side of a link is the isolated site"));
        }
        let cut = self.peer(&isolated)?.is_isolated();
        let isolated_seen = part_of(&self.core.seen, &isolated);
        let equal = isolated_seen == proposal.isolated_seen || !self.guards().hold(Guard::Unagreed);
        let agreed = cut && equal && self.core.seen.includes(&proposal.dropped);
        if agreed {
            self.durable |= self.core.dropped.join(&proposal.dropped);
        }
        Ok(Answer::Drop(DropAnswer { round: proposal.round, agreed, isolated_seen }))
    }

    /// A peer has answered: when all agree, and nothing has changed since, the tombstones go.
    pub(crate) fn drop_answered(&mut self, peer: SiteName, answer: DropAnswer, read: &dyn Records) -> Decided {
        self.peer(&peer)?;
        let Some(mut round) = self.core.round.clone().filter(|round| round.number == answer.round) else {
            return Ok(Answer::Done);
        };
        if !answer.agreed || self.isolated() != Some(round.isolated) {
            self.core.round = None;
            return Ok(Answer::Done);
        }
        round.agreed.insert(peer);
        let all = self.core.peers.keys().all(|site| *site == round.isolated || round.agreed.contains(site));
        if !all {
            self.core.round = Some(round);
            return Ok(Answer::Done);
        }
        let unchanged = part_of(&self.core.seen, &round.isolated) == round.isolated_seen;
        let forced = if unchanged || !self.guards().hold(Guard::Unagreed) {
            self.forcible(&round.isolated, Some(&round.dropped), read)
        } else {
            Vec::new()
        };
        for (cache, key, slot) in &forced {
            self.drop_dead(cache, key, slot);
        }
        self.core.round = None;
        Ok(Answer::Done)
    }
}

/// The components of the origins of one site.
fn part_of(vector: &Vector, site: &SiteName) -> Vector {
    vector.iter().filter(|(origin, _)| origin.site == *site).collect()
}
