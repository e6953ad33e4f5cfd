//! Dialling: a connection, the hello and its answer, and the session's streams.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use landbridge_protocol::frame::{
    NodeToRelay, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, RelayToNode, check_version,
    node::{Hello, Welcome},
};
use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, VarInt};
use tokio::sync::{Semaphore, mpsc};

use super::{MAX_IN_FLIGHT, Session, frames, lane};
use crate::{
    builder::{Relay, Settings},
    error::LinkError,
};

/// A try that takes longer is given up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A relay that is silent for so long is taken for gone.
const IDLE_TIMEOUT_MS: u32 = 4_000;
/// So often something is sent where nothing else is.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The round trip assumed before one was measured; it rules how soon a lost first packet is sent again.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Bytes that a relay may send on one stream ahead of who reads it: the bound of a slow listener.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Request streams of a session.
const LANES: usize = 4;

/// A session fresh from the hello, with what its tasks need.
pub(super) struct Dialled {
    pub(super) session: Arc<Session>,
    pub(super) welcome: Welcome,
    pub(super) control: frames::Stream,
    pub(super) lanes: Vec<(frames::Stream, mpsc::Receiver<lane::Command>)>,
    pub(super) connection: quinn::Connection,
}

/// Dials the relay; `number` is the session's.
pub(super) async fn dial(
    endpoint: &Endpoint,
    settings: &Settings,
    relay: &Relay,
    number: u64,
) -> Result<Dialled, LinkError> {
    match tokio::time::timeout(DIAL_TIMEOUT, connect(endpoint, settings, relay, number)).await {
        Ok(dialled) => dialled,
        Err(_) => Err(LinkError::Silent { relay: Arc::clone(&relay.address), after: DIAL_TIMEOUT }),
    }
}

async fn connect(endpoint: &Endpoint, settings: &Settings, relay: &Relay, number: u64) -> Result<Dialled, LinkError> {
    let address = resolve(&relay.address).await?;
    let mut config = ClientConfig::new(Arc::new(settings.identity.quic_config()?));
    config.transport_config(Arc::new(transport()));
    let connecting = endpoint
        .connect_with(config, address, relay.site.as_str())
        .map_err(|source| LinkError::Dial { relay: Arc::clone(&relay.address), source })?;
    let lost = |source| LinkError::Connection { relay: Arc::clone(&relay.address), source };
    let connection = connecting.await.map_err(lost)?;
    match begin(&connection, settings, relay, number).await {
        // The connection's own end says more than the stream that ended with it.
        Err(LinkError::StreamEnded { .. } | LinkError::Protocol { .. }) if connection.close_reason().is_some() => {
            Err(lost(connection.closed().await))
        }
        begun => begun,
    }
}

async fn begin(
    connection: &quinn::Connection,
    settings: &Settings,
    relay: &Relay,
    number: u64,
) -> Result<Dialled, LinkError> {
    let mut control = frames::open(connection, &relay.address).await?;
    control.send(1, &NodeToRelay::Hello(hello(settings, relay))).await?;
    let welcome = match control.next().await? {
        RelayToNode::Welcome(welcome) => welcome,
        RelayToNode::Refused(refusal) => {
            return Err(LinkError::Refused { relay: Arc::clone(&relay.address), refusal });
        }
        _ => return Err(control.incoming.fault("no welcome in answer to a hello".to_owned())),
    };
    check_version(welcome.version).map_err(|error| control.incoming.refused(error))?;
    let (mut senders, mut lanes) = (Vec::new(), Vec::new());
    for _ in 0..LANES {
        let (sender, commands) = mpsc::channel(lane::INBOX);
        senders.push(sender);
        lanes.push((frames::open(connection, &relay.address).await?, commands));
    }
    let session = Session {
        number,
        relay: Arc::clone(&relay.address),
        site: welcome.site,
        version: welcome.version,
        connection: connection.clone(),
        max_frame_bytes: welcome.max_frame_bytes as usize,
        lanes: senders,
        next_lane: AtomicUsize::new(0),
        places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        heard: AtomicU64::new(welcome.clock.bits()),
    };
    Ok(Dialled { session: Arc::new(session), welcome, control, lanes, connection: connection.clone() })
}

fn hello(settings: &Settings, relay: &Relay) -> Hello {
    Hello {
        version_min: OLDEST_PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        site: relay.site,
        home: settings.home(),
        node: settings.node.clone(),
        member: settings.member,
        software: concat!("landbridge-client ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

async fn resolve(relay: &Arc<str>) -> Result<SocketAddr, LinkError> {
    let fault = |source| LinkError::Address { relay: Arc::clone(relay), source };
    let mut addresses = tokio::net::lookup_host(&**relay).await.map_err(|error| fault(Some(error)))?;
    addresses.next().ok_or_else(|| fault(None))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    transport
}
