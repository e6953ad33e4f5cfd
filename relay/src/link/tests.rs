//! Two relays' links over QUIC on loopback, each over a store in memory.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        ALPN_PEER,
        node::{Operation, Outcome, Write},
    },
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, Merge, WriteToken},
    time::Millis,
    version::RunId,
};
use quinn::Endpoint;
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{GuestBounds, Links, LinksOptions, PeerOptions};
use crate::{
    certs::{Authority, CertsError, Credentials, Development, Now, Peer, RefusedConnection, develop},
    clock::{Clock, SystemClock},
    config::{Limits, TlsConfig},
    engine::{
        command::{Answer, Command},
        guards::Guards,
        link::{Backoff, SenderConfig},
        replica::{CacheConfig, ReplicaConfig, Replicate},
    },
    machine::{ThisMachine, Workers},
    metrics::Metrics,
    store::{Store, StoreLimits, StoreOptions, memory_log::MemoryLog},
    transport::{self, AcceptLimits, Admitted, Door, Standing, close_in_order},
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Millis = Millis::from_secs(86_400);

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn cache() -> CacheName {
    CacheName::new("work").unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

fn soon() -> Millis {
    Millis::new(20)
}

fn replica_config(own: SiteName, peer: SiteName, tombstone_max_age: Millis) -> ReplicaConfig {
    let work =
        CacheConfig { merge: Merge::Latest, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
    ReplicaConfig {
        site: own,
        peers: vec![peer],
        former_sites: Default::default(),
        caches: [(cache(), work)].into(),
        max_clock_skew: Millis::from_secs(60),
        tombstone_min_age: Millis::ZERO,
        tombstone_max_age,
        max_tombstones: 1000,
        max_runs: 64,
        reconcile_keys: 3,
        forward_after: Millis::from_secs(2),
        fill_wait: Millis::from_secs(30),
        guards: Guards::all(),
    }
}

/// Certificates, and where each site's relay is dialled.
struct Region {
    dir: TempDir,
    addresses: [(SiteName, std::net::SocketAddr); 2],
    tombstone_max_age: Millis,
    backoff: Millis,
}

impl Region {
    fn credentials(&self, own: SiteName) -> Result<Credentials, CertsError> {
        let file = |name: String| self.dir.path().join(name);
        let tls =
            TlsConfig::new(file(format!("{own}.relay.pem")), file(format!("{own}.relay.key")), file("ca.pem".into()));
        Credentials::load(&tls, Now::new(|| SystemClock.now()))
    }

    fn endpoint(&self, own: SiteName, at: std::net::SocketAddr) -> std::io::Result<Endpoint> {
        let config = self.credentials(own).unwrap().server(&[ALPN_PEER], &Limits::default()).unwrap();
        Endpoint::server(config, at)
    }

    /// An endpoint where one was until now, whose socket is closed by a task of its own.
    async fn endpoint_again(&self, at: usize) -> Endpoint {
        let (own, address) = self.addresses[at];
        let opening = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                if let Ok(endpoint) = self.endpoint(own, address) {
                    return endpoint;
                }
            }
        };
        tokio::time::timeout(PATIENCE, opening).await.expect("the socket is free in time")
    }
}

struct TestDoor {
    authority: Authority,
    links: Links,
    /// What was let in, to be cut.
    admitted: Arc<Mutex<Vec<quinn::Connection>>>,
}

impl Door for TestDoor {
    fn authorize(&self, chain: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Peer, RefusedConnection> {
        self.authority.authorize(chain, alpn, SystemClock.now())
    }

    fn admitted(&self, admitted: Admitted) {
        self.admitted.lock().unwrap().push(admitted.connection.clone());
        self.links.receive(admitted);
    }

    fn refused(&self, _: std::net::SocketAddr, refused: &RefusedConnection) {
        panic!("{refused:?}");
    }
}

/// One relay: its store, its links, its door.
struct Relay {
    store: Store,
    links: Links,
    metrics: Metrics,
    endpoint: Endpoint,
    stop: CancellationToken,
    admitted: Arc<Mutex<Vec<quinn::Connection>>>,
}

impl Relay {
    fn start(region: &Arc<Region>, at: usize, endpoint: Endpoint, run: u64) -> Self {
        Self::start_by(region, at, endpoint, run, Arc::new(SystemClock))
    }

    fn start_by(region: &Arc<Region>, at: usize, endpoint: Endpoint, run: u64, clock: Arc<dyn Clock>) -> Self {
        let ((own, _), (peer, address)) = (region.addresses[at], region.addresses[1 - at]);
        let metrics = Metrics::new();
        let options = StoreOptions {
            dir: region.dir.path().into(),
            fsync: false,
            recover: false,
            replica: replica_config(own, peer, region.tombstone_max_age),
            run: RunId(run),
            limits: StoreLimits::default(),
        };
        let store =
            Store::open_with(Box::new(MemoryLog::new()), options, clock.clone(), metrics.clone(), Workers::Threads)
                .unwrap();
        let dialled_with = region.clone();
        let standing = Standing::default();
        let links = Links::start(LinksOptions {
            site: own,
            peers: vec![PeerOptions {
                site: peer,
                address: address.to_string(),
                offline: false,
                offline_policy: None,
                max_bytes_per_second: None,
            }],
            store: store.clone(),
            clock,
            machine: Arc::new(ThisMachine),
            credentials: Arc::new(move || dialled_with.credentials(own)?.client(ALPN_PEER, &Limits::default())),
            standing: standing.clone(),
            sender: SenderConfig {
                // Small, so that transfers fill the window and reconciles have several chunks.
                batch_records: 7,
                batch_bytes: 200,
                heartbeat_every: soon(),
                backoff: Backoff { first: region.backoff, cap: region.backoff },
                ..SenderConfig::default()
            },
            guest_bounds: GuestBounds::from(&Limits::default()),
            connect_timeout: PATIENCE,
            metrics: metrics.clone(),
        });
        let admitted = Arc::new(Mutex::new(Vec::new()));
        let authority = region.credentials(own).unwrap().authority(own, [peer]).unwrap();
        let door = TestDoor { authority, links: links.clone(), admitted: admitted.clone() };
        let stop = CancellationToken::new();
        let limits = AcceptLimits::from_limits(&Limits::default());
        tokio::spawn(transport::serve(endpoint.clone(), Arc::new(door), standing, limits, stop.clone()));
        Self { store, links, metrics, endpoint, stop, admitted }
    }

    async fn write(&self, operation: Operation, name: &str, number: u64) {
        let token = WriteToken { client: ClientId(1), number };
        let write = Write::new(operation, cache(), key(name), token, format!("{name} {number}").into());
        let write = Command::Write { node: NodeName::new("node1").unwrap(), write };
        match self.store.submit(write).await.unwrap() {
            Answer::Written(Outcome { done: true, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Waits until what is committed, or a link, is so.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let holding = async {
            let mut published = self.store.published();
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !holds(self) {
                tokio::select! {
                    changed = published.changed() => changed.unwrap(),
                    _ = tick.tick() => {}
                }
            }
        };
        if tokio::time::timeout(PATIENCE, holding).await.is_err() {
            panic!("not in time: {what}; {:?}", self.links.reports());
        }
    }

    async fn until_streaming(&self) {
        self.until("both ways stream", |relay| relay.links.view().borrow().members.len() == 2).await;
    }

    async fn until_ready(&self) {
        self.until("ready", |relay| relay.store.view(|replica| replica.ready(SystemClock.now()))).await;
    }

    fn value(&self, name: &str) -> Option<String> {
        let entry = self.store.entry(&cache(), &key(name)).unwrap();
        entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    fn received_records(&self) -> u64 {
        let page = self.metrics.render();
        let mut lines = page.lines().filter(|line| line.starts_with("landbridge_link_records_total{"));
        let line = lines.find(|line| line.contains("direction=\"received\""));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn cut(&self) {
        for connection in self.admitted.lock().unwrap().drain(..) {
            close_in_order(&connection);
        }
    }

    async fn shutdown(self) {
        self.stop.cancel();
        self.links.shutdown().await;
        self.endpoint.close(0_u32.into(), b"");
        self.endpoint.wait_idle().await;
        self.store.shutdown().await;
    }
}

async fn region() -> (Arc<Region>, Relay, Relay) {
    region_with(DAY, soon()).await
}

async fn region_with(tombstone_max_age: Millis, backoff: Millis) -> (Arc<Region>, Relay, Relay) {
    let dir = tempfile::tempdir().unwrap();
    let sites = [site("site1"), site("site2")];
    develop(&Development { dir: dir.path().into(), sites: sites.into(), nodes: vec![], now: SystemClock.now() })
        .unwrap();
    let nowhere = (Ipv4Addr::LOCALHOST, 0).into();
    let mut region = Region { dir, addresses: sites.map(|site| (site, nowhere)), tombstone_max_age, backoff };
    let endpoints = sites.map(|site| region.endpoint(site, nowhere).unwrap());
    for (at, endpoint) in endpoints.iter().enumerate() {
        region.addresses[at].1 = endpoint.local_addr().unwrap();
    }
    let region = Arc::new(region);
    let [first, second] = endpoints;
    let (one, two) = (Relay::start(&region, 0, first, 1), Relay::start(&region, 1, second, 2));
    for relay in [&one, &two] {
        relay.until_streaming().await;
        relay.until_ready().await;
    }
    (region, one, two)
}

async fn until_value(relay: &Relay, name: &str, value: Option<&str>) {
    relay.until(&format!("{name} is {value:?}"), |relay| relay.value(name).as_deref() == value).await;
}

#[tokio::test]
async fn what_is_written_at_a_site_arrives_at_the_other() {
    let (_region, one, two) = region().await;
    one.write(Operation::Put, "a", 1).await;
    two.write(Operation::Put, "b", 2).await;
    until_value(&two, "a", Some("a 1")).await;
    until_value(&one, "b", Some("b 2")).await;
    for relay in [&one, &two] {
        relay.until("nothing is unsent", |relay| relay.links.reports()[0].lag_changes == 0).await;
        let [report] = relay.links.reports().try_into().unwrap();
        assert_eq!((report.state.as_str(), report.incoming), ("streaming", true));
    }
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn a_link_that_was_cut_goes_on_where_it_was() {
    let (_region, one, two) = region().await;
    for number in 0..50 {
        one.write(Operation::Put, &format!("k{number}"), number).await;
    }
    until_value(&two, "k49", Some("k49 49")).await;
    for number in 50..60 {
        two.cut();
        one.write(Operation::Put, &format!("k{number}"), number).await;
        until_value(&two, &format!("k{number}"), Some(&format!("k{number} {number}"))).await;
    }
    two.until_streaming().await;
    let received = two.received_records();
    assert!((60..120).contains(&received), "{received} records for 60 writes: a cut is no reason to begin anew");
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn a_wiped_relay_is_filled_again() {
    let (region, one, two) = region().await;
    for number in 0..500 {
        one.write(Operation::Put, &format!("k{number}"), number).await;
    }
    two.write(Operation::Put, "own", 500).await;
    one.write(Operation::Remove, "k0", 501).await;
    until_value(&two, "k0", None).await;
    until_value(&one, "own", Some("own 500")).await;
    two.shutdown().await;
    let endpoint = region.endpoint_again(1).await;
    let wiped = Relay::start(&region, 1, endpoint, 3);
    wiped.until_ready().await;
    for number in 1..500 {
        let name = format!("k{number}");
        until_value(&wiped, &name, Some(&format!("{name} {number}"))).await;
    }
    until_value(&wiped, "own", Some("own 500")).await;
    assert_eq!(wiped.value("k0"), None);
    wiped.until_streaming().await;
    wiped.write(Operation::Put, "after", 502).await;
    until_value(&one, "after", Some("after 502")).await;
    one.shutdown().await;
    wiped.shutdown().await;
}

#[tokio::test]
async fn offline_nothing_passes_either_way_and_online_both_catch_up_removals_included() {
    let (_region, one, two) = region().await;
    one.write(Operation::Put, "a", 1).await;
    until_value(&two, "a", Some("a 1")).await;
    let report = one.links.take_offline(site("site2")).unwrap();
    assert_eq!(report.state, "offline");
    one.until("the peer's link is gone", |relay| !relay.links.reports()[0].incoming).await;
    two.until("the peer is told", |relay| {
        let report = &relay.links.reports()[0];
        report.state == "waiting" && report.detail.contains("taken offline")
    })
    .await;
    one.write(Operation::Remove, "a", 2).await;
    two.write(Operation::Put, "b", 3).await;
    two.until("the peer refuses again", |relay| relay.links.reports()[0].state == "waiting").await;
    assert_eq!((one.value("b"), two.value("a").as_deref()), (None, Some("a 1")));
    one.links.bring_online(site("site2")).unwrap();
    until_value(&one, "b", Some("b 3")).await;
    until_value(&two, "a", None).await;
    one.until_streaming().await;
    let unknown = one.links.take_offline(site("site9")).unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownPeer));
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn a_link_whose_peer_shows_itself_does_not_wait_further() {
    let (region, one, two) = region_with(DAY, DAY).await;
    one.links.take_offline(site("site2")).unwrap();
    let waits = |relay: &Relay| relay.links.reports()[0].state == "waiting";
    two.until("the peer is told", waits).await;
    two.write(Operation::Put, "a", 1).await;
    one.links.bring_online(site("site2")).unwrap();
    until_value(&one, "a", Some("a 1")).await;
    one.until_streaming().await;
    // Also where the peer was away.
    two.shutdown().await;
    one.until("the peer is missed", waits).await;
    one.write(Operation::Put, "b", 2).await;
    let back = Relay::start(&region, 1, region.endpoint_again(1).await, 3);
    until_value(&back, "b", Some("b 2")).await;
    one.until_streaming().await;
    one.shutdown().await;
    back.shutdown().await;
}

/// Tombstones are forced out while the peer is away, so that a reconcile comes first when it is back.
#[tokio::test]
async fn who_missed_a_removal_whose_trace_is_gone_is_reconciled() {
    let (_region, one, two) = region_with(Millis::ZERO, soon()).await;
    one.write(Operation::Put, "a", 1).await;
    for number in 100..140 {
        one.write(Operation::Put, &format!("k{number}"), number).await;
    }
    one.write(Operation::Put, "stays", 2).await;
    until_value(&two, "stays", Some("stays 2")).await;
    one.links.take_offline(site("site2")).unwrap();
    let cut = |relay: &Relay| relay.store.view(|replica| replica.report(&site("site2")).unwrap().is_isolated());
    one.until("the peer is cut both ways", cut).await;
    one.write(Operation::Remove, "a", 3).await;
    for number in 100..120 {
        one.write(Operation::Remove, &format!("k{number}"), 100 + number).await;
    }
    two.write(Operation::Put, "b", 4).await;
    one.until("the tombstone is forced out", |relay| {
        relay.store.view(|replica| replica.stats(&cache()).is_some_and(|stats| stats.tombstones == 0))
    })
    .await;
    assert_eq!(two.value("a").as_deref(), Some("a 1"));
    one.links.bring_online(site("site2")).unwrap();
    until_value(&two, "a", None).await;
    until_value(&one, "b", Some("b 4")).await;
    until_value(&two, "k119", None).await;
    let held = (100..140).filter(|number| two.value(&format!("k{number}")).is_some());
    assert!(held.eq(120..140));
    assert_eq!((two.value("stays").as_deref(), one.value("a")), (Some("stays 2"), None));
    for relay in [&one, &two] {
        relay.until_streaming().await;
        relay.until("nothing is unsent", |relay| relay.links.reports()[0].lag_changes == 0).await;
    }
    two.write(Operation::Put, "after", 5).await;
    until_value(&one, "after", Some("after 5")).await;
    one.shutdown().await;
    two.shutdown().await;
}

/// The machine's clock, put off by so many milliseconds.
#[derive(Default)]
struct Off(std::sync::atomic::AtomicU64);

impl Clock for Off {
    fn now(&self) -> landbridge_protocol::time::Timestamp {
        SystemClock.now().after(Millis::new(self.0.load(std::sync::atomic::Ordering::SeqCst)))
    }
}

#[tokio::test]
async fn a_clock_that_jumps_faults_both_ways_is_told_and_heals_by_itself() {
    let (region, one, two) = region().await;
    two.shutdown().await;
    let clock = Arc::new(Off::default());
    let endpoint = region.endpoint_again(1).await;
    let two = Relay::start_by(&region, 1, endpoint, 3, clock.clone());
    two.until_ready().await;
    for relay in [&one, &two] {
        relay.until_streaming().await;
    }
    clock.0.store(3_600_000, std::sync::atomic::Ordering::SeqCst);
    for (relay, skew) in [(&one, 3_600_000), (&two, -3_600_000)] {
        relay
            .until("the link is faulted, and says by how much", |relay| {
                let report = &relay.links.reports()[0];
                let near = report.skew_ms.is_some_and(|told: i64| (told - skew).abs() < 30_000);
                report.state == "faulted" && report.detail.contains("clock") && near && !report.incoming
            })
            .await;
    }
    one.write(Operation::Put, "meanwhile", 1).await;
    clock.0.store(0, std::sync::atomic::Ordering::SeqCst);
    until_value(&two, "meanwhile", Some("meanwhile 1")).await;
    for relay in [&one, &two] {
        relay.until_streaming().await;
        relay
            .until("the skew is told anew", |relay| {
                relay.links.reports()[0].skew_ms.is_some_and(|told| told.abs() < 30_000)
            })
            .await;
    }
    one.shutdown().await;
    two.shutdown().await;
}
