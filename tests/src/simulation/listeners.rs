//! Nodes that listen: they leave, resume here or at another site, and know what they know by events alone.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use landbridge_client::{Change, Client, RawListener, Token};
use landbridge_protocol::{record::Key, time::Timestamp, version::Version};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};

use super::{
    dice::Dice,
    history::{Happening, History},
    mutation::{EVENTS, Misses, Mutation},
    nodes::Town,
    plan::{CACHES, Listener, Move, Planned},
};

/// The first of the numbers that listeners have among their site's nodes.
pub const FIRST_NUMBER: usize = 40;
/// A listener that could not subscribe tries again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// One that is away for longer is disconnected.
const LONG_MS: u64 = 60_000;
/// No listener is slow any more when so much time has passed: before long it is calm.
const SLOW_UNTIL_MS: u64 = 60_000;

/// What a listener holds for true: version, value and deadline of each key. What is past its deadline is gone for it, told or
/// not: who was away then, and comes back when the mark of it was let go, knows it by the deadline.
pub type Model = BTreeMap<Key, (Version, Bytes, Option<Timestamp>)>;

/// Listens for as long as it is polled. `tell` has what it knows.
pub async fn listen(
    town: Town,
    number: usize,
    plan: Listener,
    mut dice: Dice,
    tell: watch::Sender<Model>,
    mutation: Option<Mutation>,
) {
    let history = town.history.clone();
    let births = BTreeMap::new();
    let pace = Pace { history: history.clone(), reads_ms: plan.reads_ms, pauses: plan.pauses.into() };
    let (listener, snapshot, events) = (number, None, 0);
    let mut hearing = Hearing { history: history.clone(), listener, births, snapshot, events, pace, tell, mutation };
    let (mut site, mut token) = (plan.site, None);
    let mut moves = plan.moves.into_iter();
    let mut clients: BTreeMap<usize, Client> = BTreeMap::new();
    loop {
        let next: Option<Planned<Move>> = moves.next();
        let leaves = next.map(|next| history.moment(next.at_ms));
        let gone = async {
            match leaves {
                Some(leaves) => sleep_until(leaves).await,
                None => std::future::pending().await,
            }
        };
        let hear = async {
            let client = match clients.get(&site) {
                Some(client) => client.clone(),
                None => {
                    let name = format!("listener{number}");
                    let client = town.node(site, &name, FIRST_NUMBER + number, &mut dice).await;
                    clients.entry(site).or_insert(client).clone()
                }
            };
            hearing.at_one_site(&client, (site, plan.cache), &mut token, &mut dice).await;
        };
        tokio::select! {
            biased;
            () = gone => {}
            () = hear => {}
        }
        // Only one that is to leave comes back from there.
        if let Some(Planned { what: Move { away_ms, to }, .. }) = next {
            if away_ms > LONG_MS {
                clients.clear();
            }
            sleep(Duration::from_millis(away_ms)).await;
            site = to;
        }
    }
}

/// How fast a listener reads.
struct Pace {
    history: History,
    reads_ms: u64,
    pauses: VecDeque<Planned<u64>>,
}

impl Pace {
    /// Whether it did not read for a while.
    async fn pause(&mut self) -> bool {
        let mut paused = false;
        while let Some(pause) = self.pauses.pop_front_if(|pause| pause.at_ms <= self.history.now_ms()) {
            sleep(Duration::from_millis(pause.what)).await;
            paused = true;
        }
        paused
    }

    /// In time it is as fast as the others.
    async fn read(&self) {
        if self.reads_ms > 0 && self.history.now_ms() < SLOW_UNTIL_MS {
            sleep(Duration::from_millis(self.reads_ms)).await;
        }
    }
}

struct Hearing {
    history: History,
    listener: usize,
    /// What a clear judges each key by that was told last.
    births: BTreeMap<Key, Version>,
    /// What a snapshot has said so far, while one is told.
    snapshot: Option<Model>,
    events: u32,
    pace: Pace,
    tell: watch::Sender<Model>,
    mutation: Option<Mutation>,
}

impl Hearing {
    /// Hears for as long as it is polled.
    async fn at_one_site(
        &mut self,
        client: &Client,
        (site, cache): (usize, usize),
        token: &mut Option<Token>,
        dice: &mut Dice,
    ) {
        let listener = self.listener;
        let cache = client.raw(CACHES[cache].0).expect("a cache's name");
        loop {
            let resumes = token.is_some();
            let listen = match token.clone() {
                Some(token) => cache.listen().from(token),
                None => cache.listen().snapshot(),
            };
            let Ok(mut heard) = listen.start_raw().await else {
                sleep(AGAIN).await;
                continue;
            };
            // A snapshot that was cut begins anew.
            self.snapshot = (!resumes).then(Model::new);
            self.history.happened(Happening::Subscribed { listener, site, resumes });
            let mut skips = resumes && self.mutation == Some(Mutation::ResumeSkips);
            loop {
                let paused = self.pace.pause().await;
                let Some(change) = next(&mut heard, token).await else { break };
                let missed = paused && self.mutation == Some(Mutation::Listener(Misses::WhilePaused));
                if std::mem::take(&mut skips) || missed {
                    continue;
                }
                self.take(&change);
                self.history.happened(Happening::Told { listener, change: change.clone() });
                self.pace.read().await;
                let (Some(key), Some(told)) = (written_key(&change), version_of(&change)) else { continue };
                // Asked at the same relay, by the same connection; where that is lost nothing is known.
                if dice.chance(400)
                    && let Ok(found) = cache.get_versioned(key).await
                {
                    let found = found.map(|found| found.version);
                    let key = key.clone();
                    self.history.happened(Happening::Found { listener, site, told, key, found });
                }
            }
        }
    }

    fn misses(&mut self, change: &Change<Key, Bytes>) -> bool {
        self.events += 1;
        match (self.mutation, change) {
            (Some(Mutation::Listener(Misses::Events)), _) => self.events.is_multiple_of(EVENTS),
            (Some(Mutation::Listener(Misses::Removals)), change) => matches!(change, Change::Removed(_)),
            (Some(Mutation::Listener(Misses::Gaps)), change) => matches!(change, Change::Gap),
            _ => false,
        }
    }

    fn take(&mut self, change: &Change<Key, Bytes>) {
        if self.misses(change) {
            return;
        }
        if let Change::Created(written) | Change::Modified(written) = change {
            self.births.insert(written.key.clone(), written.birth);
        }
        let births = &self.births;
        let told = match &mut self.snapshot {
            Some(snapshot) => {
                if matches!(change, Change::SnapshotEnd) {
                    let snapshot = self.snapshot.take().unwrap_or_default();
                    self.tell.send_replace(snapshot);
                    return;
                }
                apply(snapshot, births, change);
                matches!(change, Change::Gap)
            }
            None => {
                self.tell.send_modify(|model| apply(model, births, change));
                matches!(change, Change::Gap)
            }
        };
        if told {
            self.snapshot = Some(Model::new());
        }
    }
}

/// The next event; the token moves with it. `None` where the subscription has ended.
async fn next(heard: &mut RawListener, token: &mut Option<Token>) -> Option<Change<Key, Bytes>> {
    let event = heard.next().await?.ok()?;
    if heard.token().is_some() {
        *token = heard.token().cloned();
    }
    Some(event.change)
}

fn apply(model: &mut Model, births: &BTreeMap<Key, Version>, change: &Change<Key, Bytes>) {
    match change {
        Change::Created(written) | Change::Modified(written) => {
            model.insert(written.key.clone(), (written.version, written.value.clone(), written.deadline));
        }
        Change::Removed(ended) | Change::Expired(ended) => drop(model.remove(&ended.key)),
        Change::Cleared { floor, .. } => model.retain(|key, _| births[key] >= *floor),
        Change::Gap => model.clear(),
        Change::SnapshotEnd => {}
    }
}

fn written_key(change: &Change<Key, Bytes>) -> Option<&Key> {
    match change {
        Change::Created(written) | Change::Modified(written) => Some(&written.key),
        _ => None,
    }
}

fn version_of(change: &Change<Key, Bytes>) -> Option<Version> {
    match change {
        Change::Created(written) | Change::Modified(written) => Some(written.version),
        _ => None,
    }
}
