//! The receiving end: what peers' links bring goes to the writer in order, and its answers go back in order.

mod checks;
mod conversation;
mod guests;
mod tenancy;

use std::sync::Arc;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{MAX_FRAME_BYTES, ReceiverToSender},
};
use quinn::{RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::conversation::Conversation;
pub use self::guests::GuestBounds;
pub(super) use self::{guests::Guests, tenancy::Tenancies};
use super::{links::Shared, peer::Peer};
use crate::{
    certs::Role,
    metrics::Bound,
    transport::{Admitted, FrameReader, close, frame_queue},
};

/// Serves a peer's connection until it ends or the relay stops.
pub(super) async fn receive(shared: Arc<Shared>, peer: Arc<Peer>, admitted: Admitted) {
    let connection = &admitted.connection;
    let streams = u32::try_from(shared.guests.bounds.streams).map_or(VarInt::MAX, VarInt::from_u32);
    connection.set_max_concurrent_bi_streams(streams);
    let guest = shared.guests.enter(peer.site);
    if guest.in_place_of_another {
        shared.metrics.bound_hit(Bound::PeerConnections);
    }
    let mut streams = JoinSet::new();
    let ended = loop {
        tokio::select! {
            biased;
            reason = peer.ended(&shared) => break Some(reason),
            () = guest.ended.cancelled() => {
                close(connection, &Refusal::new(ErrorCode::Busy, "newer connections of this peer have taken over"));
                break None;
            }
            Some(ended) = streams.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(peer = %peer.site, %error, "an incoming stream's task broke");
                }
            }
            opened = connection.accept_bi() => match opened {
                Ok((send, recv)) => drop(streams.spawn(serve(shared.clone(), peer.clone(), send, recv))),
                Err(error) => {
                    tracing::debug!(peer = %peer.site, %error, "incoming connection ended");
                    break None;
                }
            },
        }
    };
    // Each says why it ends as its last frame.
    while streams.join_next().await.is_some() {}
    if let Some(reason) = ended {
        close(connection, &reason);
    }
}

/// Serves one stream; its end, if the sender is to know, is its last frame.
async fn serve(shared: Arc<Shared>, peer: Arc<Peer>, send: SendStream, recv: RecvStream) {
    let (queue, writer) = frame_queue(send, shared.guests.bounds.answers);
    let site = peer.site;
    let writing = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = writer.run().await {
            tracing::debug!(peer = %site, %error, "an incoming stream takes no more answers");
        }
    }));
    let mut frames = FrameReader::new(recv, MAX_FRAME_BYTES);
    let within = shared.config.silence.into();
    let metrics = shared.metrics.clone();
    if let Err(refusal) = Conversation::new(shared, peer, queue.clone()).run(&mut frames).await {
        // What may pass is tried again and again; what a person must mend is said loudly.
        if refusal.retryable && refusal.code() != Some(ErrorCode::ClockSkew) {
            tracing::debug!(peer = %site, code = refusal.code, "incoming link refused: {refusal}");
        } else {
            tracing::warn!(peer = %site, code = refusal.code, "incoming link refused: {refusal}");
        }
        metrics.refused(Role::Peer, &refusal);
        if queue.try_send(0, ReceiverToSender::Refused(refusal)).is_err() {
            tracing::debug!(peer = %site, "the refusal could not be said");
        }
    }
    drop(queue);
    // The last frames get out, unless nobody reads them.
    match tokio::time::timeout(within, writing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(peer = %site, %error, "an incoming stream's writer broke"),
        Err(_) => tracing::debug!(peer = %site, "an incoming stream's last answers were not taken"),
    }
}

/// What a command is answered whose writer has ended.
pub(super) fn gone() -> Refusal {
    Refusal::new(ErrorCode::ShuttingDown, "the relay is shutting down; try again when it is back")
}
