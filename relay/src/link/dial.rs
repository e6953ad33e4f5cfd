//! From a peer's address to an open stream.

use std::sync::Arc;

use bytes::BytesMut;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{EncodeError, MAX_FRAME_BYTES, SenderToReceiver},
    name::SiteName,
};
use quinn::Connection;
use tokio_util::task::AbortOnDropHandle;

use super::{links::Shared, peer::Peer};
use crate::{
    engine::link::SenderInput,
    metrics::{Bound, LinkMetrics},
    transport::{DialError, Frame, FrameQueue, FrameReader, Stay, WriteError, close_in_order, frame_queue, refusal_of},
};

/// Frames that wait for the stream: few, as a heartbeat is of no use when it is old.
const QUEUED_FRAMES: usize = 2;

/// An open stream to the peer. Dropping it closes the stream, not the connection.
pub(super) struct Open {
    pub(super) dialled: Dialled,
    pub(super) frames: FrameReader,
    pub(super) queue: FrameQueue<Counted>,
    /// Ends with the stream's sending half: with a refusal where that is not the other side's doing.
    pub(super) writing: Option<AbortOnDropHandle<Option<Refusal>>>,
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
    let (send, recv) = opened.map_err(|_| ended(&dialled.connection, "no stream could be opened".into()))?;
    let (queue, writer) = frame_queue(send, QUEUED_FRAMES);
    let site = peer.site;
    let writing = tokio::spawn(async move { writer.run().await.err().and_then(|error| unwritten(site, &error)) });
    let frames = FrameReader::new(recv, MAX_FRAME_BYTES);
    Ok(Open { dialled, frames, queue, writing: Some(AbortOnDropHandle::new(writing)) })
}

/// A frame that can't be made stops the link for good: it would be made again after each handshake. What else ends the stream is
/// told by its other half.
fn unwritten(peer: SiteName, error: &WriteError) -> Option<Refusal> {
    match error {
        WriteError::Frame(problem) => {
            tracing::error!(%peer, %problem, "what a link has to say does not fit a frame; it says nothing more");
            Some(Refusal::new(ErrorCode::FrameTooLarge, error.to_string()))
        }
        WriteError::Stream(_) | WriteError::Finish(_) => {
            tracing::debug!(%peer, %error, "a link's stream takes no more frames");
            None
        }
    }
}

/// What the sender is told of a connection's or a stream's end: the other side's refusal, if it was one.
pub(super) fn ended(connection: &Connection, otherwise: String) -> SenderInput {
    let Some(reason) = connection.close_reason() else { return SenderInput::Lost(otherwise) };
    // a certificate that the other side does not take is told by it only once this side's handshake is done
    refusal_of(&reason).map_or_else(|| SenderInput::Lost(format!("{otherwise}: {reason}")), SenderInput::Refused)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_a_frame_is_a_fault_and_a_stream_that_ended_is_none() {
        let site = SiteName::new("site2").unwrap();
        let refusal = unwritten(site, &WriteError::Frame(EncodeError::TooLarge { limit: 1 })).unwrap();
        assert!(!refusal.retryable, "the sender is faulted by what trying again does not mend");
        assert_eq!(refusal.code(), Some(ErrorCode::FrameTooLarge));
        assert_eq!(unwritten(site, &WriteError::Stream(quinn::WriteError::ClosedStream)), None);
    }
}
