//! A relay whose directory was deleted comes back from its peer, its own writes included, and is not ready before.

use bytes::Bytes;
use landbridge_client::{Change, Key};
use landbridge_tests::{
    load::contents,
    patience::{PATIENCE, until},
    sites::TwoSites,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_relay_comes_back_from_its_peer_with_its_own_writes() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    for n in 0..300 {
        one.raw("sessions").unwrap().put(format!("one-{n}").as_str(), Bytes::from_static(b"1")).await.unwrap();
        two.raw("sessions").unwrap().put(format!("two-{n}").as_str(), Bytes::from_static(b"2")).await.unwrap();
    }
    until("site2 to have all", async || (contents(&two, "sessions").await.len() == 600).then_some(())).await;
    let before = contents(&two, "sessions").await;
    sites.kill(0).await;
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    sites.spawn(0);
    sites.ready(0).await;
    // ready means filled: the first read after it must find everything
    assert_eq!(contents(&one, "sessions").await, before);
    let written = one.raw("sessions").unwrap().put("after", Bytes::from_static(b"3")).await.unwrap();
    let heard = until("the wiped site's next write at site2", async || {
        contents(&two, "sessions").await.remove("after").map(|(version, _)| version)
    });
    assert_eq!(heard.await, written.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_relay_is_not_ready_while_its_peer_is_away() {
    let mut sites = TwoSites::start().await;
    let one = sites.node(0, "node11").await;
    one.raw("sessions").unwrap().put("kept", Bytes::from_static(b"1")).await.unwrap();
    sites.kill(1).await;
    sites.kill(0).await;
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    sites.spawn(0);
    until("the relay to say which peer it awaits", async || sites.log(0).contains("site2").then_some(())).await;
    let status = sites.status(0).await;
    assert_eq!(status["ready"], false, "{status}");
    sites.spawn(1);
    sites.ready(1).await;
    sites.ready(0).await;
}

/// What a relay had alone when its disk was wiped is lost; who had heard it is told so, also by a token whose vector does not
/// speak for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_heard_what_a_wiped_relay_had_alone_is_told_of_the_gap() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    let cache = one.raw("sessions").unwrap();
    cache.put("shared", Bytes::from_static(b"1")).await.unwrap();
    until("site2 to have it", async || (contents(&two, "sessions").await.len() == 1).then_some(())).await;
    sites.cut(0, 1).await;
    let mut listener = cache.listen().start_raw().await.unwrap();
    // Of those that are told together, the last one's token alone has a vector that speaks for them.
    let alone = (0..50).map(|n| (Key::new(format!("alone-{n}")).unwrap(), Bytes::from_static(b"2")));
    cache.put_all(alone).await.unwrap();
    let heard = listener.next().await.unwrap().unwrap();
    assert!(matches!(&heard.change, Change::Created(entry) if entry.key.as_bytes() == b"alone-0"), "{heard:?}");
    drop(listener);
    sites.kill(0).await;
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    sites.spawn(0);
    sites.join_one(1, 0).await;
    sites.ready(0).await;
    let mut again = cache.listen().from(heard.token.unwrap()).start_raw().await.unwrap();
    let mut next =
        async || tokio::time::timeout(PATIENCE, again.next()).await.expect("in time").unwrap().unwrap().change;
    assert_eq!(next().await, Change::Gap);
    let entry = next().await;
    assert!(matches!(&entry, Change::Created(entry) if entry.key.as_bytes() == b"shared"), "{entry:?}");
    assert_eq!(next().await, Change::SnapshotEnd);
}
