//! Batches in flight on one ordered stream, and how far the receiver lags.

use std::collections::VecDeque;

use landbridge_protocol::{
    position::{Sequence, Through},
    time::{Millis, Timestamp},
};

/// Positions whose age is remembered.
const MAX_MARKS: usize = 1024;

/// The ends of batches that are not acknowledged, in order; bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    bound: usize,
    flying: VecDeque<Through>,
}

impl Window {
    /// An empty one for at most `bound` batches.
    pub fn new(bound: usize) -> Self {
        Self { bound: bound.max(1), flying: VecDeque::new() }
    }

    /// Whether another batch may go.
    pub fn has_room(&self) -> bool {
        self.flying.len() < self.bound
    }

    /// How many fly.
    pub fn len(&self) -> usize {
        self.flying.len()
    }

    /// Whether all is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// A batch went.
    pub fn sent(&mut self, through: Through) {
        self.flying.push_back(through);
    }

    /// An acknowledgement of the batch that ends there, and of those before; `false`: no such batch flies.
    #[must_use]
    pub fn acknowledged(&mut self, through: Through) -> bool {
        let Some(at) = self.flying.iter().position(|flying| *flying == through) else { return false };
        self.flying.drain(..=at);
        true
    }
}

/// How far a receiver is behind the head: since when each position was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lag {
    acknowledged: Sequence,
    marks: VecDeque<(Sequence, Timestamp)>,
}

impl Lag {
    /// Notes the head. When it is full, the younger of two neighbours is forgotten, so that ages are never too small.
    pub fn note(&mut self, head: Sequence, now: Timestamp) {
        if head <= self.marks.back().map_or(self.acknowledged, |mark| mark.0) {
            return;
        }
        if self.marks.len() >= MAX_MARKS {
            let pairs: Vec<_> = self.marks.drain(..).collect();
            let older = |pair: &[(Sequence, Timestamp)]| (pair[pair.len() - 1].0, pair[0].1);
            self.marks = pairs.chunks(2).map(older).collect();
        }
        self.marks.push_back((head, now));
    }

    /// The receiver has all through here; a handshake may take that back.
    pub fn acknowledge(&mut self, through: Sequence) {
        self.acknowledged = through;
        while self.marks.front().is_some_and(|mark| mark.0 <= through) {
            self.marks.pop_front();
        }
    }

    /// An unacknowledged change is known to be as old as this.
    pub fn is_as_old_as(&mut self, written: Timestamp) {
        if let Some(first) = self.marks.front_mut() {
            first.1 = first.1.min(written);
        }
    }

    /// Changes that are not acknowledged.
    pub fn changes(&self, head: Sequence) -> u64 {
        head.get().saturating_sub(self.acknowledged.get())
    }

    /// Age of the oldest of them.
    pub fn age(&self, now: Timestamp) -> Millis {
        self.marks.front().map_or(Millis::ZERO, |oldest| now.since(oldest.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(n: u64) -> Through {
        Through { direct: Sequence::new(n), complete: Sequence::new(n) }
    }

    #[test]
    fn an_acknowledgement_covers_the_batches_before_and_only_those_sent() {
        let mut window = Window::new(3);
        for n in 1..=3 {
            assert!(window.has_room());
            window.sent(through(n));
        }
        assert!(!window.has_room());
        assert!(!window.acknowledged(through(9)));
        assert!(window.acknowledged(through(2)));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn the_age_is_that_of_the_oldest_unacknowledged_change_also_when_marks_were_thinned() {
        let mut lag = Lag::default();
        for n in 1..=5_000 {
            lag.note(Sequence::new(n), Timestamp::from_millis(n));
        }
        assert_eq!(lag.age(Timestamp::from_millis(6_000)), Millis::new(5_999));
        assert_eq!(lag.changes(Sequence::new(5_000)), 5_000);
        lag.acknowledge(Sequence::new(4_999));
        assert!(lag.age(Timestamp::from_millis(6_000)) >= Millis::new(1_000));
        lag.acknowledge(Sequence::new(5_000));
        assert_eq!(lag.age(Timestamp::from_millis(6_000)), Millis::ZERO);
    }
}
