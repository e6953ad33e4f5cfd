//! Frames on streams: one reader per receiving half, one writer with a bounded queue per sending half.

use std::{future::poll_fn, pin::Pin};

use bytes::BytesMut;
use futures_core::Stream;
use landbridge_protocol::frame::{
    EncodeError, FrameCodec, FrameError, FromAdmin, RawFrame, ReceiverToSender, RelayToNode, SenderToReceiver,
};
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;

/// Frames are gathered into one write until it has this many bytes, or none waits.
const WRITE_BYTES: usize = 64 * 1024;

/// The receiving half of a stream.
#[derive(Debug)]
pub struct FrameReader {
    frames: FramedRead<RecvStream, FrameCodec>,
}

impl FrameReader {
    /// Reads frames of at most so many bytes.
    pub fn new(stream: RecvStream, max_frame_bytes: usize) -> Self {
        Self { frames: FramedRead::new(stream, FrameCodec::new(max_frame_bytes)) }
    }

    /// The next frame; `None` once the other end has finished the stream. Nothing is lost when this is cancelled.
    pub async fn next(&mut self) -> Result<Option<RawFrame>, FrameError> {
        poll_fn(|cx| Pin::new(&mut self.frames).poll_next(cx)).await.transpose()
    }
}

/// What can be put on a stream.
pub trait Frame: Send + 'static {
    /// Appends the whole frame, header included; on an error `into` is as it was. `request` is left out where the
    /// conversation has no requests.
    fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError>;
}

impl Frame for RelayToNode {
    fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        RelayToNode::encode(self, request, into)
    }
}

impl Frame for FromAdmin {
    fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        FromAdmin::encode(self, request, into)
    }
}

impl Frame for SenderToReceiver {
    fn encode(&self, _: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        SenderToReceiver::encode(self, into)
    }
}

impl Frame for ReceiverToSender {
    fn encode(&self, _: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        ReceiverToSender::encode(self, into)
    }
}

/// Nobody writes what is queued any more: the stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is gone")]
pub struct QueueClosed;

/// Why frames could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A frame that is larger than a frame may be.
    #[error("a frame can't be written: {0}")]
    Frame(#[from] EncodeError),
    /// The stream broke.
    #[error("the stream can't be written: {0}")]
    Stream(#[from] quinn::WriteError),
    /// The stream ended before it could be finished.
    #[error("the stream can't be finished: {0}")]
    Finish(#[from] quinn::ClosedStream),
}

/// Where frames wait for a stream. Cheap to clone; when the last one is dropped the stream is finished.
#[derive(Debug)]
pub struct FrameQueue<F>(mpsc::Sender<(u64, F)>);

impl<F> Clone for FrameQueue<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A place in a queue, for one frame.
#[derive(Debug)]
pub struct Room<'a, F>(mpsc::Permit<'a, (u64, F)>);

impl<F> Room<'_, F> {
    /// Puts the frame there.
    pub fn send(self, request: u64, frame: F) {
        self.0.send((request, frame));
    }
}

impl<F> FrameQueue<F> {
    /// Queues the frame, once there is room.
    pub async fn send(&self, request: u64, frame: F) -> Result<(), QueueClosed> {
        self.0.send((request, frame)).await.map_err(|_| QueueClosed)
    }

    /// Waits for room, so that a frame need not be made before it can go. Nothing is lost when this is cancelled.
    pub async fn room(&self) -> Result<Room<'_, F>, QueueClosed> {
        self.0.reserve().await.map(Room).map_err(|_| QueueClosed)
    }

    /// Whether a frame can be queued at once.
    pub fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }

    /// Queues the frame if there is room at once; gives it back otherwise.
    pub fn try_send(&self, request: u64, frame: F) -> Result<(), F> {
        self.0.try_send((request, frame)).map_err(|error| error.into_inner().1)
    }
}

/// Makes a queue of at most so many frames, and the writer that empties it onto the stream.
pub fn frame_queue<F: Frame>(stream: SendStream, frames: usize) -> (FrameQueue<F>, FrameWriter<F>) {
    let (queue, waiting) = mpsc::channel(frames.max(1));
    (FrameQueue(queue), FrameWriter { stream, waiting, buffer: BytesMut::with_capacity(WRITE_BYTES) })
}

/// The sending half of a stream.
#[derive(Debug)]
pub struct FrameWriter<F> {
    stream: SendStream,
    waiting: mpsc::Receiver<(u64, F)>,
    buffer: BytesMut,
}

impl<F: Frame> FrameWriter<F> {
    /// Writes what is queued, as much at a time as waits, until every queue is dropped; then finishes the stream.
    pub async fn run(mut self) -> Result<(), WriteError> {
        while let Some((request, frame)) = self.waiting.recv().await {
            frame.encode(request, &mut self.buffer)?;
            while self.buffer.len() < WRITE_BYTES
                && let Ok((request, frame)) = self.waiting.try_recv()
            {
                frame.encode(request, &mut self.buffer)?;
            }
            self.stream.write_chunk(self.buffer.split().freeze()).await?;
        }
        Ok(self.stream.finish()?)
    }
}
