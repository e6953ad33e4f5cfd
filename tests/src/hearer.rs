//! A node that listens from the beginning to the end, and knows what it knows by events alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_client::{Change, Client};
use landbridge_protocol::version::Version;
use tokio::{sync::watch, task::JoinSet};

/// The value of each key, and how many gaps there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// What lives, by what was told.
    pub values: BTreeMap<String, Bytes>,
    /// What a clear judges each of them by.
    births: BTreeMap<String, Version>,
    /// How often it was told that something could not be told.
    pub gaps: u32,
    /// Values that were told, each time they were.
    pub told: u64,
}

/// A listener, through all restarts and moves. It ends when it is dropped.
#[derive(Debug)]
pub struct Hearer {
    heard: watch::Receiver<Heard>,
    _task: JoinSet<()>,
}

impl Hearer {
    /// Starts with a snapshot.
    ///
    /// # Panics
    /// When there is no subscription.
    pub async fn start(node: &Client, cache: &str) -> Self {
        let cache = node.raw(cache).expect("a cache's name");
        let mut listener = cache.listen().snapshot().start_raw().await.expect("a listener");
        let (tell, heard) = watch::channel(Heard::default());
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(event) = listener.next().await {
                let event = event.expect("a listener that goes on through restarts");
                tell.send_modify(|heard| heard.take(event.change));
            }
        });
        Self { heard, _task: task }
    }

    /// What it knows now.
    pub fn heard(&self) -> watch::Ref<'_, Heard> {
        self.heard.borrow()
    }
}

impl Heard {
    fn take(&mut self, change: Change<landbridge_protocol::record::Key, Bytes>) {
        match change {
            Change::Created(w) | Change::Modified(w) => {
                self.told += 1;
                let key = String::from_utf8_lossy(w.key.as_bytes()).into_owned();
                self.births.insert(key.clone(), w.birth);
                self.values.insert(key, w.value);
            }
            Change::Removed(e) | Change::Expired(e) => {
                self.values.remove(String::from_utf8_lossy(e.key.as_bytes()).as_ref());
            }
            Change::Cleared { floor, .. } => self.values.retain(|key, _| self.births[key] >= floor),
            Change::Gap => {
                self.values.clear();
                self.gaps += 1;
            }
            Change::SnapshotEnd => {}
        }
    }
}
