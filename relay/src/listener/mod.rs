//! Subscriptions: each a task with a cursor over the change log and a stream of its own.
//!
//! ```text
//!  Subscribe ─► begin ─┬─ from now ───────────────────────┐
//!                      ├─ snapshot ─► pages, SnapshotEnd ─┼─► log after the cursor ─► held? ─► event, token ─► stream
//!                      ├─ token of here ──────────────────┤        ▲                                            │
//!                      ├─ token of elsewhere: from 0, ────┤        └── head moved ◄── wait ◄── head reached ◄───┘
//!                      │   less what its V covers         │
//!                      └─ can't be told ► Gap, snapshot ──┘
//! ```
//!
//! There is no queue: a subscriber that does not read stops its own task on its own stream, and when it reads again, what
//! was superseded meanwhile is skipped. Events come from committed state only, so what they say can be read. It knows
//! nothing of sessions and links; it sees the store as a [`Feed`].

mod event;
mod feed;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod resuming_tests;
mod serve;
mod standing;
#[cfg(test)]
mod tests;

pub use feed::{Feed, Read, SnapshotPage};
pub use serve::serve;
