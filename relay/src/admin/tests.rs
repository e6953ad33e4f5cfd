//! Conversations over a pipe.

use landbridge_protocol::frame::PROTOCOL_VERSION;
use tokio::io::DuplexStream;

use super::*;

struct Relay;

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

impl Operated for Relay {
    type Backup = std::vec::IntoIter<Result<BackupPart, Refusal>>;

    fn status(&self) -> Status {
        unreachable!("not asked for here")
    }

    fn conflicts(&self, _: Option<&CacheName>, _: u64, _: usize) -> Result<Conflicts, Refusal> {
        unreachable!("not asked for here")
    }

    async fn backup(&self) -> Result<Self::Backup, Refusal> {
        let part = |length: usize, through, last| {
            let bytes = Blob((0..length).map(|n| n as u8).collect::<Vec<u8>>().into());
            Ok(BackupPart { bytes, through, head: 9, last })
        };
        Ok(vec![part(5, 3, false), part(2 * MAX_PART_BYTES + 7, 9, true)].into_iter())
    }

    async fn reload(&self, _: Option<PathBuf>) -> Result<Reloaded, Refusal> {
        unreachable!("not asked for here")
    }

    fn drift(&self, _: Option<SiteName>, _: Option<CacheName>, _: Option<bool>) -> Result<Drift, Refusal> {
        unreachable!("not asked for here")
    }

    async fn set_offline(&self, peer: SiteName, offline: bool) -> Result<LinkReport, Refusal> {
        if peer != site("site2") {
            return Err(Refusal::new(ErrorCode::UnknownPeer, "no such peer"));
        }
        Ok(LinkReport {
            peer,
            address: String::new(),
            state: if offline { "offline" } else { "waiting" }.into(),
            detail: String::new(),
            incoming: false,
            lag_changes: 0,
            lag_seconds: 0.0,
            skew_ms: None,
            version: None,
            software: None,
            differences: vec![],
            drift: None,
        })
    }
}

fn hello(name: &str, version: u16) -> ToAdmin {
    let (version_min, version_max) = (version, version);
    ToAdmin::Hello(Hello { version_min, version_max, site: site(name), software: "test".into() })
}

const SOON: Duration = Duration::from_secs(20);

fn operator() -> (DuplexStream, tokio::task::JoinHandle<Result<(), Refusal>>) {
    operator_within(Patience { hello: SOON, answer: SOON }, Metrics::new())
}

fn operator_within(
    patience: Patience,
    metrics: Metrics,
) -> (DuplexStream, tokio::task::JoinHandle<Result<(), Refusal>>) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let relay = tokio::spawn(async move {
        let (from, to) = tokio::io::split(theirs);
        converse(&Relay, site("site1"), patience, &metrics, from, to).await
    });
    (ours, relay)
}

async fn ask(pipe: &mut DuplexStream, request: u64, frame: ToAdmin) {
    let mut bytes = BytesMut::new();
    frame.encode(request, &mut bytes).unwrap();
    pipe.write_all_buf(&mut bytes).await.unwrap();
}

async fn hear(pipe: &mut DuplexStream, buffer: &mut BytesMut) -> (u64, FromAdmin) {
    let raw = next(pipe, buffer).await.unwrap().unwrap();
    (raw.request, FromAdmin::decode(&raw).unwrap())
}

#[tokio::test]
async fn a_link_is_taken_offline_and_an_unknown_peer_is_refused_without_ending_it_all() {
    let ((mut pipe, relay), mut buffer) = (operator(), BytesMut::new());
    ask(&mut pipe, 1, hello("site1", PROTOCOL_VERSION)).await;
    assert!(matches!(hear(&mut pipe, &mut buffer).await, (1, FromAdmin::Welcome(_))));
    ask(&mut pipe, 2, ToAdmin::Request(Request::TakeOffline { peer: site("site9") })).await;
    let (2, FromAdmin::Refused(refusal)) = hear(&mut pipe, &mut buffer).await else { panic!() };
    assert_eq!(refusal.code(), Some(ErrorCode::UnknownPeer));
    for (request, state) in [
        (Request::TakeOffline { peer: site("site2") }, "offline"),
        (Request::BringOnline { peer: site("site2") }, "waiting"),
    ] {
        ask(&mut pipe, 3, ToAdmin::Request(request)).await;
        let (3, FromAdmin::Report(Report::Link(link))) = hear(&mut pipe, &mut buffer).await else { panic!() };
        assert_eq!(link.state, state);
    }
    drop(pipe);
    assert_eq!(relay.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_backup_comes_in_frames_that_fit_and_the_last_says_so() {
    let ((mut pipe, _relay), mut buffer) = (operator(), BytesMut::new());
    ask(&mut pipe, 1, hello("site1", PROTOCOL_VERSION)).await;
    hear(&mut pipe, &mut buffer).await;
    ask(&mut pipe, 2, ToAdmin::Request(Request::Backup)).await;
    let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let mut codec = FrameCodec::new(2 * MAX_PART_BYTES);
        let raw = loop {
            match codec.decode(&mut buffer).unwrap() {
                Some(raw) => break raw,
                None => assert!(pipe.read_buf(&mut buffer).await.unwrap() > 0),
            }
        };
        let FromAdmin::Report(Report::Backup(part)) = FromAdmin::decode(&raw).unwrap() else { panic!() };
        lengths.push((part.bytes.0.len(), part.through));
        bytes.extend_from_slice(&part.bytes.0);
        if part.last {
            break;
        }
    }
    assert_eq!(lengths, [(5, 3), (MAX_PART_BYTES, 9), (MAX_PART_BYTES, 9), (7, 9)]);
    assert!(bytes[5..].iter().enumerate().all(|(at, byte)| *byte == at as u8), "in order, and nothing twice");
}

#[tokio::test]
async fn a_bad_beginning_is_refused_with_its_code() {
    for (frame, code) in [
        (hello("site2", PROTOCOL_VERSION), ErrorCode::WrongSite),
        (hello("site1", 99), ErrorCode::VersionTooNew),
        (ToAdmin::Request(Request::Status), ErrorCode::Malformed),
    ] {
        let (mut pipe, relay) = operator();
        ask(&mut pipe, 1, frame).await;
        assert_eq!(relay.await.unwrap().unwrap_err().code(), Some(code));
    }
}

#[tokio::test]
async fn a_hello_that_never_ends_is_not_waited_for() {
    let metrics = Metrics::new();
    let (mut pipe, relay) =
        operator_within(Patience { hello: Duration::from_millis(20), answer: SOON }, metrics.clone());
    pipe.write_all(&[0, 0, 0, 40, 0]).await.unwrap();
    let ended = tokio::time::timeout(SOON, relay).await.expect("the relay waits without end").unwrap();
    assert_eq!(ended.unwrap_err().code(), Some(ErrorCode::Malformed));
    assert!(metrics.render().contains("landbridge_bounds_hit_total{bound=\"hello_timeout\"} 1"));
    drop(pipe);
}

#[tokio::test]
async fn a_backup_that_nobody_reads_ends_with_its_connection() {
    let (mut pipe, relay) =
        operator_within(Patience { hello: SOON, answer: Duration::from_millis(20) }, Metrics::new());
    let mut buffer = BytesMut::new();
    ask(&mut pipe, 1, hello("site1", PROTOCOL_VERSION)).await;
    hear(&mut pipe, &mut buffer).await;
    ask(&mut pipe, 2, ToAdmin::Request(Request::Backup)).await;
    let ended = tokio::time::timeout(SOON, relay).await.expect("the relay waits without end").unwrap();
    let refusal = ended.unwrap_err();
    assert!(refusal.code() == Some(ErrorCode::Busy) && refusal.message.contains("operator_timeout"), "{refusal}");
    drop(pipe);
}

/// What a stream gives whose connection was closed: no end, but an error.
struct Closed;

impl AsyncRead for Closed {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::NotConnected.into()))
    }
}

#[tokio::test]
async fn a_command_that_closes_its_connection_when_it_has_its_answer_is_refused_nothing() {
    let (mut pipe, theirs) = tokio::io::duplex(4096);
    let relay = tokio::spawn(async move {
        let (from, to) = tokio::io::split(theirs);
        let patience = Patience { hello: SOON, answer: SOON };
        converse(&Relay, site("site1"), patience, &Metrics::new(), from.chain(Closed), to).await
    });
    ask(&mut pipe, 1, hello("site1", PROTOCOL_VERSION)).await;
    hear(&mut pipe, &mut BytesMut::new()).await;
    drop(pipe);
    assert_eq!(relay.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_operator_who_leaves_during_a_backup_is_refused_nothing() {
    let (mut pipe, relay) = operator();
    ask(&mut pipe, 1, hello("site1", PROTOCOL_VERSION)).await;
    hear(&mut pipe, &mut BytesMut::new()).await;
    ask(&mut pipe, 2, ToAdmin::Request(Request::Backup)).await;
    drop(pipe);
    assert_eq!(relay.await.unwrap(), Ok(()));
}
