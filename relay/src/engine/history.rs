//! A bounded history of V by position in the log: what may be claimed as of an earlier position, and when it was new.

use std::collections::VecDeque;

use landbridge_protocol::{position::Sequence, time::Timestamp, vector::Vector};

/// Positions that a history remembers.
pub const MAX_HISTORY: usize = 1024;

/// V as of positions of the log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct History {
    moments: VecDeque<Moment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Moment {
    head: Sequence,
    seen: Vector,
    at: Timestamp,
}

impl History {
    /// Notes the committed state. When it is full, every second position is forgotten: an earlier V is always a safe one.
    pub fn note(&mut self, head: Sequence, seen: &Vector, now: Timestamp) {
        if self.moments.back().is_some_and(|last| last.head >= head) {
            return;
        }
        if self.moments.len() >= MAX_HISTORY {
            let mut keep = false;
            self.moments.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.moments.push_back(Moment { head, seen: seen.clone(), at: now });
    }

    /// V as of the last remembered position at or before `position`.
    pub fn seen_at(&self, position: Sequence) -> Option<&Vector> {
        let after = self.moments.partition_point(|moment| moment.head <= position);
        after.checked_sub(1).map(|at| &self.moments[at].seen)
    }

    /// Positions through which everything was in the log at `time`.
    pub fn head_at(&self, time: Timestamp) -> Option<Sequence> {
        let after = self.moments.partition_point(|moment| moment.at <= time);
        after.checked_sub(1).map(|at| self.moments[at].head)
    }

    /// When the first position after `head_at(time)` was noted, which is when it will be old enough.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let after = self.moments.partition_point(|moment| moment.at <= time);
        self.moments.get(after).map(|moment| moment.at)
    }

    /// Forgets all, as when a connection ends.
    pub fn clear(&mut self) {
        self.moments.clear();
    }

    /// How many positions are remembered.
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
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

    #[test]
    fn an_answer_is_never_newer_than_the_position_asked_for() {
        let mut history = History::default();
        for n in 1..=10 * MAX_HISTORY as u64 {
            history.note(Sequence::new(n), &seen(n), Timestamp::from_millis(n));
            assert!(history.len() <= MAX_HISTORY);
        }
        let last = 10 * MAX_HISTORY as u64;
        for n in [1, 2, 77, 5_000, last - 1, last] {
            assert!(seen(n).includes(history.seen_at(Sequence::new(n)).expect("the first is kept")));
        }
        assert_eq!(history.seen_at(Sequence::new(last)), Some(&seen(last)));
        assert_eq!(history.seen_at(Sequence::ZERO), None);
    }
}
