//! A clear reaches whoever listens as it reaches the stores, also where the other site wrote on before it heard of it.

use bytes::Bytes;
use landbridge_tests::{
    hearer::Hearer,
    load::{complete, until_equal},
    patience::{until, until_true},
    sites::Sites,
};

/// Where removals win, a clear ends lives by their birth: what another site has written over since goes too, as a removal of
/// each key would end it. Where the latest write wins, that write stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_keep_of_a_clear_what_the_stores_keep() {
    let sites = Sites::<2>::start().await;
    let nodes = sites.nodes().await;
    for (cache, kept) in [("sessions", vec!["new"]), ("actionTokens", vec!["new", "old"])] {
        let hearers = [Hearer::start(&nodes[0], cache).await, Hearer::start(&nodes[1], cache).await];
        let caches = [nodes[0].raw(cache).unwrap(), nodes[1].raw(cache).unwrap()];
        for key in ["old", "never written over"] {
            caches[0].put(key, Bytes::from_static(b"before")).await.unwrap();
        }
        assert_eq!(until_equal(&nodes, cache).await, 2);
        sites.cut(0, 1).await;
        caches[0].clear().await.unwrap();
        for key in ["old", "new"] {
            caches[1].put(key, Bytes::from_static(b"after")).await.unwrap();
        }
        let told = || hearers[1].heard().values.get("old").is_some_and(|value| value == "after");
        until_true("the second site's listener hears of what it wrote", told).await;
        sites.join(0, 1).await;

        until(&format!("{kept:?} alone in {cache} at both sites"), async || {
            let [one, other] = [complete(&nodes[0], cache).await, complete(&nodes[1], cache).await];
            (one == other && one.len() == kept.len()).then_some(())
        })
        .await;
        for hearer in &hearers {
            until_true(&format!("{kept:?} alone in what a listener of {cache} knows"), || {
                hearer.heard().values.keys().eq(&kept)
            })
            .await;
            assert_eq!(hearer.heard().gaps, 0);
        }
    }
}
