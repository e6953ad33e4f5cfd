//! A new configuration while the relays run: caches and limits are taken over, a bad one is refused whole, and what differs
//! between the sites is told until it does not.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;

use bytes::Bytes;
use landbridge_client::{Client, Error, ErrorCode};
use landbridge_tests::{
    hearer::Hearer,
    load::{Load, complete, contents, until_equal},
    metrics::{scrape, total},
    patience::{PATIENCE, until, until_true},
    sites::TwoSites,
};
use tokio::time::timeout;

const SESSIONS: &str = "[[caches]]\nname = \"sessions\"\nmerge = \"remove_wins\"\n";

fn with_carts(settings: &str) -> String {
    format!("{SESSIONS}[[caches]]\nname = \"carts\"\n{settings}\n")
}

async fn put(node: &Client, cache: &str, key: &str, value: &str) -> Result<(), Option<ErrorCode>> {
    let put = node.raw(cache).unwrap().put(key, Bytes::copy_from_slice(value.as_bytes())).await;
    put.map(drop).map_err(|error| code_of(&error))
}

fn code_of(error: &Error) -> Option<ErrorCode> {
    if let Error::Refused(refusal) = error { refusal.code() } else { panic!("no refusal: {error}") }
}

async fn value(node: &Client, cache: &str, key: &str) -> Option<Bytes> {
    node.raw(cache).unwrap().get(key).await.unwrap()
}

fn told_differences(sites: &TwoSites, at: usize) -> f64 {
    total(&scrape(sites.port(at)), "landbridge_configuration_differences", "peer=")
}

/// No difference is told at either site any more.
async fn until_alike(sites: &TwoSites) {
    for (at, peer) in [(0, 1), (1, 0)] {
        until("the configurations to be alike", async || sites.differences(at, peer).await.is_empty().then_some(()))
            .await;
        assert_eq!(told_differences(sites, at), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_comes_changes_goes_and_comes_back_under_load() {
    let sites = TwoSites::start_with(SESSIONS).await;
    let nodes = sites.nodes().await;
    let heard = Hearer::start(&nodes[1], "sessions").await;
    let loads = [("a", 1), ("b", 2)]
        .map(|(prefix, seed)| Load::start(&nodes[usize::from(prefix == "b")], "sessions", prefix, 4, 50, seed));
    assert_eq!(put(&nodes[0], "carts", "k", "1").await, Err(Some(ErrorCode::UnknownCache)));

    // Added at one site: it is there at once, and both tell that the other lacks it.
    let told = sites.reload(0, &with_carts("")).await;
    assert!(
        told.contains("1 changed") && told.contains("cache carts: added (merge latest, replicate async)"),
        "{told}"
    );
    put(&nodes[0], "carts", "before", "1").await.unwrap();
    assert_eq!(put(&nodes[1], "carts", "k", "1").await, Err(Some(ErrorCode::UnknownCache)));
    for (at, peer, words) in [(0, 1, "configured here, not at site2"), (1, 0, "configured at site1, not here")] {
        let differences = until("the difference", async || {
            Some(sites.differences(at, peer).await).filter(|differences| !differences.is_empty())
        })
        .await;
        assert!(
            differences.len() == 1 && differences[0].starts_with(&format!("cache carts: {words}")),
            "{differences:?}"
        );
        assert_eq!(told_differences(&sites, at), 1.0);
        let (_, text, _) = sites.command(at, &["status"]).await;
        assert!(text.contains(&format!("configured differently: {}", differences[0])), "{text}");
        until_true("the log to tell", || sites.log(at).contains(&format!("configurations differ: {}", differences[0])))
            .await;
    }

    // At the other site by SIGHUP: what was written before it had the cache is there.
    sites.configure(1, &with_carts(""));
    sites.signal(1, "HUP").await;
    until("the cache at site2", async || (put(&nodes[1], "carts", "after", "2").await.is_ok()).then_some(())).await;
    assert_eq!(until_equal(&nodes, "carts").await, 2);
    until_alike(&sites).await;
    until_true("the log to tell", || sites.log(0).contains("configurations do not differ any more")).await;

    // Changed.
    let told = sites.reload(0, &with_carts("lifespan = \"10m\"\nmax_entry_bytes = 4")).await;
    assert!(told.contains("cache carts: lifespan: was absent, is 10m"), "{told}");
    assert!(told.contains("cache carts: max_entry_bytes: was 1MiB, is 4B"), "{told}");
    assert_eq!(put(&nodes[0], "carts", "long", "12345").await, Err(Some(ErrorCode::EntryTooLarge)));
    put(&nodes[0], "carts", "short", "1234").await.unwrap();
    let deadline = |entries: Vec<_>| {
        entries.into_iter().find(|(key, _): &(Bytes, (String, Option<_>, Bytes))| key == "short").unwrap().1.1
    };
    assert!(deadline(complete(&nodes[0], "carts").await.into_iter().collect()).is_some());

    // Removed: who listens is told, nobody gets in; and put back it has everything.
    let carts = nodes[0].raw("carts").unwrap();
    let mut listener = carts.listen().start_raw().await.unwrap();
    let told = sites.reload(0, SESSIONS).await;
    assert!(told.contains("cache carts: removed"), "{told}");
    let end = timeout(PATIENCE, listener.next()).await.expect("the listener is told").unwrap().unwrap_err();
    assert_eq!(code_of(&end), Some(ErrorCode::UnknownCache));
    assert!(listener.next().await.is_none());
    assert_eq!(put(&nodes[0], "carts", "k", "1").await, Err(Some(ErrorCode::UnknownCache)));
    assert_eq!(code_of(&carts.get("before").await.unwrap_err()), Some(ErrorCode::UnknownCache));
    put(&nodes[1], "carts", "meanwhile", "3").await.unwrap();
    sites.reload(0, &with_carts("")).await;
    assert_eq!(value(&nodes[0], "carts", "before").await, Some(Bytes::from_static(b"1")));
    assert_eq!(until_equal(&nodes, "carts").await, 4);
    until_alike(&sites).await;

    // All that while, nothing that was acknowledged was lost, and listeners heard on.
    let mut written = 0;
    for load in loads {
        let (known, count) = load.stop().await;
        written += count;
        until("all that was acknowledged", async || {
            let (here, there) = (contents(&nodes[0], "sessions").await, contents(&nodes[1], "sessions").await);
            let stands = |key: &String, value: &Option<Bytes>| {
                [&here, &there].iter().all(|all| all.get(key).map(|(_, value)| value) == value.as_ref())
            };
            known.iter().all(|(key, value)| stands(key, value)).then_some(())
        })
        .await;
    }
    assert!(written > 0);
    let all = contents(&nodes[1], "sessions").await;
    until_true("the listener to know all", || {
        let heard = heard.heard();
        heard.gaps == 0 && heard.values.iter().eq(all.iter().map(|(key, (_, value))| (key, value)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_can_not_be_taken_over_is_refused_whole_and_the_old_one_stays() {
    let mut sites = TwoSites::start_with(SESSIONS).await;
    let node = sites.node(0, "node11").await;
    put(&node, "sessions", "k", "1").await.unwrap();
    let told = sites.reload(0, SESSIONS).await;
    assert!(told.contains("changes nothing"), "{told}");

    let peer = format!("127.0.0.1:{}", sites.port(1));
    let refused = async |sites: &TwoSites, settings: &str| {
        sites.configure(0, settings);
        let (code, out, err) = sites.command(0, &["reload"]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        // Nothing of it holds: not for the store, not for sessions, not for links.
        assert_eq!(put(&node, "carts", "k", "1").await, Err(Some(ErrorCode::UnknownCache)));
        let read = node.raw("carts").unwrap().get("k").await.unwrap_err();
        assert_eq!(code_of(&read), Some(ErrorCode::UnknownCache));
        assert_eq!(sites.status(0).await["links"][0]["address"], peer);
        err
    };
    // Each of them comes with a cache, and with an address of the peer, that would be good by themselves.
    sites.dial_through(0, 1, landbridge_tests::ports::free());
    let err = refused(&sites, &with_carts("merge = \"best\"\n[limits]\nmax_sesions = 5")).await;
    assert!(err.contains("a cache's merge is") && err.contains("did you mean `max_sessions`?"), "{err}");
    let restart = with_carts("[limits]\nmax_sessions = 5\nidle_timeout = \"20s\"");
    let err = refused(&sites, &restart).await;
    assert!(err.contains("limits.max_sessions: was 1024, is 5: it needs a restart"), "{err}");
    assert!(err.contains("limits.idle_timeout: was 10s, is 20s: it needs a restart"), "{err}");
    let merged = with_carts("").replace("remove_wins", "latest");
    let err = refused(&sites, &merged).await;
    assert!(err.contains("cache sessions: `merge` is remove_wins for what is held, and would be latest"), "{err}");

    // The same by SIGHUP, with the words in the log.
    fs::write(sites.config(0), "site = ").unwrap();
    sites.signal(0, "HUP").await;
    until_true("the log to tell", || sites.log(0).contains("the configuration is refused, and the old one stays"))
        .await;
    assert_eq!(value(&node, "sessions", "k").await, Some(Bytes::from_static(b"1")));

    // Another file, once; and as JSON.
    sites.dial_through(0, 1, sites.port(1));
    sites.configure(0, &with_carts(""));
    let other = sites.config(0).with_extension("other");
    fs::rename(sites.config(0), &other).unwrap();
    let (code, out, err) = sites.command(0, &["reload", "--json", "--config", other.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["file"], other.to_str().unwrap());
    assert_eq!(told["changes"].as_array().unwrap().len(), 1);
    put(&node, "carts", "k", "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_differs_is_told_exactly_and_the_cache_is_transferred_once_it_does_not() {
    let mut sites = TwoSites::prepare(&with_carts(""));
    sites.configure(1, &with_carts("merge = \"remove_wins\""));
    sites.start_all().await;
    let nodes = sites.nodes().await;
    for (at, peer, words) in [
        (0, 1, "cache carts: merge is latest here, remove_wins at site2; it does not replicate between the two"),
        (1, 0, "cache carts: merge is remove_wins here, latest at site1; it does not replicate between the two"),
    ] {
        until(words, async || (sites.differences(at, peer).await == [words]).then_some(())).await;
        until_true("the log to tell", || sites.log(at).contains(words)).await;
    }
    put(&nodes[0], "carts", "k", "1").await.unwrap();
    put(&nodes[0], "sessions", "s", "1").await.unwrap();
    assert_eq!(until_equal(&nodes, "sessions").await, 1);
    assert_eq!(value(&nodes[1], "carts", "k").await, None);
    // Nothing is held of it here: another merge is taken over at once.
    sites.reload(1, &with_carts("")).await;
    assert_eq!(until_equal(&nodes, "carts").await, 1);
    until_alike(&sites).await;
    // To stay in its site, and back: what was written meanwhile comes.
    sites.reload(0, &with_carts("replicate = \"local\"")).await;
    put(&nodes[0], "carts", "alone", "2").await.unwrap();
    until("the difference", async || {
        let told = "cache carts: replicate is async here, local at site1; it does not replicate between the two";
        (sites.differences(1, 0).await == [told]).then_some(())
    })
    .await;
    put(&nodes[1], "carts", "there", "3").await.unwrap();
    put(&nodes[1], "sessions", "t", "1").await.unwrap();
    assert_eq!(until_equal(&nodes, "sessions").await, 2);
    assert_eq!((value(&nodes[1], "carts", "alone").await, value(&nodes[0], "carts", "there").await), (None, None));
    sites.reload(0, &with_carts("")).await;
    assert_eq!(until_equal(&nodes, "carts").await, 3);
    until_alike(&sites).await;
}
