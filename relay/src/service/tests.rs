//! One relay in this process, over real QUIC, with the client library.

use std::{path::Path, time::Duration};

use landbridge_client::{Change, Client, ClientBuilder, ConnectError, Event, Key, NodeName, SiteName, Token};
use landbridge_protocol::time::Millis;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    certs::{Development, develop},
    clock::SystemClock,
    config::{OrOff, PeerConfig},
    store::error::OpenError,
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

/// Certificates for a site with two nodes, and of another site with one.
fn certificates() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = |of: &str, name: &str| (site(of), NodeName::new(name).unwrap());
    let nodes = vec![node("site1", "node11"), node("site1", "node12"), node("site2", "node21")];
    let sites = vec![site("site1"), site("site2")];
    develop(&Development { dir: dir.path().into(), sites, nodes, now: SystemClock.now() }).unwrap();
    dir
}

fn config(dir: &Path) -> RelayConfig {
    config_of("site1", dir)
}

fn config_of(site: &str, dir: &Path) -> RelayConfig {
    let text = r#"
        site = "SITE"
        listen = "127.0.0.1:0"
        listen_http = "127.0.0.1:0"
        [store]
        dir = "SITE.store"
        fsync = false
        [tls]
        certificate = "SITE.relay.pem"
        key = "SITE.relay.key"
        trust = "ca.pem"
    "#;
    RelayConfig::parse(&text.replace("SITE", site), dir).unwrap()
}

async fn start(config: RelayConfig) -> Result<Service, StartError> {
    Service::start(config, ServiceOptions::new(Metrics::new())).await
}

async fn relay(dir: &TempDir) -> Service {
    let service = start(config(dir.path())).await.unwrap();
    soon(service.ready()).await;
    service
}

fn node(dir: &TempDir, service: &Service, name: &str) -> ClientBuilder {
    let file = |ending: &str| dir.path().join(format!("{name}.{ending}"));
    let site = service.status().site;
    let builder = Client::builder().site(site.as_str()).node(name).relay(service.local_addrs().nodes);
    builder.identity_files(file("pem"), file("key"), dir.path().join("ca.pem")).connect_timeout(PATIENCE)
}

fn peer(name: &str, address: &str) -> PeerConfig {
    PeerConfig {
        site: site(name),
        address: address.parse().unwrap(),
        offline: false,
        after_failures: OrOff::Off,
        min_wait: Millis::ZERO,
        max_bytes_per_second: OrOff::Off,
    }
}

/// Two relays that have each other as peers, both ready.
async fn two_relays(dir: &TempDir) -> [Service; 2] {
    let sockets = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.map(|socket| socket.local_addr().unwrap());
    let mut started = Vec::new();
    for (own, other) in [(0, 1), (1, 0)] {
        let names = ["site1", "site2"];
        let mut config = RelayConfig { listen: addresses[own], ..config_of(names[own], dir.path()) };
        config.peers.push(peer(names[other], &addresses[other].to_string()));
        started.push(start(config).await.unwrap());
    }
    for service in &started {
        soon(service.ready()).await;
    }
    started.try_into().expect("there are two")
}

/// An HTTP page, head and all.
async fn page(service: &Service, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(service.local_addrs().http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

type Item = Event<String, String>;

async fn next(listener: &mut landbridge_client::Listener<String, String>) -> Item {
    soon(listener.next()).await.expect("the listener goes on").expect("an event can be read")
}

fn told(event: &Item) -> String {
    match &event.change {
        Change::Created(written) => format!("created {}={}", written.key, written.value),
        Change::Modified(written) => format!("modified {}={}", written.key, written.value),
        Change::Removed(ended) => format!("removed {}", ended.key),
        Change::Expired(ended) => format!("expired {}", ended.key),
        Change::Cleared { .. } => "cleared".into(),
        Change::Gap => "gap".into(),
        Change::SnapshotEnd => "snapshot end".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_written_read_listed_and_survive_a_restart() {
    let dir = certificates();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        sessions.put(key, &value.to_owned()).await.unwrap();
    }
    assert_eq!(sessions.get("b").await.unwrap().as_deref(), Some("2"));
    assert!(sessions.contains("c").await.unwrap());
    let version = sessions.put("b", &"4".to_owned()).await.unwrap();
    assert!(sessions.remove("c").await.unwrap().is_some());
    assert_eq!(sessions.size().await.unwrap(), 2);
    assert!(page(&service, "/health/ready").await.starts_with("HTTP/1.1 200"));
    let numbers = page(&service, "/metrics").await;
    for line in [
        "landbridge_requests_total{cache=\"sessions\",op=\"put\",outcome=\"done\"} 4",
        "landbridge_cache_entries{cache=\"sessions\"} 2",
        "landbridge_ready 1",
    ] {
        assert!(numbers.contains(line), "{line}\n{numbers}");
    }
    assert_eq!(service.status().caches.iter().map(|cache| cache.entries).sum::<u64>(), 2);
    client.close().await;
    assert!(service.shutdown(PATIENCE).await);

    let service = relay(&dir).await;
    let client = node(&dir, &service, "node12").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap();
    assert_eq!(sessions.get_versioned("b").await.unwrap().unwrap().version, version);
    assert_eq!(sessions.get("c").await.unwrap(), None);
    let mut entries = client.raw("sessions").unwrap().entries("");
    let mut keys = Vec::new();
    while let Some(entry) = entries.next().await {
        keys.push(entry.unwrap().key);
    }
    assert_eq!(keys, [Key::new("a").unwrap(), Key::new("b").unwrap()]);
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_two_values_for_a_key_in_one_request_stands() {
    let dir = certificates();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.raw("sessions").unwrap();
    let key = || Key::new("a").unwrap();
    let entries = (0..500u32).map(|number| (key(), number.to_be_bytes().to_vec().into()));
    let versions = sessions.put_all(entries).await.unwrap();
    assert!(versions.is_sorted());
    assert_eq!(sessions.get("a").await.unwrap().unwrap().as_ref(), 499u32.to_be_bytes());
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_resumes_and_is_told_of_a_gap() {
    let dir = certificates();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap();
    let mut listener = sessions.listen().start().await.unwrap();
    sessions.put("a", &"1".to_owned()).await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "created a=1");
    sessions.put("a", &"2".to_owned()).await.unwrap();
    let second = next(&mut listener).await;
    assert_eq!(told(&second), "modified a=2");
    drop(listener);
    sessions.remove("a").await.unwrap();
    sessions.put("b", &"3".to_owned()).await.unwrap();

    let mut resumed = sessions.listen().from(second.token.clone().unwrap()).start().await.unwrap();
    assert_eq!(told(&next(&mut resumed).await), "removed a");
    let last = next(&mut resumed).await;
    assert_eq!(told(&last), "created b=3");
    drop(resumed);
    client.close().await;
    assert!(service.shutdown(PATIENCE).await);

    // After an end in order the log can be read on; in a store that knows nothing of the token it can't.
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap();
    sessions.put("c", &"4".to_owned()).await.unwrap();
    let token = last.token.clone().unwrap();
    let mut resumed = sessions.listen().from(token.clone()).start().await.unwrap();
    assert_eq!(told(&next(&mut resumed).await), "created c=4");
    drop(resumed);
    client.close().await;
    assert!(service.shutdown(PATIENCE).await);

    std::fs::remove_dir_all(dir.path().join("site1.store")).unwrap();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap();
    sessions.put("d", &"5".to_owned()).await.unwrap();
    let mut resumed = sessions.listen().from(Token::from_bytes(token.as_bytes().to_vec())).start().await.unwrap();
    for expected in ["gap", "created d=5", "snapshot end"] {
        assert_eq!(told(&next(&mut resumed).await), expected);
    }
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_does_not_fit_is_refused_with_the_reason() {
    let dir = certificates();
    let service = relay(&dir).await;
    let refused = |error: ConnectError| match error {
        ConnectError::Refused(why) => why.to_string(),
        other => panic!("{other:?}"),
    };
    let other_name = node(&dir, &service, "node11").node("node12").connect().await.unwrap_err();
    assert!(refused(other_name).contains("node12"));
    let file = |ending: &str| dir.path().join(format!("node21.{ending}"));
    let stranger = Client::builder().site("site1").node("node21").relay(service.local_addrs().nodes);
    let stranger = stranger.identity_files(file("pem"), file("key"), dir.path().join("ca.pem"));
    assert!(refused(stranger.connect_timeout(PATIENCE).connect().await.unwrap_err()).contains("site2"));
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_gets_neither_the_store_nor_the_port() {
    let dir = certificates();
    let service = relay(&dir).await;
    let store = start(config(dir.path())).await.unwrap_err();
    assert!(matches!(store, StartError::Store(OpenError::InUse { .. })), "{store}");
    let taken = RelayConfig { listen: service.local_addrs().nodes, ..config(dir.path()) };
    let port = start(taken).await.unwrap_err().to_string();
    assert!(port.contains(&service.local_addrs().nodes.to_string()) && port.contains("`listen`"), "{port}");
    let taken = RelayConfig { listen_http: Some(service.local_addrs().http), ..config(dir.path()) };
    let port = start(taken).await.unwrap_err().to_string();
    assert!(port.contains(&service.local_addrs().http.to_string()) && port.contains("listen_http"), "{port}");
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_store_with_a_peer_is_not_ready_before_it_is_filled() {
    let dir = certificates();
    let mut config = config(dir.path());
    config.peers.push(peer("site2", "127.0.0.1:9"));
    let service = start(config).await.unwrap();
    let status = service.status();
    assert!(!status.ready);
    assert!(status.not_ready_because.unwrap().contains("site2"));
    let client = node(&dir, &service, "node11").timeout(Duration::from_millis(300)).connect().await.unwrap();
    let error = client.raw("sessions").unwrap().get("a").await.unwrap_err();
    assert!(error.to_string().contains("site2"), "{error}");
    assert!(page(&service, "/health/live").await.starts_with("HTTP/1.1 200"));
    let not_ready = page(&service, "/health/ready").await;
    assert!(not_ready.starts_with("HTTP/1.1 503") && not_ready.contains("site2"), "{not_ready}");
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_at_one_site_is_heard_and_read_at_the_other() {
    let dir = certificates();
    let [one, two] = two_relays(&dir).await;
    let client = node(&dir, &one, "node11").connect().await.unwrap();
    let here = client.cache::<String, String>("sessions").unwrap();
    let other = node(&dir, &two, "node21").connect().await.unwrap();
    let there = other.cache::<String, String>("sessions").unwrap();
    let mut listener = there.listen().snapshot().start().await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "snapshot end");
    here.put("a", &"1".to_owned()).await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "created a=1");
    assert_eq!(there.get("a").await.unwrap().as_deref(), Some("1"));
    let mut views = other.relay_views();
    soon(views.wait_for(|view| view.members.len() == 2)).await.unwrap();

    let report = one.reporter.set_offline(site("site2"), true).await.unwrap();
    assert_eq!(report.state, "offline");
    soon(views.wait_for(|view| view.members.len() == 1)).await.unwrap();
    here.put("a", &"2".to_owned()).await.unwrap();
    there.put("b", &"3".to_owned()).await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "created b=3");
    one.reporter.set_offline(site("site2"), false).await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "modified a=2");
    let mut at_home = here.listen().snapshot().start().await.unwrap();
    while !told(&next(&mut at_home).await).contains("b=3") {}
    for service in [one, two] {
        assert!(service.shutdown(PATIENCE).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_expires_for_readers_listeners_and_the_count() {
    let dir = certificates();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    let sessions = client.cache::<String, String>("sessions").unwrap().with_lifespan(Duration::from_millis(50));
    let mut listener = sessions.listen().start().await.unwrap();
    sessions.put("a", &"1".to_owned()).await.unwrap();
    assert_eq!(told(&next(&mut listener).await), "created a=1");
    assert_eq!(told(&next(&mut listener).await), "expired a");
    assert_eq!(sessions.get("a").await.unwrap(), None);
    let numbers = page(&service, "/metrics").await;
    assert!(numbers.contains("landbridge_expirations_total{cache=\"sessions\"} 1"), "{numbers}");
    assert!(service.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_dropped_lets_go_of_ports_and_store() {
    let dir = certificates();
    let service = relay(&dir).await;
    let client = node(&dir, &service, "node11").connect().await.unwrap();
    client.raw("sessions").unwrap().put("a", "1".into()).await.unwrap();
    let address = service.local_addrs().nodes;
    drop(service);
    // Its tasks end as soon as they are next looked at.
    let again = async {
        loop {
            match start(RelayConfig { listen: address, ..config(dir.path()) }).await {
                Ok(service) => return service,
                Err(StartError::AddressInUse { .. } | StartError::Store(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let service = soon(again).await;
    soon(service.ready()).await;
    assert_eq!(service.status().head, 1);
    assert!(service.shutdown(PATIENCE).await);
}
