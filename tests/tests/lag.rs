//! The lag of a link in seconds is the age of the oldest change that the peer has not acknowledged.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use landbridge_tests::{
    patience::{until, until_true},
    sites::TwoSites,
};

/// What a clock of milliseconds and the way of a number may add.
const MARGIN: Duration = Duration::from_millis(50);

async fn lag(sites: &TwoSites) -> (u64, f64) {
    let status = sites.status(0).await;
    let link = &status["links"][0];
    (link["lag_changes"].as_u64().unwrap(), link["lag_seconds"].as_f64().unwrap())
}

/// Writes twice with the peer away, and compares the lag with what the clock says of the first.
async fn grows_with_the_first(sites: &TwoSites, name: &str) {
    let node = sites.node(0, "node11").await;
    let cache = node.raw("sessions").unwrap();
    until("nothing to be owed", async || (lag(sites).await == (0, 0.0)).then_some(())).await;
    let before = Instant::now();
    cache.put(format!("{name}-first").as_str(), Bytes::from_static(b"v")).await.unwrap();
    let after = Instant::now();
    // The age is what is tested, so that it must pass; the second write then is a second younger.
    until_true("the first to be a second old", || after.elapsed() >= Duration::from_secs(1)).await;
    cache.put(format!("{name}-second").as_str(), Bytes::from_static(b"v")).await.unwrap();
    until_true("the first to be two seconds old", || after.elapsed() >= Duration::from_secs(2)).await;
    let least = after.elapsed();
    let (changes, seconds) = lag(sites).await;
    let most = before.elapsed();
    assert_eq!(changes, 2, "{name}");
    let told = Duration::from_secs_f64(seconds);
    assert!(told + MARGIN >= least && told <= most + MARGIN, "{name}: {told:?} is not within {least:?} and {most:?}");
}

async fn signal(sites: &mut TwoSites, name: &str) {
    let pid = sites.relay(1).pid().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lag_in_seconds_is_the_age_of_the_oldest_change_owed() {
    let mut sites = TwoSites::start().await;
    until("the links to stream", async || (sites.status(0).await["links"][0]["state"] == "streaming").then_some(()))
        .await;
    signal(&mut sites, "-STOP").await;
    grows_with_the_first(&sites, "frozen").await;
    signal(&mut sites, "-CONT").await;
    until("what was owed to have arrived", async || (lag(&sites).await == (0, 0.0)).then_some(())).await;
    sites.cut(0, 1).await;
    grows_with_the_first(&sites, "offline").await;
    sites.join(0, 1).await;
    until("what was owed to have arrived", async || (lag(&sites).await == (0, 0.0)).then_some(())).await;
}
