//! Frames: what travels on streams. A fixed header and a MessagePack body; see `WIRE.md`.
//!
//! Each conversation has an enum per direction: [`NodeToRelay`] and [`RelayToNode`], [`SenderToReceiver`] and
//! [`ReceiverToSender`], [`ToAdmin`] and [`FromAdmin`]. Each encodes itself as a whole frame and decodes from a
//! [`RawFrame`] that [`FrameCodec`] has cut from a stream.

pub mod admin;
pub mod codec;
mod conversation;
pub mod kind;
pub mod node;
pub mod peer;
mod versions;

pub use codec::{FrameCodec, FrameError, MAX_FRAME_BYTES, RawFrame};
pub use conversation::{FromAdmin, NodeToRelay, ReceiverToSender, RelayToNode, SenderToReceiver, ToAdmin};
pub use kind::FrameKind;
pub use versions::{DRIFT_VERSION, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, check_version, common_version};

use crate::error::{ErrorCode, Refusal};

/// ALPN of application nodes.
pub const ALPN_NODE: &[u8] = b"landbridge-node/1";
/// ALPN of other sites' relays.
pub const ALPN_PEER: &[u8] = b"landbridge-peer/1";
/// ALPN of operators' commands.
pub const ALPN_ADMIN: &[u8] = b"landbridge-admin/1";

/// Bytes of a value at most, unless a cache is configured otherwise.
pub const DEFAULT_MAX_ENTRY_BYTES: u32 = 1 << 20;
/// Bytes of a value at most, however a cache is configured: a record of it fits a frame.
pub const MAX_ENTRY_BYTES: u32 = 8 << 20;
/// Bytes of records that a batch or chunk aims at; a single larger record goes alone.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Records in a batch or chunk at most.
pub const MAX_BATCH_RECORDS: usize = 4096;
/// Keys, or puts, in one request at most.
pub const MAX_REQUEST_KEYS: usize = 65_536;
/// Caches that a relay has at most.
pub const MAX_CACHES: usize = 1024;
/// Sites, and as many former ones, that a handshake may name.
pub const MAX_SITES: usize = 64;
/// Present runs of sites that a handshake or a batch may name: one of each site and former site.
pub const MAX_PRESENT_RUNS: usize = 2 * MAX_SITES;
/// Caches that a relay may lack, each from each site.
pub const MAX_LACKS: usize = MAX_SITES * MAX_CACHES;
/// Buckets into which the drift check sums what is held of a cache.
pub const DRIFT_BUCKETS: usize = 256;

/// A frame that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Its body is too long.
    #[error("the frame would be above the bound of {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Its body can't be written.
    #[error("the frame's body can't be written")]
    Body(#[from] rmp_serde::encode::Error),
}

/// A frame that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A kind that has no place in this conversation, or that this build does not know.
    #[error("frame kind {kind:#06x} is not supported here")]
    Unsupported {
        /// Its number.
        kind: u16,
    },
    /// A body that is not of its kind.
    #[error("the body of a frame of kind {kind:#06x} is malformed: {source}")]
    Malformed {
        /// Its number.
        kind: u16,
        /// What is wrong with it.
        source: rmp_serde::decode::Error,
    },
    /// Records that are not what they say.
    #[error("the records in a frame of kind {kind:#06x} are malformed: {source}")]
    Records {
        /// Its number.
        kind: u16,
        /// What is wrong with them.
        source: crate::record_set::RecordSetError,
    },
}

impl DecodeError {
    /// As it is told to the sender.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Unsupported { .. } => ErrorCode::Unsupported,
            Self::Malformed { .. } | Self::Records { .. } => ErrorCode::Malformed,
        };
        Refusal::new(code, self.to_string())
    }
}
