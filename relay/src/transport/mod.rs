//! Connections: who gets in, how frames get onto streams and off them, and how a refusal reaches the other end.
//!
//! ```text
//!  UDP socket ─► accept loop ─► places (handshakes, connections, per source) ─► TLS ─► Door::authorize ─► Door::admitted
//!                                                                                         │ refused: counted, closed
//!  Dialler ─► resolve ─► TLS with the peer's site as the server's name ─► Connection ◄────┘
//!                                                                            └─► Standing: verified again while it lasts
//!  stream ─► FrameReader ─► RawFrame          frame ─► FrameQueue (bounded) ─► FrameWriter (coalesced) ─► stream
//! ```
//!
//! A connection is ended with a typed refusal ([`close`]): the application's close code is the error's number, the reason
//! its sentence, and the other end reads it back ([`refusal_of`]). So a refusal needs no stream and can't be stuck behind one.
//!
//! It knows nothing of what frames mean, of the store, or of sessions and links: those are handed what was let in.

mod accept;
mod close;
mod dial;
mod frames;
mod places;
mod standing;
#[cfg(test)]
mod tests;

pub use accept::{Admitted, Door, serve};
pub use close::{close, close_in_order, refusal_of};
pub use dial::{DialError, Dialler};
pub use frames::{Frame, FrameQueue, FrameReader, FrameWriter, QueueClosed, Room, WriteError, frame_queue};
pub use places::{AcceptLimits, Place, Quota};
pub use standing::{Ended, Standing, Stay};
