//! Holds compaction back while a backup reads the log: what it reads early and what it reads late must be of one log, or an
//! entry would be in it without the removal that came after.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

#[derive(Debug, Default)]
struct Asked {
    holders: usize,
    /// How many have asked so far.
    count: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hold {
    asked: Mutex<Asked>,
    /// How many of those who asked were granted.
    granted: watch::Sender<u64>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { asked: Mutex::default(), granted: watch::channel(0).0 }
    }
}

impl Hold {
    /// Resolves once nothing is rewritten in the log; nothing will be until what it gives is dropped.
    pub(super) async fn take(self: &Arc<Self>) -> Held {
        let ticket = {
            let mut asked = self.asked();
            asked.holders += 1;
            asked.count += 1;
            asked.count
        };
        let held = Held(self.clone());
        let mut granted = self.granted.subscribe();
        // Its sender lives as long as this.
        drop(granted.wait_for(|granted| *granted >= ticket).await);
        held
    }

    /// Asked by the writer before it rewrites anything: whether it must not. `quiet`: no rewrite is under way.
    pub(super) fn holds(&self, quiet: bool) -> bool {
        let asked = self.asked();
        let holds = asked.holders > 0;
        if holds && quiet {
            self.granted.send_if_modified(|granted| mem::replace(granted, asked.count) != asked.count);
        }
        holds
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compaction is held back until this is dropped.
#[derive(Debug)]
pub(super) struct Held(Arc<Hold>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.asked().holders -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn granted(taking: &mut Pin<&mut impl Future<Output = Held>>) -> Option<Held> {
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(held) => Some(held),
            Poll::Pending => None,
        }
    }

    #[test]
    fn it_is_granted_once_no_rewrite_is_under_way_and_lasts_until_the_last_is_dropped() {
        let hold = Arc::new(Hold::default());
        assert!(!hold.holds(true), "nobody has asked");
        let mut first = pin!(hold.take());
        assert!(granted(&mut first).is_none());
        assert!(hold.holds(false), "nothing more is rewritten");
        assert!(granted(&mut first).is_none(), "something still is");
        assert!(hold.holds(true));
        let first = granted(&mut first).unwrap();
        let mut second = pin!(hold.take());
        assert!(granted(&mut second).is_none(), "what was granted was granted to another");
        assert!(hold.holds(true));
        let second = granted(&mut second).unwrap();
        drop(first);
        assert!(hold.holds(true));
        drop(second);
        assert!(!hold.holds(true));
    }

    #[test]
    fn who_gives_up_holds_nothing() {
        let hold = Arc::new(Hold::default());
        let mut taking = Box::pin(hold.take());
        assert!(granted(&mut taking.as_mut()).is_none());
        assert!(hold.holds(false));
        drop(taking);
        assert!(!hold.holds(true));
    }
}
