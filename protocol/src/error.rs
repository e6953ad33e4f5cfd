//! Errors as they travel: a stable number, a sentence for a person, and whether a retry may help.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, retry $retry:literal;)*) => {
        /// Why a request, a handshake or a connection was refused. The numbers never change meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[$doc])* $name = $number,)* }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Whether the same request may succeed later without anybody changing anything.
            pub fn is_retryable(self) -> bool {
                match self { $(ErrorCode::$name => $retry,)* }
            }
        }
    };
}

codes! {
    /// Bytes that are no frame, or a frame whose body is not of its kind.
    Malformed = 1, retry false;
    /// A frame kind that this relay doesn't know.
    Unsupported = 2, retry false;
    /// A frame longer than the bound.
    FrameTooLarge = 3, retry false;
    /// No protocol version in common.
    VersionTooNew = 4, retry false;
    /// The hello names another site than this relay's.
    WrongSite = 5, retry false;
    /// A node of that name, with another certificate, is connected.
    NameInUse = 6, retry true;
    /// The certificate does not bear that name, role or site.
    NameNotInCertificate = 7, retry false;
    /// The session may not do this to this cache.
    NotPermitted = 8, retry false;
    /// No cache of that name is configured.
    UnknownCache = 9, retry false;
    /// Key or value above its bound.
    EntryTooLarge = 10, retry false;
    /// The relay is starting, or filling from a peer.
    NotReady = 11, retry true;
    /// The store failed a commit and takes no more writes until the relay is restarted.
    StorePoisoned = 12, retry false;
    /// Free disk space is below the reserve; removals still work.
    DiskFull = 13, retry true;
    /// A bounded queue is full.
    Busy = 14, retry true;
    /// The relay is draining.
    ShuttingDown = 15, retry true;
    /// The relay's clock would run too far ahead of its wall clock.
    ClockAhead = 16, retry true;
    /// The write may or may not have been done: its trace has been overwritten.
    OutcomeUnknown = 17, retry false;
    /// A newer hello of the same name took the session over.
    Fenced = 18, retry false;
    /// An argument out of its range.
    BadArgument = 19, retry false;
    /// No peer of that name is configured.
    UnknownPeer = 20, retry false;
    /// A batch that does not begin at the receiver's cursor.
    CursorMismatch = 21, retry true;
    /// The peer's vector does not cover what was dropped here: a reconcile comes first.
    ReconcileFirst = 22, retry true;
    /// The stream belongs to a run that a later handshake has replaced.
    FormerRun = 23, retry true;
    /// Wall clocks differ by more than the bound, or a record is from too far ahead.
    ClockSkew = 24, retry true;
    /// A record or vector of an origin that is no configured site's.
    ForeignOrigin = 25, retry false;
    /// The peer's configuration of what is replicated can't work with this one.
    ConfigMismatch = 26, retry false;
    /// Both sides must shake hands anew, as after a reconcile.
    HandshakeAnew = 27, retry true;
    /// The link was taken offline.
    TakenOffline = 28, retry true;
    /// A bug: an invariant did not hold. The log has more.
    Internal = 29, retry false;
    /// Reserved: acknowledged here, not in time by the peers.
    ReplicationUnconfirmed = 30, retry false;
    /// Reserved: the key's home site can't be reached.
    HomeUnreachable = 31, retry true;
}

impl ErrorCode {
    /// The stable number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

/// A refusal as it travels. An unknown number (a newer relay's) keeps its sentence and its word on retries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refusal {
    /// The number of an [`ErrorCode`].
    pub code: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal for that reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.number(), retryable: code.is_retryable(), message: message.into() }
    }

    /// The code, where it is known here.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
