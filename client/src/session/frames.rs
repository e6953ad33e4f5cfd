//! Frames over a stream of a connection: opening one, asking one thing on it, reading what comes.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use bytes::BytesMut;
use futures_core::Stream as _;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        EncodeError, FrameCodec, MAX_FRAME_BYTES, NodeToRelay, RelayToNode,
        node::{Reply, Request},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use tokio_util::codec::FramedRead;

use super::Failure;
use crate::error::LinkError;

/// A bidirectional stream: bytes out, frames in.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) send: SendStream,
    pub(super) incoming: Incoming,
}

/// The frames that come in on a stream.
#[derive(Debug)]
pub(crate) struct Incoming {
    frames: FramedRead<RecvStream, FrameCodec>,
    relay: Arc<str>,
}

impl Incoming {
    /// The next frame and the request that it answers. A stream that ends is an error: relays end none in order.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<(u64, RelayToNode), LinkError> {
        let frame = match poll_fn(|cx| Pin::new(&mut self.frames).poll_next(cx)).await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(self.fault(error.to_string())),
            None => return Err(LinkError::StreamEnded { relay: Arc::clone(&self.relay) }),
        };
        match RelayToNode::decode(&frame) {
            Ok(message) => Ok((frame.request, message)),
            Err(error) => Err(self.fault(error.to_string())),
        }
    }

    /// The relay ends it with these words.
    pub(super) fn refused(&self, refusal: Refusal) -> LinkError {
        LinkError::Refused { relay: Arc::clone(&self.relay), refusal }
    }

    /// The relay sent what it should not.
    pub(crate) fn fault(&self, problem: String) -> LinkError {
        LinkError::Protocol { relay: Arc::clone(&self.relay), problem }
    }
}

impl Stream {
    /// Sends one message.
    pub(crate) async fn send(&mut self, request: u64, message: &NodeToRelay) -> Result<(), LinkError> {
        let mut bytes = BytesMut::new();
        message.encode(request, &mut bytes).map_err(|error| self.incoming.fault(error.to_string()))?;
        self.send_bytes(&bytes).await
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.send.write_all(bytes).await.map_err(|_| LinkError::StreamEnded { relay: Arc::clone(&self.incoming.relay) })
    }

    /// The next frame; see [`Incoming::next`].
    pub(crate) async fn next(&mut self) -> Result<RelayToNode, LinkError> {
        Ok(self.incoming.next().await?.1)
    }
}

pub(super) async fn open(connection: &Connection, relay: &Arc<str>) -> Result<Stream, LinkError> {
    let opened = connection.open_bi().await;
    let (send, recv) = opened.map_err(|source| LinkError::Connection { relay: Arc::clone(relay), source })?;
    let frames = FramedRead::new(recv, FrameCodec::new(MAX_FRAME_BYTES));
    Ok(Stream { send, incoming: Incoming { frames, relay: Arc::clone(relay) } })
}

/// Asks one thing on a stream of its own.
pub(super) async fn ask(connection: &Connection, relay: &Arc<str>, request: Request) -> Result<Reply, Failure> {
    let mut bytes = BytesMut::new();
    encode(request, 1, &mut bytes).map_err(Failure::Refused)?;
    let exchange = async {
        let mut stream = open(connection, relay).await?;
        stream.send_bytes(&bytes).await?;
        // It ends with its connection, or was ended already: the answer will say.
        let _ = stream.send.finish();
        stream.next().await
    };
    match exchange.await {
        Ok(RelayToNode::Reply(reply)) => Ok(reply),
        Ok(RelayToNode::Refused(refusal)) => Err(Failure::Refused(refusal)),
        Ok(_) | Err(_) => Err(Failure::Lost),
    }
}

/// Appends a request's frame; where it can't be, nothing is appended, and the answer is here already.
pub(super) fn encode(request: Request, number: u64, into: &mut BytesMut) -> Result<(), Refusal> {
    let before = into.len();
    NodeToRelay::Request(request).encode(number, into).map_err(|error| {
        into.truncate(before);
        let code = match error {
            EncodeError::TooLarge { .. } => ErrorCode::FrameTooLarge,
            EncodeError::Body(_) => ErrorCode::Malformed,
        };
        Refusal::new(code, error.to_string())
    })
}

/// An answer to a request: a reply, or a refusal; `None` where it is neither.
pub(super) fn answer(message: RelayToNode) -> Option<Result<Reply, Refusal>> {
    match message {
        RelayToNode::Reply(reply) => Some(Ok(reply)),
        RelayToNode::Refused(refusal) => Some(Err(refusal)),
        _ => None,
    }
}
