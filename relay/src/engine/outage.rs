//! How long to wait before a broken link is tried again: jittered, doubling, capped.

use landbridge_protocol::time::{Millis, Timestamp};

/// The bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Millis,
    /// The longest wait of all.
    pub cap: Millis,
}

/// When a link that fails is given up, until somebody brings it online. Both must be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflinePolicy {
    /// So many failures in a row.
    pub after_failures: u32,
    /// So long since the first of them.
    pub min_wait: Millis,
}

/// Failures in a row, and the source of jitter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outage {
    failures: u32,
    random: u64,
    hurried: Timestamp,
    /// Failures since the link last worked, whatever waits were cut short meanwhile, and when the first of them was.
    in_a_row: u32,
    since: Timestamp,
}

impl Outage {
    /// None yet. Links with different seeds wait differently.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed, hurried: Timestamp::ZERO, in_a_row: 0, since: Timestamp::ZERO }
    }

    /// Counts a failure and says when to try again: after between half and all of the doubled, capped wait.
    pub fn failed(&mut self, backoff: &Backoff, now: Timestamp) -> Timestamp {
        let doubled = backoff.first.get().saturating_mul(1 << self.failures.min(32));
        let longest = doubled.clamp(1, backoff.cap.get().max(1));
        self.failures = self.failures.saturating_add(1);
        if self.in_a_row == 0 {
            self.since = now;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let jitter = self.draw() % (longest / 2 + 1);
        now.after(Millis::new(longest - jitter))
    }

    /// The link works.
    pub fn healed(&mut self) {
        self.failures = 0;
        self.in_a_row = 0;
    }

    /// The peer is there, though the link does not work.
    pub fn answered(&mut self) {
        self.in_a_row = 0;
    }

    /// Whether the policy has the link given up: after how many failures, in which time.
    pub fn over(&self, policy: &OfflinePolicy, now: Timestamp) -> Option<(u32, Millis)> {
        let span = now.since(self.since);
        let over = self.in_a_row >= policy.after_failures.max(1) && span >= policy.min_wait;
        over.then_some((self.in_a_row, span))
    }

    /// The other side shows that it is there: whether to try again at once, and with short waits after. Not more often than
    /// that, whatever it does.
    pub fn hurry(&mut self, not_more_often: Millis, now: Timestamp) -> bool {
        let may = self.hurried == Timestamp::ZERO || self.hurried.after(not_more_often) <= now;
        if may {
            self.hurried = now;
            self.failures = 0;
        }
        may
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_to_a_cap_and_start_over_once_healed() {
        let backoff = Backoff { first: Millis::new(100), cap: Millis::new(1_000) };
        let now = Timestamp::from_millis(5_000);
        let mut outage = Outage::new(7);
        for longest in [100, 200, 400, 800, 1_000, 1_000] {
            let wait = outage.failed(&backoff, now).since(now).get();
            assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
        }
        outage.healed();
        assert!(outage.failed(&backoff, now).since(now).get() <= 100);
    }

    #[test]
    fn a_hurry_starts_over_and_has_a_bound() {
        let (backoff, often) = (Backoff { first: Millis::new(100), cap: Millis::new(10_000) }, Millis::new(1_000));
        let mut outage = Outage::new(7);
        let at = Timestamp::from_millis;
        for _ in 0..9 {
            outage.failed(&backoff, at(1));
        }
        assert!(outage.hurry(often, at(1)));
        assert!(outage.failed(&backoff, at(1)) <= at(101));
        assert!(!outage.hurry(often, at(1_000)), "within a second of the last");
        assert!(outage.hurry(often, at(1_001)));
    }

    #[test]
    fn it_is_over_after_so_many_failures_and_so_long_and_not_after_one_of_the_two() {
        let backoff = Backoff { first: Millis::new(10), cap: Millis::new(10) };
        let policy = OfflinePolicy { after_failures: 3, min_wait: Millis::new(1_000) };
        let at = |ms: u64| Timestamp::from_millis(5_000 + ms);
        let mut outage = Outage::new(7);
        for ms in [0, 10, 20, 999] {
            outage.failed(&backoff, at(ms));
            assert_eq!(outage.over(&policy, at(ms)), None, "{ms}");
        }
        outage.failed(&backoff, at(1_000));
        assert_eq!(outage.over(&policy, at(1_000)), Some((5, Millis::new(1_000))));
        outage.healed();
        for ms in [5_000, 9_000] {
            outage.failed(&backoff, at(ms));
            assert_eq!(outage.over(&policy, at(ms)), None, "{ms}");
        }
        outage.failed(&backoff, at(9_001));
        assert_eq!(outage.over(&policy, at(9_001)), Some((3, Millis::new(4_001))));
    }

    #[test]
    fn a_month_of_failures_does_not_overflow() {
        let backoff = Backoff { first: Millis::new(u64::MAX / 2), cap: Millis::new(u64::MAX) };
        let mut outage = Outage::new(1);
        for _ in 0..100 {
            assert!(outage.failed(&backoff, Timestamp::from_millis(1)) > Timestamp::from_millis(1));
        }
    }
}
