//! Promise 7: hostile bytes cost their sender its own stream or connection, with a typed error, and nobody else anything; also
//! where the sender has a certificate.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::Bytes;
use landbridge_protocol::{
    error::ErrorCode,
    frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER, NodeToRelay, ReceiverToSender, RelayToNode, node::Request},
};
use landbridge_tests::{
    sites::TwoSites,
    stranger::{Stranger, closed, frame, hello_of_node, next_frame, of_node},
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

/// Dials the first relay with a certificate of the harness.
async fn dial(sites: &TwoSites, certificate: &str, alpn: &[u8]) -> Result<Connection, ConnectionError> {
    Stranger::new(sites, 0, certificate, alpn).connect().await
}

/// What a stranger may send first: bytes without sense, a frame that stops, a length beyond all bounds and one below, a kind
/// that there is not, a known kind with a body that it does not have.
fn nonsense() -> [(&'static str, Vec<u8>); 6] {
    let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    [
        ("noise", noise),
        ("truncated", frame(0x0001, &[0x93; 64])[..40].to_vec()),
        ("oversize", [&u32::MAX.to_be_bytes()[..], &[0; 64]].concat()),
        ("short", vec![0, 0, 0, 3, 1, 2, 3]),
        ("unknown kind", frame(0x7777, b"\x90")),
        ("bad body", frame(0x0201, &[0xc1; 64])),
    ]
}

/// Sends on a stream of its own. The stream may be refused midway.
async fn send(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut to, from) = connection.open_bi().await.unwrap();
    if to.write_all(bytes).await.is_ok() {
        let _ended_already = to.finish();
    }
    (to, from)
}

async fn refused(from: &mut RecvStream) -> ErrorCode {
    loop {
        match RelayToNode::decode(&next_frame(from).await).unwrap() {
            RelayToNode::Refused(refusal) => return refusal.code().unwrap(),
            RelayToNode::SiteView(_) | RelayToNode::RelayView(_) | RelayToNode::Welcome(_) => (),
            other => panic!("not a refusal: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_nodes_lose_their_own_connection_only() {
    let sites = TwoSites::start().await;
    let neighbour = sites.node(0, "node11").await;
    let cache = neighbour.raw("sessions").unwrap();

    for (what, bytes) in nonsense() {
        let connection = dial(&sites, "node12", ALPN_NODE).await.unwrap();
        let _stream = send(&connection, &bytes).await;
        let code = closed(&connection).await;
        let expected = [ErrorCode::Malformed, ErrorCode::FrameTooLarge, ErrorCode::Unsupported];
        assert!(expected.contains(&code), "{what}: {code:?}");
        cache.put(what, Bytes::from_static(b"undisturbed")).await.unwrap();
    }
    let connection = dial(&sites, "node12", ALPN_NODE).await.unwrap();
    let _stream = send(&connection, &of_node(&NodeToRelay::Request(Request::Ping))).await;
    assert_eq!(closed(&connection).await, ErrorCode::Malformed, "a request before the hello");

    // With a session, what is whole is answered, and the session goes on; what is no frame ends it, with the reason.
    for control in [true, false] {
        let connection = dial(&sites, "node12", ALPN_NODE).await.unwrap();
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        to.write_all(&hello_of_node("node12")).await.unwrap();
        to.write_all(&hello_of_node("node12")).await.unwrap();
        assert_eq!(refused(&mut from).await, ErrorCode::Malformed, "a second hello");
        to.write_all(&frame(0x7777, b"\x90")).await.unwrap();
        assert_eq!(refused(&mut from).await, ErrorCode::Unsupported, "an unknown kind");
        to.write_all(&frame(0x0013, &[0xc1; 64])).await.unwrap();
        assert_eq!(refused(&mut from).await, ErrorCode::Malformed, "a write with another body");
        if !control {
            to = connection.open_bi().await.unwrap().0;
        }
        to.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert_eq!(closed(&connection).await, ErrorCode::FrameTooLarge, "on the control stream: {control}");
    }
    cache.put("k", Bytes::from_static(b"undisturbed")).await.unwrap();
    assert!(!sites.log(0).contains("panicked"), "{}", sites.log(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_lose_their_own_stream_only() {
    let sites = TwoSites::start().await;
    let neighbour = sites.node(0, "node11").await;
    let cache = neighbour.raw("sessions").unwrap();
    let connection = dial(&sites, "site2.relay", ALPN_PEER).await.unwrap();
    for (what, bytes) in nonsense().into_iter().chain([("a start before the hello", frame(0x0202, b"\x90"))]) {
        let (_to, mut from) = send(&connection, &bytes).await;
        let answer = ReceiverToSender::decode(&next_frame(&mut from).await).unwrap();
        let ReceiverToSender::Refused(refusal) = answer else { panic!("{what}: {answer:?}") };
        let expected = [ErrorCode::Malformed, ErrorCode::FrameTooLarge, ErrorCode::Unsupported];
        assert!(refusal.code().is_some_and(|code| expected.contains(&code)), "{what}: {refusal}");
        cache.put(what, Bytes::from_static(b"undisturbed")).await.unwrap();
    }
    let link = &sites.status(0).await["links"][0];
    assert!(link["state"].as_str().is_some_and(|state| state.to_lowercase().contains("streaming")), "{link}");
    assert!(!sites.log(0).contains("panicked"), "{}", sites.log(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_good_for_its_own_conversation() {
    let mut sites = TwoSites::prepare("");
    sites.spawn(0);
    sites.spawn(1);
    sites.ready(0).await;
    for (certificate, alpn) in
        [("node12", ALPN_PEER), ("node12", ALPN_ADMIN), ("site2.relay", ALPN_NODE), ("site2.relay", ALPN_ADMIN)]
    {
        let connection = dial(&sites, certificate, alpn).await.unwrap();
        let code = closed(&connection).await;
        assert!(!code.is_retryable(), "{certificate}: {code:?}");
    }
    assert!(dial(&sites, "node12", b"h3").await.is_err(), "an ALPN that is nobody's");
    let neighbour = sites.node(0, "node11").await;
    neighbour.raw("sessions").unwrap().put("k", Bytes::from_static(b"undisturbed")).await.unwrap();
}
