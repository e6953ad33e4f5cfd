//! Promises 3 and 7: a peer with a good certificate that speaks the protocol and lies in it is answered by a typed error and
//! counted, alters nothing, and does not disturb the link to an honest one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::{Bytes, BytesMut};
use landbridge_client::Client;
use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        ALPN_PEER, MAX_ENTRY_BYTES, PROTOCOL_VERSION, ReceiverToSender, SenderToReceiver,
        peer::{Batch, Heartbeat, Hello, Introduction, Start, Welcome},
    },
    name::{CacheName, SiteName},
    position::{Sequence, Through},
    record::{Key, Kind, Record},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use landbridge_tests::{
    load::{Known, Load, contents, until_equal},
    metrics::{scrape, total},
    sites::now,
    stranger::{Stranger, honest, next_frame},
};
use quinn::{Connection, RecvStream, SendStream};

/// The run that the liar says it is.
const RUN: RunId = RunId(7);

/// What makes a lie of an honest hello.
type Lie = fn(&mut Hello);

fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

fn at(wall: Timestamp, name: &str, run: RunId) -> Version {
    Version { clock: Clock::at(wall), origin: Origin { site: site(name), run } }
}

fn ahead(by: u64) -> Timestamp {
    now().after(Millis::from_secs(by))
}

fn through(both: u64) -> Through {
    Through { direct: Sequence::new(both), complete: Sequence::new(both) }
}

fn record(cache: &str, version: Version) -> Record {
    let key = Some(Key::new("hostile").unwrap());
    let bare = Record::bare(CacheName::new(cache).unwrap(), key, Kind::Live, version);
    Record { value: Bytes::from_static(b"from a liar"), ..bare }
}

/// A batch of one record that fits the cursor of a stream that begins at zero, and claims what it says.
fn batch(records: Vec<Record>, claims: &[Version]) -> Batch {
    let vector: Vector = claims.iter().map(|claim| (claim.origin, claim.clock)).collect();
    Batch { after: through(0), through: through(1), vector, caught_up: false, runs: vec![], records }
}

fn hello() -> Hello {
    let sender = Introduction {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        site: site("site2"),
        run: RUN,
        wall: now(),
        seen: Vector::new(),
        dropped: Vector::new(),
        head: Sequence::ZERO,
        runs: vec![],
        caches: vec![],
        filling: false,
        lacks: vec![],
        sites: vec![],
        former_sites: vec![],
        software: "hostile".into(),
    };
    Hello { sender, to: site("site1") }
}

async fn say(to: &mut SendStream, frame: SenderToReceiver) {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes).unwrap();
    // The stream may be refused midway.
    drop(to.write_all(&bytes).await);
}

async fn hear(from: &mut RecvStream) -> ReceiverToSender {
    ReceiverToSender::decode(&next_frame(from).await).unwrap()
}

/// A stream with its handshake done.
async fn shake_hands(connection: &Connection) -> (SendStream, RecvStream, Welcome) {
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    say(&mut to, SenderToReceiver::Hello(hello())).await;
    match hear(&mut from).await {
        ReceiverToSender::Welcome(welcome) => (to, from, welcome),
        other => panic!("no welcome: {other:?}"),
    }
}

async fn refused(from: &mut RecvStream, what: &str) -> ErrorCode {
    loop {
        match hear(from).await {
            ReceiverToSender::Refused(refusal) => return refusal.code().unwrap(),
            ReceiverToSender::Heartbeat(_) => {}
            other => panic!("{what}: not refused but {other:?}"),
        }
    }
}

/// What is said after the handshake, in place of an honest start and batch, and the error that it comes to.
fn lies(welcome: &Welcome) -> Vec<(&'static str, Vec<SenderToReceiver>, ErrorCode)> {
    let (start, mine) = (SenderToReceiver::Start(Start { after: through(0) }), at(now(), "site2", RUN));
    let good = record("sessions", mine);
    let relays_own = at(ahead(60), "site1", welcome.receiver.run);
    let unborn = Record { birth: at(ahead(1), "site2", RUN), ..good.clone() };
    let runs: Vec<_> = (0..20_000).map(|run| at(now(), "site3", RunId(1 << 40 | run))).collect();
    let sent = |batch: Batch| vec![start.clone(), SenderToReceiver::Batch(batch)];
    let of = |version: Version| sent(batch(vec![record("sessions", version)], &[]));
    let claimed = |claim: Version| sent(batch(vec![good.clone()], &[claim]));
    let future = Start { after: through(1_000_000) };
    let clear = Record { key: None, kind: Kind::Clear, value: Bytes::new(), ..good.clone() };
    let vast = Record { value: vec![0; MAX_ENTRY_BYTES as usize + 1].into(), ..good.clone() };
    let gap = Batch { after: through(5), through: through(6), ..batch(vec![good.clone()], &[]) };
    let beat = Heartbeat { wall: ahead(3600), past: Timestamp::ZERO, echo: Timestamp::ZERO, seen: Vector::new() };
    vec![
        ("a batch out of order", sent(gap), ErrorCode::CursorMismatch),
        ("a cursor of the future", vec![SenderToReceiver::Start(future)], ErrorCode::CursorMismatch),
        ("a version far ahead", of(at(ahead(3600), "site2", RUN)), ErrorCode::ClockSkew),
        ("a vector far ahead", claimed(at(ahead(3600), "site2", RUN)), ErrorCode::ClockSkew),
        ("a foreign origin", of(at(now(), "site9", RUN)), ErrorCode::ForeignOrigin),
        ("a foreign origin in the vector", claimed(at(now(), "site9", RUN)), ErrorCode::ForeignOrigin),
        ("what this relay never wrote", claimed(relays_own), ErrorCode::ForeignOrigin),
        ("runs without end", sent(batch(vec![good.clone()], &runs)), ErrorCode::ForeignOrigin),
        ("born after it was written", sent(batch(vec![unborn], &[])), ErrorCode::Malformed),
        ("two clears of one cache", sent(batch(vec![clear.clone(), clear], &[])), ErrorCode::Malformed),
        ("a value that fits no cache", sent(batch(vec![vast], &[])), ErrorCode::Malformed),
        ("a wall clock of another day", vec![start.clone(), SenderToReceiver::Heartbeat(beat)], ErrorCode::ClockSkew),
        ("a second hello", vec![start.clone(), SenderToReceiver::Hello(hello())], ErrorCode::Malformed),
        ("no start", sent(batch(vec![good.clone()], &[])).split_off(1), ErrorCode::Malformed),
    ]
}

/// Both honest sites hold what was acknowledged, and nothing else.
async fn undisturbed(nodes: &[Client; 2], known: &Known) {
    let live: Vec<_> = known.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
    until_equal(nodes, "sessions").await;
    let held = contents(&nodes[0], "sessions").await;
    assert_eq!(held.iter().map(|(key, (_, value))| (key, value)).collect::<Vec<_>>(), live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lies_alters_nothing() {
    let (sites, nodes) = honest("").await;
    let load = Load::start(&nodes[0], "sessions", "honest", 2, 20, 1);
    let liar = Stranger::new(&sites, 0, "site2.relay", ALPN_PEER);
    let connection = liar.connect().await.unwrap();
    let (_, _, welcome) = shake_hands(&connection).await;
    let mut expected = Vec::new();
    for (what, frames, code) in lies(&welcome) {
        let (mut to, mut from, _) = shake_hands(&connection).await;
        for frame in frames {
            say(&mut to, frame).await;
        }
        assert_eq!(refused(&mut from, what).await, code, "{what}");
        expected.push(code);
    }
    let hellos: [(Lie, ErrorCode); 3] = [
        (|hello| hello.sender.site = site("site3"), ErrorCode::NameNotInCertificate),
        (|hello| hello.sender.wall = ahead(3600), ErrorCode::ClockSkew),
        (|hello| hello.sender.runs.push(at(now(), "site9", RUN).origin), ErrorCode::ForeignOrigin),
    ];
    for (change, code) in hellos {
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        let mut lie = hello();
        change(&mut lie);
        say(&mut to, SenderToReceiver::Hello(lie)).await;
        assert_eq!(refused(&mut from, "a hello").await, code);
        expected.push(code);
    }

    // A cache that nobody here has declared is kept out of sight.
    let (mut to, mut from, _) = shake_hands(&connection).await;
    say(&mut to, SenderToReceiver::Start(Start { after: through(0) })).await;
    say(&mut to, SenderToReceiver::Batch(batch(vec![record("theirs", at(now(), "site2", RUN))], &[]))).await;
    let ReceiverToSender::Ack(ack) = hear(&mut from).await else { panic!("an undeclared cache is kept") };
    assert_eq!(ack.through, through(1));
    let unseen = nodes[0].raw("theirs").unwrap().get("hostile").await.unwrap_err();
    assert!(!unseen.is_retryable(), "{unseen}");

    let (known, writes) = load.stop().await;
    assert!(writes > 0);
    undisturbed(&nodes, &known).await;
    let page = scrape(sites.port(0));
    for (error, code) in [
        ("cursor_mismatch", ErrorCode::CursorMismatch),
        ("clock_skew", ErrorCode::ClockSkew),
        ("foreign_origin", ErrorCode::ForeignOrigin),
        ("malformed", ErrorCode::Malformed),
        ("name_not_in_certificate", ErrorCode::NameNotInCertificate),
    ] {
        let counted = total(&page, &format!("landbridge_refusals_total{{role=\"peer\",error=\"{error}\"}}"), "");
        let told = expected.iter().filter(|told| **told == code).count();
        assert!(counted >= told as f64, "{error}: {counted} counted, {told} told");
    }
    assert!(total(&page, "landbridge_link_discarded_total{peer=\"site2\"}", "") >= 7.0, "{page}");
    assert!(!sites.log(0).contains("panicked"), "{}", sites.log(0));
}

/// Each looks at all that is held: others have their turn between two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clears_that_a_peer_sends_at_once_are_decided_one_by_one() {
    const CLEARS: u64 = 16;
    let (sites, _nodes) = honest("").await;
    let liar = Stranger::new(&sites, 0, "site2.relay", ALPN_PEER);
    let connection = liar.connect().await.unwrap();
    let (mut to, mut from, _) = shake_hands(&connection).await;
    let commits = || total(&scrape(sites.port(0)), "landbridge_commit_records_count", "");
    let before = commits();
    let mut bytes = BytesMut::new();
    SenderToReceiver::Start(Start { after: through(0) }).encode(&mut bytes).unwrap();
    for number in 0..CLEARS {
        let version = at(Timestamp::from_millis(1 + number), "site2", RUN);
        let cache = CacheName::new("sessions").unwrap();
        let records = vec![Record::bare(cache, None, Kind::Clear, version)];
        let next = Batch { after: through(number), through: through(number + 1), ..batch(records, &[]) };
        SenderToReceiver::Batch(next).encode(&mut bytes).unwrap();
    }
    to.write_all(&bytes).await.unwrap();
    let mut taken = 0;
    while taken < CLEARS {
        match hear(&mut from).await {
            ReceiverToSender::Ack(ack) => taken = ack.through.direct.get(),
            ReceiverToSender::Heartbeat(_) => {}
            other => panic!("not taken: {other:?}"),
        }
    }
    assert!(commits() >= before + CLEARS as f64, "each in a commit of its own");
}
