//! The sending end of a link, as a pure state machine: what a relay's log says to one peer, and when.
//!
//! The shell around it dials, frames and reads the log; it hands in what happened ([`SenderInput`]) and carries out what
//! it polls ([`SenderOutput`]), in order. The sender reads the relay's committed state and never changes it: what it
//! learns goes to the writer as a command. It knows no sockets, and reads no clock.

mod batch;
#[cfg(test)]
mod drift_tests;
#[cfg(test)]
mod frames_tests;
#[cfg(test)]
mod giving_up_tests;
#[cfg(test)]
mod hot_tests;
mod pace;
mod sender;
mod stream;
#[cfg(test)]
mod tests;
mod transfer;
#[cfg(test)]
mod widening_tests;

use landbridge_protocol::{
    error::Refusal,
    frame::{SenderToReceiver, peer},
    position::Sequence,
    record::Record,
    time::{Millis, Timestamp},
};

pub use self::sender::{DriftAnswer, Sender, State};
use super::{command::Command, command::Decided, drift::DriftOrder};
pub use super::{
    header::LogRead,
    outage::{Backoff, OfflinePolicy},
};

/// Bounds and rhythms of a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderConfig {
    /// Batches in flight at most.
    pub window: usize,
    /// Bytes of the log that a batch is made of, about.
    pub batch_bytes: usize,
    /// Records of a batch at most.
    pub batch_records: usize,
    /// A heartbeat goes so often.
    pub heartbeat_every: Millis,
    /// A peer that says nothing for so long is taken for lost.
    pub silence: Millis,
    /// How long to wait before a broken link is tried again.
    pub backoff: Backoff,
    /// When a link that fails is taken offline; `None`: never.
    pub offline_policy: Option<OfflinePolicy>,
    /// Bytes a second at most, in batches and reconciles; `None`: no limit.
    pub max_bytes_per_second: Option<u64>,
    /// How often the link checks by itself whether the peer holds what this relay does; `None`: never.
    pub drift_check_every: Option<Millis>,
    /// Name and version of the software, said in the handshake.
    pub software: String,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            window: 8,
            batch_bytes: landbridge_protocol::frame::MAX_BATCH_BYTES,
            batch_records: landbridge_protocol::frame::MAX_BATCH_RECORDS,
            heartbeat_every: Millis::from_secs(1),
            silence: Millis::from_secs(10),
            backoff: Backoff { first: Millis::new(100), cap: Millis::from_secs(10) },
            offline_policy: None,
            max_bytes_per_second: None,
            drift_check_every: None,
            software: concat!("landbridge ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum SenderInput {
    /// A stream to the peer is open; the handshake begins.
    Connected,
    /// Dialling failed.
    Failed(String),
    /// The stream or its connection ended.
    Lost(String),
    /// The peer's frames.
    Welcome(Box<peer::Welcome>),
    /// See above.
    Ack(peer::Ack),
    /// See above.
    Heartbeat(peer::Heartbeat),
    /// See above; `done`: the reconcile is complete at the peer.
    ReconcileAck {
        /// It was the last chunk.
        done: bool,
    },
    /// See above.
    DropAnswer(peer::DropAnswer),
    /// See above: to a question of the drift check.
    Drift(DriftAnswer),
    /// A drift check is wanted.
    CheckDrift(DriftOrder),
    /// See above; the peer ends the stream with it.
    Refused(Refusal),
    /// Answers [`SenderOutput::ReadLog`].
    LogRead(LogRead),
    /// Answers [`SenderOutput::ReadRecords`], in its order; `None` where the log has the record no more.
    RecordsRead(Vec<Option<Record>>),
    /// The log can't be read.
    ReadFailed(String),
    /// The writer's answer to the oldest unanswered [`SenderOutput::Command`]; given once what it did is published.
    Decided(Decided),
    /// A reconcile from the peer has been taken here: both links begin anew with a handshake.
    Anew,
    /// The peer's own link has come in, and is good: its relay is there.
    PeerIsThere,
    /// The peer is to be dialled elsewhere from now on.
    Moved,
    /// The relay was configured anew: these bounds and rhythms hold from now on.
    Configured(Box<SenderConfig>),
    /// The admin's word.
    TakeOffline,
    /// The admin's word.
    BringOnline,
}

/// What the shell is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum SenderOutput {
    /// Open a stream to the peer, over its connection if there is one.
    Dial,
    /// Send this on the stream.
    Send(Box<SenderToReceiver>),
    /// Read the log.
    ReadLog {
        /// After here.
        after: Sequence,
        /// About so many bytes, but one record at least.
        max_bytes: usize,
    },
    /// Read these records.
    ReadRecords(Vec<Sequence>),
    /// Give this to the writer, and its answer to the sender.
    Command(Box<CommandToWriter>),
    /// Close the stream. Nothing that is under way for it may reach the sender any more, but answers to commands.
    Hangup,
}

/// A command that compares by how it prints; commands hold what has no equality.
#[derive(Debug, Clone)]
pub struct CommandToWriter(pub Command);

impl PartialEq for CommandToWriter {
    fn eq(&self, other: &Self) -> bool {
        format!("{:?}", self.0) == format!("{:?}", other.0)
    }
}

/// A link for `status` and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderReport {
    /// `offline`, `waiting`, `connecting`, `handshaking`, `streaming`, `transferring`, `reconciling` or `faulted`.
    pub state: &'static str,
    /// Reason or progress, in words.
    pub detail: String,
    /// Changes that the peer has not acknowledged.
    pub lag_changes: u64,
    /// Age of the oldest of them.
    pub lag: Millis,
    /// Batches in flight.
    pub in_flight: usize,
    /// What the peer last answered a hello with: protocol version and software.
    pub spoken: Option<(u16, String)>,
}

pub(crate) fn offset_ms(theirs: Timestamp, ours: Timestamp) -> i64 {
    let signed = |span: Millis| i64::try_from(span.get()).unwrap_or(i64::MAX);
    signed(theirs.since(ours)) - signed(ours.since(theirs))
}
