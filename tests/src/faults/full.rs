//! A disk that fills up in the middle of a load: nearly, so that puts are refused while removals go on, or altogether, so that
//! a commit fails. Nothing that was acknowledged is lost, what was refused was not done, and with room again all goes on.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_client::{Client, Error};
use landbridge_protocol::error::ErrorCode;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::mount::SmallDisk;
use crate::{
    load::{contents, until_equal},
    patience::until,
    sites::{NODES, TwoSites},
};

const CACHE: &str = "sessions";
/// Of the first site's disk.
const DISK_MIB: u32 = 48;
/// What the relay keeps free of it.
const RESERVE_MIB: u32 = 8;
/// Writers at each site, and the keys of each.
const WRITERS: u32 = 3;
const KEYS: u32 = 40;

/// What a disk that filled up made of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It refused puts, took removals, and went on when there was room.
    WentOn,
    /// A commit failed: it took no more writes until it was started anew.
    Failed,
}

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// Bytes that were left free.
    pub left: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Writes that were acknowledged, at both sites.
    pub writes: u64,
    /// Puts that were refused for the disk.
    pub refused: u64,
    /// How long it took.
    pub took: Duration,
}

/// What may be in a key: one thing where the last write was answered, else what was there or what was to be.
type Possible = BTreeMap<String, Vec<Option<Bytes>>>;

/// Runs `rounds` rounds at most with moments and sizes drawn from `seed`; tells each, and goes on while it is told to. `false`:
/// this process may not mount, and nothing was done.
///
/// # Panics
/// When an acknowledged write is lost, a refused one was done, or the relay does not go on.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round) -> ControlFlow<()>) -> bool {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::prepare("");
    let Some(disk) = SmallDisk::at(&sites.store(0), DISK_MIB) else { return false };
    let config = fs::read_to_string(sites.config(0)).expect("a configuration");
    let reserve = format!("[store]\nmin_free_bytes = \"{RESERVE_MIB}MiB\"\n");
    fs::write(sites.config(0), config.replacen("[store]\n", &reserve, 1)).expect("the test's directory is writable");
    sites.start_all().await;
    let nodes = sites.nodes().await;
    let mut possible = Possible::new();
    for number in 1..=rounds {
        let begun = Instant::now();
        let told = round(&mut sites, &nodes, &mut possible, number, &mut rng).await;
        if tell(Round { took: begun.elapsed(), ..told }).is_break() {
            break;
        }
    }
    drop((nodes, sites));
    drop(disk);
    true
}

async fn round(
    sites: &mut TwoSites,
    nodes: &[Client],
    possible: &mut Possible,
    number: u32,
    rng: &mut StdRng,
) -> Round {
    if rng.random() {
        begin_anew(sites).await;
    }
    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    for (at, node) in nodes.iter().enumerate() {
        for writer in 0..WRITERS {
            let prefix = format!("{}-{writer}", NODES[at][0]);
            let own = possible.iter().filter(|(key, _)| key.starts_with(&prefix));
            let writer = Writer {
                node: node.clone(),
                possible: own.map(|(key, states)| (key.clone(), states.clone())).collect(),
                prefix,
                rng: StdRng::seed_from_u64(rng.random()),
            };
            writers.spawn(writer.write(stopped.clone()));
        }
    }
    // Here and below nothing is waited for: the random moment itself is what is tested.
    sleep(Duration::from_millis(rng.random_range(20..300))).await;
    let left = if rng.random() { 0 } else { rng.random_range(0..u64::from(RESERVE_MIB) << 20) };
    let filler = sites.store(0).join("filler");
    fill(&filler, sites, left);
    until("the disk to be noticed", async || {
        let said = put_one(&nodes[0]).await.err().and_then(|error| error.code());
        matches!(said, Some(ErrorCode::DiskFull | ErrorCode::StorePoisoned)).then_some(())
    })
    .await;
    sleep(Duration::from_millis(rng.random_range(0..300))).await;
    stop.send_replace(true);
    let (mut writes, mut refused) = (0, 0);
    while let Some(writer) = writers.join_next().await {
        let done = writer.expect("a writer panicked");
        possible.extend(done.possible);
        writes += done.writes;
        refused += done.refused;
    }
    let failed = nodes[0].raw(CACHE).expect("a cache's name").remove("probe").await.is_err();
    let outcome = if failed { Outcome::Failed } else { Outcome::WentOn };
    if failed {
        start_anew(sites, &filler, rng).await;
    } else {
        fs::remove_file(&filler).expect("the filler can be removed");
    }
    until("puts to be taken again", async || put_one(&nodes[0]).await.ok()).await;
    nodes[0].raw(CACHE).expect("a cache's name").remove("probe").await.expect("a removal");
    verify(nodes, possible, number).await;
    Round { number, left, outcome, writes, refused, took: Duration::ZERO }
}

/// With an empty disk, which the other site fills: its log has no room of its own yet, and grows with each commit.
async fn begin_anew(sites: &mut TwoSites) {
    sites.kill(0).await;
    for entry in fs::read_dir(sites.store(0)).expect("the store's directory") {
        let path = entry.expect("an entry of the store").path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("a store can be wiped");
    }
    sites.spawn(0);
    sites.ready(0).await;
}

/// Ends the relay in one way or another, tries to start it while there is no room, and starts it when there is.
async fn start_anew(sites: &mut TwoSites, filler: &std::path::Path, rng: &mut StdRng) {
    let relay = sites.take(0);
    if rng.random() {
        relay.kill().await;
    } else {
        // It can't close its log, and says so; that is no reason to hang.
        relay.stop().await;
    }
    let before = sites.log(0).len();
    if rng.random() {
        sites.spawn(0);
        if sites.relay(0).ready_or_ended().await.is_err() {
            let said = &sites.log(0)[before..];
            assert!(said.contains("site1.store"), "a start without room names the store: {said}");
        }
        sites.take(0).kill().await;
    }
    fs::remove_file(filler).expect("the filler can be removed");
    sites.spawn(0);
    sites.ready(0).await;
    let said = &sites.log(0)[before..];
    assert!(!said.contains("panicked"), "the relay panicked: {said}");
}

/// Takes all of the disk but so many bytes.
fn fill(filler: &std::path::Path, sites: &TwoSites, left: u64) {
    let file = fs::File::create(filler).expect("the disk is not full yet");
    let chunk = vec![0xff; 64 * 1024];
    let taken = (|| {
        loop {
            (&file).write_all(&chunk)?;
        }
    })();
    let Err::<(), io::Error>(error) = taken else { return };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{}", sites.store(0).display());
    let length = file.metadata().expect("a file has a length").len();
    file.set_len(length.saturating_sub(left)).expect("a file can be cut");
}

async fn put_one(node: &Client) -> Result<(), Error> {
    node.raw(CACHE)?.put("probe", Bytes::from_static(b"is there room")).await.map(drop)
}

/// Of keys of its own, one thing after the other.
struct Writer {
    node: Client,
    prefix: String,
    possible: Possible,
    rng: StdRng,
}

struct Written {
    possible: Possible,
    writes: u64,
    refused: u64,
}

impl Writer {
    async fn write(mut self, stopped: watch::Receiver<bool>) -> Written {
        let cache = self.node.raw(CACHE).expect("a cache's name");
        let (mut writes, mut refused) = (0, 0);
        while !*stopped.borrow() {
            let key = format!("{}-{:03}", self.prefix, self.rng.random_range(0..KEYS));
            let value = self.rng.random_ratio(7, 8).then(|| {
                let mut value = format!("{key} {writes} ").into_bytes();
                value.resize(self.rng.random_range(value.len()..4096), b'.');
                Bytes::from(value)
            });
            let done = match &value {
                Some(value) => cache.put(key.as_str(), value.clone()).await.map(drop),
                None => cache.remove(key.as_str()).await.map(drop),
            };
            match done {
                Ok(()) => {
                    self.possible.insert(key, vec![value]);
                    writes += 1;
                }
                Err(error) if error.code() == Some(ErrorCode::DiskFull) => {
                    assert!(value.is_some(), "a removal was refused for the disk");
                    refused += 1;
                    // There is more of it than anybody needs.
                    sleep(Duration::from_millis(1)).await;
                }
                // Its commit may or may not have got to the disk.
                Err(error) => {
                    assert!(
                        error.code() == Some(ErrorCode::StorePoisoned) || error.is_retryable(),
                        "a write was refused for another reason: {error}"
                    );
                    self.possible.entry(key).or_insert_with(|| vec![None]).push(value);
                    break;
                }
            }
        }
        Written { possible: self.possible, writes, refused }
    }
}

async fn verify(nodes: &[Client], possible: &mut Possible, round: u32) {
    until_equal(nodes, CACHE).await;
    for (at, node) in nodes.iter().enumerate() {
        let held = contents(node, CACHE).await;
        for (key, states) in &*possible {
            let state = held.get(key).map(|(_, value)| value.clone());
            assert!(states.contains(&state), "round {round}: {key} is {state:?} at site {at}, and may be {states:?}");
        }
        assert!(held.keys().all(|key| possible.contains_key(key)), "round {round}: a key that nobody wrote");
    }
    // What it turned out to be, it is from now on.
    let held = contents(&nodes[0], CACHE).await;
    for (key, states) in possible {
        *states = vec![held.get(key).map(|(_, value)| value.clone())];
    }
}
