//! From a peer's address to an open stream.

use std::sync::Arc;

use bytes::BytesMut;
use landbridge_protocol::frame::{EncodeError, MAX_FRAME_BYTES, SenderToReceiver};
use quinn::Connection;
use tokio_util::task::AbortOnDropHandle;

use super::{links::Shared, peer::Peer};
use crate::{
    engine::link::SenderInput,
    metrics::{Bound, LinkMetrics},
    transport::{DialError, Frame, FrameQueue, FrameReader, Stay, close_in_order, frame_queue, refusal_of},
};

/// Frames that wait for the stream: few, as a heartbeat is of no use when it is old.
const QUEUED_FRAMES: usize = 2;

/// An open stream to the peer. Dropping it closes the stream, not the connection.
pub(super) struct Open {
    pub(super) dialled: Dialled,
    pub(super) frames: FrameReader,
    pub(super) queue: FrameQueue<Counted>,
    _writing: AbortOnDropHandle<()>,
}

/// A connection to the peer, which is verified again while it stands.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    /// Where it was dialled.
    address: String,
    _stay: Stay,
}

/// A frame that is counted when it is written.
pub(super) struct Counted {
    pub(super) frame: SenderToReceiver,
    pub(super) metrics: LinkMetrics,
}

impl Frame for Counted {
    fn encode(&self, request: u64, into: &mut BytesMut) -> Result<(), EncodeError> {
        let before = into.len();
        Frame::encode(&self.frame, request, into)?;
        if let SenderToReceiver::Batch(batch) = &self.frame {
            self.metrics.sent(batch.records.len(), into.len() - before);
        }
        Ok(())
    }
}

/// Opens a stream: over `live` where that is still a connection, else over a new one. An error is what the sender is told.
pub(super) async fn open(shared: Arc<Shared>, peer: Arc<Peer>, live: Option<Dialled>) -> Result<Open, SenderInput> {
    let address = peer.address();
    let dialled = match live {
        Some(live) if live.connection.close_reason().is_none() && live.address == address => live,
        other => {
            if let Some(elsewhere) = other {
                close_in_order(&elsewhere.connection);
            }
            dial(&shared, &peer, address).await?
        }
    };
    let opened = dialled.connection.open_bi().await;
    let (send, recv) = opened.map_err(|error| ended(&dialled.connection, error.to_string()))?;
    let (queue, writer) = frame_queue(send, QUEUED_FRAMES);
    let site = peer.site;
    let writing = tokio::spawn(async move {
        // What ends the stream is told by its other half.
        if let Err(error) = writer.run().await {
            tracing::debug!(peer = %site, %error, "a link's stream takes no more frames");
        }
    });
    let frames = FrameReader::new(recv, MAX_FRAME_BYTES);
    Ok(Open { dialled, frames, queue, _writing: AbortOnDropHandle::new(writing) })
}

/// What the sender is told of a connection's or a stream's end: the other side's refusal, if it was one.
pub(super) fn ended(connection: &Connection, otherwise: String) -> SenderInput {
    let refusal = connection.close_reason().as_ref().and_then(refusal_of);
    refusal.map_or(SenderInput::Lost(otherwise), SenderInput::Refused)
}

async fn dial(shared: &Shared, peer: &Peer, address: String) -> Result<Dialled, SenderInput> {
    let config = (shared.credentials)().map_err(|error| SenderInput::Failed(error.to_string()))?;
    let dialled = shared.dialler.dial(&address, peer.site, config, shared.connect_timeout()).await;
    let connection = dialled.map_err(|error| {
        if matches!(error, DialError::TooLong { .. }) {
            shared.metrics.bound_hit(Bound::ConnectTimeout);
        }
        error.refusal().map_or_else(|| SenderInput::Failed(error.to_string()), SenderInput::Refused)
    })?;
    let stay = shared.standing.dialled(&connection, peer.site);
    Ok(Dialled { connection, address, _stay: stay })
}
