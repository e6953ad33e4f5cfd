//! A record that one site's disk has lost is found, listed and, on command, put in place again; nothing else is.

use landbridge_protocol::position::Sequence;
use landbridge_relay::store::{directory::Directory, encoding, log::Log, sled_log::SledLog};
use landbridge_tests::{patience::until, sites::TwoSites};
use serde_json::Value;

/// Takes the record of a key out of the log of a relay that does not run, as a fault of the disk or of the store would.
fn lose(sites: &TwoSites, at: usize, key: &str) {
    let directory = Directory::open(&sites.store(at)).expect("the store's directory");
    let mut log = SledLog::open(directory, true).map_err(|(_, error)| error).expect("its log");
    let (reader, mut after, mut head, mut lost) = (log.reader(), Sequence::ZERO, Sequence::ZERO, 0);
    while let Some((first, bytes)) = reader.following(after).expect("a commit can be read") {
        let mut commit = encoding::decode(&bytes).expect("a commit");
        let before = commit.records.len();
        commit.records.retain(|(_, record)| match record {
            landbridge_relay::engine::header::LogRecord::Record(record) => {
                record.key.as_ref().is_none_or(|of| of.as_bytes() != key.as_bytes())
            }
            _ => true,
        });
        if commit.records.len() < before {
            lost += before - commit.records.len();
            log.rewrite(first, encoding::encode(&commit)).expect("a commit can be rewritten");
        }
        (after, head) = (first, commit.header.last);
    }
    assert_eq!(lost, 1, "{key} is in the log once");
    log.close(head).expect("the log can be closed");
}

async fn drift(sites: &TwoSites, at: usize, args: &[&str]) -> (Option<i32>, Value) {
    let (code, out, err) = sites.command(at, &[&["drift", "--json"], args].concat()).await;
    let found = serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    (code, found)
}

fn left_out(found: &Value) -> usize {
    let sides = found["lacked_by"].as_array().expect("sides").iter();
    let caches = sides.flat_map(|side| side["caches"].as_array().expect("caches"));
    caches.filter(|cache| !cache["left_out"].is_null()).count()
}

fn records(found: &Value, side: usize) -> Vec<(String, String)> {
    let records = found["lacked_by"][side]["records"].as_array().expect("records");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    records.iter().map(|record| (text(&record["key"]), text(&record["holds"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_has_lost_is_told_listed_and_put_in_place_on_command() {
    let mut sites = TwoSites::start_with("[replication]\ndrift_check_every = \"1s\"\n").await;
    for key in ["kept", "lost", "removed"] {
        sites.done(0, &["put", "sessions", key, key]).await;
    }
    sites.done(0, &["remove", "sessions", "removed"]).await;
    until("all at the other site", async || {
        (sites.command(1, &["ls", "sessions"]).await.1 == "kept\nlost\n").then_some(())
    })
    .await;
    until("both ways checked, and nothing found", async || {
        let (code, found) = drift(&sites, 0, &["site2"]).await;
        // Also where both stores were still being filled when the links began.
        let all = left_out(&found) == 0;
        (all && code == Some(0) && records(&found, 0).is_empty() && records(&found, 1).is_empty()).then_some(())
    })
    .await;

    assert!(sites.take(1).stop().await.success(), "a relay ends in order");
    lose(&sites, 1, "lost");
    sites.spawn(1);
    sites.ready(1).await;
    assert_eq!(sites.command(1, &["get", "sessions", "lost"]).await.0, Some(1), "it is lost");

    // By itself it is told at both sites, and nothing is changed.
    until("both relays to say so", async || {
        let told = |at: usize, words: &str| sites.log(at).contains(words);
        (told(0, "drift: site2 lacks: 1 records") && told(1, "drift: lacked here and held at site1: 1 records"))
            .then_some(())
    })
    .await;
    let status = sites.status(0).await;
    assert_eq!(status["links"][0]["drift"]["there"], serde_json::json!([["sessions", 1]]), "{status}");
    let (code, found) = drift(&sites, 0, &["--cache", "sessions"]).await;
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(records(&found, 0), [("lost".to_owned(), "nothing".to_owned())]);
    assert!(records(&found, 1).is_empty(), "{found}");
    assert_eq!(sites.command(1, &["get", "sessions", "lost"]).await.0, Some(1), "a dry run changes nothing");

    // The side that lacks it asks for it.
    let (code, out, err) = sites.command(1, &["drift", "site1", "--repair"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("site2 lacks 1 records of sessions that site1 holds; 1 of them it holds again"), "{out}");
    assert_eq!(sites.command(1, &["get", "sessions", "lost"]).await.1, "lost");
    assert_eq!(sites.command(1, &["ls", "sessions"]).await.1, "kept\nlost\n", "what was removed stays so");
    let (code, found) = drift(&sites, 0, &[]).await;
    assert_eq!(code, Some(0), "{found}");
    assert_eq!(sites.command(0, &["drift", "site9"]).await.0, Some(2), "no such peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_was_compared_the_exit_status_says_so() {
    let caches = "[[caches]]\nname = \"sessions\"\n[[caches]]\nname = \"work\"\nreplicate = \"local\"\n";
    let sites = TwoSites::start_with(caches).await;
    sites.done(0, &["put", "work", "k", "stays here"]).await;
    let (code, out, err) = sites.command(0, &["drift"]).await;
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("site2: work is left out: it does not replicate"), "{out}");
    assert!(!out.contains("site2 lacks nothing"), "nobody knows: {out}");

    sites.done(0, &["put", "sessions", "k", "goes everywhere"]).await;
    // Until then either store may be filling, and all is left out.
    until("what replicates to be compared", async || (sites.command(0, &["drift"]).await.0 == Some(0)).then_some(()))
        .await;
    let (code, out, _) = sites.command(0, &["drift", "--cache", "work"]).await;
    assert_eq!(code, Some(1), "it was asked for: {out}");
    assert_eq!(sites.command(0, &["drift", "--cache", "sessions"]).await.0, Some(0));
}
