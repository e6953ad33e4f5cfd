//! The driver: the one task that dials, keeps the session's tasks, and says how the link stands.
//!
//! ```text
//!            answered                      lost
//!  Dialling ─────────▶ Serving ─────────────────────────┐
//!     ▲  └── failed ─▶ Waiting ◀────────────────────────┘
//!     └── back-off over ──┘            fenced, closed: Ended
//! ```
//! While it serves at another site's relay, it probes the home relay, and moves back when that answers.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use landbridge_protocol::{
    error::ErrorCode,
    frame::{RelayToNode, node::View},
};
use quinn::{Endpoint, VarInt};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Ended, Link, Session,
    dial::{self, Dialled},
    lane,
};
use crate::{
    backoff::Backoff,
    builder::Settings,
    error::{ConnectError, LinkError},
    route::Route,
};

/// What is still under way on a session that the client moves away from gets so long.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a retiring session is looked at.
const RETIRE_CHECK: Duration = Duration::from_millis(50);
/// How long the end of a client waits until the relay was told.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The reason code of an orderly close.
const DONE: VarInt = VarInt::from_u32(0);

/// What the driver says to others.
#[derive(Debug)]
pub(crate) struct Views {
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) site: watch::Receiver<View>,
    pub(crate) relay: watch::Receiver<View>,
}

pub(crate) struct Driver {
    settings: Settings,
    endpoint: Endpoint,
    route: Route,
    backoff: Backoff,
    sessions: u64,
    closing: CancellationToken,
    link: watch::Sender<Link>,
    site_view: watch::Sender<View>,
    relay_view: watch::Sender<View>,
}

/// How serving came to its end.
enum End {
    Lost(LinkError),
    Home(Box<Dialled>),
    Closed,
}

impl Driver {
    pub(crate) fn new(settings: Settings, closing: CancellationToken) -> Result<(Self, Views), ConnectError> {
        let endpoint = settings.endpoint.clone().map_or_else(endpoint, Ok).map_err(ConnectError::Socket)?;
        let (link, link_view) = watch::channel(Link::Down(None));
        let none = View { number: 0, members: Vec::new() };
        let (site_view, site) = watch::channel(none.clone());
        let (relay_view, relay) = watch::channel(none);
        let route = Route::new(settings.relays.len(), settings.failover);
        let backoff = Backoff::new(settings.chance.next());
        let driver = Self { settings, endpoint, route, backoff, sessions: 0, closing, link, site_view, relay_view };
        Ok((driver, Views { link: link_view, site, relay }))
    }

    /// Runs until the client is closed, dropped or fenced. The watches end with it.
    pub(crate) async fn run(mut self) {
        let closing = self.closing.clone();
        let mut retiring = JoinSet::new();
        let mut next = None;
        let ended = loop {
            let dialled = match next.take() {
                Some(dialled) => Ok(dialled),
                None => tokio::select! {
                    biased;
                    () = closing.cancelled() => break Ended::Closed,
                    dialled = self.dial(self.route.target()) => dialled,
                },
            };
            let error = match dialled {
                Ok(dialled) => match self.serve(dialled, &mut retiring).await {
                    End::Lost(error) => error,
                    End::Home(dialled) => {
                        self.route.home();
                        next = Some(*dialled);
                        continue;
                    }
                    End::Closed => break Ended::Closed,
                },
                Err(error) => error,
            };
            if let Some(refusal) = error.refusal().filter(|refusal| refusal.code() == Some(ErrorCode::Fenced)) {
                tracing::error!(%refusal, "another client took this node's session over");
                break Ended::Fenced(refusal);
            }
            tracing::debug!(%error, "no session");
            self.route.failed(Instant::now().into_std());
            self.link.send_replace(Link::Down(Some(Arc::new(error))));
            tokio::select! {
                biased;
                () = closing.cancelled() => break Ended::Closed,
                () = tokio::time::sleep(self.backoff.next()) => {}
            }
        };
        self.link.send_replace(Link::Ended(ended));
        retiring.shutdown().await;
        self.endpoint.close(DONE, b"done");
        if tokio::time::timeout(FAREWELL_TIMEOUT, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("the relay did not hear the farewell");
        }
    }

    async fn dial(&mut self, target: usize) -> Result<Dialled, LinkError> {
        self.sessions += 1;
        dial::dial(&self.endpoint, &self.settings, &self.settings.relays[target], self.sessions).await
    }

    /// Runs a session's tasks until it is lost, the home relay is back, or the client is closed.
    async fn serve(&mut self, dialled: Dialled, retiring: &mut JoinSet<()>) -> End {
        let Dialled { session, welcome, control, lanes, connection } = dialled;
        self.route.connected();
        self.backoff.reset();
        tracing::debug!(relay = %session.relay, site = %session.site(), version = session.version, "session begun");
        self.site_view.send_replace(welcome.site_view);
        self.relay_view.send_replace(welcome.relay_view);
        self.link.send_replace(Link::Up(Arc::clone(&session)));
        let mut tasks = JoinSet::new();
        for (stream, commands) in lanes {
            tasks.spawn(lane::run(stream, commands));
        }
        tasks.spawn(hear(control, self.site_view.clone(), self.relay_view.clone()));
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => End::Closed,
            error = first_end(&mut tasks, &session) => {
                connection.close(DONE, b"session lost");
                End::Lost(error)
            }
            home = self.home() => {
                retiring.spawn(retire(session, tasks));
                End::Home(Box::new(home))
            }
        }
    }

    /// The home relay, once it answers; never while it is the one in use.
    async fn home(&mut self) -> Dialled {
        if self.route.is_home() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.settings.failover.probe_every).await;
            match self.dial(0).await {
                Ok(dialled) => return dialled,
                Err(error) => tracing::debug!(%error, "the home relay is still away"),
            }
        }
    }
}

/// Why the session ended: what ended the connection, or the first of its tasks that did.
async fn first_end(tasks: &mut JoinSet<LinkError>, session: &Session) -> LinkError {
    let error = match tasks.join_next().await {
        Some(Ok(error)) => error,
        Some(Err(_)) | None => LinkError::StreamEnded { relay: Arc::clone(&session.relay) },
    };
    match session.connection.close_reason() {
        Some(source) if error.refusal().is_none() => {
            LinkError::Connection { relay: Arc::clone(&session.relay), source }
        }
        _ => error,
    }
}

/// Lets what is under way on a session come to its end, then closes it.
async fn retire(session: Arc<Session>, mut tasks: JoinSet<LinkError>) {
    let quiet = async {
        while session.in_flight() > 0 {
            tokio::time::sleep(RETIRE_CHECK).await;
        }
    };
    tokio::select! {
        biased;
        () = quiet => {}
        _ = tasks.join_next() => {}
        () = tokio::time::sleep(RETIRE_TIMEOUT) => {}
    }
    session.connection.close(DONE, b"the client went home");
}

/// Takes what the relay says on the control stream: views, and in the end why it ends the session.
async fn hear(
    mut control: super::frames::Stream,
    site_view: watch::Sender<View>,
    relay_view: watch::Sender<View>,
) -> LinkError {
    loop {
        match control.next().await {
            Ok(RelayToNode::SiteView(view)) => drop(site_view.send_replace(view)),
            Ok(RelayToNode::RelayView(view)) => drop(relay_view.send_replace(view)),
            Ok(RelayToNode::Refused(refusal)) => return control.incoming.refused(refusal),
            Ok(_) => return control.incoming.fault("an answer on the control stream".to_owned()),
            Err(error) => return error,
        }
    }
}

/// Waits for the first session, for as long as there is hope.
pub(crate) async fn first_session(link: &mut watch::Receiver<Link>, patience: Duration) -> Result<(), ConnectError> {
    let mut last = None;
    let hope = async {
        loop {
            match &*link.borrow_and_update() {
                Link::Up(_) => return Ok(()),
                Link::Down(Some(error)) if error.is_final() => return Err(ConnectError::Refused(Arc::clone(error))),
                Link::Down(Some(error)) => last = Some(Arc::clone(error)),
                Link::Down(None) => {}
                Link::Ended(Ended::Fenced(_) | Ended::Closed) => return Err(ConnectError::Ended),
            }
            if link.changed().await.is_err() {
                return Err(ConnectError::Ended);
            }
        }
    };
    match tokio::time::timeout(patience, hope).await {
        Ok(found) => found,
        Err(_) => Err(ConnectError::Unreachable { after: patience, cause: last }),
    }
}

/// A socket for both address families where the machine has both, else for IPv4.
fn endpoint() -> std::io::Result<Endpoint> {
    Endpoint::client(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        .or_else(|_| Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0))))
}
