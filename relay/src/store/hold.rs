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
