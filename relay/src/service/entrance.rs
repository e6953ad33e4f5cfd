//! The door: who may come in, and to whom they are led.

use std::{fmt, net::SocketAddr, sync::Arc};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::SiteName,
};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{report::Reporter, shelf::Stock};
use crate::{
    admin,
    certs::{Held, Peer, RefusedBecause, RefusedConnection, Role},
    clock::Clock,
    link::Links,
    metrics::{Bound, Metrics},
    session::{self, Server},
    transport::{Admitted, Door, close},
};

/// Leads sessions, links and operators to who serves them, each in a task of its own.
pub(super) struct Entrance {
    pub(super) site: SiteName,
    pub(super) held: Held,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) sessions: Arc<Server<Stock, Stock>>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) links: Links,
    /// A permit per operator's connection.
    pub(super) operators: Arc<Semaphore>,
    /// All that came in.
    pub(super) tasks: TaskTracker,
    /// They are to end.
    pub(super) stop: CancellationToken,
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entrance({})", self.site)
    }
}

impl Entrance {
    fn operator(&self, admitted: Admitted, stop: CancellationToken) {
        let Ok(place) = self.operators.clone().try_acquire_owned() else {
            self.metrics.bound_hit(Bound::Operators);
            let text = "as many operators are connected as limits.max_operators allows; try again later";
            return close(&admitted.connection, &Refusal::new(ErrorCode::Busy, text));
        };
        let (reporter, site, patience) =
            (self.reporter.clone(), self.site, admin::Patience::from(&self.sessions.limits()));
        let metrics = self.metrics.clone();
        self.tasks.spawn(async move {
            admin::serve(&*reporter, site, patience, &metrics, admitted, stop).await;
            drop(place);
        });
    }
}

impl Door for Entrance {
    fn authorize(&self, chain: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Peer, RefusedConnection> {
        self.held.in_force().authority().authorize(chain, alpn, self.clock.now())
    }

    fn admitted(&self, admitted: Admitted) {
        let stop = self.stop.clone();
        match admitted.peer.role {
            Role::Node => drop(self.tasks.spawn(session::serve(self.sessions.clone(), admitted, stop))),
            Role::Peer => self.links.receive(admitted),
            Role::Admin => self.operator(admitted, stop),
        }
    }

    fn refused(&self, from: SocketAddr, refused: &RefusedConnection) {
        tracing::info!(%from, because = refused.because.as_str(), "connection refused: {}", refused.refusal);
        self.metrics.refused_connection(refused.because);
        match refused.because {
            RefusedBecause::Crowded => self.metrics.bound_hit(Bound::Handshakes),
            RefusedBecause::Full => self.metrics.bound_hit(Bound::Connections),
            _ => {}
        }
    }
}
