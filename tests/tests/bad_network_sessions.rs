//! Promises 1 and 5 for a node behind a bad network: what it was told is done is done, and it hears every key's last change.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use landbridge_client::{Client, Profile};
use landbridge_tests::{
    hearer::Hearer,
    load::{Load, contents},
    patience::{until, until_true},
    sites::TwoSites,
    wire::{Way, Weather, Wire},
};

const CACHE: &str = "sessions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_a_bad_network_loses_nothing_and_hears_all() {
    let mut sites = TwoSites::prepare(
        "[limits]\nidle_timeout = \"1s\"\nkeep_alive = \"200ms\"\n\n[replication]\nheartbeat_every = \"200ms\"\n",
    );
    sites.start_all().await;
    let wire = Wire::to(sites.port(0), 1).await;
    let profile = Profile::load(sites.profile(0, "node11")).unwrap();
    let profile = Profile { relay: format!("127.0.0.1:{}", wire.port()), ..profile };
    let far = Client::builder().profile(profile).connect().await.unwrap();
    let others = [sites.node(0, "node12").await, sites.node(1, "node21").await];
    let hearer = Hearer::start(&far, CACHE).await;

    let foul = Weather { cut: false, loss: 0.1, doubled: 0.1, delay: Duration::ZERO..Duration::from_millis(20) };
    wire.set(&foul);
    let nodes = [(&far, "far"), (&others[0], "near"), (&others[1], "other-site")];
    let loads = nodes.map(|(node, prefix)| Load::start(node, CACHE, prefix, 2, 30, 1));
    let lost_more = async |more: u64| {
        let before = wire.lost();
        until_true("the network to lose more", || wire.lost() > before + more).await;
    };
    for way in [Way::Forth, Way::Back] {
        wire.change_addresses();
        lost_more(10).await;
        // Until the session has noticed, and dials in vain.
        wire.set_way(way, &Weather::CUT);
        until("the relay to end the session", async || {
            let view = others[0].site_view();
            (!view.members.iter().any(|member| member.as_str() == "node11")).then_some(())
        })
        .await;
        wire.set(&foul);
        lost_more(10).await;
    }
    let (mut expected, mut writes) = (BTreeMap::new(), Vec::new());
    for load in loads {
        let (known, count) = load.stop().await;
        writes.push(count);
        expected.extend(known.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    assert!(writes.iter().all(|count| *count > 0), "{writes:?} writes were acknowledged");
    wire.set(&Weather::FAIR);
    for node in [&far, &others[0], &others[1]] {
        until("all that was acknowledged", async || {
            let held = contents(node, CACHE).await.into_iter().map(|(key, (_, value))| (key, value));
            (held.collect::<BTreeMap<String, Bytes>>() == expected).then_some(())
        })
        .await;
    }
    until("each key's last change to be heard", async || (hearer.heard().values == expected).then_some(())).await;
}
