//! The door and the dialler, over QUIC on loopback.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{ALPN_NODE, ALPN_PEER, SenderToReceiver, peer::Heartbeat},
    name::SiteName,
    time::Timestamp,
    vector::Vector,
};
use quinn::Endpoint;
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    certs::{Authority, Credentials, Development, Now, Peer, RefusedBecause, RefusedConnection, develop},
    config::{Limits, TlsConfig},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn credentials(dir: &TempDir, name: &str) -> Credentials {
    let file = |name: String| dir.path().join(name);
    let tls =
        TlsConfig::new(file(format!("{name}.relay.pem")), file(format!("{name}.relay.key")), file("ca.pem".into()));
    Credentials::load(&tls, Now::new(|| NOW)).unwrap()
}

struct TestDoor {
    authority: Authority,
    admitted: mpsc::UnboundedSender<Admitted>,
    refused: mpsc::UnboundedSender<RefusedBecause>,
}

impl Door for TestDoor {
    fn authorize(&self, chain: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Peer, RefusedConnection> {
        self.authority.authorize(chain, alpn, NOW)
    }

    fn admitted(&self, admitted: Admitted) {
        self.admitted.send(admitted).unwrap();
    }

    fn refused(&self, _: std::net::SocketAddr, refused: &RefusedConnection) {
        self.refused.send(refused.because).unwrap();
    }
}

/// The relay of site1, its door open, and what a relay of site2 or site3 dials it with.
struct Town {
    dir: TempDir,
    address: String,
    admitted: mpsc::UnboundedReceiver<Admitted>,
    refused: mpsc::UnboundedReceiver<RefusedBecause>,
    stop: CancellationToken,
    dialler: Dialler,
}

fn town(limits: AcceptLimits) -> Town {
    let dir = tempfile::tempdir().unwrap();
    let sites = vec![site("site1"), site("site2"), site("site3")];
    develop(&Development { dir: dir.path().into(), sites, nodes: vec![], now: NOW }).unwrap();
    let credentials = credentials(&dir, "site1");
    let config = credentials.server(&[ALPN_NODE, ALPN_PEER], &Limits::default()).unwrap();
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let (admitted_to, admitted) = mpsc::unbounded_channel();
    let (refused_to, refused) = mpsc::unbounded_channel();
    let authority = credentials.authority(site("site1"), [site("site2")]).unwrap();
    let door = TestDoor { authority, admitted: admitted_to, refused: refused_to };
    let stop = CancellationToken::new();
    tokio::spawn(serve(endpoint, Arc::new(door), Standing::default(), limits, stop.clone()));
    Town { dir, address, admitted, refused, stop, dialler: Dialler::new() }
}

impl Town {
    async fn dial(&self, from: &str, to: &str, alpn: &[u8]) -> Result<quinn::Connection, DialError> {
        let config = credentials(&self.dir, from).client(alpn, &Limits::default()).unwrap();
        self.dialler.dial(&self.address, site(to), config, PATIENCE).await
    }
}

async fn soon<T>(what: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time").expect("some")
}

fn limits() -> AcceptLimits {
    AcceptLimits::from_limits(&Limits::default())
}

#[tokio::test]
async fn a_peer_is_let_in_as_who_its_certificate_says() {
    let mut town = town(limits());
    let _connection = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    let admitted = soon(town.admitted.recv()).await;
    assert_eq!((admitted.alpn.as_slice(), admitted.peer.site), (ALPN_PEER, site("site2")));
}

#[tokio::test]
async fn strangers_are_counted_and_told_why() {
    let mut town = town(limits());
    for (from, alpn, because) in
        [("site3", ALPN_PEER, RefusedBecause::Site), ("site2", ALPN_NODE, RefusedBecause::Role)]
    {
        // TLS has let it in before the door looks at it, so that connecting may succeed.
        let refusal = match town.dial(from, "site1", alpn).await {
            Ok(connection) => refusal_of(&soon(async { Some(connection.closed().await) }).await),
            Err(error) => error.refusal(),
        };
        assert_eq!(refusal.unwrap().code(), Some(ErrorCode::NameNotInCertificate));
        assert_eq!(soon(town.refused.recv()).await, because);
    }
    assert!(town.admitted.try_recv().is_err());
}

#[tokio::test]
async fn a_server_with_another_sites_certificate_is_not_believed() {
    let mut town = town(limits());
    let error = town.dial("site2", "site3", ALPN_PEER).await.unwrap_err();
    assert!(matches!(error, DialError::Connection { .. }), "{error}");
    assert_eq!(soon(town.refused.recv()).await, RefusedBecause::Tls);
}

#[tokio::test]
async fn one_address_gets_its_share_until_a_place_is_free_again() {
    let mut town = town(AcceptLimits { peers: Quota { per_source: 1, ..limits().peers }, ..limits() });
    let _first = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    let held = soon(town.admitted.recv()).await;
    let _second = town.dial("site2", "site1", ALPN_PEER).await;
    assert_eq!(soon(town.refused.recv()).await, RefusedBecause::Full);
    drop(held);
    let _third = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    soon(town.admitted.recv()).await;
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_given_up_in_time() {
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let town = town(limits());
    let config = credentials(&town.dir, "site2").client(ALPN_PEER, &Limits::default()).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = town.dialler.dial(&address, site("site1"), config, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, DialError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_stopped_door_lets_nobody_in() {
    let mut town = town(limits());
    town.stop.cancel();
    // The loop's end drops its `Door`.
    assert!(tokio::time::timeout(PATIENCE, town.admitted.recv()).await.unwrap().is_none());
}

/// Streams are opened by their first bytes, so that the sender writes before the receiver accepts.
#[tokio::test]
async fn many_frames_arrive_in_order_and_the_stream_is_finished() {
    let mut town = town(limits());
    let connection = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    let admitted = soon(town.admitted.recv()).await;
    let (send, _recv) = connection.open_bi().await.unwrap();
    let (queue, writer) = frame_queue::<SenderToReceiver>(send, 4);
    let writing = tokio::spawn(writer.run());
    let reading = tokio::spawn(async move {
        let (_send, recv) = admitted.connection.accept_bi().await.unwrap();
        let mut reader = FrameReader::new(recv, 1024);
        let mut walls = Vec::new();
        while let Some(frame) = reader.next().await.unwrap() {
            match SenderToReceiver::decode(&frame).unwrap() {
                SenderToReceiver::Heartbeat(heartbeat) => walls.push(heartbeat.wall.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        walls
    });
    for wall in 0..10_000 {
        queue.send(0, heartbeat(wall)).await.unwrap();
    }
    drop(queue);
    writing.await.unwrap().unwrap();
    assert!(reading.await.unwrap().into_iter().eq(0..10_000));
}

#[tokio::test]
async fn a_frame_above_the_bound_is_an_error_of_the_reader() {
    let mut town = town(limits());
    let connection = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    let admitted = soon(town.admitted.recv()).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 0, 255, 255]).await.unwrap();
    let (_send, recv) = admitted.connection.accept_bi().await.unwrap();
    let error = FrameReader::new(recv, 1024).next().await.unwrap_err();
    assert_eq!(error.refusal().code(), Some(ErrorCode::FrameTooLarge));
}

#[tokio::test]
async fn a_full_queue_gives_the_frame_back_and_a_broken_stream_closes_it() {
    let mut town = town(limits());
    let connection = town.dial("site2", "site1", ALPN_PEER).await.unwrap();
    let admitted = soon(town.admitted.recv()).await;
    let (send, _recv) = connection.open_bi().await.unwrap();
    let (queue, writer) = frame_queue::<SenderToReceiver>(send, 1);
    queue.try_send(0, heartbeat(1)).unwrap();
    assert!(queue.try_send(0, heartbeat(2)).is_err());
    close(&admitted.connection, &Refusal::new(ErrorCode::ShuttingDown, "draining"));
    let ended = soon(async { Some(connection.closed().await) }).await;
    assert_eq!(refusal_of(&ended).unwrap().code(), Some(ErrorCode::ShuttingDown));
    assert!(matches!(writer.run().await, Err(WriteError::Stream(_))));
    assert!(queue.send(0, heartbeat(3)).await.is_err());
}

fn heartbeat(wall: u64) -> SenderToReceiver {
    let wall = Timestamp::from_millis(wall);
    SenderToReceiver::Heartbeat(Heartbeat { wall, past: Timestamp::ZERO, echo: Timestamp::ZERO, seen: Vector::new() })
}
