//! Promise 5, at the command line: `watch` hears everything through a `kill -9` of the relay, the one that runs meanwhile
//! and the one that resumes from a token of before.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{collections::BTreeSet, process::Stdio};

use bytes::Bytes;
use landbridge_client::RawCache;
use landbridge_tests::{patience::PATIENCE, relay::binary, sites::TwoSites};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

/// A `watch` that runs; killed when dropped.
struct Watch {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(sites: &TwoSites, extra: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["watch", "sessions", "--json"])
            .args(extra)
            .env("LANDBRIDGE_PROFILE", sites.profile(0, "operator"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next event; none may be a gap.
    async fn event(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("an event in time");
        let event: Value = serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap();
        assert_ne!(event["kind"], "gap", "what was missed can be told: {event}");
        event
    }

    /// The keys of the events through that key's, and the token of the last.
    async fn through(&mut self, key: &str) -> (BTreeSet<String>, String) {
        let mut heard = BTreeSet::new();
        loop {
            let event = self.event().await;
            let told = event["key"].as_str().unwrap_or_default().to_owned();
            heard.insert(told.clone());
            if told == key {
                return (heard, event["token"].as_str().unwrap().to_owned());
            }
        }
    }
}

fn key(number: u32) -> String {
    format!("k{number:03}")
}

/// Puts the keys of these numbers, each until it is acknowledged, and counts aloud.
async fn put(cache: &RawCache, numbers: std::ops::Range<u32>, acknowledged: mpsc::UnboundedSender<u32>) {
    for number in numbers {
        while let Err(error) = cache.put(key(number).as_str(), Bytes::from_static(b"v")).await {
            assert!(error.is_retryable(), "{error}");
        }
        // Nobody counts any more, where this fails.
        let _nobody_counts = acknowledged.send(number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_and_one_from_a_token_hear_everything_through_a_kill() {
    let mut sites = TwoSites::start().await;
    let node = sites.node(0, "node11").await;
    let cache = node.raw("sessions").unwrap();
    let (count, mut counted) = mpsc::unbounded_channel();
    let mut watch = Watch::start(&sites, &["--snapshot"]);
    while watch.event().await["kind"] != "snapshot_end" {}
    put(&cache, 0..10, count.clone()).await;
    let (_, token) = watch.through(&key(9)).await;

    let writing = tokio::spawn({
        let cache = cache.clone();
        async move { put(&cache, 10..200, count).await }
    });
    while timeout(PATIENCE, counted.recv()).await.unwrap().unwrap() < 60 {}
    sites.kill(0).await;
    sites.spawn(0);
    sites.ready(0).await;
    timeout(PATIENCE, writing).await.unwrap().unwrap();

    let all: BTreeSet<String> = (10..200).map(key).collect();
    let (heard, _) = watch.through(&key(199)).await;
    assert!(heard.is_superset(&all), "missed: {:?}", all.difference(&heard).collect::<Vec<_>>());
    let mut resumed = Watch::start(&sites, &["--from", &token]);
    let (heard, _) = resumed.through(&key(199)).await;
    assert!(heard.is_superset(&all), "missed: {:?}", all.difference(&heard).collect::<Vec<_>>());
    cache.remove(key(0).as_str()).await.unwrap();
    for watch in [&mut watch, &mut resumed] {
        while watch.event().await["kind"] != "removed" {}
    }
}
