//! Bits of a stopped relay's store flip, and it is started alone, its peer out of reach: either it serves all that was
//! acknowledged, byte for byte, or it refuses to start, names the damage and the way out, and `--recover` gets everything
//! back from the peer. Never anything else.
//!
//! ```text
//!  site1's store ── as it was stopped ──► a copy ── bits flipped ──► start, link cut ──► complete ──► writes, kill -9, start
//!                                                                        └──► refused ──► start --recover, link fair ──► as site2
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_protocol::time::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{
    load::{complete, until_equal},
    patience::PATIENCE,
    sites::{NODES, TwoSites},
    wire::{Weather, Wire},
};

/// Merged by `remove_wins` and by `latest`.
const CACHES: [&str; 2] = ["sessions", "actionTokens"];
/// So that a cut link is not waited for.
const SETTINGS: &str = "[limits]\nidle_timeout = \"1s\"\nkeep_alive = \"200ms\"\n\n\
     [replication]\nheartbeat_every = \"200ms\"\nbackoff_max = \"200ms\"\nconnect_timeout = \"300ms\"\n";

/// All that is in a cache.
type Held = BTreeMap<Bytes, (String, Option<Timestamp>, Bytes)>;

/// What a start made of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was there.
    Complete,
    /// It opened, and was refused when it was started once more, after writes and a kill.
    RefusedLater,
    /// It was refused.
    Refused,
}

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// The files that were damaged, and how many bits of each.
    pub flipped: BTreeMap<String, u32>,
    /// What became of it.
    pub outcome: Outcome,
    /// What the relay said when it refused.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs `rounds` rounds with places drawn from `seed`; tells each.
///
/// # Panics
/// When a start serves something else than what was acknowledged, refuses without naming the damage and the way out, panics,
/// or when `--recover` does not bring everything back.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bed = Bed::made(&mut rng).await;
    for number in 1..=rounds {
        let begun = Instant::now();
        bed.put_back();
        let flipped = flip(&bed.sites.store(0), &mut rng);
        let about = format!("round {number} of seed {seed}, flipped {flipped:?}");
        let (outcome, said) = bed.round(&about, number).await;
        tell(Round { number, flipped, outcome, said, took: begun.elapsed() });
    }
}

/// Two sites, the second of which runs all the time.
struct Bed {
    sites: TwoSites,
    wires: [Wire; 2],
    two: Client,
    /// A copy of the first site's store as it was stopped.
    copy: PathBuf,
    /// What was in it, by cache.
    held: Vec<Held>,
}

impl Bed {
    async fn made(rng: &mut StdRng) -> Self {
        let mut sites = TwoSites::prepare("");
        let wires = [Wire::to(sites.port(0), 1).await, Wire::to(sites.port(1), 2).await];
        sites.dial_through(0, 1, wires[1].port());
        sites.dial_through(1, 0, wires[0].port());
        (0..2).for_each(|at| sites.configure(at, SETTINGS));
        sites.start_all().await;
        let nodes = sites.nodes().await;
        // Several runs, so that there are snapshots of several ages; removals, deadlines, values in files of their own.
        for run in 0..3 {
            for cache in CACHES {
                fill(&nodes, cache, run, rng).await;
            }
            conflict(&sites, &wires, &nodes, run).await;
            assert!(sites.take(0).stop().await.success(), "the relay stops in order");
            sites.spawn(0);
            sites.ready(0).await;
        }
        let mut held = Vec::new();
        for cache in CACHES {
            assert!(until_equal(&nodes, cache).await > 30);
            held.push(complete(&nodes[0], cache).await);
        }
        assert!(sites.take(0).stop().await.success(), "the relay stops in order");
        let copy = sites.store(0).with_extension("copy");
        copy_all(&sites.store(0), &copy).expect("the store can be copied");
        let two = nodes.into_iter().nth(1).expect("a node of each site");
        Self { sites, wires, two, copy, held }
    }

    /// Puts the store back as it was stopped.
    fn put_back(&self) {
        let store = self.sites.store(0);
        fs::remove_dir_all(&store).expect("the store can be removed");
        copy_all(&self.copy, &store).expect("the store can be put back");
    }

    async fn round(&mut self, about: &str, number: u32) -> (Outcome, String) {
        self.wires.iter().for_each(|wire| wire.set(&Weather::CUT));
        let before = self.sites.log(0).len();
        self.sites.spawn(0);
        let mut outcome = Outcome::Refused;
        if self.sites.relay(0).ready_or_ended().await.is_ok() {
            self.complete(about).await;
            self.wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
            self.write_on(about, number).await;
            self.sites.kill(0).await;
            self.sites.spawn(0);
            if self.sites.relay(0).ready_or_ended().await.is_ok() {
                self.equal(about).await;
                self.sites.kill(0).await;
                self.without_panic(about, before);
                return (Outcome::Complete, String::new());
            }
            outcome = Outcome::RefusedLater;
        }
        let said = self.refused(about, before).await;
        self.wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
        self.sites.spawn_with(0, &["--recover"]);
        let recovered = self.sites.relay(0).ready_or_ended().await;
        assert!(recovered.is_ok(), "{about}: --recover does not help:\n{}", &self.sites.log(0)[before..]);
        self.equal(about).await;
        self.sites.kill(0).await;
        self.without_panic(about, before);
        (outcome, said)
    }

    /// Alone, with what was on its disk.
    async fn complete(&self, about: &str) {
        let one = self.sites.node(0, NODES[0][0]).await;
        for (cache, expected) in CACHES.iter().zip(&self.held) {
            let held = self.within(&format!("{about}: reading"), complete(&one, cache)).await;
            let differing: Vec<_> = expected.iter().filter(|(key, entry)| held.get(*key) != Some(entry)).collect();
            assert!(
                held == *expected,
                "{about}: {cache} is not as it was acknowledged; missing or other: {differing:?}"
            );
        }
        let (code, _, err) = self.sites.command(0, &["conflicts", "--json"]).await;
        assert_eq!(code, Some(0), "{about}: conflicts: {err}");
    }

    /// The store has to be of use.
    async fn write_on(&self, about: &str, number: u32) {
        let nodes = [self.sites.node(0, NODES[0][0]).await, self.two.clone()];
        for cache in CACHES {
            let own = nodes[0].raw(cache).expect("a cache's name");
            for at in 0..20 {
                let value = Bytes::from(format!("written after damage {number}"));
                own.put(format!("after-{at:02}").as_str(), value).await.expect("a store that opened takes a put");
            }
            self.become_equal(about, &nodes, cache).await;
        }
    }

    /// Both sites hold the same, and nothing of what was there before is missing.
    async fn equal(&self, about: &str) {
        let nodes = [self.sites.node(0, NODES[0][0]).await, self.two.clone()];
        for (cache, expected) in CACHES.iter().zip(&self.held) {
            self.become_equal(about, &nodes, cache).await;
            let held = self.within(&format!("{about}: reading"), complete(&nodes[0], cache)).await;
            assert!(
                expected.iter().all(|(key, entry)| held.get(key) == Some(entry)),
                "{about}: {cache} lost something"
            );
            assert!(
                held.keys().all(|key| expected.contains_key(key) || key.starts_with(b"after-")),
                "{about}: {cache}"
            );
        }
    }

    async fn become_equal(&self, about: &str, nodes: &[Client], cache: &str) {
        self.within(&format!("{about}: {cache} to be equal"), until_equal(nodes, cache)).await;
    }

    /// Says what the relays said, should it not come to an end. Sooner than those within it, which say less.
    async fn within<T>(&self, what: &str, awaited: impl Future<Output = T>) -> T {
        let awaited = tokio::time::timeout(PATIENCE / 2, awaited).await;
        awaited.unwrap_or_else(|_| {
            let logs = [0, 1].map(|at| self.sites.log(at));
            let ends = logs.map(|log| log.lines().rev().take(20).map(|line| format!("{line}\n")).collect::<String>());
            panic!("waited in vain for {what}; the relays' last words, the last one first:\n{}\n{}", ends[0], ends[1])
        })
    }

    async fn refused(&mut self, about: &str, before: usize) -> String {
        let ended = self.sites.take(0).end().await;
        let log = self.sites.log(0);
        let said = log[before..].lines().last().unwrap_or_default().to_owned();
        assert!(ended.code().is_some_and(|code| code != 0), "{about}: {ended}: {said}");
        assert!(said.contains("site1.store"), "{about}: the error names no file: {said}");
        assert!(said.contains("--recover"), "{about}: the error names no way out: {said}");
        said
    }

    fn without_panic(&self, about: &str, before: usize) {
        let log = &self.sites.log(0)[before..];
        assert!(!log.contains("panicked"), "{about}: the relay panicked:\n{log}");
    }
}

async fn fill(nodes: &[Client], cache: &str, run: u32, rng: &mut StdRng) {
    let cache = nodes[0].raw(cache).expect("a cache's name");
    let mortal = cache.clone().with_lifespan(Duration::from_secs(24 * 3600));
    // Written at once, so that they are one commit, which goes to a file of its own.
    let large = [0, 1, 2].map(|at| (cache.clone(), format!("large-{at}"), Bytes::from(vec![run as u8 + 1; 400_000])));
    let mut puts =
        JoinSet::from_iter(large.map(|(cache, key, value)| async move { cache.put(key.as_str(), value).await }));
    while let Some(put) = puts.join_next().await {
        put.expect("a put's task").expect("a put");
    }
    for at in 0..60_u32 {
        let cache = if at % 3 == 0 { &mortal } else { &cache };
        let length = rng.random_range(1..3000);
        let value: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let key = format!("key-{:03}", rng.random_range(0..40) + run * 20);
        cache.put(key.as_str(), value.into()).await.expect("a put");
        if at % 5 == 4 {
            let key = format!("key-{:03}", rng.random_range(0..40) + run * 20);
            cache.remove(key.as_str()).await.expect("a removal");
        }
    }
    until_equal(nodes, cache.name().as_str()).await;
}

/// One conflict in each cache, for the conflict log.
async fn conflict(sites: &TwoSites, wires: &[Wire], nodes: &[Client], run: u32) {
    sites.cut(0, 1).await;
    for cache in CACHES {
        for (at, node) in nodes.iter().enumerate() {
            let cache = node.raw(cache).expect("a cache's name");
            cache.put("disputed", Bytes::from(format!("of {at} in {run}"))).await.expect("a put");
        }
    }
    sites.join(0, 1).await;
    wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
    for cache in CACHES {
        until_equal(nodes, cache).await;
    }
}

/// Flips bits of one file or a few: mostly a few bits, mostly where something was written.
fn flip(store: &Path, rng: &mut StdRng) -> BTreeMap<String, u32> {
    let mut files = Vec::new();
    all_files(store, &mut files);
    files.retain(|file| !file.ends_with("lock") && fs::metadata(file).is_ok_and(|about| about.len() > 0));
    files.sort();
    // By kind, so that small files and few ones have their turn too.
    let (blobs, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.parent().is_some_and(|dir| dir.ends_with("blobs")));
    let (db, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.ends_with("db"));
    let mut flipped = BTreeMap::new();
    for _ in 0..[1, 1, 2][rng.random_range(0..3)] {
        let kind = [&db, &db, &blobs, &others][rng.random_range(0..4)];
        let file = &kind[rng.random_range(0..kind.len())];
        let mut bytes = fs::read(file).expect("a file of the store");
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let bits = [1, 1, 2, 8, 64][rng.random_range(0..5)];
        for _ in 0..bits {
            let anywhere = rng.random_bool(0.1) || written.is_empty();
            let at =
                if anywhere { rng.random_range(0..bytes.len()) } else { written[rng.random_range(0..written.len())] };
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        fs::write(file, bytes).expect("a file of the store");
        let name = file.strip_prefix(store).expect("a file of the store").display().to_string();
        *flipped.entry(name).or_default() += bits;
    }
    flipped
}

fn all_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the store") {
        let path = entry.expect("an entry of the store").path();
        if path.is_dir() { all_files(&path, found) } else { found.push(path) }
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() { copy_all(&path, &to)? } else { fs::copy(&path, &to).map(drop)? }
    }
    Ok(())
}
