//! One node's connection: hello, then its streams, each a task, until it ends, is fenced, or the relay drains.

use std::{fmt, sync::Arc, time::Duration};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        NodeToRelay, RelayToNode,
        node::{Hello, Subscribe, View, Welcome},
    },
    name::SiteName,
};
use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::Answering,
    budget::Budget,
    hello,
    roster::{Joined, Member, Roster},
    shelf::Shelf,
    stream::{self, Incoming, Outgoing},
    terms::Terms,
};
use crate::{
    certs::Peer,
    clock::Clock,
    config::Limits,
    metrics::{Bound, Metrics},
    transport::{Admitted, close},
};

/// Who serves subscriptions, each on the stream that it was asked for on.
pub trait Subscriptions: Send + Sync + 'static {
    /// Serves one until either side ends it, or until it is `refused`, which the subscriber is told. Was permitted;
    /// `request` is the id to answer under.
    fn serve(
        &self,
        subscribe: Subscribe,
        request: u64,
        send: SendStream,
        stop: CancellationToken,
        refused: impl Future<Output = Refusal> + Send,
    ) -> impl Future<Output = ()> + Send;
}

/// What all sessions of a relay share.
pub struct Server<S, L> {
    /// The relay's site.
    pub site: SiteName,
    /// Who is connected.
    pub roster: Roster,
    /// The store.
    pub shelf: Arc<S>,
    /// The caches and bounds, as they are configured by now.
    pub terms: watch::Receiver<Arc<Terms>>,
    /// What is counted.
    pub metrics: Metrics,
    /// The relay view.
    pub relay_view: watch::Receiver<View>,
    /// Who serves subscriptions.
    pub subscriptions: L,
    /// The time, for reports.
    pub clock: Arc<dyn Clock>,
}

impl<S, L> fmt::Debug for Server<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {:?})", self.site, self.roster)
    }
}

impl<S, L> Server<S, L> {
    /// The bounds of a connection that begins now.
    pub fn limits(&self) -> Limits {
        self.terms.borrow().limits.clone()
    }
}

/// A session that has said hello.
pub(super) struct Session<S, L> {
    pub(super) server: Arc<Server<S, L>>,
    pub(super) answering: Answering<S>,
    pub(super) joined: Joined,
    /// A permit per request that waits for its answer; where none is left, nothing more is read.
    pub(super) in_flight: Arc<Semaphore>,
    /// The bytes that it may make the relay hold.
    pub(super) budget: Arc<Budget>,
    /// The end of reading: fenced, draining, or the connection is gone.
    pub(super) stop: CancellationToken,
}

/// Serves a connection to its end. With `stop` no more is read; what is under way is answered, and the node told to go.
pub async fn serve<S: Shelf, L: Subscriptions>(server: Arc<Server<S, L>>, admitted: Admitted, stop: CancellationToken) {
    let Admitted { connection, peer, place: _place, stay: _stay, .. } = admitted;
    let limits = server.limits();
    let timeout = Duration::from(limits.hello_timeout);
    let control = tokio::select! {
        biased;
        () = stop.cancelled() => Err(draining()),
        control = tokio::time::timeout(timeout, greet(&server, &limits, &connection, &peer)) => control.unwrap_or_else(|_| {
            server.metrics.bound_hit(Bound::HelloTimeout);
            Err(Refusal::new(ErrorCode::Malformed, "the connection said no hello in time"))
        }),
    };
    let (session, request, incoming, send) = match control {
        Ok(control) => control,
        Err(refusal) => {
            tracing::info!(from = %connection.remote_address(), "hello refused: {refusal}");
            server.metrics.refused(peer.role, &refusal);
            return close(&connection, &refusal);
        }
    };
    let tasks = TaskTracker::new();
    // The views from before the Welcome is made, so that no change after it is missed.
    let views = (session.server.roster.view(), session.server.relay_view.clone());
    let outgoing = Outgoing::start(&session, send, &tasks);
    let welcome = welcome(&session, views.0.borrow().clone(), views.1.borrow().clone());
    if outgoing.send(request, &RelayToNode::Welcome(welcome)).await.is_ok() {
        tasks.spawn(push_views(outgoing.clone(), views, session.stop.clone()));
        tasks.spawn(stream::requests(session.clone(), incoming, outgoing, tasks.clone(), connection.clone()));
        let reason = accept_streams(&session, &connection, &tasks, &stop).await;
        session.stop.cancel();
        tasks.close();
        if let Some(reason) = reason {
            // A fenced node is most likely dead: nothing is owed to it. A draining relay answers what it was asked.
            if !session.joined.fence().is_cancelled() {
                tokio::select! {
                    biased;
                    _ = connection.closed() => (),
                    () = tasks.wait() => (),
                }
            }
            close(&connection, &reason);
        }
    }
    session.stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Starts a task per stream; returns why the relay ends the session, if it is the relay that does.
async fn accept_streams<S: Shelf, L: Subscriptions>(
    session: &Arc<Session<S, L>>,
    connection: &quinn::Connection,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Option<Refusal> {
    loop {
        tokio::select! {
            biased;
            () = session.joined.fence().cancelled() => return Some(Joined::fenced()),
            () = stop.cancelled() => return Some(draining()),
            () = session.stop.cancelled() => return None,
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    tasks.spawn(stream::serve(session.clone(), send, recv, tasks.clone(), connection.clone()));
                }
                Err(ended) => {
                    tracing::debug!(node = %session.answering.session.node, %ended, "session ended");
                    return None;
                }
            },
        }
    }
}

type Greeted<S, L> = (Arc<Session<S, L>>, u64, Incoming, SendStream);

async fn greet<S: Shelf, L: Subscriptions>(
    server: &Arc<Server<S, L>>,
    limits: &Limits,
    connection: &quinn::Connection,
    peer: &Peer,
) -> Result<Greeted<S, L>, Refusal> {
    let gone = |_| Refusal::new(ErrorCode::Malformed, "the connection ended before its hello");
    let (send, recv): (SendStream, RecvStream) = connection.accept_bi().await.map_err(gone)?;
    let budget = Arc::new(Budget::new(limits, server.metrics.clone()));
    let mut incoming = Incoming::new(recv, limits.max_frame_bytes.as_usize(), budget.clone());
    let no_hello = || Refusal::new(ErrorCode::Malformed, "the first frame of a session is its hello");
    let (request, frame) = incoming.next().await?.ok_or_else(no_hello)?;
    let NodeToRelay::Hello(hello) = frame else { return Err(no_hello()) };
    let session = join(server, limits, &hello, connection, peer, budget)?;
    Ok((Arc::new(session), request, incoming, send))
}

fn join<S, L>(
    server: &Arc<Server<S, L>>,
    limits: &Limits,
    hello: &Hello,
    connection: &quinn::Connection,
    peer: &Peer,
    budget: Arc<Budget>,
) -> Result<Session<S, L>, Refusal> {
    let introduced = hello::check(hello, server.site, |name| peer.may_be(name))?;
    let joined = server.roster.join(Member {
        node: introduced.node.clone(),
        member: introduced.member,
        home: introduced.home,
        address: connection.remote_address(),
        connected: server.clock.now(),
        certificate: peer.certificate.clone(),
    });
    let joined = joined.inspect_err(|refusal| {
        if refusal.code() == Some(ErrorCode::Busy) {
            server.metrics.bound_hit(Bound::Sessions);
        }
    })?;
    let answering = Answering {
        shelf: server.shelf.clone(),
        session: introduced,
        role: peer.role,
        terms: server.terms.clone(),
        limits: limits.clone(),
        metrics: server.metrics.clone(),
    };
    let in_flight = Arc::new(Semaphore::new(limits.max_requests));
    Ok(Session { server: server.clone(), answering, joined, in_flight, budget, stop: CancellationToken::new() })
}

fn welcome<S: Shelf, L>(session: &Session<S, L>, site_view: View, relay_view: View) -> Welcome {
    let server = &session.server;
    let max_frame_bytes = u32::try_from(session.answering.limits.max_frame_bytes.get()).unwrap_or(u32::MAX);
    Welcome {
        version: session.answering.session.version,
        site: server.site,
        run: server.shelf.run(),
        clock: server.shelf.clock(),
        max_frame_bytes,
        site_view,
        relay_view,
    }
}

/// Tells the node of changes of the views. Several in a row may become one: a view says all.
async fn push_views(
    outgoing: Outgoing,
    (mut site, mut relay): (watch::Receiver<View>, watch::Receiver<View>),
    stop: CancellationToken,
) {
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = site.changed() => RelayToNode::SiteView(site.borrow_and_update().clone()),
            Ok(()) = relay.changed() => RelayToNode::RelayView(relay.borrow_and_update().clone()),
            else => return,
        };
        if outgoing.send(0, &frame).await.is_err() {
            return;
        }
    }
}

fn draining() -> Refusal {
    Refusal::new(ErrorCode::ShuttingDown, "the relay shuts down; try another, or this one again later")
}
