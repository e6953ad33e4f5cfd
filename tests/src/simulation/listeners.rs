//! Nodes that listen: they leave, resume here or at another site, and know what they know by events alone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use landbridge_client::{Change, Client, RawListener, Token};
use landbridge_protocol::{record::Key, time::Timestamp, token::ResumeToken, version::Version};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
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
    let mut hearing =
        Hearing { history: history.clone(), listener: number, births, snapshot: None, events: 0, tell, mutation };
    let (mut site, mut token) = (plan.site, None);
    let mut moves = plan.moves.into_iter();
    let mut clients: BTreeMap<usize, Client> = BTreeMap::new();
    loop {
        let next: Option<Planned<Move>> = moves.next();
        let leaves = next.map(|next| history.moment(next.at_ms));
        let client = match clients.get(&site) {
            Some(client) => client.clone(),
            None => {
                let name = format!("listener{number}");
                let client = town.node(site, &name, FIRST_NUMBER + number, &mut dice).await;
                clients.entry(site).or_insert(client).clone()
            }
        };
        hearing.at_one_site(&client, (site, plan.cache), &mut token, leaves, &mut dice).await;
        // Only one that is to leave comes back from there.
        if let Some(Planned { what: Move { away_ms, to }, .. }) = next {
            sleep(Duration::from_millis(away_ms)).await;
            site = to;
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
    tell: watch::Sender<Model>,
    mutation: Option<Mutation>,
}

impl Hearing {
    async fn at_one_site(
        &mut self,
        client: &Client,
        (site, cache): (usize, usize),
        token: &mut Option<Token>,
        leaves: Option<Instant>,
        dice: &mut Dice,
    ) {
        let listener = self.listener;
        let cache = client.raw(CACHES[cache].0).expect("a cache's name");
        let gone = async {
            match leaves {
                Some(leaves) => sleep_until(leaves).await,
                None => std::future::pending().await,
            }
        };
        let hear = async {
            loop {
                let resumes = token.is_some();
                let listen = match token.clone() {
                    Some(token) if self.mutation == Some(Mutation::ResumeSkips) => cache.listen().from(further(&token)),
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
                while let Some(change) = next(&mut heard, token).await {
                    self.take(&change);
                    self.history.happened(Happening::Told { listener, change: change.clone() });
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
        };
        tokio::select! {
            biased;
            () = gone => {}
            () = hear => {}
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

/// A token that leaves one change out.
fn further(token: &Token) -> Token {
    let mut read = ResumeToken::from_bytes(token.as_bytes()).expect("a token of a relay");
    read.sequence = read.sequence.next();
    Token::from_bytes(read.to_bytes())
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
