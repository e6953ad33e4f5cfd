//! An application node of the demo: a session with its relay, and a local copy of the cache `sessions` kept by events.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use landbridge_client::{Cache, Change, Client, Event, EventKind, Listener, Profile, Version, Written};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{StepError, layout::Layout};

/// How long a node waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A user's session as this application keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Who is logged in.
    pub(crate) user: String,
    /// The node that refreshed it last.
    pub(crate) refreshed_by: String,
    /// How often it was refreshed.
    pub(crate) refreshes: u64,
}

impl Session {
    /// A session as a login at `node` begins it.
    pub(crate) fn begun(user: &str, node: &str) -> Self {
        Self { user: user.into(), refreshed_by: node.into(), refreshes: 0 }
    }

    /// The session after one more refresh.
    pub(crate) fn refreshed(&self, node: &str) -> Self {
        Self { user: self.user.clone(), refreshed_by: node.into(), refreshes: self.refreshes + 1 }
    }
}

/// What a node knows of the cache by its events alone.
#[derive(Debug, Default)]
pub(crate) struct Local {
    entries: BTreeMap<String, Written<String, Session>>,
    /// The last event of each key: its kind, and when it was heard.
    last: BTreeMap<String, (EventKind, Instant)>,
    gaps: u64,
    failure: Option<String>,
}

impl Local {
    /// The session of that key.
    pub(crate) fn session(&self, key: &str) -> Option<&Session> {
        self.entries.get(key).map(|written| &written.value)
    }

    /// When an event of that kind was the last one of that key.
    pub(crate) fn heard(&self, key: &str, kind: EventKind) -> Option<Instant> {
        self.last.get(key).filter(|(last, _)| *last == kind).map(|(_, at)| *at)
    }

    /// Keys and versions.
    pub(crate) fn versions(&self) -> BTreeMap<String, Version> {
        self.entries.iter().map(|(key, written)| (key.clone(), written.version)).collect()
    }

    /// How often events were missed that could not be told any more.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    fn apply(&mut self, event: Event<String, Session>) {
        if let Some(key) = event.key() {
            self.last.insert(key.clone(), (event.kind(), Instant::now()));
        }
        match event.change {
            Change::Created(w) | Change::Modified(w) => {
                self.entries.insert(w.key.clone(), w);
            }
            Change::Removed(ended) | Change::Expired(ended) => {
                self.entries.remove(&ended.key);
            }
            Change::Cleared { floor, .. } => self.entries.retain(|_, written| written.birth >= floor),
            Change::Gap => {
                self.gaps += 1;
                self.entries.clear();
            }
            Change::SnapshotEnd => {}
        }
    }
}

/// A node that has joined.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its client.
    pub(crate) client: Client,
    /// The cache of the story.
    pub(crate) sessions: Cache<String, Session>,
    local: watch::Receiver<Local>,
    _listening: Listening,
}

/// Ends the listening when the node is dropped.
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Node {
    /// Joins the site as `name` and listens.
    pub(crate) async fn join(layout: &Layout, name: &'static str, tasks: &mut JoinSet<()>) -> Result<Self, StepError> {
        let profile = Profile::load(layout.node_profile(name)).map_err(StepError::of)?;
        let client = Client::builder().profile(profile).connect().await.map_err(StepError::of)?;
        let sessions = client.cache::<String, Session>("sessions")?;
        let listener = sessions.listen().snapshot().start().await?;
        let (tell, local) = watch::channel(Local::default());
        let listening = Listening(tasks.spawn(listen(listener, tell)));
        Ok(Self { name, client, sessions, local, _listening: listening })
    }

    /// What it knows now.
    pub(crate) fn local(&self) -> watch::Ref<'_, Local> {
        self.local.borrow()
    }

    /// Waits until what it knows by its events is so; gives what `seen` gave.
    pub(crate) async fn until<T>(&self, what: &str, mut seen: impl FnMut(&Local) -> Option<T>) -> Result<T, StepError> {
        let mut local = self.local.clone();
        let mut found = None;
        let waiting = local.wait_for(|local| {
            found = seen(local);
            found.is_some() || local.failure.is_some()
        });
        let ended = tokio::time::timeout(PATIENCE, waiting).await;
        if let Ok(Ok(local)) = &ended
            && let Some(failure) = &local.failure
        {
            return Err(StepError::new(format!("{}'s listener ended: {failure}", self.name)));
        }
        drop(ended);
        found.ok_or_else(|| StepError::new(format!("{} has not seen {what} after {PATIENCE:?}", self.name)))
    }

    /// The log line of a removal, as the scenario has it: the key's owner, one of the site's nodes, does not skip it.
    pub(crate) fn removal_line(&self, key: &str) -> Result<(String, bool), StepError> {
        let skip = self.client.owner(key)?.as_deref() != Some(self.name);
        let line =
            format!("Received event from remote store. Event 'CLIENT_CACHE_ENTRY_REMOVED', key '{key}', skip '{skip}'");
        Ok((line, skip))
    }
}

async fn listen(mut listener: Listener<String, Session>, tell: watch::Sender<Local>) {
    while let Some(event) = listener.next().await {
        match event {
            Ok(event) => tell.send_modify(|local| local.apply(event)),
            Err(error) => tell.send_modify(|local| local.failure = Some(error.to_string())),
        }
    }
}
