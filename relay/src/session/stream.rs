//! One stream of a session: requests in, answers out in any order; or one subscription.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{FrameCodec, FrameError, NodeToRelay, RawFrame, RelayToNode, node::Request},
    name::CacheName,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{codec::Decoder, task::TaskTracker};

use super::{
    answer::outcome_of,
    connection::{Session, Subscriptions},
    shelf::Shelf,
};
use crate::{
    metrics::{Bound, Operation},
    transport::close,
};

/// Answers that wait to be written; who has one more waits, and so in the end nothing more is read.
const MAX_UNWRITTEN: usize = 256;
/// Bytes that are written at once; answers that are ready at one time go together.
const COALESCE_BYTES: usize = 64 << 10;
/// Bytes asked of the stream at once.
const READ_BYTES: usize = 64 << 10;

/// The reading half: frames.
pub(super) struct Incoming {
    recv: RecvStream,
    buffer: BytesMut,
    codec: FrameCodec,
}

impl Incoming {
    pub(super) fn new(recv: RecvStream, max_frame_bytes: usize) -> Self {
        Self { recv, buffer: BytesMut::new(), codec: FrameCodec::new(max_frame_bytes) }
    }

    /// The next raw frame; nothing at the end of the stream. Cancel-safe.
    async fn raw(&mut self) -> Result<Option<RawFrame>, FrameError> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(READ_BYTES, true).await.map_err(std::io::Error::from)? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None => return self.codec.decode_eof(&mut self.buffer),
            }
        }
    }

    /// The next frame, decoded: for a hello, where bad bytes end it all.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, NodeToRelay)>, Refusal> {
        let Some(raw) = self.raw().await.map_err(|error| error.refusal())? else { return Ok(None) };
        let frame = NodeToRelay::decode(&raw).map_err(|error| error.refusal())?;
        Ok(Some((raw.request, frame)))
    }
}

/// The writing half, as those who have something to say see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outgoing(mpsc::Sender<Bytes>);

/// The stream can't be written any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Outgoing {
    /// Starts the task that writes; it ends the stream when the last clone is gone.
    pub(super) fn start(send: SendStream, tasks: &TaskTracker) -> Self {
        let (to, from) = mpsc::channel(MAX_UNWRITTEN);
        tasks.spawn(write(send, from));
        Self(to)
    }

    /// Queues a frame; waits while the queue is full.
    pub(super) async fn send(&self, request: u64, frame: &RelayToNode) -> Result<(), Gone> {
        let mut bytes = BytesMut::new();
        if let Err(error) = frame.encode(request, &mut bytes) {
            tracing::error!(request, %error, "an answer can't be put into a frame");
            bytes.clear();
            let refusal = RelayToNode::Refused(Refusal::new(ErrorCode::Internal, error.to_string()));
            refusal.encode(request, &mut bytes).map_err(|_| Gone)?;
        }
        self.0.send(bytes.freeze()).await.map_err(|_| Gone)
    }
}

async fn write(mut send: SendStream, mut from: mpsc::Receiver<Bytes>) {
    let mut chunks = Vec::with_capacity(MAX_UNWRITTEN);
    while from.recv_many(&mut chunks, MAX_UNWRITTEN).await > 0 {
        let mut joined = BytesMut::new();
        for chunk in chunks.drain(..) {
            joined.extend_from_slice(&chunk);
            if joined.len() >= COALESCE_BYTES && send.write_chunk(joined.split().freeze()).await.is_err() {
                return;
            }
        }
        if send.write_chunk(joined.freeze()).await.is_err() {
            return;
        }
    }
    // Already ended by the other side, where this fails.
    if send.finish().is_ok() {
        let _acknowledged_or_gone = send.stopped().await;
    }
}

/// Serves a stream that the node opened: what it is for shows in its first frame.
pub(super) async fn serve<S: Shelf, L: Subscriptions>(
    session: Arc<Session<S, L>>,
    send: SendStream,
    recv: RecvStream,
    tasks: TaskTracker,
    connection: Connection,
) {
    let mut incoming = Incoming::new(recv, session.server.limits.max_frame_bytes.as_usize());
    let first = tokio::select! {
        biased;
        () = session.stop.cancelled() => return,
        first = incoming.raw() => first,
    };
    let raw = match first {
        Ok(Some(raw)) => raw,
        Ok(None) => return,
        Err(error) => return end(&session, &connection, &error),
    };
    if let Ok(NodeToRelay::Subscribe(subscribe)) = NodeToRelay::decode(&raw) {
        let permitted = session.answering.may_listen(&subscribe.cache).and_then(|()| {
            let bound = session.server.limits.max_subscriptions;
            session.joined.subscribe(bound).inspect_err(|_| session.server.metrics.bound_hit(Bound::Subscriptions))
        });
        return match permitted {
            Ok(_counted) => {
                let stop = session.stop.clone();
                // A subscriber that wants no more is noticed here, also while there is nothing to tell it.
                let unwanted = send.stopped();
                tokio::select! {
                    biased;
                    _ = unwanted => (),
                    () = session.server.subscriptions.serve(subscribe, raw.request, send, stop) => (),
                }
            }
            Err(refusal) => {
                let outgoing = Outgoing::start(send, &tasks);
                let _gone = outgoing.send(raw.request, &RelayToNode::Refused(refusal)).await;
            }
        };
    }
    let outgoing = Outgoing::start(send, &tasks);
    if take(&session, raw, &outgoing, &tasks).await.is_ok()
        && let Err(error) = pump(&session, &mut incoming, &outgoing, &tasks).await
    {
        end(&session, &connection, &error);
    }
}

/// Serves requests on the control stream, after the hello.
pub(super) async fn requests<S: Shelf, L: Subscriptions>(
    session: Arc<Session<S, L>>,
    mut incoming: Incoming,
    outgoing: Outgoing,
    tasks: TaskTracker,
    connection: Connection,
) {
    if let Err(error) = pump(&session, &mut incoming, &outgoing, &tasks).await {
        end(&session, &connection, &error);
        session.stop.cancel();
    }
}

async fn pump<S: Shelf, L: Subscriptions>(
    session: &Arc<Session<S, L>>,
    incoming: &mut Incoming,
    outgoing: &Outgoing,
    tasks: &TaskTracker,
) -> Result<(), FrameError> {
    loop {
        let raw = tokio::select! {
            biased;
            () = session.stop.cancelled() => return Ok(()),
            raw = incoming.raw() => raw?,
        };
        let Some(raw) = raw else { return Ok(()) };
        if take(session, raw, outgoing, tasks).await.is_err() {
            return Ok(());
        }
    }
}

/// Begins on one request. It is polled here once before a task of its own takes it over, so that the writes of a stream come
/// to the writer's door in the order in which they were sent, and reads need no task.
async fn take<S: Shelf, L: Subscriptions>(
    session: &Arc<Session<S, L>>,
    raw: RawFrame,
    outgoing: &Outgoing,
    tasks: &TaskTracker,
) -> Result<(), Gone> {
    let request = match NodeToRelay::decode(&raw) {
        Ok(NodeToRelay::Request(request)) => request,
        Ok(NodeToRelay::Hello(_) | NodeToRelay::Subscribe(_)) => {
            let text = "a hello opens a session and a subscription a stream of its own; here requests are read";
            return outgoing.send(raw.request, &RelayToNode::Refused(Refusal::new(ErrorCode::Malformed, text))).await;
        }
        Err(error) => return outgoing.send(raw.request, &RelayToNode::Refused(error.refusal())).await,
    };
    if session.in_flight.available_permits() == 0 {
        session.server.metrics.bound_hit(Bound::Requests);
    }
    let place = session.in_flight.clone().acquire_owned().await.map_err(|_| Gone)?;
    let number = raw.request;
    let mut answer: Pin<Box<dyn Future<Output = RelayToNode> + Send>> = Box::pin(answer(session.clone(), request));
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Ready(frame) => outgoing.send(number, &frame).await,
        Poll::Pending => {
            let outgoing = outgoing.clone();
            tasks.spawn(async move {
                let frame = pin!(answer).await;
                let _gone = outgoing.send(number, &frame).await;
                drop(place);
            });
            Ok(())
        }
    }
}

async fn answer<S: Shelf, L: Subscriptions>(session: Arc<Session<S, L>>, request: Request) -> RelayToNode {
    let (began, operation, cache) = (Instant::now(), Operation::of(&request), cache_of(&request).cloned());
    let answered = session.answering.answer(request).await;
    // Caches that there are not make no labels.
    if let (Some(operation), Some(cache)) = (operation, cache)
        && let Some(requests) = session.server.requests.get(&cache)
    {
        requests.answered(operation, outcome_of(&answered), began.elapsed());
    }
    answered.map_or_else(RelayToNode::Refused, RelayToNode::Reply)
}

fn cache_of(request: &Request) -> Option<&CacheName> {
    Some(match request {
        Request::Get(of) | Request::Contains(of) => &of.cache,
        Request::GetAll(of) => &of.cache,
        Request::Write(of) => &of.cache,
        Request::PutAll(of) => &of.cache,
        Request::Clear(of) => &of.cache,
        Request::Size(of) => &of.cache,
        Request::List(of) => &of.cache,
        Request::Ping => return None,
    })
}

/// Bytes that are no frames cost their sender the connection.
fn end<S, L>(session: &Session<S, L>, connection: &Connection, error: &FrameError) {
    match error {
        FrameError::Io(_) => return,
        FrameError::TooLarge { .. } => session.server.metrics.bound_hit(Bound::FrameBytes),
        FrameError::TooShort(_) | FrameError::Truncated => (),
    }
    tracing::info!(node = %session.answering.session.node, %error, "session ended");
    close(connection, &error.refusal());
}
