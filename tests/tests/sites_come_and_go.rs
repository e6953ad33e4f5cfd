//! A site is added to two that run, and decommissioned again, both under load; and comes back, with a new disk or an old one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{
    hearer::Hearer,
    load::{Known as Written, Load, complete, contents, until_equal},
    metrics::{scrape, total},
    patience::{until, until_true},
    sites::{Known, ThreeSites},
};

const CACHE: &str = "sessions";
/// Tombstones go soon after every site has seen them, but not before a listener can have.
const SETTINGS: &str = "[replication]\nforward_after = \"200ms\"\ntombstone_min_age = \"5s\"\n";

async fn put(node: &Client, key: &str) {
    node.raw(CACHE).unwrap().put(key, Bytes::copy_from_slice(key.as_bytes())).await.unwrap();
}

/// The first two sites with the third as that, once they have taken that over.
async fn know(sites: &mut ThreeSites, known: Known) {
    for at in 0..2 {
        sites.set_known(at, 2, known);
        sites.reload(at, SETTINGS).await;
    }
}

/// Two running sites that know of no third one.
async fn two() -> ThreeSites {
    let mut sites = ThreeSites::prepare(SETTINGS);
    for at in 0..2 {
        sites.set_known(at, 2, Known::Not);
        sites.configure(at, SETTINGS);
        sites.spawn(at);
    }
    for at in 0..2 {
        sites.ready(at).await;
    }
    sites
}

async fn until_held(node: &Client, written: &Written) {
    until("all that was acknowledged", async || {
        let all = contents(node, CACHE).await;
        written.iter().all(|(key, value)| all.get(key).map(|(_, value)| value) == value.as_ref()).then_some(())
    })
    .await;
}

async fn until_no_tombstones(sites: &ThreeSites) {
    for at in 0..2 {
        until("no tombstone to be left", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_site_is_added_filled_and_decommissioned_under_load() {
    let mut sites = two().await;
    let mut nodes = vec![sites.node(0, "node11").await, sites.node(1, "node21").await];
    put(&nodes[0], "from-before").await;
    let heard = Hearer::start(&nodes[1], CACHE).await;
    let loads: Vec<Load> = (0..2).map(|at| Load::start(&nodes[at], CACHE, ["a", "b"][at], 4, 50, at as u64)).collect();

    // One relay knows of it: both tell the difference. Then both do.
    sites.set_known(0, 2, Known::Peer);
    let told = sites.reload(0, SETTINGS).await;
    assert!(told.contains("peer site3: added"), "{told}");
    until("the difference", async || {
        (sites.differences(1, 0).await == ["site site3: not configured here, configured at site1"]).then_some(())
    })
    .await;
    // The other by SIGHUP.
    sites.set_known(1, 2, Known::Peer);
    sites.configure(1, SETTINGS);
    sites.signal(1, "HUP").await;
    until_true("it to be taken over", || sites.log(1).contains("configured anew: peer site3: added")).await;
    until("no difference", async || sites.differences(0, 1).await.is_empty().then_some(())).await;
    sites.spawn(2);
    sites.ready(2).await;
    nodes.push(sites.node(2, "node31").await);
    until("it to be filled", async || contents(&nodes[2], CACHE).await.contains_key("from-before").then_some(())).await;
    put(&nodes[2], "from-3").await;
    for (at, node) in nodes.iter().enumerate().take(2) {
        until("its write", async || contents(node, CACHE).await.contains_key("from-3").then_some(())).await;
        until("all links", async || {
            let view = sites.status(at).await["relay_view"].as_str().unwrap().to_owned();
            view.ends_with("(3) [site1, site2, site3]").then_some(())
        })
        .await;
        assert_eq!(total(&scrape(sites.port(at)), "landbridge_link_state", "peer=\"site3\""), 1.0);
    }

    // Decommissioned: it is told why nobody takes anything from it, and nobody waits for it.
    know(&mut sites, Known::Former).await;
    put(&nodes[2], "alone").await;
    until("it to be told", async || {
        let links = sites.status(2).await["links"].clone();
        let told = |link: &serde_json::Value| {
            let detail = link["detail"].as_str().unwrap();
            let in_vain = link["state"] == "faulted" && link["incoming"] == false;
            in_vain && (detail.contains("no peer") || detail.contains("does not have as a peer"))
        };
        links.as_array().unwrap().iter().all(told).then_some(())
    })
    .await;
    for load in loads {
        let (written, count) = load.stop().await;
        assert!(count > 0);
        for node in &nodes[..2] {
            until_held(node, &written).await;
        }
    }
    until_equal(&nodes[..2], CACHE).await;
    until_no_tombstones(&sites).await;
    let all = contents(&nodes[1], CACHE).await;
    assert!(all.contains_key("from-3") && !all.contains_key("alone"));
    until_true("the listener to know all", || {
        heard.heard().values.iter().eq(all.iter().map(|(key, (_, value))| (key, value)))
    })
    .await;
    assert_eq!(heard.heard().gaps, 0);
    for at in 0..2 {
        let status = sites.status(at).await;
        assert_eq!(status["former_sites"], serde_json::json!(["site3"]));
        assert_eq!(status["links"].as_array().unwrap().len(), 1);
        assert!(status["relay_view"].as_str().unwrap().ends_with("(2) [site1, site2]"), "{status}");
        let metrics = scrape(sites.port(at));
        assert_eq!(total(&metrics, "landbridge_link_state", "peer=\"site3\""), 0.0, "{metrics}");
        assert_eq!(total(&metrics, "landbridge_link_lag_changes", "peer=\"site3\""), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decommissioned_site_comes_back_as_it_was_and_wiped() {
    let mut sites = ThreeSites::start_with(SETTINGS).await;
    let nodes = sites.nodes().await;
    put(&nodes[2], "kept").await;
    put(&nodes[2], "removed").await;
    assert_eq!(until_equal(&nodes, CACHE).await, 2);
    // A peer that is merely left out is refused: what it wrote is here.
    sites.set_known(0, 2, Known::Not);
    sites.configure(0, SETTINGS);
    let (code, _, err) = sites.command(0, &["reload"]).await;
    assert_eq!(code, Some(2));
    let words = "site site3 is neither in `peers` nor in `former_sites`, and what it wrote is held here";
    assert!(err.contains(words) && err.contains("name it in `former_sites`"), "{err}");
    // A start takes it, and says so until it is mended: what is held is served, and peers that know the site take nothing.
    let strange = async |sites: &ThreeSites| sites.status(0).await["warnings"].to_string().contains(words);
    assert!(!strange(&sites).await);
    sites.kill(0).await;
    sites.spawn(0);
    sites.ready(0).await;
    until_true("the log to tell", || sites.log(0).contains(&format!("WARN landbridge_relay::service: {words}"))).await;
    assert!(strange(&sites).await);
    let (_, text, _) = sites.command(0, &["status"]).await;
    assert!(text.contains(&format!("note: {words}")), "{text}");
    assert_eq!(contents(&nodes[0], CACHE).await.len(), 2);
    until("the link to say why", async || {
        let link = sites.status(0).await["links"][0].clone();
        let why = link["detail"].as_str().unwrap().to_owned();
        (link["state"] == "faulted" && why.contains("site3, which is not configured")).then_some(())
    })
    .await;
    know(&mut sites, Known::Former).await;
    assert!(!strange(&sites).await);
    nodes[0].raw(CACHE).unwrap().remove("removed").await.unwrap().unwrap();
    put(&nodes[2], "alone").await;
    until_no_tombstones(&sites).await;
    put(&nodes[2], "removed").await;
    // With its old disk: what was removed while it was away stays removed, also where it went on with it alone, and what it
    // began meanwhile comes.
    know(&mut sites, Known::Peer).await;
    assert_eq!(until_equal(&nodes, CACHE).await, 2);
    until("what it wrote alone", async || contents(&nodes[0], CACHE).await.contains_key("alone").then_some(())).await;
    assert_eq!(until_equal(&nodes, CACHE).await, 2);
    assert!(!complete(&nodes[1], CACHE).await.contains_key("removed".as_bytes()));
    // With a new one.
    know(&mut sites, Known::Former).await;
    sites.kill(2).await;
    std::fs::remove_dir_all(sites.store(2)).unwrap();
    know(&mut sites, Known::Peer).await;
    sites.spawn(2);
    sites.ready(2).await;
    put(&nodes[2], "again").await;
    until("its write", async || contents(&nodes[0], CACHE).await.contains_key("again").then_some(())).await;
    assert_eq!(until_equal(&nodes, CACHE).await, 3);
}

/// Of a removal that reached the others before something older of the same relay, which never did, their V can't speak.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_decommissioned_site_left_half_told_is_let_go() {
    const AT_ONCE: &str = "[replication]\ntombstone_min_age = \"0s\"\nfill_wait = \"100ms\"\n";
    let mut sites = ThreeSites::prepare(AT_ONCE);
    for peer in 0..2 {
        sites.set_peer(2, peer, "offline = true\nmax_bytes_per_second = \"16KiB\"");
    }
    sites.configure(2, AT_ONCE);
    sites.start_all().await;
    let nodes = sites.nodes().await;
    // What is sent is the removal, and the long value; the first key's newer value waits for a minute.
    put(&nodes[2], "first").await;
    let cache = nodes[2].raw(CACHE).unwrap();
    cache.put("gone", Bytes::from_static(b"1")).await.unwrap();
    cache.remove("gone").await.unwrap().unwrap();
    cache.put("long", Bytes::from(vec![b'.'; 1_000_000])).await.unwrap();
    put(&nodes[2], "first").await;
    for peer in 0..2 {
        sites.join_one(2, peer).await;
    }
    for (at, node) in nodes.iter().enumerate().take(2) {
        until("the long value", async || contents(node, CACHE).await.contains_key("long").then_some(())).await;
        assert!(!contents(node, CACHE).await.contains_key("first"));
        assert_eq!(sites.tombstones(at, CACHE).await, 1);
    }
    sites.kill(2).await;
    for at in 0..2 {
        sites.set_known(at, 2, Known::Former);
        sites.reload(at, AT_ONCE).await;
    }
    until_no_tombstones(&sites).await;
    assert_eq!(until_equal(&nodes[..2], CACHE).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_moved_is_dialled_where_it_is() {
    let mut sites = ThreeSites::prepare(SETTINGS);
    // Nobody is there.
    sites.dial_through(0, 1, landbridge_tests::ports::free());
    sites.configure(0, SETTINGS);
    sites.start_all().await;
    let link = async |sites: &ThreeSites| sites.status(0).await["links"][0].clone();
    until("the link to fail", async || (link(&sites).await["state"] != "streaming").then_some(())).await;
    sites.dial_through(0, 1, sites.port(1));
    sites.set_peer(0, 1, "max_bytes_per_second = \"1MiB\"");
    sites.configure(0, SETTINGS);
    sites.signal(0, "HUP").await;
    for told in ["peer site2.address: was ", "peer site2.max_bytes_per_second: was off, is 1MiB"] {
        until_true(told, || sites.log(0).contains(&format!("configured anew: {told}"))).await;
    }
    until("the link to stream", async || (link(&sites).await["state"] == "streaming").then_some(())).await;
    let nodes = sites.nodes().await;
    put(&nodes[0], "k").await;
    assert_eq!(until_equal(&nodes, CACHE).await, 1);
}
