//! A load for the demo: one node that keeps refreshing its sessions, and remembers what was acknowledged.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use landbridge_client::{Cache, Version};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    StepError,
    node::{Node, Session},
};

/// Sessions that one load writes in turn.
const KEYS: u64 = 200;

/// A running load.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Done, StepError>>,
}

/// What a load has done.
pub(super) struct Done {
    pub(super) node: &'static str,
    pub(super) writes: u64,
    pub(super) longest: Duration,
    /// The last acknowledged version of each key.
    pub(super) versions: BTreeMap<String, Version>,
}

impl Load {
    /// Starts writing, one write after the other.
    pub(super) fn start(node: &Node) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(write(node.name, node.sessions.clone(), stopped));
        Self { stop, task }
    }

    /// Ends after the write under way.
    pub(super) async fn stop(self) -> Result<Done, StepError> {
        self.stop.send_replace(true);
        self.task.await.map_err(|e| StepError::new(format!("the load broke: {e}")))?
    }
}

async fn write(
    node: &'static str,
    sessions: Cache<String, Session>,
    stopped: watch::Receiver<bool>,
) -> Result<Done, StepError> {
    let mut done = Done { node, writes: 0, longest: Duration::ZERO, versions: BTreeMap::new() };
    while !*stopped.borrow() {
        let key = format!("load-{node}-{:03}", done.writes % KEYS);
        let session = Session { user: key.clone(), refreshed_by: node.into(), refreshes: done.writes / KEYS };
        let begun = Instant::now();
        let version = sessions.put(&key, &session).await?;
        done.longest = done.longest.max(begun.elapsed());
        done.writes += 1;
        done.versions.insert(key, version);
    }
    Ok(done)
}
