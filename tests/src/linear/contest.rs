//! Several sessions of one site contend for few keys while their relay is killed and started again; what was asked and
//! answered is recorded in the order in which it was, key by key.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_client::{Client, Conditional, Error, Profile, RawCache, Versioned};
use landbridge_protocol::version::Version;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{Answer, Asked, KeyHistory, Value};
use crate::sites::{SITES, TwoSites};

/// By `remove_wins` and by `latest`.
const CACHES: [&str; 2] = ["sessions", "actionTokens"];
/// Nodes of the site, and what each has under way at once.
const NODES: [&str; 4] = ["node11", "node12", "node13", "node14"];
const AT_ONCE: u32 = 2;
/// Keys of a round in each cache.
const KEYS: u32 = 2;
/// Soon enough that some operations have no answer when the relay is killed.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// How often the relay was killed.
    pub kills: u32,
    /// Operations.
    pub operations: usize,
    /// Those without an answer.
    pub unanswered: usize,
    /// How long it took, the judgement included.
    pub took: Duration,
    /// What happened to each key, for who wants to see more.
    pub histories: Vec<KeyHistory>,
}

/// Runs `rounds` rounds with moments and operations drawn from `seed`; tells each.
///
/// # Panics
/// When what happened to a key is not linearizable, or one value had two versions.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::start().await;
    NODES[2..].iter().for_each(|node| sites.add_node(node, &[0]));
    let mut nodes = Vec::new();
    for node in NODES {
        let profile = Profile::load(sites.profile(0, node)).expect("a profile of this harness");
        let node = Client::builder().profile(profile).timeout(TIMEOUT).connect().await;
        nodes.push(node.expect("a session"));
    }
    for number in 1..=rounds {
        let begun = Instant::now();
        let record = Arc::new(Record::default());
        let (stop, stopped) = watch::channel(false);
        let mut contenders = JoinSet::new();
        for contender in 0..NODES.len() as u32 * AT_ONCE {
            let node = &nodes[contender as usize % NODES.len()];
            let contender = Contender {
                caches: CACHES.map(|cache| node.raw(cache).expect("a cache's name")),
                round: number,
                record: record.clone(),
                seen: BTreeMap::new(),
                rng: StdRng::seed_from_u64(rng.random()),
            };
            contenders.spawn(contender.contend(stopped.clone()));
        }
        let kills = rng.random_range(1..3);
        for _ in 0..kills {
            sleep(Duration::from_millis(rng.random_range(20..250))).await;
            record.kills.fetch_add(1, Ordering::SeqCst);
            sites.kill(0).await;
            sleep(Duration::from_millis(rng.random_range(0..100))).await;
            sites.spawn(0);
            sites.ready(0).await;
        }
        sleep(Duration::from_millis(rng.random_range(20..250))).await;
        stop.send_replace(true);
        while let Some(ended) = contenders.join_next().await {
            ended.expect("a contender panicked");
        }
        record.read_all(&nodes[0], number).await;
        let histories: Vec<KeyHistory> = std::mem::take(&mut *record.histories()).into_values().collect();
        for history in &histories {
            assert!(history.is_linearizable(), "round {number} of seed {seed} at {}: {history:#?}", SITES[0]);
        }
        let operations = histories.iter().map(KeyHistory::len).sum();
        let unanswered = histories.iter().map(KeyHistory::unanswered).sum();
        tell(Round { number, kills, operations, unanswered, took: begun.elapsed(), histories });
    }
}

/// What happened in a round.
#[derive(Default)]
struct Record {
    histories: Mutex<BTreeMap<Place, KeyHistory>>,
    /// The version that each value was seen with.
    versions: Mutex<BTreeMap<Value, Version>>,
    next_value: AtomicU64,
    kills: AtomicU32,
}

/// The number of a cache, and of a key in it.
type Place = (usize, u32);

impl Record {
    fn histories(&self) -> MutexGuard<'_, BTreeMap<Place, KeyHistory>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, place: Place, asked: Asked) -> usize {
        self.histories().entry(place).or_default().called(asked)
    }

    fn answered(&self, place: Place, step: usize, answer: Answer) {
        self.histories().entry(place).or_default().answered(step, answer);
    }

    fn has_version(&self, value: Value, version: Version) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *versions.entry(value).or_insert(version);
        assert_eq!(before, version, "{value} has two versions");
    }

    /// What is there when all is over.
    async fn read_all(&self, node: &Client, round: u32) {
        let places: Vec<Place> = self.histories().keys().copied().collect();
        for place in places {
            let cache = node.raw(CACHES[place.0]).expect("a cache's name");
            let step = self.called(place, Asked::Get);
            if let Ok(held) = cache.get_versioned(key(round, place.1).as_str()).await {
                self.answered(place, step, Answer::Held(held.as_ref().map(value_of)));
            }
        }
    }
}

/// One that has one thing under way at a time.
struct Contender {
    caches: [RawCache; 2],
    round: u32,
    record: Arc<Record>,
    /// What it saw last of each key.
    seen: BTreeMap<Place, (Value, Version)>,
    rng: StdRng,
}

impl Contender {
    async fn contend(mut self, stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let place = (self.rng.random_range(0..CACHES.len()), self.rng.random_range(0..KEYS));
            let asked = self.draw(place);
            let kills = self.record.kills.load(Ordering::SeqCst);
            let step = self.record.called(place, asked);
            let answer = self.ask(place, asked).await;
            // A removal that was tried again is answered without what was there.
            let once = kills == self.record.kills.load(Ordering::SeqCst);
            match answer {
                Ok(Answer::Held(None)) if asked == Asked::Remove && !once => {
                    self.record.answered(place, step, Answer::Done);
                }
                Ok(answer) => self.record.answered(place, step, answer),
                Err(Error::TimedOut { .. } | Error::OutcomeUnknown(_)) => {}
                Err(error) => assert!(error.is_retryable(), "{asked:?}: {error}"),
            }
            sleep(Duration::from_micros(self.rng.random_range(0..8000))).await;
        }
    }

    fn draw(&mut self, place: Place) -> Asked {
        let value = self.record.next_value.fetch_add(1, Ordering::Relaxed);
        match (self.rng.random_range(0..10), self.seen.get(&place)) {
            (0..2, _) => Asked::Put(value),
            (2..4, _) => Asked::PutIfAbsent(value),
            (4..6, Some((seen, _))) => Asked::ReplaceIf(*seen, value),
            (6, Some((seen, _))) => Asked::RemoveIf(*seen),
            (7, _) => Asked::Remove,
            _ => Asked::Get,
        }
    }

    async fn ask(&mut self, place: Place, asked: Asked) -> Result<Answer, Error> {
        let cache = self.caches[place.0].clone();
        let key = key(self.round, place.1);
        let key = key.as_str();
        let bytes = |value: Value| Bytes::from(value.to_string());
        let expected = self.seen.get(&place).map(|(_, version)| *version);
        let expected = || expected.expect("drawn because it was seen");
        let done = match asked {
            Asked::Get => {
                let held = cache.get_versioned(key).await?;
                return Ok(Answer::Held(self.see(place, held)));
            }
            Asked::Remove => {
                let held = cache.remove(key).await?;
                return Ok(Answer::Held(self.see(place, held)));
            }
            Asked::Put(value) => Conditional::Done(cache.put(key, bytes(value)).await?),
            Asked::PutIfAbsent(value) => cache.put_if_absent(key, bytes(value)).await?,
            Asked::ReplaceIf(_, value) => cache.replace_if_version(key, expected(), bytes(value)).await?,
            Asked::RemoveIf(_) => cache.remove_if_version(key, expected()).await?,
        };
        Ok(match done {
            Conditional::Failed(present) => Answer::Failed(self.see(place, present)),
            Conditional::Done(version) => {
                if let Asked::Put(value) | Asked::PutIfAbsent(value) | Asked::ReplaceIf(_, value) = asked {
                    self.record.has_version(value, version);
                    self.seen.insert(place, (value, version));
                }
                Answer::Done
            }
        })
    }

    fn see(&mut self, place: Place, held: Option<Versioned<Bytes>>) -> Option<Value> {
        let held = held?;
        let value = value_of(&held);
        self.record.has_version(value, held.version);
        self.seen.insert(place, (value, held.version));
        Some(value)
    }
}

fn key(round: u32, key: u32) -> String {
    format!("round{round}-{key}")
}

fn value_of(held: &Versioned<Bytes>) -> Value {
    let text = String::from_utf8_lossy(&held.value);
    text.parse().unwrap_or_else(|_| panic!("{text:?} is nothing that was written"))
}
