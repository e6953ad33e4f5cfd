//! SIGTERM with nodes connected, writes under way and a transfer to a peer running: drained and out with 0, in time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use landbridge_client::Key;
use landbridge_tests::{load::contents, patience::until, sites::TwoSites};

const ENTRIES: usize = 10_000;

/// Small batches, one at a time, so that the transfer takes a while.
const SETTINGS: &str = "[limits]\ndrain_timeout = \"20s\"\n\n\
                        [replication]\nmax_batch_bytes = \"4KiB\"\nmax_batches_in_flight = 1\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_in_the_midst_of_everything_drains_and_exits_0_in_time() {
    let mut sites = TwoSites::start_with(SETTINGS).await;
    let (one, other) = (sites.node(0, "node11").await, sites.node(0, "node12").await);
    let cache = one.raw("sessions").unwrap();
    let mut listener = other.raw("sessions").unwrap().listen().start_raw().await.unwrap();
    sites.cut(0, 1).await;
    let entries: Vec<_> = (0..ENTRIES)
        .map(|n| (Key::new(format!("k{n:05}").into_bytes()).unwrap(), Bytes::from(vec![b'v'; 200])))
        .collect();
    for some in entries.chunks(500) {
        cache.put_all(some.to_vec()).await.unwrap();
    }
    let writing = tokio::spawn({
        let cache = cache.clone();
        async move {
            let mut acknowledged = 0_usize;
            while cache.put(format!("late-{acknowledged:05}").as_str(), Bytes::from_static(b"v")).await.is_ok() {
                acknowledged += 1;
            }
            acknowledged
        }
    });
    let hearing = tokio::spawn(async move { while listener.next().await.is_some_and(|event| event.is_ok()) {} });
    sites.join(0, 1).await;
    until("a transfer in its midst", async || {
        let status = sites.status(0).await;
        let link = &status["links"][0];
        let running = link["state"] == "transferring" || link["state"] == "streaming";
        (running && link["lag_changes"].as_u64().unwrap() > 100).then_some(())
    })
    .await;

    let asked = Instant::now();
    let ended = sites.take(0).stop().await;
    let took = asked.elapsed();
    assert!(ended.success(), "{ended}: {}", sites.log(0));
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(sites.log(0).contains("ended in_order=true"), "{}", sites.log(0));

    sites.spawn(0);
    sites.ready(0).await;
    one.close().await;
    other.close().await;
    let acknowledged = writing.await.unwrap();
    hearing.await.unwrap();
    let two = sites.node(1, "node21").await;
    until("site2 to have what was acknowledged", async || {
        let there = contents(&two, "sessions").await;
        let late = (0..acknowledged).all(|n| there.contains_key(&format!("late-{n:05}")));
        (late && there.len() >= ENTRIES + acknowledged).then_some(())
    })
    .await;
}
