//! Relays and clients of this version beside those of the next: they speak the older's protocol, and an installation is
//! upgraded relay by relay, and back, under load.

use std::path::Path;

use landbridge_tests::{
    crash::verify,
    hearer::Hearer,
    load::{Known, Load},
    next,
    patience::until,
    sites::{NODES, SITES, TwoSites},
};

const VALUE: &str = "held";

/// The protocol version of the link from a relay to its peer, once it streams both ways.
async fn spoken(sites: &TwoSites, at: usize) -> u64 {
    until(&format!("the link of {} to stream both ways", SITES[at]), async || {
        let link = sites.status(at).await["links"][0].take();
        let streams = link["state"] == "streaming" && link["incoming"] == true;
        streams.then(|| link["version"].as_u64().expect("a link that streams has a version"))
    })
    .await
}

/// Starts the relay of a site anew, as another version.
async fn change(sites: &mut TwoSites, at: usize, binary: &Path) {
    assert!(sites.take(at).stop().await.success(), "a relay ends in order");
    sites.spawn_as(binary, at);
    sites.ready(at).await;
}

/// Puts by one version's command, reads by the other's.
async fn both_ways(sites: &TwoSites, at: usize, binaries: [&Path; 2]) {
    for (number, writer) in binaries.into_iter().enumerate() {
        let key = format!("{}-{number}", SITES[at]);
        for (binary, args, out) in [
            (writer, &["put", "sessions", &key, VALUE][..], None),
            (binaries[1 - number], &["get", "sessions", &key], Some(VALUE)),
            (binaries[number], &["get", "sessions", &key], Some(VALUE)),
        ] {
            let (code, told, error) = sites.command_of(binary, at, args).await;
            assert_eq!(code, Some(0), "{args:?} of {} at {}: {error}", binary.display(), SITES[at]);
            assert!(out.is_none_or(|out| out == told), "{args:?}: {told}");
        }
        let (code, _, error) = sites.command_of(writer, at, &["status", "--json"]).await;
        assert_eq!(code, Some(0), "status: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_speak_the_olders_until_all_are_upgraded_and_a_rolling_upgrade_loses_nothing() {
    let next = tokio::task::spawn_blocking(next::binary).await.expect("a build");
    let this = landbridge_tests::relay::binary();
    let mut sites = TwoSites::start().await;
    let nodes = [sites.node(0, NODES[0][0]).await, sites.node(1, NODES[1][0]).await];
    let listeners = [Hearer::start(&nodes[0], "sessions").await, Hearer::start(&nodes[1], "sessions").await];
    let mut known = Known::new();
    let binaries = [this.as_path(), next.as_path()];

    // Upgraded one by one, then one of them back; the nodes of this version write all the time.
    for (step, (at, binary, version)) in [(0, &next, 2), (1, &next, 3), (0, &this, 2)].into_iter().enumerate() {
        let loads = [0, 1].map(|site| Load::start(&nodes[site], "sessions", &format!("{step}-{site}"), 2, 50, 7));
        change(&mut sites, at, binary).await;
        for site in [0, 1] {
            assert_eq!(spoken(&sites, site).await, version, "step {step}, {}", SITES[site]);
        }
        for load in loads {
            known.extend(load.stop().await.0);
        }
        verify(&nodes, &listeners, &known, step as u32).await;
        for site in [0, 1] {
            both_ways(&sites, site, binaries).await;
            for number in [0, 1] {
                let key = format!("{}-{number}", SITES[site]);
                let removed = sites.command_of(binaries[number], 1 - site, &["remove", "sessions", &key]).await;
                assert_eq!(removed.0, Some(0), "{}", removed.2);
            }
        }
        verify(&nodes, &listeners, &known, step as u32).await;
    }
    // The next version did use what is new in it, and this one was never shown any of it.
    for (site, greeted) in [(0, true), (1, true)] {
        let log = sites.log(site);
        assert_eq!(log.contains("greeted: good day"), greeted, "{log}");
        assert!(log.contains("peeked at"), "{log}");
        assert!(!log.contains("is not supported here"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_that_only_the_newer_knows_keeps_nothing_from_replicating() {
    let next = tokio::task::spawn_blocking(next::binary).await.expect("a build");
    let mut sites = TwoSites::prepare("");
    let cache = "[[caches]]\nname = \"sessions\"\nmerge = \"remove_wins\"\n";
    sites.configure(0, cache);
    sites.configure(1, &format!("{cache}note = \"of the next version\"\n"));
    // This version says which line it does not understand, and does not start.
    let refused = sites.command(1, &["check", "--config", &sites.config(1).display().to_string()]).await;
    assert_eq!(refused.0, Some(1));
    assert!(refused.2.contains("note") || refused.1.contains("note"), "{refused:?}");
    sites.spawn(0);
    sites.spawn_as(&next, 1);
    sites.ready(0).await;
    sites.ready(1).await;
    for (from, to) in [(0, 1), (1, 0)] {
        sites.done(from, &["put", "sessions", SITES[from], VALUE]).await;
        until("the entry at the other site", async || {
            (sites.command(to, &["get", "sessions", SITES[from]]).await.1 == VALUE).then_some(())
        })
        .await;
    }
}
