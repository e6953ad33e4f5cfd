//! The promises of the design, each as a check of a history and of what is to be seen in its end.
//!
//! A check never cries wolf: what may have destroyed a write for good (a disk that was wiped, or replaced by an old copy,
//! before anybody else had it) is reckoned with, by going through what was durable where. Each says of itself where it is
//! exact, and where it lets something pass.

mod atomic;
mod durable;
mod ledger;
mod local;
mod reads;
mod told;

use std::fmt;

use self::ledger::Ledger;
use super::{plan::Plan, world::Run};

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged write survives.
    Durable,
    /// No write waits for another site.
    Local,
    /// Sites that have heard the same hold the same.
    Convergent,
    /// What is gone never returns.
    GoneIsGone,
    /// A listener hears the last change of each key, in order, and can read what it was told.
    Told,
    /// Who reads at a site sees what was written there before.
    ReadsOwnWrites,
    /// Conditional writes decide on what is there.
    Atomic,
    /// No panic, and nothing that should not start or end.
    Sound,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl Broken {
    pub(super) fn new(promise: Promise, how: impl Into<String>) -> Self {
        Self { promise, how: how.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.how)
    }
}

/// The first promise that the run has broken, where it has broken any.
pub fn check(plan: &Plan, run: &Run) -> Result<(), Broken> {
    let ledger = Ledger::of(&run.history, plan);
    durable::check(&ledger, run)?;
    atomic::check(&ledger)?;
    reads::check(&ledger)?;
    told::check_history(&ledger)?;
    local::check(plan, &ledger)?;
    durable::check_gone(&ledger, run)?;
    durable::check_convergence(plan, run)?;
    durable::check_end(&ledger, run)?;
    told::check_end(plan, &ledger, run)
}
