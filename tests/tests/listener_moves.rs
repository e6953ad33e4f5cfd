//! Promise 5 away from home: a listener whose relay is gone goes on at another site's, and comes back, and hears each key's
//! last change, without a gap.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use landbridge_client::{Client, Failover, Profile};
use landbridge_protocol::name::SiteName;
use landbridge_tests::{
    hearer::Hearer,
    load::{Load, contents},
    patience::until,
    sites::{SITES, TwoSites},
};

const CACHE: &str = "sessions";
const SOON: Failover = Failover { after: Duration::from_millis(100), probe_every: Duration::from_millis(200) };

async fn with_failover(sites: &TwoSites) -> Client {
    sites.add_node("mover", &[0, 1]);
    let profile = Profile::load(sites.profile(0, "mover")).unwrap();
    let elsewhere = (SITES[1], format!("127.0.0.1:{}", sites.port(1)));
    Client::builder().profile(profile).failover([elsewhere], SOON).connect().await.unwrap()
}

async fn until_at(node: &Client, site: &str) {
    let site = SiteName::new(site).unwrap();
    until(&format!("the node to be at {site}"), async || (node.connected_to() == Some(site)).then_some(())).await;
}

/// Waits until the listener knows what the node of that site reads.
async fn until_heard(hearer: &Hearer, reader: &Client) {
    until("the listener to know what can be read", async || {
        let held: BTreeMap<_, _> =
            contents(reader, CACHE).await.into_iter().map(|(key, (_, value))| (key, value)).collect();
        (hearer.heard().values == held).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_relay_was_killed_goes_on_elsewhere_and_comes_back_without_loss_or_gap() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (with_failover(&sites).await, sites.node(1, "node21").await);
    let hearer = Hearer::start(&one, CACHE).await;
    for round in 0..3 {
        // What its relay is told last is with that relay alone when it is killed.
        let loads = [(&one, "of1"), (&two, "of2")]
            .map(|(node, of)| Load::start(node, CACHE, &format!("{of}-{round}"), 2, 20, round));
        let told = hearer.heard().told;
        until("something to be heard", async || (hearer.heard().told > told + 20).then_some(())).await;
        sites.kill(0).await;
        until_at(&one, SITES[1]).await;
        let told = hearer.heard().told;
        until("something to be heard elsewhere", async || (hearer.heard().told > told + 20).then_some(())).await;
        sites.spawn(0);
        sites.ready(0).await;
        until_at(&one, SITES[0]).await;
        let told = hearer.heard().told;
        until("something to be heard at home", async || (hearer.heard().told > told + 20).then_some(())).await;
        for load in loads {
            load.stop().await;
        }
        until_heard(&hearer, &two).await;
        // What it heard elsewhere may still be on its way to its own relay.
        until("both relays to hold the same", async || {
            (contents(&one, CACHE).await == contents(&two, CACHE).await).then_some(())
        })
        .await;
    }
    assert_eq!(hearer.heard().gaps, 0);
}

/// The other site is cut off from what the listener was told last: it goes on there all the same, and hears it again at
/// home where it did not stay the last word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_is_served_by_a_site_that_knows_less_than_it_does() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (with_failover(&sites).await, sites.node(1, "node21").await);
    let hearer = Hearer::start(&one, CACHE).await;
    let put = async |node: &Client, value: &'static str| {
        node.raw(CACHE).unwrap().put("both", Bytes::from_static(value.as_bytes())).await.unwrap()
    };
    put(&one, "before").await;
    until_heard(&hearer, &two).await;
    sites.cut(0, 1).await;
    // The older one is written where the newer one is not known.
    put(&two, "older, of site2").await;
    put(&one, "newer, of site1").await;
    let hears = async |value: &'static str| {
        until(&format!("{value:?} to be heard"), async || {
            (hearer.heard().values.get("both").map(|value| &value[..]) == Some(value.as_bytes())).then_some(())
        })
        .await;
    };
    hears("newer, of site1").await;
    sites.kill(0).await;
    hears("older, of site2").await;
    // Started again it is online; its peer still takes nothing from it.
    sites.spawn(0);
    sites.ready(0).await;
    hears("newer, of site1").await;
    sites.join_one(1, 0).await;
    until_heard(&hearer, &two).await;
    assert_eq!(hearer.heard().gaps, 0);
}
