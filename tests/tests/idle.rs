//! Idle relays write nothing to disk.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::Bytes;
use landbridge_tests::{load::contents, patience::until, sites::TwoSites};

/// Bytes that a process has had written to disk, by the kernel's own count.
fn written_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find(|l| l.starts_with("write_bytes:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn heads(status: &serde_json::Value) -> u64 {
    status["head"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_that_have_nothing_to_do_write_nothing() {
    let mut sites = TwoSites::start_with("[replication]\ntombstone_min_age = \"0s\"\n").await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    for n in 0..200 {
        one.raw("sessions").unwrap().put(format!("k{n}").as_str(), Bytes::from_static(b"v")).await.unwrap();
        two.raw("sessions").unwrap().remove(format!("k{n}").as_str()).await.unwrap();
    }
    until("equal sites", async || (contents(&one, "sessions").await == contents(&two, "sessions").await).then_some(()))
        .await;
    // quiet: nothing written at either for two seconds on end, within the patience of all tests
    let pids = [sites.relay(0).pid().unwrap(), sites.relay(1).pid().unwrap()];
    until("two quiet seconds", async || {
        let before = pids.map(written_bytes);
        let heads_before = [heads(&sites.status(0).await), heads(&sites.status(1).await)];
        tokio::time::sleep(std::time::Duration::from_secs(2)).await; // the time itself is what is tested
        let quiet = pids.map(written_bytes) == before
            && [heads(&sites.status(0).await), heads(&sites.status(1).await)] == heads_before;
        quiet.then_some(())
    })
    .await;
}
