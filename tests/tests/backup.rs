//! A relay is backed up while it is written to, loses its disk, and is restored: it lacks nothing that the other site has,
//! and what was removed meanwhile stays removed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{
    load::{Load, contents, until_equal},
    patience::until,
    sites::{ThreeSites, TwoSites},
};

const CACHE: &str = "sessions";

async fn write(node: &Client, prefix: &str, count: usize, value: &str) {
    for n in 0..count {
        let value = Bytes::copy_from_slice(value.as_bytes());
        node.raw(CACHE).unwrap().put(format!("{prefix}-{n:03}").as_str(), value).await.unwrap();
    }
}

async fn remove(node: &Client, prefix: &str, count: usize) {
    for n in 0..count {
        let removed = node.raw(CACHE).unwrap().remove(format!("{prefix}-{n:03}").as_str()).await.unwrap();
        assert!(removed.is_some(), "{prefix}-{n:03} was not there to be removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_relay_lacks_nothing_and_revives_nothing() {
    let mut sites = TwoSites::start_with("[replication]\ntombstone_min_age = \"0s\"\n").await;
    let nodes = sites.nodes().await;
    write(&nodes[0], "kept", 50, "old").await;
    write(&nodes[0], "gone-one", 100, "old").await;
    write(&nodes[1], "gone-two", 100, "old").await;
    until("all at site1", async || (contents(&nodes[0], CACHE).await.len() == 250).then_some(())).await;
    let load = Load::start(&nodes[0], "work", "load", 4, 50, 1);
    let dir = sites.store(0).with_file_name("backup");
    let path = dir.display().to_string();
    let (code, out, err) = sites.command(0, &["backup", "--dir", &path]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("landbridge.backup"), "{out}");
    load.stop().await;
    let (code, _, err) = sites.command(0, &["backup", "--dir", &path]).await;
    assert_eq!(code, Some(2), "nothing is overwritten: {err}");

    // What the backup does not know, of both sites.
    remove(&nodes[0], "gone-one", 50).await;
    for n in 50..100 {
        nodes[1].raw(CACHE).unwrap().remove(format!("gone-one-{n:03}").as_str()).await.unwrap().unwrap();
    }
    remove(&nodes[1], "gone-two", 100).await;
    write(&nodes[0], "kept", 20, "new").await;
    write(&nodes[0], "after", 30, "new").await;
    until("all at site2", async || (contents(&nodes[1], CACHE).await.len() == 80).then_some(())).await;
    assert_eq!(until_equal(&nodes, CACHE).await, 80);
    until_equal(&nodes, "work").await;
    for at in 0..2 {
        until("the tombstones to be let go", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
    let (before, work) = (contents(&nodes[1], CACHE).await, contents(&nodes[1], "work").await);

    sites.kill(0).await;
    let config = sites.config(0).display().to_string();
    let (code, _, err) = sites.command(0, &["restore", "--config", &config, "--dir", &path]).await;
    assert!(code == Some(1) && err.contains("is there already"), "{err}");
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    let other = sites.config(1).display().to_string();
    let (code, _, err) = sites.command(0, &["restore", "--config", &other, "--dir", &path]).await;
    assert_eq!(code, Some(1), "site2 has a store, and it is not its backup: {err}");
    let (code, out, err) = sites.command(0, &["restore", "--config", &config, "--dir", &path]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("is restored"), "{out}");
    sites.spawn(0);
    sites.ready(0).await;
    until("what came after the backup", async || (contents(&nodes[0], CACHE).await == before).then_some(())).await;
    until("the load", async || (contents(&nodes[0], "work").await == work).then_some(())).await;
    let written = nodes[0].raw(CACHE).unwrap().put("last", Bytes::from_static(b"new")).await.unwrap();
    until("the restored site's next write at site2", async || {
        let heard = contents(&nodes[1], CACHE).await.remove("last").map(|(version, _)| version);
        (heard == Some(written.to_string())).then_some(())
    })
    .await;
    assert_eq!(until_equal(&nodes, CACHE).await, 81, "nothing came back at site2 either");
}

/// While the restored site was away the others let go of the tombstones of what they removed, by force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_relay_of_three_revives_nothing_whose_tombstones_were_dropped_by_force() {
    let settings = "[replication]\ntombstone_min_age = \"0s\"\ntombstone_max_age = \"1s\"\nfill_wait = \"100ms\"\n";
    let mut sites = ThreeSites::start_with(settings).await;
    let nodes = sites.nodes().await;
    for (at, node) in nodes.iter().enumerate() {
        write(node, &format!("kept-{at}"), 20, "old").await;
        write(node, &format!("gone-{at}"), 20, "old").await;
    }
    assert_eq!(until_equal(&nodes, CACHE).await, 120);
    let dir = sites.store(0).with_file_name("backup").display().to_string();
    sites.done(0, &["backup", "--dir", &dir]).await;
    write(&nodes[0], "after", 20, "new").await;
    assert_eq!(until_equal(&nodes, CACHE).await, 140);

    sites.kill(0).await;
    for at in 0..3 {
        remove(&nodes[1 + at % 2], &format!("gone-{at}"), 20).await;
    }
    assert_eq!(until_equal(&nodes[1..], CACHE).await, 80);
    for at in 1..3 {
        until("the tombstones to be let go", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
    let before = contents(&nodes[1], CACHE).await;
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    let config = sites.config(0).display().to_string();
    let (code, out, err) = sites.command(0, &["restore", "--config", &config, "--dir", &dir, "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(told["through"].as_u64().is_some_and(|through| through > 0), "{out}");
    sites.spawn(0);
    sites.ready(0).await;
    until("what the others hold", async || (contents(&nodes[0], CACHE).await == before).then_some(())).await;
    assert_eq!(until_equal(&nodes, CACHE).await, 80, "nothing came back at the others either");
}
