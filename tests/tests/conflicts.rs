//! Writes at two sites that were cut apart: what was discarded is counted, told with both records, and kept.

use bytes::Bytes;
use landbridge_tests::{patience::until, sites::TwoSites};
use serde_json::Value;

async fn conflicts(sites: &TwoSites, at: usize, more: &[&str]) -> Vec<Value> {
    let args = [&["conflicts", "--json"], more].concat();
    let (code, out, err) = sites.command(at, &args).await;
    assert_eq!(code, Some(0), "{err}");
    out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn of_cache(status: &Value, name: &str) -> u64 {
    let caches = status["caches"].as_array().expect("caches");
    let cache = caches.iter().find(|cache| cache["name"] == name).expect("the cache");
    cache["conflicts"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_sites_wrote_unseen_is_counted_told_and_kept() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    let (at_one, at_two) = (one.raw("loginFailures").unwrap(), two.raw("loginFailures").unwrap());
    let value = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    for key in ["both", "in-turn"] {
        at_one.put(key, value("before")).await.unwrap();
        until("the entry at site2", async || at_two.contains(key).await.unwrap().then_some(())).await;
    }
    for (at, peer) in [(0, "site2"), (1, "site1")] {
        assert_eq!(sites.command(at, &["take-offline", peer]).await.0, Some(0));
    }
    // Each over the same entry, and one twice, so that the other hears the last alone.
    at_one.put("both", value("lost")).await.unwrap();
    at_two.put("both", value("between")).await.unwrap();
    let stands = at_two.put("both", value("stands")).await.unwrap();
    for text in ["first", "second"] {
        at_two.put("in-turn", value(text)).await.unwrap();
    }
    for (at, peer) in [(0, "site2"), (1, "site1")] {
        assert_eq!(sites.command(at, &["bring-online", peer]).await.0, Some(0));
    }
    for (node, key, text) in [(&at_one, "both", "stands"), (&at_one, "in-turn", "second"), (&at_two, "both", "stands")]
    {
        until(text, async || (node.get(key).await.unwrap() == Some(value(text))).then_some(())).await;
    }
    until("site2 to have heard what lost", async || {
        let seen = sites.status(1).await["links"][0]["incoming"] == true
            && sites.status(0).await["links"][0]["lag_changes"] == 0;
        seen.then_some(())
    })
    .await;
    let told = conflicts(&sites, 0, &[]).await;
    assert_eq!(told.len(), 1, "one conflict, and none on what was written in turn: {told:?}");
    assert_eq!(
        (&told[0]["key"], &told[0]["because"], &told[0]["peer"]),
        (&"both".into(), &"later".into(), &"site2".into())
    );
    assert_eq!((&told[0]["loser"]["value"], &told[0]["loser"]["node"]), (&"lost".into(), &"node11".into()));
    assert_eq!(
        (&told[0]["winner"]["value"], &told[0]["winner"]["version"]),
        (&"stands".into(), &stands.to_string().into())
    );
    assert_eq!(conflicts(&sites, 0, &["--cache", "sessions"]).await.len(), 0);
    assert_eq!(of_cache(&sites.status(0).await, "loginFailures"), 1);
    let (code, table, _) = sites.command(0, &["conflicts"]).await;
    assert!(code == Some(0) && table.contains("BECAUSE") && table.contains("both"), "{table}");
    sites.kill(0).await;
    sites.spawn(0);
    sites.ready(0).await;
    assert_eq!(conflicts(&sites, 0, &[]).await, told, "it survives the relay");
}
