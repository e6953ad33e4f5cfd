//! Which relay to dial next: the home site's, or another site's while that one is away.
//!
//! ```text
//!            failed for `after`            failed
//!   home ────────────────────────▶ other ─────────▶ next other, or home again
//!     ▲                              │
//!     └──── home answers a probe ────┘
//! ```

use std::time::{Duration, Instant};

/// When a client goes to another site's relay, and when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failover {
    /// The home relay must have been away for so long.
    pub after: Duration,
    /// While away from home, the home relay is tried so often.
    pub probe_every: Duration,
}

impl Default for Failover {
    /// Goes after 5 s, looks home every 10 s.
    fn default() -> Self {
        Self { after: Duration::from_secs(5), probe_every: Duration::from_secs(10) }
    }
}

/// Which relay is the one to dial, by its place in the list; the home relay is the first. Pure: `now` is handed in.
#[derive(Debug)]
pub(crate) struct Route {
    relays: usize,
    failover: Failover,
    target: usize,
    failing_since: Option<Instant>,
}

impl Route {
    pub(crate) fn new(relays: usize, failover: Failover) -> Self {
        Self { relays, failover, target: 0, failing_since: None }
    }

    pub(crate) fn target(&self) -> usize {
        self.target
    }

    pub(crate) fn is_home(&self) -> bool {
        self.target == 0
    }

    /// The target was not reached, or was lost.
    pub(crate) fn failed(&mut self, now: Instant) {
        let since = *self.failing_since.get_or_insert(now);
        let patience = if self.is_home() { self.failover.after } else { Duration::ZERO };
        if self.relays > 1 && now.duration_since(since) >= patience {
            self.target = (self.target + 1) % self.relays;
            self.failing_since = None;
        }
    }

    /// The target answered.
    pub(crate) fn connected(&mut self) {
        self.failing_since = None;
    }

    /// The home relay answered a probe.
    pub(crate) fn home(&mut self) {
        self.target = 0;
        self.failing_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Failover = Failover { after: Duration::from_secs(5), probe_every: Duration::from_secs(10) };

    #[test]
    fn a_blink_of_the_home_relay_moves_nobody() {
        let (mut route, start) = (Route::new(2, POLICY), Instant::now());
        route.failed(start);
        route.failed(start + Duration::from_secs(4));
        route.connected();
        route.failed(start + Duration::from_secs(6));
        assert!(route.is_home());
    }

    #[test]
    fn away_long_enough_goes_round_the_others_and_home() {
        let (mut route, start) = (Route::new(3, POLICY), Instant::now());
        route.failed(start);
        route.failed(start + POLICY.after);
        assert_eq!(route.target(), 1);
        route.failed(start + POLICY.after);
        assert_eq!(route.target(), 2);
        route.failed(start + POLICY.after);
        assert_eq!(route.target(), 0);
        route.failed(start + POLICY.after);
        assert_eq!(route.target(), 0, "the home relay gets its time again");
    }

    #[test]
    fn home_is_where_it_returns_to() {
        let (mut route, start) = (Route::new(2, Failover { after: Duration::ZERO, ..POLICY }), Instant::now());
        route.failed(start);
        assert_eq!(route.target(), 1);
        route.connected();
        route.home();
        assert!(route.is_home());
    }

    #[test]
    fn alone_it_stays() {
        let (mut route, start) = (Route::new(1, POLICY), Instant::now());
        route.failed(start);
        route.failed(start + Duration::from_secs(3600));
        assert!(route.is_home());
    }
}
