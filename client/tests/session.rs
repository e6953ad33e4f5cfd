//! What a client makes of a relay that cuts connections, refuses, goes away and comes back.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use landbridge_client::{Conditional, ConnectError, Error, ErrorCode, EventKind, Failover, Refusal, SiteName, Update};
use peer::{Certificates, Fault, Peer};

#[tokio::test]
async fn operations_reach_the_relay_and_come_back_typed() {
    let certificates = Certificates::new();
    let client = Peer::start(&certificates, "site1").client(&certificates).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    let version = cache.put("a", &1).await.unwrap();
    assert_eq!(cache.get_versioned("a").await.unwrap().unwrap().version, version);
    assert_eq!(cache.put_if_absent("a", &2).await.unwrap().present().unwrap().value, 1);
    assert!(cache.replace_if_version("a", version, &3).await.unwrap().is_done());
    assert!(
        matches!(cache.remove_if_version("a", version).await.unwrap(), Conditional::Failed(Some(e)) if e.value == 3)
    );
    assert_eq!(cache.update("a", |value| Update::Put(value.unwrap_or(0) + 1)).await.unwrap(), Some(4));
    assert_eq!(cache.remove("a").await.unwrap().unwrap().value, 4);
    assert_eq!(cache.size().await.unwrap(), 0);
    assert_eq!(client.site_view().to_string(), "[node11|0] (2) [node11, node12]");
    assert!(client.owner("a").unwrap().unwrap().starts_with("node1"));
    client.close().await;
    assert!(matches!(cache.get("a").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_done_once_and_says_that_it_is_a_retry() {
    let certificates = Certificates::new();
    let peer = Peer::start(&certificates, "site1");
    let cache = peer.client(&certificates).connect().await.unwrap().cache::<String, u64>("sessions").unwrap();
    let before = cache.put("other", &0).await.unwrap();
    peer.fail_next(Fault::CutAfterDoing);
    // Had the second try been decided anew, it would find the entry of the first.
    assert!(cache.put_if_absent("a", &1).await.unwrap().is_done());
    assert_eq!(peer.retries(), [None, None, Some(before.clock)], "the clock as last heard before the first try");
}

#[tokio::test]
async fn what_passes_soon_is_waited_out_and_what_does_not_is_told() {
    let certificates = Certificates::new();
    let peer = Peer::start(&certificates, "site1");
    let client = peer.client(&certificates).timeout(Duration::from_secs(5)).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    peer.fail_next(Fault::Refuse(Refusal::new(ErrorCode::NotReady, "filling")));
    cache.put("a", &1).await.unwrap();
    peer.fail_next(Fault::Refuse(Refusal::new(ErrorCode::DiskFull, "no space")));
    let error = cache.put("a", &2).await.unwrap_err();
    assert!(error.code() == Some(ErrorCode::DiskFull) && error.is_retryable(), "{error:?}");
    peer.fail_next(Fault::Refuse(Refusal::new(ErrorCode::OutcomeUnknown, "overwritten")));
    let error = cache.put("a", &2).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown(_)) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_listener_resumes_after_the_last_event_that_it_was_told() {
    let certificates = Certificates::new();
    let peer = Peer::start(&certificates, "site1");
    let client = peer.client(&certificates).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    let mut events = cache.listen().start().await.unwrap();
    cache.put("a", &1).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().kind(), EventKind::Created);
    let token = events.token().unwrap().clone();
    peer.cut(ErrorCode::ShuttingDown);
    cache.put("a", &2).await.unwrap();
    cache.remove("a").await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().value(), Some(&2));
    assert_eq!(events.next().await.unwrap().unwrap().kind(), EventKind::Removed);
    assert_eq!(peer.subscribed_from(), [None, Some(token.as_bytes().to_vec().into())]);
}

#[tokio::test]
async fn a_fenced_client_is_at_its_end() {
    let certificates = Certificates::new();
    let peer = Peer::start(&certificates, "site1");
    let client = peer.client(&certificates).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    let mut events = cache.listen().start().await.unwrap();
    peer.cut(ErrorCode::Fenced);
    assert!(matches!(events.next().await, Some(Err(Error::Fenced(_)))));
    assert!(matches!(cache.get("a").await, Err(Error::Fenced(_))));
}

#[tokio::test]
async fn while_the_home_relay_is_away_another_sites_relay_serves() {
    let certificates = Certificates::new();
    let (home, other) = (Peer::start(&certificates, "site1"), Peer::start(&certificates, "site2"));
    let policy = Failover { after: Duration::ZERO, probe_every: Duration::from_millis(50) };
    let client = home.client(&certificates).failover([("site2", other.address)], policy).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    assert_eq!(cache.put("a", &1).await.unwrap().origin.site, home.site);
    home.stop();
    assert_eq!(cache.put("a", &2).await.unwrap().origin.site, other.site);
    assert_eq!(client.connected_to(), Some(other.site));
}

#[tokio::test]
async fn the_client_goes_home_when_the_home_relay_answers_again() {
    let certificates = Certificates::new();
    let (home, other) = (Peer::start(&certificates, "site1"), Peer::start(&certificates, "site2"));
    let policy = Failover { after: Duration::ZERO, probe_every: Duration::from_millis(20) };
    let client = home.client(&certificates).failover([("site2", other.address)], policy).connect().await.unwrap();
    let cache = client.cache::<String, u64>("sessions").unwrap();
    home.cut(ErrorCode::NotReady);
    // It is at the other site's relay for a moment, and comes home by itself; nothing fails on the way.
    let at_home = async {
        let mut sites = vec![cache.put("a", &0).await.unwrap().origin.site];
        while sites.last() != Some(&SiteName::new("site1").unwrap()) || sites.len() < 2 {
            sites.push(cache.put("a", &1).await.unwrap().origin.site);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), at_home).await.unwrap();
}

#[tokio::test]
async fn entries_come_page_by_page_and_large_values_whole() {
    let certificates = Certificates::new();
    let client = Peer::start(&certificates, "site1").client(&certificates).connect().await.unwrap();
    let raw = client.raw("sessions").unwrap();
    for number in 0..10_u64 {
        raw.put(&number, vec![number as u8; 200_000].into()).await.unwrap();
    }
    let mut entries = raw.entries("").page(3.try_into().unwrap());
    for number in 0..10_u64 {
        let entry = entries.next().await.unwrap().unwrap();
        assert_eq!((entry.key.as_bytes(), entry.value.len()), (&number.to_be_bytes()[..], 200_000));
    }
    assert!(entries.next().await.is_none());
    let error = raw.put("too-large", vec![0; 3 << 20].into()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_and_a_dropped_one_harms_none() {
    let certificates = Certificates::new();
    let client = Peer::start(&certificates, "site1").client(&certificates).connect().await.unwrap();
    let cache = client.cache::<u64, u64>("sessions").unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..2000_u64 {
        let cache = cache.clone();
        calls.spawn(async move {
            if number % 10 == 0 {
                // Polled once, then dropped.
                tokio::select! { biased; _ = cache.put(&number, &number) => {}, () = std::future::ready(()) => {} }
                return None;
            }
            cache.put(&number, &number).await.unwrap();
            Some((number, cache.get(&number).await.unwrap()))
        });
    }
    let answers: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), 1800);
    assert!(answers.iter().all(|(number, read)| *read == Some(*number)));
}

#[tokio::test]
async fn who_can_not_connect_learns_why() {
    let certificates = Certificates::new();
    let peer = Peer::start(&certificates, "site1");
    let stranger = peer.client(&Certificates::new()).connect().await.unwrap_err();
    assert!(matches!(stranger, ConnectError::Refused(_)) && !stranger.is_retryable(), "{stranger}");
    peer.stop();
    let patience = Duration::from_millis(100);
    let nobody = peer.client(&certificates).connect_timeout(patience).connect().await.unwrap_err();
    assert!(matches!(nobody, ConnectError::Unreachable { .. }) && nobody.is_retryable(), "{nobody}");
    let unset = landbridge_client::Client::builder().connect().await.unwrap_err();
    assert_eq!(unset.to_string(), "the client needs a site");
}
