//! The store's durable puts beside a bare loop of sled insert, flush and fdatasync of the same bytes, in one run.
//!
//! `cargo bench -p landbridge --bench store` prints, for 1, 16, 64 and 256 puts a commit, both rates and their ratio: the
//! median of rounds that take turns, as the disk's speed drifts. `-- --rounds N --commits N` change the size.

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use landbridge_protocol::{
    frame::node::{Operation, Write},
    name::{CacheName, NodeName, SiteName},
    position::Sequence,
    record::{ClientId, Key, Merge, WriteToken},
    time::Millis,
    version::RunId,
};
use landbridge_relay::{
    clock::SystemClock,
    engine::{
        command::Command,
        guards::Guards,
        replica::{CacheConfig, ReplicaConfig, Replicate},
    },
    metrics::Metrics,
    store::{Store, StoreLimits, StoreOptions},
};

const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;

fn options(dir: &Path) -> StoreOptions {
    let cache =
        CacheConfig { merge: Merge::RemoveWins, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
    StoreOptions {
        dir: dir.to_owned(),
        fsync: true,
        recover: false,
        replica: ReplicaConfig {
            site: SiteName::new("site1").expect("a name"),
            peers: Vec::new(),
            caches: [(CacheName::new("sessions").expect("a name"), cache)].into(),
            max_clock_skew: Millis::from_secs(60),
            tombstone_min_age: Millis::from_secs(60),
            tombstone_max_age: Millis::from_secs(86_400),
            max_tombstones: 1_000_000,
            forward_after: Millis::from_secs(2),
            fill_wait: Millis::from_secs(30),
            guards: Guards::all(),
        },
        run: RunId(1),
        limits: StoreLimits { min_free_bytes: 0, ..StoreLimits::default() },
    }
}

/// The `number`-th put: keys in a scattered order, values that don't repeat.
fn put(number: u64) -> Command {
    let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
    let mut value = vec![0_u8; VALUE_BYTES];
    value.chunks_mut(8).enumerate().for_each(|(at, chunk)| {
        chunk.copy_from_slice(&number.wrapping_mul(at as u64 + 0x2545_F491_4F6C_DD1D).to_be_bytes());
    });
    let cache = CacheName::new("sessions").expect("a name");
    let key = Key::new(format!("key-{key:012}").into_bytes()).expect("a key");
    let token = WriteToken { client: ClientId(1), number };
    let write = Write::new(Operation::Put, cache, key, token, value.into());
    Command::Write { node: NodeName::new("node11").expect("a name"), write }
}

/// The store, with `group` puts a commit. Gives the time and the bytes of one commit.
async fn store_round(store: &Store, first: u64, commits: u64, group: u64) -> Duration {
    let mut groups: Vec<Vec<Command>> =
        (0..commits).map(|at| (0..group).map(|n| put(first + at * group + n)).collect()).collect();
    let begun = Instant::now();
    for group in groups.drain(..) {
        for answer in store.place_all(group).await {
            answer.await.expect("the store answers").expect("the put is done");
        }
    }
    begun.elapsed()
}

/// sled alone: insert, flush, fdatasync of as many bytes.
fn bare_round(db: &sled::Db, file: &File, first: u64, commits: u64, bytes: usize) -> Duration {
    let values: Vec<Vec<u8>> = (0..commits)
        .map(|at| (0..bytes as u64).map(|n| (n ^ (first + at)).wrapping_mul(0x9E37_79B9) as u8).collect())
        .collect();
    let begun = Instant::now();
    for (at, value) in (first..).zip(values) {
        db.insert(at.to_be_bytes(), value).expect("insert");
        db.flush().expect("flush");
        file.sync_data().expect("fdatasync");
    }
    begun.elapsed()
}

fn argument(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).map_or(default, |text| text.parse().expect("a number"))
}

/// Bytes of a commit of `group` puts, as the store writes it.
async fn commit_bytes(group: u64) -> usize {
    let log = landbridge_relay::store::memory_log::MemoryLog::new();
    let store = Store::open_with(Box::new(log.clone()), options(Path::new("")), Arc::new(SystemClock), Metrics::new())
        .expect("a store in memory opens");
    for answer in store.place_all((0..group).map(put).collect()).await {
        answer.await.expect("the store answers").expect("the put is done");
    }
    let bytes = log.commits().iter().map(|(_, bytes)| *bytes).sum();
    store.shutdown().await;
    bytes
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (rounds, commits) = (argument("--rounds", 7), argument("--commits", 300));
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk that is to be measured");
    let store = Store::open(options(&dir.path().join("store")), Arc::new(SystemClock), Metrics::new());
    let store = store.expect("the store opens");
    let db = sled::Config::new().path(dir.path().join("bare")).flush_every_ms(None).open().expect("sled opens");
    let file = File::open(dir.path().join("bare").join("db")).expect("sled's file");
    // The store first gets all keys, so that every put overwrites, as in service.
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(1000) {
        for answer in store.place_all(chunk.iter().map(|n| put(*n)).collect()).await {
            answer.await.expect("the store answers").expect("the put is done");
        }
    }
    println!(
        "{:>12} {:>14} {:>14} {:>8}   medians of {rounds} rounds of {commits} commits",
        "puts/commit", "store puts/s", "bare puts/s", "ratio"
    );
    let mut at = Sequence::new(KEYS).get();
    for group in [1, 16, 64, 256] {
        let bytes = commit_bytes(group).await;
        let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let store_took = store_round(&store, at, commits, group).await.as_secs_f64();
            let bare_took = bare_round(&db, &file, at, commits, bytes).as_secs_f64();
            at += commits * group;
            if round > 0 {
                let puts = (commits * group) as f64;
                ratios.push(bare_took / store_took);
                ours.push(puts / store_took);
                theirs.push(puts / bare_took);
            }
        }
        println!("{group:>12} {:>14.0} {:>14.0} {:>8.2}", median(ours), median(theirs), median(ratios));
    }
    store.shutdown().await;
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
