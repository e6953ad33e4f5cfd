//! Connections of every kind of stranger, over QUIC on loopback.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use landbridge_protocol::{
    frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER},
    name::{NodeName, SiteName},
    time::{Millis, Timestamp},
};
use quinn::Endpoint;
use tempfile::TempDir;

use super::*;
use crate::config::{Limits, TlsConfig};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const ALL: [&[u8]; 3] = [ALPN_NODE, ALPN_PEER, ALPN_ADMIN];

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn developed(now: Timestamp) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let nodes = vec![(site("site1"), node("node11")), (site("site2"), node("node21"))];
    let sites = vec![site("site1"), site("site2"), site("site3")];
    develop(&Development { dir: dir.path().into(), sites, nodes, now }).unwrap();
    dir
}

fn tls(dir: &Path, holder: &str, trust: &Path) -> TlsConfig {
    let file = |end: &str| dir.join(format!("{holder}.{end}"));
    TlsConfig::new(file("pem"), file("key"), trust.join("ca.pem"))
}

fn at(now: Timestamp) -> Now {
    Now::new(move || now)
}

/// What became of a connection: who was let in, or why not. `now` is the server's.
async fn connect(server: &TlsConfig, client: quinn::ClientConfig, now: Timestamp) -> Result<Peer, RefusedBecause> {
    let credentials = Credentials::load(server, at(now)).unwrap();
    let authority = credentials.authority(site("site1"), [site("site2")]).unwrap();
    let config = credentials.server(&ALL, &Limits::default()).unwrap();
    let listening = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let dialling = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = dialling.connect_with(client, listening.local_addr().unwrap(), "site1").unwrap();
    let accepted = async {
        let connection = listening.accept().await.unwrap().await.map_err(|_| RefusedBecause::Tls)?;
        let chain = connection.peer_identity().unwrap().downcast::<Vec<rustls_pki_types::CertificateDer>>().unwrap();
        let handshake = connection.handshake_data().unwrap();
        let handshake = handshake.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
        authority.authorize(&chain, &handshake.protocol.unwrap(), now).map_err(|refused| refused.because)
    };
    let (accepted, _dialled) = tokio::join!(accepted, connecting);
    accepted
}

fn client_of(dir: &Path, holder: &str, trust: &Path, alpn: &[u8]) -> quinn::ClientConfig {
    Credentials::load(&tls(dir, holder, trust), at(NOW)).unwrap().client(alpn, &Limits::default()).unwrap()
}

async fn attempt(holder: &str, alpn: &[u8]) -> Result<Peer, RefusedBecause> {
    let dir = developed(NOW);
    let server = tls(dir.path(), "site1.relay", dir.path());
    connect(&server, client_of(dir.path(), holder, dir.path(), alpn), NOW).await
}

#[tokio::test]
async fn each_role_is_let_in_by_its_own_protocol() {
    let peer = attempt("node11", ALPN_NODE).await.unwrap();
    assert_eq!((peer.role, peer.site), (Role::Node, site("site1")));
    assert!(peer.may_be(&node("node11")) && !peer.may_be(&node("node12")));
    let peer = attempt("site2.relay", ALPN_PEER).await.unwrap();
    assert_eq!((peer.role, peer.site), (Role::Peer, site("site2")));
    let peer = attempt("site1.admin", ALPN_ADMIN).await.unwrap();
    assert_eq!((peer.role, peer.site), (Role::Admin, site("site1")));
    assert!(attempt("site1.admin", ALPN_NODE).await.unwrap().may_be(&node("anybody")));
}

#[tokio::test]
async fn no_role_is_let_in_by_anothers_protocol() {
    for (holder, alpn) in [
        ("node11", ALPN_PEER),
        ("node11", ALPN_ADMIN),
        ("site2.relay", ALPN_NODE),
        ("site2.relay", ALPN_ADMIN),
        ("site1.admin", ALPN_PEER),
    ] {
        assert_eq!(attempt(holder, alpn).await.unwrap_err(), RefusedBecause::Role, "{holder}");
    }
}

#[tokio::test]
async fn another_sites_holders_are_refused() {
    for (holder, alpn) in [
        ("node21", ALPN_NODE),
        ("site2.admin", ALPN_ADMIN),
        ("site3.relay", ALPN_PEER), // a site, and no peer of this one
        ("site1.relay", ALPN_PEER), // this relay itself
    ] {
        assert_eq!(attempt(holder, alpn).await.unwrap_err(), RefusedBecause::Site, "{holder}");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let dir = developed(NOW);
    let server = tls(dir.path(), "site1.relay", dir.path());
    let trust = Trust::load(&server, NOW).unwrap().union();
    let mut tls = rustls::ClientConfig::builder_with_details(super::tls::provider(), Arc::new(at(NOW)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(trust)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_NODE.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let client = quinn::ClientConfig::new(Arc::new(tls));
    assert_eq!(connect(&server, client, NOW).await.unwrap_err(), RefusedBecause::Tls);
}

#[tokio::test]
async fn an_unknown_authoritys_certificate_is_refused() {
    let (ours, theirs) = (developed(NOW), developed(NOW));
    let server = tls(ours.path(), "site1.relay", ours.path());
    let client = client_of(theirs.path(), "node11", ours.path(), ALPN_NODE);
    assert_eq!(connect(&server, client, NOW).await.unwrap_err(), RefusedBecause::Tls);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_one_that_is_not_good_yet() {
    let current = developed(NOW);
    let server = tls(current.path(), "site1.relay", current.path());
    let years = |count: u64| Millis::from_secs(count * 366 * 86_400);
    for then in [NOW.before(years(4)), NOW.after(years(1))] {
        // The same authority, another time: its files are taken over before the leaf is made.
        let other = tempfile::tempdir().unwrap();
        for file in ["ca.pem", "ca.key"] {
            std::fs::copy(current.path().join(file), other.path().join(file)).unwrap();
        }
        let nodes = vec![(site("site1"), node("node11"))];
        develop(&Development { dir: other.path().into(), sites: vec![], nodes, now: then }).unwrap();
        let client = client_of(other.path(), "node11", current.path(), ALPN_NODE);
        assert_eq!(connect(&server, client, NOW).await.unwrap_err(), RefusedBecause::Tls);
    }
}

#[tokio::test]
async fn an_authority_for_nodes_is_none_for_peers() {
    let (for_nodes, for_peers) = (developed(NOW), developed(NOW));
    let mut server = tls(for_peers.path(), "site1.relay", for_peers.path());
    server.trust_nodes = vec![for_nodes.path().join("ca.pem")];
    let as_peer = client_of(for_nodes.path(), "site2.relay", for_peers.path(), ALPN_PEER);
    assert_eq!(connect(&server, as_peer, NOW).await.unwrap_err(), RefusedBecause::Untrusted);
    let as_node = client_of(for_nodes.path(), "node11", for_peers.path(), ALPN_NODE);
    assert!(connect(&server, as_node, NOW).await.is_ok());
    let as_node = client_of(for_peers.path(), "node11", for_peers.path(), ALPN_NODE);
    assert_eq!(connect(&server, as_node, NOW).await.unwrap_err(), RefusedBecause::Untrusted);
}

#[test]
fn a_certificate_is_refused_again_when_it_ends_during_a_connection() {
    let dir = developed(NOW);
    let credentials = Credentials::load(&tls(dir.path(), "site1.relay", dir.path()), at(NOW)).unwrap();
    let authority = credentials.authority(site("site1"), [site("site2")]).unwrap();
    let chain = Identity::load(&dir.path().join("node11.pem"), &dir.path().join("node11.key")).unwrap().chain;
    let peer = authority.authorize(&chain, ALPN_NODE, NOW).unwrap();
    let later = peer.not_after.after(Millis::from_secs(1));
    let refused = authority.authorize(&chain, ALPN_NODE, later).unwrap_err();
    assert_eq!(refused.because, RefusedBecause::Expired);
    assert_eq!(refused.refusal.message, "the certificate has expired");
}

/// What the one who dials `name` makes of a relay that shows this certificate.
async fn dial(shows: &TlsConfig, name: &str, dialler: quinn::ClientConfig) -> Result<(), String> {
    let server = Credentials::load(shows, at(NOW)).unwrap().server(&ALL, &Limits::default()).unwrap();
    let listening = Endpoint::server(server, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let dialling = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = dialling.connect_with(dialler, listening.local_addr().unwrap(), name).unwrap();
    let accepting = async { listening.accept().await.unwrap().await.map(drop) };
    let (_accepted, dialled) = tokio::join!(accepting, connecting);
    dialled.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn only_the_relay_of_the_site_that_is_dialled_is_taken_for_it() {
    let (ours, theirs) = (developed(NOW), developed(NOW));
    let dialler = |alpn| client_of(ours.path(), "site1.relay", ours.path(), alpn);
    let shows = |dir: &TempDir, holder: &str| tls(dir.path(), holder, ours.path());
    assert_eq!(dial(&shows(&ours, "site2.relay"), "site2", dialler(ALPN_PEER)).await, Ok(()));
    for (shown, why) in [
        (shows(&ours, "site3.relay"), "not valid for name \"site2\""),
        (shows(&ours, "node21"), "invalid peer certificate"),
        (shows(&theirs, "site2.relay"), "UnknownIssuer"),
    ] {
        let refused = dial(&shown, "site2", dialler(ALPN_PEER)).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let refused = dial(&shows(&ours, "site2.relay"), "site2", dialler(b"landbridge-peer/99")).await.unwrap_err();
    assert!(refused.contains("any known protocol"), "{refused}");
}

#[test]
fn connections_have_the_bounds_of_the_configuration() {
    let dir = developed(NOW);
    let credentials = Credentials::load(&tls(dir.path(), "site1.relay", dir.path()), at(NOW)).unwrap();
    let client = format!("{:?}", credentials.client(ALPN_PEER, &Limits::default()).unwrap());
    let server = format!("{:?}", credentials.server(&ALL, &Limits::default()).unwrap());
    for bound in [
        "max_idle_timeout: Some(10000)",
        "keep_alive_interval: Some(3s)",
        "max_concurrent_bidi_streams: 256,",
        "max_concurrent_uni_streams: 0,",
        "stream_receive_window: 1048576,",
        " receive_window: 8388608,",
        "send_window: 8388608,",
        "datagram_receive_buffer_size: None,",
    ] {
        assert!(client.contains(bound) && server.contains(bound), "{bound}\n{client}\n{server}");
    }
    assert!(server.contains("max_incoming: 256,"), "{server}");
    assert!(!server.contains("PRIVATE") && !format!("{credentials:?}").contains("Pkcs8([4"), "keys are not printed");
}
