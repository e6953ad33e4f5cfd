//! What a reader of the log may be told of V.
//!
//! A vector speaks for all that lies before it, also for what was superseded and is never sent. So a reader that begins
//! at X while the log reaches H is told nothing new until it is past H; then it is told V as of the last position before
//! which nothing lies that an unsent record stands for. A claim never goes back while the reader reads on.

use landbridge_protocol::{position::Sequence, time::Timestamp, vector::Vector, version::Origin};

use super::history::History;

/// The claim of one reader: a link, or a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Where the reader began.
    start: Sequence,
    /// The head at that time.
    whole_from: Sequence,
    claimed: Vector,
    history: History,
}

impl Claim {
    /// A reader begins after `start` while the log reaches `head`; it may be told `claimed` already.
    pub fn new(start: Sequence, head: Sequence, seen: &Vector, claimed: Vector, now: Timestamp) -> Self {
        let mut history = History::default();
        history.note(head, seen, now);
        Self { start, whole_from: head, claimed, history }
    }

    /// Notes the committed state.
    pub fn note(&mut self, head: Sequence, seen: &Vector, now: Timestamp) {
        self.history.note(head, seen, now);
    }

    /// Advances the claim of a reader that has read through the head; `stands` are the positions from which the records
    /// stand that it read and has not sent. One from before the beginning may stand for anything after `start`.
    pub fn advance(&mut self, head: Sequence, stands: impl Iterator<Item = Sequence>) {
        if let Some(seen) = self.before(head, stands).and_then(|through| self.history.seen_at(through)) {
            self.claimed.join(seen);
        }
    }

    /// Advances the claim of one origin alone: the relay's present run, whose records all were written to this log, so that
    /// what superseded one of them stands for it. Of an earlier run, V may speak for what was superseded elsewhere.
    pub fn advance_of(&mut self, origin: Origin, head: Sequence, stands: impl Iterator<Item = Sequence>) {
        let Some(seen) = self.before(head, stands).and_then(|through| self.history.seen_at(through)) else { return };
        let clock = seen.clock(&origin);
        self.claimed.raise(origin, clock);
    }

    /// The last position before which nothing lies that is stood for.
    fn before(&self, head: Sequence, stands: impl Iterator<Item = Sequence>) -> Option<Sequence> {
        let effective = |stand: Sequence| if stand <= self.whole_from { self.start.next() } else { stand };
        let through = stands.map(effective).min().map_or(head, Sequence::previous);
        (through >= self.whole_from).then_some(through)
    }

    /// What may be said now.
    pub fn vector(&self) -> &Vector {
        &self.claimed
    }

    /// The history of V that it goes by.
    pub fn history(&self) -> &History {
        &self.history
    }
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{
        name::SiteName,
        version::{Clock, RunId},
    };

    use super::*;

    fn seen(clock: u64) -> Vector {
        let site = SiteName::new("site1").expect("a name");
        [(Origin { site, run: RunId(1) }, Clock::from_bits(clock))].into_iter().collect()
    }

    fn at(n: u64) -> Sequence {
        Sequence::new(n)
    }

    #[test]
    fn one_origin_is_claimed_by_what_stands_for_it_alone() {
        let other = Origin { site: SiteName::new("site2").expect("a name"), run: RunId(1) };
        let both = |clock: u64| {
            let mut both = seen(clock);
            both.raise(other, Clock::from_bits(clock));
            both
        };
        let (own, _) = seen(1).iter().next().expect("one origin");
        let mut claim = Claim::new(at(3), at(3), &both(3), both(3), Timestamp::ZERO);
        claim.note(at(12), &both(12), Timestamp::ZERO);
        claim.advance(at(12), [at(4)].into_iter());
        claim.advance_of(own, at(12), [at(4)].into_iter());
        assert_eq!(*claim.vector(), both(3), "what waits stands for all of it");
        claim.advance_of(own, at(12), std::iter::empty());
        assert_eq!(claim.vector().clock(&own), Clock::from_bits(12));
        assert_eq!(claim.vector().clock(&other), Clock::from_bits(3), "and nothing of others");
    }

    #[test]
    fn nothing_is_claimed_while_something_from_before_the_beginning_is_unsent() {
        let mut claim = Claim::new(at(3), at(10), &seen(10), seen(3), Timestamp::ZERO);
        claim.note(at(12), &seen(12), Timestamp::ZERO);
        claim.advance(at(12), [at(9)].into_iter());
        assert_eq!(claim.vector(), &seen(3));
        claim.advance(at(12), [at(12)].into_iter());
        assert_eq!(claim.vector(), &seen(10), "as of the last noted position before the unsent one");
        claim.advance(at(12), std::iter::empty());
        assert_eq!(claim.vector(), &seen(12));
    }

    #[test]
    fn a_claim_does_not_go_back() {
        let mut claim = Claim::new(at(0), at(0), &seen(0), Vector::new(), Timestamp::ZERO);
        claim.note(at(5), &seen(5), Timestamp::ZERO);
        claim.advance(at(5), std::iter::empty());
        claim.advance(at(5), [at(2)].into_iter());
        assert_eq!(claim.vector(), &seen(5));
    }
}
