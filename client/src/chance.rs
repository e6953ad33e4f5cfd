//! Where a client's random numbers come from: its own name for its writes, and the jitter of its waits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::backoff::splitmix64;

/// A source of random numbers. Clones draw from the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chance(Option<Arc<AtomicU64>>);

impl Chance {
    /// Numbers that follow from a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// 64 bits: the operating system's, unless there is a seed.
    pub(crate) fn next(&self) -> u64 {
        match &self.0 {
            Some(seed) => splitmix64(seed.fetch_add(1, Ordering::Relaxed)),
            None => getrandom::u64().expect("an operating system that has no randomness can't do TLS either"),
        }
    }
}
