//! Resume tokens: where a subscription stands, in bytes that are opaque to clients and good at every site's relay.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{position::Sequence, vector::Vector, version::Origin};

/// Where a subscription stands: a place in one relay's log, and V as of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken {
    /// The relay's run.
    pub origin: Origin,
    /// The last sequence that was told.
    pub sequence: Sequence,
    /// V as of it, by the rule of batches: nothing untold lies behind it.
    pub seen: Vector,
}

/// Bytes that are no resume token.
#[derive(Debug, thiserror::Error)]
#[error("not a resume token; use one that an event carried, whole")]
pub struct TokenError(#[source] rmp_serde::decode::Error);

impl ResumeToken {
    /// As bytes.
    pub fn to_bytes(&self) -> Bytes {
        rmp_serde::to_vec(self).expect("names and numbers always serialize").into()
    }

    /// From bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        rmp_serde::from_slice(bytes).map_err(TokenError)
    }
}
