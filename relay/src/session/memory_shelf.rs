//! A shelf in memory, to test sessions by themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::{Entry, Outcome, Page},
    name::{CacheName, SiteName},
    record::Key,
    version::{Clock, Origin, RunId, Version},
};
use tokio::sync::{Notify, oneshot};

use super::shelf::{PageOf, Shelf};
use crate::engine::command::{Answer, Command, Decided};

/// Entries by key; writes are puts and removals, whatever they say.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) entries: Mutex<BTreeMap<Key, Entry>>,
    /// Refuses all but signs of life.
    pub(super) refused: Option<ErrorCode>,
    /// A write of the key `held` waits until this is told.
    pub(super) release: Arc<Notify>,
}

impl Shelf for Memory {
    fn run(&self) -> RunId {
        RunId(1)
    }

    fn clock(&self) -> Clock {
        Clock::from_bits(1)
    }

    fn ready(&self) -> Result<(), Refusal> {
        self.refused.map_or(Ok(()), |code| Err(Refusal::new(code, "not now")))
    }

    fn entry(&self, _: &CacheName, key: &Key) -> Result<Option<Entry>, Refusal> {
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    fn contains(&self, _: &CacheName, key: &Key) -> bool {
        self.entries.lock().unwrap().contains_key(key)
    }

    fn value_bytes(&self, _: &CacheName, key: &Key) -> usize {
        self.entries.lock().unwrap().get(key).map_or(0, |entry| entry.value.len())
    }

    fn size(&self, _: &CacheName) -> u64 {
        self.entries.lock().unwrap().len() as u64
    }

    async fn page(&self, of: PageOf) -> Result<Page, Refusal> {
        let entries: Vec<Entry> = self.entries.lock().unwrap().values().take(of.entries).cloned().collect();
        let more = entries.len() == of.entries;
        Ok(Page { entries, more })
    }

    async fn place(&self, command: Command) -> oneshot::Receiver<Decided> {
        let Command::Write { write, .. } = command else { panic!("only writes") };
        let (decide, decided) = oneshot::channel();
        let held = write.key.as_bytes() == b"held";
        let origin = Origin { site: SiteName::new("site1").unwrap(), run: RunId(1) };
        let version = Version { clock: Clock::from_bits(write.token.number), origin };
        let entry = Entry { key: write.key.clone(), version, deadline: None, value: write.value };
        let previous = self.entries.lock().unwrap().insert(write.key, entry);
        let existed = previous.is_some();
        let outcome = Ok(Answer::Written(Outcome { done: true, version: Some(version), existed, previous: None }));
        if held {
            let release = self.release.clone();
            tokio::spawn(async move {
                release.notified().await;
                let _gone = decide.send(outcome);
            });
        } else {
            let _gone = decide.send(outcome);
        }
        decided
    }
}
