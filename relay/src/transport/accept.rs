//! The accept loop: from a datagram of a stranger to a connection that somebody is allowed to have.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use landbridge_protocol::error::{ErrorCode, Refusal};
use quinn::{Connection, Endpoint, Incoming, VarInt, crypto::rustls::HandshakeData};
use rustls_pki_types::CertificateDer;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    close::close,
    places::{AcceptLimits, ByRole, Place, Places},
    standing::{Standing, Stay},
};
use crate::certs::{Peer, RefusedBecause, RefusedConnection};

/// A connection that was let in, before its first frame.
#[derive(Debug)]
pub struct Admitted {
    /// The connection.
    pub connection: Connection,
    /// What it speaks: one of the protocol's ALPNs.
    pub alpn: Vec<u8>,
    /// Who is at its other end, as its certificate says.
    pub peer: Peer,
    /// Its place among the connections: keep it as long as the connection lasts.
    pub place: Place,
    /// So that it is verified again while it stands: keep this as long, too.
    pub stay: Stay,
}

/// Who decides on strangers, and takes over those who were let in.
pub trait Door: Send + Sync + 'static {
    /// Whether the holder of these certificates may speak that protocol. Asked anew each time, so that certificates can
    /// be reloaded while the relay runs.
    fn authorize(&self, chain: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Peer, RefusedConnection>;

    /// Somebody is in. Must not block: starts a task of its own.
    fn admitted(&self, admitted: Admitted);

    /// Somebody was refused: to be counted.
    fn refused(&self, from: SocketAddr, refused: &RefusedConnection);
}

/// Lets connections in until `stop`, or until the endpoint is closed. Those that are in by then stay.
pub async fn serve(
    endpoint: Endpoint,
    door: Arc<dyn Door>,
    standing: Standing,
    limits: AcceptLimits,
    stop: CancellationToken,
) {
    let entrance = Arc::new(Entrance {
        door,
        standing,
        handshakes: Places::new(limits.handshakes),
        connections: ByRole::new(&limits),
        timeout: limits.handshake_timeout,
    });
    let tasks = TaskTracker::new();
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        if let Some((incoming, place)) = entrance.place_for(incoming) {
            let entrance = entrance.clone();
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => (),
                    () = entrance.handshake(incoming, place) => (),
                }
            });
        }
    }
    tasks.close();
    tasks.wait().await;
}

struct Entrance {
    door: Arc<dyn Door>,
    standing: Standing,
    handshakes: Places,
    connections: ByRole,
    timeout: Duration,
}

impl Entrance {
    /// A place for the handshake; where none is free the stranger is turned away without one.
    fn place_for(&self, incoming: Incoming) -> Option<(Incoming, Place)> {
        let from = incoming.remote_address();
        if self.handshakes.crowded() && !incoming.remote_address_validated() && incoming.may_retry() {
            // A made-up address never answers, and so takes no place.
            if let Err(error) = incoming.retry() {
                tracing::debug!(%from, %error, "address could not be asked to prove itself");
            }
            return None;
        }
        match self.handshakes.take(from) {
            Some(place) => Some((incoming, place)),
            None => {
                incoming.refuse();
                self.door.refused(from, &full(RefusedBecause::Crowded, "handshakes"));
                None
            }
        }
    }

    async fn handshake(&self, incoming: Incoming, place: Place) {
        let from = incoming.remote_address();
        let connection = match tokio::time::timeout(self.timeout, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return self.door.refused(from, &tls(error.to_string())),
            Err(_) => return self.door.refused(from, &tls("the handshake took too long".into())),
        };
        drop(place);
        match self.admit(&connection, from) {
            Ok((alpn, peer, place)) => {
                let stay = self.standing.came(&connection, &alpn, &peer);
                self.door.admitted(Admitted { connection, alpn, peer, place, stay });
            }
            Err(refused) => {
                close(&connection, &refused.refusal);
                self.door.refused(from, &refused);
            }
        }
    }

    fn admit(&self, connection: &Connection, from: SocketAddr) -> Result<(Vec<u8>, Peer, Place), RefusedConnection> {
        let alpn = alpn_of(connection).unwrap_or_default();
        let peer = self.door.authorize(&chain_of(connection), &alpn)?;
        let place = self.connections.of(peer.role).take(from);
        let place = place.ok_or_else(|| full(RefusedBecause::Full, "connections"))?;
        // Streams one way are not part of the protocol.
        connection.set_max_concurrent_uni_streams(VarInt::from_u32(0));
        Ok((alpn, peer, place))
    }
}

/// The certificates that the other end showed.
pub(super) fn chain_of(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity().and_then(|identity| identity.downcast().ok());
    identity.map(|chain: Box<Vec<CertificateDer<'static>>>| *chain).unwrap_or_default()
}

fn alpn_of(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn full(because: RefusedBecause, of: &str) -> RefusedConnection {
    let refusal = Refusal::new(ErrorCode::Busy, format!("the relay has as many {of} as it takes; try again later"));
    RefusedConnection { because, refusal }
}

fn tls(text: String) -> RefusedConnection {
    RefusedConnection { because: RefusedBecause::Tls, refusal: Refusal::new(ErrorCode::NameNotInCertificate, text) }
}
