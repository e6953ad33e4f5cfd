//! The store, as sessions see it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use landbridge_protocol::{
    error::Refusal,
    frame::node::{Entry, Page},
    name::CacheName,
    record::Key,
    version::{self, RunId},
};
use tokio::sync::{oneshot, watch};

use super::readiness::Readiness;
use crate::{
    clock::Clock,
    engine::command::{Command, Decided},
    session::{PageOf, Shelf, Terms},
    store::Store,
};

/// Bytes of an entry besides key and value, about.
const ENTRY_OVERHEAD: usize = 64;
/// Keys that are looked at in one go: nothing is published meanwhile.
pub(super) const MAX_LOOK: usize = 4096;

/// A store and the time: what sessions and subscriptions see of a relay.
#[derive(Clone)]
pub struct Stock {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// The caches, as they are configured now.
    pub(super) terms: watch::Receiver<Arc<Terms>>,
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stock")
    }
}

impl Stock {
    /// Of that store; the caches are served as `terms` says at each moment.
    pub fn new(store: Store, clock: Arc<dyn Clock>, terms: watch::Receiver<Arc<Terms>>) -> Self {
        Self { store, clock, terms }
    }
}

impl Shelf for Stock {
    fn run(&self) -> RunId {
        self.store.view(|replica| replica.origin().run)
    }

    fn clock(&self) -> version::Clock {
        self.store.view(|replica| replica.clock())
    }

    fn ready(&self) -> Result<(), Refusal> {
        Readiness::of(&self.store, self.clock.now()).check()
    }

    fn entry(&self, cache: &CacheName, key: &Key) -> Result<Option<Entry>, Refusal> {
        let entry = self.store.entry(cache, key)?;
        // Its value would keep the whole commit in memory that it was read from, and a request may ask for many.
        Ok(entry.map(|entry| Entry { value: Bytes::copy_from_slice(&entry.value), ..entry }))
    }

    fn contains(&self, cache: &CacheName, key: &Key) -> bool {
        let now = self.clock.now();
        self.store.view(|replica| replica.live(cache, key, now).is_some())
    }

    fn value_bytes(&self, cache: &CacheName, key: &Key) -> usize {
        let now = self.clock.now();
        self.store.view(|replica| replica.live(cache, key, now)).map_or(0, |slot| slot.value_bytes as usize)
    }

    fn size(&self, cache: &CacheName) -> u64 {
        self.store.view(|replica| replica.stats(cache)).map_or(0, |stats| stats.entries)
    }

    async fn page(&self, of: PageOf) -> Result<Page, Refusal> {
        let PageOf { cache, prefix, mut after, entries: most, bytes: room, values } = of;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        // Again where all that was found is gone by the time that it is read, and where what was looked at was all removed: a
        // page without entries has none after it.
        loop {
            let now = self.clock.now();
            let bounds = (most.saturating_add(1), MAX_LOOK);
            let (found, on) = self.store.view(|replica| replica.entries(&cache, &prefix, after.as_ref(), bounds, now));
            let cut_short = found.len() > most;
            for (key, slot) in found.into_iter().take(most) {
                after = Some(key.clone());
                bytes += key.as_bytes().len() + ENTRY_OVERHEAD + if values { slot.value_bytes as usize } else { 0 };
                if bytes > room && !entries.is_empty() {
                    return Ok(Page { entries, more: true });
                }
                let bare =
                    Entry { key: key.clone(), version: slot.version, deadline: slot.deadline, value: Bytes::new() };
                entries.extend(if values { self.entry(&cache, &key)? } else { Some(bare) });
            }
            let more = cut_short || on.is_some();
            if !more || !entries.is_empty() {
                return Ok(Page { entries, more });
            }
            after = on.filter(|_| !cut_short).or(after);
            tokio::task::yield_now().await;
        }
    }

    async fn place(&self, command: Command) -> oneshot::Receiver<Decided> {
        self.store.place(command).await
    }
}
