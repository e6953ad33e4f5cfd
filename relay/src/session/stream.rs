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
use tokio::{sync::mpsc, task::yield_now, time::Instant};
use tokio_util::{codec::Decoder, task::TaskTracker};

use super::{
    answer::outcome_of,
    budget::{Budget, Held},
    connection::{Session, Subscriptions},
    shelf::Shelf,
    terms::removed,
};
use crate::{
    metrics::{Bound, Operation},
    transport::close,
};

/// Bytes that are written at once; answers that are ready at one time go together.
const COALESCE_BYTES: usize = 64 << 10;
/// Bytes asked of the stream at once; a frame of no more is not counted while it comes in.
const READ_BYTES: usize = 64 << 10;

/// The reading half: frames.
pub(super) struct Incoming {
    recv: RecvStream,
    buffer: BytesMut,
    codec: FrameCodec,
    budget: Arc<Budget>,
    /// The bytes of a large frame, from its first to its taking over.
    part: Option<Held>,
}

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(
        "the frames of this session that have come in part take more than max_session_bytes; send large ones one by one"
    )]
    Crowded,
}

impl Unreadable {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Frame(error) => error.refusal(),
            Self::Crowded => Refusal::new(ErrorCode::Busy, self.to_string()),
        }
    }
}

impl Incoming {
    pub(super) fn new(recv: RecvStream, max_frame_bytes: usize, budget: Arc<Budget>) -> Self {
        Self { recv, buffer: BytesMut::new(), codec: FrameCodec::new(max_frame_bytes), budget, part: None }
    }

    /// The next raw frame; nothing at the end of the stream. Cancel-safe.
    async fn raw(&mut self) -> Result<Option<RawFrame>, Unreadable> {
        // The former frame has been taken over by now.
        self.part = None;
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.count_part()?;
            match self.recv.read_chunk(READ_BYTES, true).await.map_err(|e| FrameError::from(std::io::Error::from(e)))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None => return Ok(self.codec.decode_eof(&mut self.buffer)?),
            }
        }
    }

    fn count_part(&mut self) -> Result<(), Unreadable> {
        let length = self.buffer.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        if length > READ_BYTES && self.part.is_none() {
            self.part = Some(self.budget.part(length).ok_or(Unreadable::Crowded)?);
        }
        Ok(())
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
pub(super) struct Outgoing {
    unwritten: mpsc::Sender<(Bytes, Held)>,
    budget: Arc<Budget>,
}

/// The stream can't be written any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Outgoing {
    /// Starts the task that writes; it ends the stream when the last clone is gone.
    pub(super) fn start<S: Shelf, L: Subscriptions>(
        session: &Session<S, L>,
        send: SendStream,
        tasks: &TaskTracker,
    ) -> Self {
        let (unwritten, from) = mpsc::channel(session.answering.limits.max_unwritten_answers);
        tasks.spawn(write(send, from));
        Self { unwritten, budget: session.budget.clone() }
    }

    /// Queues a frame; waits while the queue is full or the budget spent.
    pub(super) async fn send(&self, request: u64, frame: &RelayToNode) -> Result<(), Gone> {
        let bytes = encoded(request, frame)?;
        let held = self.budget.take(bytes.len()).await.ok_or(Gone)?;
        self.unwritten.send((bytes, held)).await.map_err(|_| Gone)
    }

    /// Queues the answer to a request, in the room that was taken for it; waits while the queue is full.
    async fn answer(&self, request: u64, frame: &RelayToNode, mut room: Held) -> Result<(), Gone> {
        let bytes = encoded(request, frame)?;
        room.keep(bytes.len());
        self.unwritten.send((bytes, room)).await.map_err(|_| Gone)
    }
}

fn encoded(request: u64, frame: &RelayToNode) -> Result<Bytes, Gone> {
    let mut bytes = BytesMut::new();
    if let Err(error) = frame.encode(request, &mut bytes) {
        tracing::error!(request, %error, "an answer can't be put into a frame");
        bytes.clear();
        let refusal = RelayToNode::Refused(Refusal::new(ErrorCode::Internal, error.to_string()));
        refusal.encode(request, &mut bytes).map_err(|_| Gone)?;
    }
    Ok(bytes.freeze())
}

async fn write(mut send: SendStream, mut from: mpsc::Receiver<(Bytes, Held)>) {
    let mut frames = Vec::new();
    while from.recv_many(&mut frames, from.max_capacity()).await > 0 {
        // Answers become ready in crowds, and the first wakes this task: it lets the others of the crowd come in, as each packet
        // costs more than all the rest of a small answer.
        yield_now().await;
        while frames.len() < from.max_capacity()
            && let Ok(frame) = from.try_recv()
        {
            frames.push(frame);
        }
        // Given back when QUIC, which has a bound of its own, has taken the bytes.
        let (mut joined, mut held) = (BytesMut::new(), Vec::new());
        for (frame, its_bytes) in frames.drain(..) {
            joined.extend_from_slice(&frame);
            held.push(its_bytes);
            if joined.len() >= COALESCE_BYTES {
                if send.write_chunk(joined.split().freeze()).await.is_err() {
                    return;
                }
                held.clear();
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
    let mut incoming = Incoming::new(recv, session.answering.limits.max_frame_bytes.as_usize(), session.budget.clone());
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
            let bound = session.answering.limits.max_subscriptions;
            session.joined.subscribe(bound).inspect_err(|_| session.server.metrics.bound_hit(Bound::Subscriptions))
        });
        return match permitted {
            Ok(_counted) => {
                let stop = session.stop.clone();
                let removed = removed(session.server.terms.clone(), subscribe.cache.clone());
                // A subscriber that wants no more is noticed here, also while there is nothing to tell it.
                let unwanted = send.stopped();
                tokio::select! {
                    biased;
                    _ = unwanted => (),
                    () = session.server.subscriptions.serve(subscribe, raw.request, send, stop, removed) => (),
                }
            }
            Err(refusal) => {
                let outgoing = Outgoing::start(&session, send, &tasks);
                let _gone = outgoing.send(raw.request, &RelayToNode::Refused(refusal)).await;
            }
        };
    }
    let outgoing = Outgoing::start(&session, send, &tasks);
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
) -> Result<(), Unreadable> {
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

/// Begins on one request, once there is a place and room for it and its answer. It is polled here once before a task of its own takes it over, so that the writes of a stream come
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
        Err(error) => {
            let refusal = error.refusal();
            session.server.metrics.refused(session.answering.role, &refusal);
            return outgoing.send(raw.request, &RelayToNode::Refused(refusal)).await;
        }
    };
    if session.in_flight.available_permits() == 0 {
        session.server.metrics.bound_hit(Bound::Requests);
    }
    let room = raw.body.len() + session.answering.room(&request);
    let admitted = async {
        let place = session.in_flight.clone().acquire_owned().await.map_err(|_| Gone)?;
        Ok((place, session.budget.take(room).await.ok_or(Gone)?))
    };
    let (place, room) = tokio::select! {
        biased;
        // What has not begun is left to the node to ask elsewhere.
        () = session.stop.cancelled() => return Err(Gone),
        admitted = admitted => admitted?,
    };
    let number = raw.request;
    let mut answer: Pin<Box<dyn Future<Output = RelayToNode> + Send>> = Box::pin(answer(session.clone(), request));
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Ready(frame) => outgoing.answer(number, &frame, room).await,
        Poll::Pending => {
            let outgoing = outgoing.clone();
            tasks.spawn(async move {
                let frame = pin!(answer).await;
                let _gone = outgoing.answer(number, &frame, room).await;
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
        && let Some(requests) = session.server.terms.borrow().requests.get(&cache)
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

/// Bytes that are no frames, or too many, cost their sender the connection.
fn end<S, L>(session: &Session<S, L>, connection: &Connection, error: &Unreadable) {
    match error {
        Unreadable::Frame(FrameError::Io(_)) => return,
        Unreadable::Frame(FrameError::TooLarge { .. }) => session.server.metrics.bound_hit(Bound::FrameBytes),
        Unreadable::Frame(FrameError::TooShort(_) | FrameError::Truncated) | Unreadable::Crowded => (),
    }
    tracing::info!(node = %session.answering.session.node, %error, "session ended");
    let refusal = error.refusal();
    session.server.metrics.refused(session.answering.role, &refusal);
    close(connection, &refusal);
}
