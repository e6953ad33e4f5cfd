//! Promise 6: what is kept for an absent peer, on disk and in memory, is at most the live entries and their tombstones,
//! however much changes; and the peer catches up while the relay serves. The full size: 400 000 changes over 50 000 keys, with
//! `LANDBRIDGE_CHANGES=400000 LANDBRIDGE_KEYS=50000 cargo test --release -p landbridge-tests --test peer_away`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::Path;

use bytes::Bytes;
use landbridge_client::Key;
use landbridge_tests::{load::contents, patience::until, sites::TwoSites};

const VALUE_BYTES: usize = 1000;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn bytes_below(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| if e.file_type().unwrap().is_dir() { bytes_below(&e.path()) } else { e.metadata().unwrap().len() })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_peer_costs_no_more_than_the_live_entries() {
    let (changes, keys) = (setting("LANDBRIDGE_CHANGES", 200_000), setting("LANDBRIDGE_KEYS", 5_000));
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    let cache = one.raw("sessions").unwrap();
    let write = async |from: usize, to: usize| {
        for batch in (from..to).collect::<Vec<_>>().chunks(500) {
            let entries = batch.iter().map(|n| {
                let key = Key::new(format!("key-{:06}", n % keys).into_bytes()).unwrap();
                (key, Bytes::from(format!("{n:0>VALUE_BYTES$}")))
            });
            cache.put_all(entries).await.unwrap();
        }
    };
    write(0, keys).await;
    until("site2 to have all", async || (contents(&two, "sessions").await.len() == keys).then_some(())).await;
    sites.kill(1).await;
    write(keys, keys * 2).await;
    let live = until("a status", async || sites.status(0).await["log_live_bytes"].as_u64()).await;
    // First as much as fills the storage engine's cache, which is bounded; a queue of changes would go on growing.
    let half = changes / 2;
    write(keys * 2, half).await;
    let resident = sites.relay(0).resident_bytes();
    write(half, changes).await;
    let resident_after = sites.relay(0).resident_bytes();
    let (grown, written) = (resident_after.saturating_sub(resident), ((changes - half) * VALUE_BYTES) as u64);
    println!("resident {resident} bytes half way, {resident_after} at the end, {written} written between");
    assert!(grown < written / 4, "{grown} bytes more in memory for {written} bytes of changes to the same keys");
    let status = sites.status(0).await;
    let kept = status["log_live_bytes"].as_u64().unwrap();
    assert!(kept < live * 2, "live bytes grew from {live} to {kept} over {changes} changes");
    until("compaction to have caught up", async || {
        let dead = sites.status(0).await["log_dead_bytes"].as_u64()?;
        (dead <= kept * 2).then_some(())
    })
    .await;
    let on_disk = bytes_below(&sites.store(0));
    println!("{changes} changes over {keys} keys: {kept} bytes live, {on_disk} bytes on disk");
    sites.spawn(1);
    // it serves while it catches up
    cache.put("while-it-catches-up", Bytes::from_static(b"served")).await.unwrap();
    sites.ready(1).await;
    until("site2 to have caught up", async || {
        (contents(&two, "sessions").await == contents(&one, "sessions").await).then_some(())
    })
    .await;
    assert_eq!(contents(&two, "sessions").await.len(), keys + 1);
}
