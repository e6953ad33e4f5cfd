//! Sessions over QUIC on loopback, against a shelf in memory.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        ALPN_ADMIN, ALPN_NODE, FrameCodec, NodeToRelay, PROTOCOL_VERSION, RawFrame, RelayToNode,
        node::{self, Hello, Reply, Request, Subscribe, View},
    },
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, Merge, WriteToken},
    time::Timestamp,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio_util::{codec::Decoder, sync::CancellationToken, task::TaskTracker};

use super::{memory_shelf::Memory, *};
use crate::{
    certs::{Authority, Credentials, Development, Now, Peer, RefusedConnection, develop},
    clock::ManualClock,
    config::{ByteSize, CacheConfig, Limits, Replicate, TlsConfig},
    metrics::Metrics,
    transport::{AcceptLimits, Admitted, Dialler, Door, Standing, refusal_of},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct NoSubscriptions;

impl Subscriptions for NoSubscriptions {
    async fn serve(
        &self,
        _: Subscribe,
        _: u64,
        _: SendStream,
        _: CancellationToken,
        _: impl Future<Output = Refusal> + Send,
    ) {
    }
}

struct SessionDoor {
    authority: Authority,
    server: Arc<Server<Memory, NoSubscriptions>>,
    sessions: TaskTracker,
    stop: CancellationToken,
}

impl Door for SessionDoor {
    fn authorize(&self, chain: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Peer, RefusedConnection> {
        self.authority.authorize(chain, alpn, NOW)
    }

    fn admitted(&self, admitted: Admitted) {
        self.sessions.spawn(serve(self.server.clone(), admitted, self.stop.clone()));
    }

    fn refused(&self, _: std::net::SocketAddr, _: &RefusedConnection) {}
}

/// The relay of site1 with its sessions, and certificates for node11, node12 and the site's admin.
struct Town {
    dir: TempDir,
    address: String,
    server: Arc<Server<Memory, NoSubscriptions>>,
    sessions: TaskTracker,
    stop: CancellationToken,
    dialler: Dialler,
}

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn credentials(dir: &TempDir, name: &str) -> Credentials {
    let file = |name: String| dir.path().join(name);
    let tls = TlsConfig::new(file(format!("{name}.pem")), file(format!("{name}.key")), file("ca.pem".into()));
    Credentials::load(&tls, Now::new(|| NOW)).unwrap()
}

fn town(limits: Limits) -> Town {
    let dir = tempfile::tempdir().unwrap();
    let nodes = ["node11", "node12"].map(|node| (site("site1"), NodeName::new(node).unwrap())).to_vec();
    develop(&Development { dir: dir.path().into(), sites: vec![site("site1")], nodes, now: NOW }).unwrap();
    let credentials = credentials(&dir, "site1.relay");
    let config = credentials.server(&[ALPN_NODE, ALPN_ADMIN], &limits).unwrap();
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let name = CacheName::new("sessions").unwrap();
    let max_entry_bytes = ByteSize::mib(1);
    let cache = CacheConfig {
        name: name.clone(),
        merge: Merge::RemoveWins,
        replicate: Replicate::Async,
        lifespan: None,
        messages: false,
        max_entry_bytes,
    };
    let metrics = Metrics::new();
    let server = Arc::new(Server {
        site: site("site1"),
        roster: Roster::new(limits.max_sessions, limits.max_sessions_per_certificate),
        shelf: Arc::new(Memory { release: Arc::new(Notify::new()), ..Memory::default() }),
        terms: watch::Sender::new(Arc::new(Terms::new(&[cache], limits.clone(), &metrics))).subscribe(),
        relay_view: watch::Sender::new(View { number: 0, members: vec!["site1".into()] }).subscribe(),
        subscriptions: NoSubscriptions,
        clock: Arc::new(ManualClock::at(NOW)),
        metrics,
    });
    let (sessions, stop) = (TaskTracker::new(), CancellationToken::new());
    let authority = credentials.authority(site("site1"), []).unwrap();
    let door = SessionDoor { authority, server: server.clone(), sessions: sessions.clone(), stop: stop.clone() };
    let accept = AcceptLimits::from_limits(&limits);
    tokio::spawn(crate::transport::serve(
        endpoint,
        Arc::new(door),
        Standing::default(),
        accept,
        CancellationToken::new(),
    ));
    Town { dir, address, server, sessions, stop, dialler: Dialler::new() }
}

impl Town {
    async fn dial(&self, certificate: &str) -> Connection {
        let config = credentials(&self.dir, certificate).client(ALPN_NODE, &Limits::default()).unwrap();
        self.dialler.dial(&self.address, site("site1"), config, PATIENCE).await.unwrap()
    }

    async fn join(&self, certificate: &str, hello: Hello) -> (Connection, Stream, RelayToNode) {
        let connection = self.dial(certificate).await;
        let mut control = Stream::open(&connection).await;
        control.say(1, &NodeToRelay::Hello(hello)).await;
        let welcome = control.hear().await.1;
        (connection, control, welcome)
    }

    /// The sum of a metric over the lines that name all of these.
    fn counted(&self, metric: &str, labels: &[&str]) -> u64 {
        let page = self.server.metrics.render();
        let lines = page.lines().filter(|line| line.starts_with(metric));
        let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn hits(&self, bound: &str) -> u64 {
        self.counted("landbridge_bounds_hit_total", &[&format!("\"{bound}\"")])
    }

    async fn refused(&self, certificate: &str, hello: Hello) -> Option<ErrorCode> {
        let connection = self.dial(certificate).await;
        let mut control = Stream::open(&connection).await;
        control.say(1, &NodeToRelay::Hello(hello)).await;
        end_of(&connection).await.code()
    }
}

async fn end_of(connection: &Connection) -> Refusal {
    refusal_of(&soon(connection.closed()).await).expect("closed with a refusal")
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A client's end of a stream.
struct Stream {
    send: SendStream,
    recv: RecvStream,
    buffer: BytesMut,
}

impl Stream {
    async fn open(connection: &Connection) -> Self {
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { send, recv, buffer: BytesMut::new() }
    }

    async fn say(&mut self, request: u64, frame: &NodeToRelay) {
        let mut bytes = BytesMut::new();
        frame.encode(request, &mut bytes).unwrap();
        self.send.write_chunk(bytes.freeze()).await.unwrap();
    }

    async fn hear(&mut self) -> (u64, RelayToNode) {
        let mut codec = FrameCodec::new(1 << 22);
        loop {
            if let Some(raw) = codec.decode(&mut self.buffer).unwrap() {
                let raw: RawFrame = raw;
                return (raw.request, RelayToNode::decode(&raw).unwrap());
            }
            let chunk = soon(self.recv.read_chunk(1 << 16, true)).await.unwrap().expect("more");
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

fn hello(node: &str) -> Hello {
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        site: site("site1"),
        home: site("site1"),
        node: NodeName::new(node).unwrap(),
        member: true,
        software: "test".into(),
    }
}

fn put(key: &str, number: u64) -> NodeToRelay {
    put_value(key, number, Bytes::from_static(b"value"))
}

fn put_value(key: &str, number: u64, value: Bytes) -> NodeToRelay {
    let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new(key.to_string()).unwrap());
    let token = WriteToken { client: ClientId(1), number };
    NodeToRelay::Request(Request::Write(node::Write::new(node::Operation::Put, cache, key, token, value)))
}

fn get(key: &str) -> NodeToRelay {
    let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new(key.to_string()).unwrap());
    NodeToRelay::Request(Request::Get(node::KeyRef { cache, key }))
}

#[tokio::test]
async fn a_hello_that_is_not_good_ends_the_connection_with_its_code() {
    let town = town(Limits::default());
    let elsewhere = Hello { site: site("site2"), ..hello("node11") };
    assert_eq!(town.refused("node11", elsewhere).await, Some(ErrorCode::WrongSite));
    assert_eq!(town.refused("node11", hello("node12")).await, Some(ErrorCode::NameNotInCertificate));
    let newer = Hello { version_min: 7, version_max: 8, ..hello("node11") };
    assert_eq!(town.refused("node11", newer).await, Some(ErrorCode::VersionTooNew));
    assert!(town.server.roster.is_empty());
}

#[tokio::test]
async fn who_says_no_hello_is_not_waited_for() {
    let town = town(Limits { hello_timeout: landbridge_protocol::time::Millis::new(50), ..Limits::default() });
    let connection = town.dial("node11").await;
    assert_eq!(end_of(&connection).await.code(), Some(ErrorCode::Malformed));
}

#[tokio::test]
async fn members_are_welcomed_and_hear_of_each_other() {
    let town = town(Limits::default());
    let (_one, mut control, welcome) = town.join("node11", hello("node11")).await;
    let RelayToNode::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
    assert_eq!(show_view(&welcome.site_view), "[node11|0] (1) [node11]");
    let (other, _, _) = town.join("node12", hello("node12")).await;
    let (0, RelayToNode::SiteView(view)) = control.hear().await else { panic!() };
    assert_eq!(show_view(&view), "[node11|1] (2) [node11, node12]");
    other.close(0u32.into(), b"");
    let (0, RelayToNode::SiteView(view)) = control.hear().await else { panic!() };
    assert_eq!(show_view(&view), "[node11|2] (1) [node11]");
}

#[tokio::test]
async fn a_newer_session_fences_the_older_and_another_certificate_does_not() {
    let town = town(Limits::default());
    let (old, _control, _) = town.join("node11", hello("node11")).await;
    assert_eq!(town.refused("site1.admin", hello("node11")).await, Some(ErrorCode::NameInUse));
    let command = Hello { member: false, ..hello("node11") };
    let (_command, _, welcome) = town.join("site1.admin", command).await;
    assert!(matches!(welcome, RelayToNode::Welcome(_)));
    let (_new, mut control, _) = town.join("node11", hello("node11")).await;
    assert_eq!(end_of(&old).await.code(), Some(ErrorCode::Fenced));
    control.say(5, &NodeToRelay::Request(Request::Ping)).await;
    loop {
        match control.hear().await {
            (5, RelayToNode::Reply(Reply::Pong)) => break,
            (0, RelayToNode::SiteView(_)) => (),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn requests_behind_a_slow_write_are_answered_before_it() {
    let town = town(Limits::default());
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut stream = Stream::open(&connection).await;
    stream.say(1, &put("held", 1)).await;
    stream.say(2, &put("a", 2)).await;
    stream.say(3, &get("a")).await;
    assert!(matches!(stream.hear().await, (2, RelayToNode::Reply(Reply::Written(_)))));
    assert!(matches!(stream.hear().await, (3, RelayToNode::Reply(Reply::Entry(Some(_))))));
    town.server.shelf.release.notify_one();
    assert!(matches!(stream.hear().await, (1, RelayToNode::Reply(Reply::Written(_)))));
}

#[tokio::test]
async fn no_more_is_read_than_may_wait_for_answers() {
    let town = town(Limits { max_requests: 1, ..Limits::default() });
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut stream = Stream::open(&connection).await;
    stream.say(1, &put("held", 1)).await;
    stream.say(2, &get("held")).await;
    town.server.shelf.release.notify_one();
    assert!(matches!(stream.hear().await, (1, RelayToNode::Reply(Reply::Written(_)))));
    let second = stream.hear().await;
    assert!(matches!(second, (2, RelayToNode::Reply(Reply::Entry(Some(_))))), "read only after the write: {second:?}");
}

/// Bytes of the answers in the test below.
const LARGE: usize = 64 << 10;

#[tokio::test]
async fn answers_that_are_not_read_hold_up_their_session_and_nobody_else() {
    let town = town(Limits { max_session_bytes: ByteSize::kib(256), ..Limits::default() });
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut stream = Stream::open(&connection).await;
    stream.say(100, &put_value("large", 1, vec![7; LARGE].into())).await;
    assert!(matches!(stream.hear().await, (100, RelayToNode::Reply(Reply::Written(_)))));
    for number in 1..=64 {
        stream.say(number, &get("large")).await;
    }
    let held_up = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while town.hits("session_bytes") == 0 {
            tick.tick().await;
        }
    };
    soon(held_up).await;
    let (other, _other_control, _) = town.join("node12", hello("node12")).await;
    let mut undisturbed = Stream::open(&other).await;
    for number in 1..=20 {
        undisturbed.say(number, &get("large")).await;
        assert!(matches!(undisturbed.hear().await, (_, RelayToNode::Reply(Reply::Entry(Some(_))))));
    }
    // What QUIC takes in for one stream, and the budget.
    let most = (Limits::default().stream_window_bytes.as_usize() + (256 << 10)) / LARGE + 1;
    let answered = town.counted("landbridge_requests_total", &["\"get\""]) - 20;
    assert!(answered <= most as u64, "{answered} answers of {LARGE} bytes are held, {most} may be");
    let mut heard = Vec::new();
    while heard.len() < 64 {
        let (number, RelayToNode::Reply(Reply::Entry(Some(_)))) = stream.hear().await else { panic!() };
        heard.push(number);
    }
    assert!(heard.into_iter().eq(1..=64), "nothing is lost by waiting");
}

#[tokio::test]
async fn frames_in_part_beyond_the_budget_cost_the_session_and_one_large_frame_does_not() {
    let town = town(Limits { max_session_bytes: ByteSize::kib(256), ..Limits::default() });
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut first = Stream::open(&connection).await;
    first.say(1, &put_value("large", 1, vec![7; 512 << 10].into())).await;
    assert!(matches!(first.hear().await, (1, RelayToNode::Reply(Reply::Written(_)))));
    let begun: [u8; 4] = (200_u32 << 10).to_be_bytes();
    first.send.write_all(&begun).await.unwrap();
    let mut second = Stream::open(&connection).await;
    second.send.write_all(&begun).await.unwrap();
    assert_eq!(end_of(&connection).await.code(), Some(ErrorCode::Busy));
    assert_eq!(town.hits("session_part_bytes"), 1);
}

#[tokio::test]
async fn an_unknown_kind_is_answered_and_a_frame_too_large_costs_the_connection() {
    let town = town(Limits::default());
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut stream = Stream::open(&connection).await;
    stream.send.write_all(&[0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 9]).await.unwrap();
    let (9, RelayToNode::Refused(refusal)) = stream.hear().await else { panic!() };
    assert_eq!(refusal.code(), Some(ErrorCode::Unsupported));
    stream.send.write_all(&[0xff; 14]).await.unwrap();
    assert_eq!(end_of(&connection).await.code(), Some(ErrorCode::FrameTooLarge));
}

#[tokio::test]
async fn a_draining_relay_answers_what_it_was_asked_before_it_says_so() {
    let town = town(Limits::default());
    let (connection, _control, _) = town.join("node11", hello("node11")).await;
    let mut stream = Stream::open(&connection).await;
    stream.say(1, &put("held", 1)).await;
    stream.say(2, &NodeToRelay::Request(Request::Ping)).await;
    assert!(matches!(stream.hear().await, (2, RelayToNode::Reply(Reply::Pong))));
    town.stop.cancel();
    town.server.shelf.release.notify_one();
    assert!(matches!(stream.hear().await, (1, RelayToNode::Reply(Reply::Written(_)))));
    // The relay waits until its streams are read to their ends.
    assert!(soon(stream.recv.read_chunk(1, true)).await.unwrap().is_none());
    assert_eq!(end_of(&connection).await.code(), Some(ErrorCode::ShuttingDown));
    town.sessions.close();
    soon(town.sessions.wait()).await;
}
