//! Whether the relay serves, and if not, why.
//!
//! ```text
//!  Recovering ─► Filling(awaited peers) ─► Ready ─► Draining
//!                        │                   │
//!                        └──► Poisoned ◄─────┘   (until a restart)
//! ```

use std::{fmt, time::Duration};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::SiteName,
    time::Timestamp,
};
use tokio::{sync::watch, time};

use super::shelf::Stock;
use crate::store::Store;

/// How often is looked where nothing is published: poison and the end of `fill_wait` are no commits.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the relay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// The log is read.
    Recovering,
    /// The store is fresh and takes in what these peers hold; any of them, where none is named.
    Filling(Vec<SiteName>),
    /// It serves.
    Ready,
    /// A commit failed.
    Poisoned(String),
    /// It shuts down.
    Draining,
}

impl Readiness {
    /// Of a relay with that store. Looked up anew each time: a request must not be served on yesterday's word.
    pub(super) fn of(store: &Store, now: Timestamp) -> Self {
        if let Some(reason) = store.poisoned() {
            return Readiness::Poisoned(reason);
        }
        match store.view(|replica| (!replica.ready(now)).then(|| replica.awaited(now))) {
            None => Readiness::Ready,
            Some(awaited) => Readiness::Filling(awaited),
        }
    }

    /// What a node is told.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let code = match self {
            Readiness::Ready => return Ok(()),
            Readiness::Recovering | Readiness::Filling(_) => ErrorCode::NotReady,
            Readiness::Poisoned(_) => ErrorCode::StorePoisoned,
            Readiness::Draining => ErrorCode::ShuttingDown,
        };
        Err(Refusal::new(code, self.to_string()))
    }

    /// Why the relay does not serve, where it does not.
    pub(super) fn not_ready_because(&self) -> Option<String> {
        (*self != Readiness::Ready).then(|| self.to_string())
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Readiness::Recovering => f.write_str("the relay is recovering its store"),
            Readiness::Filling(awaited) if awaited.is_empty() => {
                f.write_str("the store is empty and waits for a peer to fill it")
            }
            Readiness::Filling(awaited) => {
                let names = awaited.iter().map(SiteName::as_str).collect::<Vec<_>>().join(", ");
                write!(f, "the store is empty and is not yet filled from {names}")
            }
            Readiness::Ready => f.write_str("the relay is ready"),
            Readiness::Poisoned(reason) => write!(f, "the relay's store failed ({reason}); restart the relay"),
            Readiness::Draining => f.write_str("the relay shuts down; try another, or this one again later"),
        }
    }
}

/// Follows the store until the relay drains; each change is logged once.
pub(super) async fn follow(stock: Stock, told: watch::Sender<Readiness>) {
    let Stock { store, clock, .. } = stock;
    let mut published = store.published();
    loop {
        let now = Readiness::of(&store, clock.now());
        told.send_if_modified(|before| {
            if *before == Readiness::Draining || *before == now {
                return false;
            }
            match &now {
                Readiness::Poisoned(_) => tracing::error!("{now}"),
                _ => tracing::info!("{now}"),
            }
            *before = now;
            true
        });
        if *told.borrow() == Readiness::Draining {
            return;
        }
        // Once ready, commits can't change that.
        let settled = *told.borrow() == Readiness::Ready;
        tokio::select! {
            biased;
            changed = published.changed(), if !settled => if changed.is_err() { return },
            () = time::sleep(LOOK_EVERY) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_named() {
        let site = SiteName::new("site2").unwrap();
        let filling = Readiness::Filling(vec![site]);
        let refusal = filling.check().unwrap_err();
        assert_eq!(refusal.code(), Some(ErrorCode::NotReady));
        assert!(refusal.message.contains("site2") && refusal.retryable);
        assert_eq!(Readiness::Ready.not_ready_because(), None);
        assert!(!Readiness::Poisoned("disk".into()).check().unwrap_err().retryable);
    }
}
