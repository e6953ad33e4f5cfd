//! How long to wait before the next try: doubling, capped, with jitter, so that the nodes of a site don't come back to
//! a restarted relay all at once.

use std::time::Duration;

/// The wait after the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(50);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(2);

/// The waits between tries. Randomness is handed in as a seed.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed }
    }

    /// The wait before the next try: between half and the whole of the doubled one.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.random = splitmix64(self.random);
        let half = whole / 2;
        half + half.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// One step of Steele, Lea and Flood's SplitMix64: good enough to spread tries, and to finish a hash.
pub(crate) fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        for (failures, wait) in waits.iter().enumerate() {
            let whole = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
            assert!(whole / 2 <= *wait && *wait <= whole, "{failures}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn two_clients_wait_differently() {
        assert_ne!(Backoff::new(1).next(), Backoff::new(2).next());
    }
}
