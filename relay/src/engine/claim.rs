//! What a reader of the log may be told of V.
//!
//! A vector speaks for all that lies before it, also for what was superseded and is never sent. So a reader that begins
//! at X while the log reaches H is told nothing new until it is past H; then it is told V as of the last position before
//! which nothing lies that an unsent record stands for. A claim never goes back while the reader reads on.

use landbridge_protocol::{position::Sequence, time::Timestamp, vector::Vector};

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
        let effective = |stand: Sequence| if stand <= self.whole_from { self.start.next() } else { stand };
        let through = stands.map(effective).min().map_or(head, Sequence::previous);
        if through < self.whole_from {
            return;
        }
        if let Some(seen) = self.history.seen_at(through) {
            self.claimed.join(seen);
        }
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
        version::{Clock, Origin, RunId},
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
