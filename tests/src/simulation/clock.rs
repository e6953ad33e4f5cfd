//! A site's wall clock: virtual time, and how wrong it is.

use std::sync::{Mutex, PoisonError};

use landbridge_protocol::time::Timestamp;
use landbridge_relay::clock::Clock;
use tokio::time::Instant;

/// What the right clock shows when a simulation begins: 2100 does. Nodes look at certificates by the clock of the machine that
/// simulates; what is to end in a run must not have ended by that one.
pub const EPOCH: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// Looks at a clock in one moment of virtual time that can't have an end.
const STANDS_STILL: u64 = 200_000;

/// A wall clock that can be set and can run fast or slow.
#[derive(Debug)]
pub struct SimulatedClock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    began: Instant,
    /// Since when it runs at this rate, and what it showed then.
    since: Instant,
    shown: u64,
    /// Parts of a million that it runs fast by.
    fast_by: i64,
    /// The moment of the last look, and how many there were in it.
    looks: (Instant, u64),
}

impl SimulatedClock {
    /// One that is right.
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Hands { began: now, since: now, shown: EPOCH.as_millis(), fast_by: 0, looks: (now, 0) }))
    }

    /// Sets it by so much, and has it run fast by so many parts of a million from now on.
    pub fn disturb(&self, by_ms: i64, fast_by: i64) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.shown = hands.shows().saturating_add_signed(by_ms);
        hands.since = Instant::now();
        hands.fast_by = fast_by;
    }

    /// Sets it right.
    pub fn right(&self) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        hands.shown = EPOCH.as_millis() + (now - hands.began).as_millis() as u64;
        hands.since = now;
        hands.fast_by = 0;
    }
}

impl Default for SimulatedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Hands {
    fn shows(&self) -> u64 {
        let passed = (Instant::now() - self.since).as_millis() as i64;
        self.shown.saturating_add_signed(passed + passed * self.fast_by / 1_000_000)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let looks = if hands.looks.0 == now { hands.looks.1 + 1 } else { 0 };
        hands.looks = (now, looks);
        assert!(looks < STANDS_STILL, "a task does something over and over, and time stands still");
        Timestamp::from_millis(hands.shows())
    }
}
