//! One directed link of the world: the real sender, and the stream that lies between it and the receiver.

use std::collections::VecDeque;

use landbridge_protocol::{
    frame::{ReceiverToSender, SenderToReceiver},
    time::Millis,
    version::RunId,
};
use landbridge_relay::engine::link::{Backoff, Sender, SenderConfig};

use super::site::Removals;

/// A frame on its way, and what the checks know of who sent it.
#[derive(Debug, Clone, Hash)]
pub struct Flying {
    /// The frame.
    pub frame: SenderToReceiver,
    /// Removals that were durable at the sender.
    pub knows: Removals,
}

/// What lies between a sender and its receiver. It outlives the sender's run: what was sent may still be taken.
#[derive(Debug, Clone, Default, Hash)]
pub struct Wire {
    /// Frames to the receiver.
    pub there: VecDeque<Flying>,
    /// Frames back.
    pub back: VecDeque<ReceiverToSender>,
    /// The sender's run, once the receiver has its hello.
    pub run: Option<RunId>,
    /// Whether the sender still listens.
    pub open: bool,
    /// What the sender of the reconcile under way knew as it began.
    pub knows: Removals,
}

/// One directed link.
#[derive(Debug, Clone, Hash)]
pub struct Link {
    /// Its sending end.
    pub sender: Sender,
    /// The stream.
    pub wire: Wire,
}

/// A sender's bounds in the world: `depth` batches fly at most, and each has `records` at most.
pub fn sender_config(depth: usize, records: usize) -> SenderConfig {
    SenderConfig {
        window: depth,
        batch_records: records,
        backoff: Backoff { first: Millis::new(1), cap: Millis::new(1) },
        ..SenderConfig::default()
    }
}
