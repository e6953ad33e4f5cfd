//! The server for application nodes: who they are, who else is there, and what becomes of their requests.
//!
//! ```text
//!  Hello ─► hello (site, version, name in the certificate) ─► roster (name in use? fence the older) ─► Welcome
//!                                                                 │
//!                                                                 └─► site view, to every member of the site
//!  request ─► permission (session, cache, operation) ─► answer ─┬─ reads: committed state, at once
//!                                                               └─ writes: the writer's door, answered when durable
//! ```
//!
//! What is decided here is decided by plain functions on plain values; the one thing shared between sessions is the
//! [`Roster`]. It knows nothing of links and subscriptions, nor how a record is stored: it sees the store as a [`Shelf`].

mod answer;
mod budget;
mod connection;
mod hello;
#[cfg(test)]
mod memory_shelf;
mod permission;
mod roster;
mod shelf;
mod stream;
mod terms;
#[cfg(test)]
mod tests;

pub use answer::{Answering, outcome_of};
pub use connection::{Server, Subscriptions, serve};
pub use hello::{Introduced, check as check_hello};
pub use permission::{Access, permit};
pub use roster::{Fence, Joined, Member, Roster, Subscribed, show as show_view};
pub use shelf::{PageOf, Shelf};
pub use terms::Terms;
