//! Links: this relay's outgoing streams to its peers, and theirs to it.
//!
//! ```text
//!  Store ─ published, read_log ─►  sending (engine's Sender + a stream)  ── batches ──►  peer's receiving
//!    ▲ └──── commands, decided ──►          │ Way::Out                                      (its store)
//!    │                                      ▼
//!    │                                  RelayView ─► sessions
//!    │                                      ▲ Way::In
//!    └── commands in order ──  receiving (checks, tenancy, pipeline)  ◄── batches ──  peer's sending
//! ```
//!
//! [`Links`] owns a task per peer that carries out what the engine's sender wants, and one per incoming connection. What is
//! to be said and when is decided in the engine; what a peer may do to the store, by the writer. It knows nothing of
//! nodes and sessions, which only watch the view.

mod dial;
mod drift;
mod links;
mod peer;
mod pipeline;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;
mod view;

pub use links::{Links, LinksChange, LinksOptions, PeerOptions};
pub use receiving::GuestBounds;
pub use view::{Described, RelayView, Way};
