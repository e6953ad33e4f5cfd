//! What can go wrong, and whether trying again may help.

use std::{sync::Arc, time::Duration};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::NameError,
    record::KeyError,
};

use crate::identity::IdentityError;

/// Why an operation on a cache failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The relay said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The deadline passed. Where `sent`, a write may have been done all the same.
    #[error("no answer within {after:?}{}", cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    TimedOut {
        /// The deadline of the operation.
        after: Duration,
        /// Whether the request went out at least once.
        sent: bool,
        /// The last thing that went wrong on the way, where something did.
        #[source]
        cause: Option<Arc<LinkError>>,
    },
    /// The write may or may not have been done; its trace has been overwritten. Read the entry to know.
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(Refusal),
    /// A newer client of the same site, node name and certificate has taken the session over. This client is at its end.
    #[error("a newer client took over this node's session: {0}")]
    Fenced(Refusal),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// A name that no cache, site or node can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key that is empty or too long.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request is longer than what the relay takes.
    #[error("the request has {bytes} bytes, the relay takes {limit}")]
    TooLarge {
        /// Bytes of the request's frame.
        bytes: usize,
        /// The relay's bound.
        limit: usize,
    },
    /// A value that serde could not write.
    #[error("the value can't be encoded: {0}")]
    Encode(#[source] Arc<rmp_serde::encode::Error>),
    /// Bytes in the cache that are no such value.
    #[error("the value in the cache is not of this type: {0}")]
    Decode(#[source] Arc<rmp_serde::decode::Error>),
    /// A key in the cache that is none of this type.
    #[error("the key {0:?} in the cache is not of this type")]
    ForeignKey(landbridge_protocol::record::Key),
    /// [`crate::Cache::update`] lost the race every time.
    #[error("the entry changed under each of {tries} tries to update it")]
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// The relay answered something that is no answer to what was asked.
    #[error("the relay answered {0}, which is no answer to the request")]
    UnexpectedAnswer(&'static str),
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything. For a write after
    /// [`Error::TimedOut`] with `sent`, it may then be done a second time.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.retryable,
            Self::TimedOut { .. } | Self::Contended { .. } => true,
            Self::OutcomeUnknown(_)
            | Self::Fenced(_)
            | Self::Closed
            | Self::Name(_)
            | Self::Key(_)
            | Self::TooLarge { .. }
            | Self::Encode(_)
            | Self::Decode(_)
            | Self::ForeignKey(_)
            | Self::UnexpectedAnswer(_) => false,
        }
    }

    /// The relay's code, where the relay said no.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) | Self::OutcomeUnknown(refusal) | Self::Fenced(refusal) => refusal.code(),
            _ => None,
        }
    }

    /// Whether the relay could not be reached in time, as opposed to having answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.code() {
            Some(ErrorCode::OutcomeUnknown) => Self::OutcomeUnknown(refusal),
            Some(ErrorCode::Fenced) => Self::Fenced(refusal),
            _ => Self::Refused(refusal),
        }
    }
}

/// Why a client did not come to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The builder lacks something.
    #[error("the client needs {0}")]
    Missing(&'static str),
    /// A name that no site or node can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Certificates, key or trust are not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No local socket.
    #[error("no UDP socket could be opened")]
    Socket(#[source] std::io::Error),
    /// The relay does not take this client, and won't until somebody changes something.
    #[error("{0}")]
    Refused(#[source] Arc<LinkError>),
    /// The client came to its end before it began: another took its session over.
    #[error("another client took this node's session over while it connected")]
    Ended,
    /// No relay was reached in time.
    #[error("no relay reached within {after:?}{}", cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Unreachable {
        /// How long it was tried.
        after: Duration,
        /// The last failure.
        #[source]
        cause: Option<Arc<LinkError>>,
    },
}

impl ConnectError {
    /// Whether a later try may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Ended | Self::Refused(_) | Self::Missing(_) | Self::Name(_) | Self::Identity(_) | Self::Socket(_) => {
                false
            }
        }
    }
}

/// What happened to a connection, or to a try at one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The handshake of QUIC or TLS failed, or the connection broke.
    #[error("the connection to {relay} failed: {source}")]
    Connection {
        /// The relay.
        relay: Arc<str>,
        /// Why.
        #[source]
        source: quinn::ConnectionError,
    },
    /// Certificates, key or trust could not be read for this try.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The relay's address does not resolve.
    #[error("the relay's address {relay:?} does not resolve{}", source.as_ref().map(|s| format!(": {s}")).unwrap_or_default())]
    Address {
        /// The relay.
        relay: Arc<str>,
        /// Why; none where the name has no address.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The relay could not be dialled at all.
    #[error("{relay} can't be dialled: {source}")]
    Dial {
        /// The relay.
        relay: Arc<str>,
        /// Why.
        #[source]
        source: quinn::ConnectError,
    },
    /// The relay did not answer the dialling in time.
    #[error("{relay} did not answer within {after:?}")]
    Silent {
        /// The relay.
        relay: Arc<str>,
        /// How long it was given.
        after: Duration,
    },
    /// The relay ended the session, or would not begin one.
    #[error("{relay} refused: {refusal}")]
    Refused {
        /// The relay.
        relay: Arc<str>,
        /// Its words.
        refusal: Refusal,
    },
    /// The relay said something that is not the protocol.
    #[error("{relay} does not speak the protocol: {problem}")]
    Protocol {
        /// The relay.
        relay: Arc<str>,
        /// What.
        problem: String,
    },
    /// A stream of the connection ended early.
    #[error("a stream to {relay} ended early")]
    StreamEnded {
        /// The relay.
        relay: Arc<str>,
    },
}

impl LinkError {
    /// The relay's words, where it had any: in a frame, or as the reason with which it closed the connection.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.clone()),
            Self::Connection { source: quinn::ConnectionError::ApplicationClosed(close), .. } => {
                // 0 is an end in order. The number of a newer relay is kept, and may be tried again.
                let code = u16::try_from(close.error_code.into_inner()).ok().filter(|code| *code != 0)?;
                let retryable = ErrorCode::from_number(code).is_none_or(ErrorCode::is_retryable);
                Some(Refusal { code, retryable, message: String::from_utf8_lossy(&close.reason).into_owned() })
            }
            _ => None,
        }
    }

    /// Whether dialling again cannot help as long as nobody changes anything: a refusal for good, or certificates that
    /// the two sides don't accept of each other.
    pub(crate) fn is_final(&self) -> bool {
        if let Some(refusal) = self.refusal() {
            return !refusal.retryable;
        }
        match self {
            Self::Connection { source, .. } => is_certificate_error(source),
            Self::Dial { .. } | Self::Protocol { .. } => true,
            Self::Identity(_) => true,
            Self::Address { .. } | Self::Refused { .. } | Self::Silent { .. } | Self::StreamEnded { .. } => false,
        }
    }
}

/// QUIC carries TLS alerts as transport errors 0x100 to 0x1ff.
fn is_certificate_error(error: &quinn::ConnectionError) -> bool {
    let code = match error {
        quinn::ConnectionError::TransportError(error) => u64::from(error.code),
        quinn::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return false,
    };
    (0x100..0x200).contains(&code)
}
