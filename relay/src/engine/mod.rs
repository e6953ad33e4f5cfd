//! The pure core: what is decided, merged, sent, dropped and reconciled. No tokio, no sled, no quinn, no clock:
//! inputs and `now` come in, outputs are polled.
//!
//! A [`replica::Replica`] is the committed state of one relay. The writer begins a [`group::Group`] on it, gives it
//! [`command::Command`]s one by one, each decided against the replica *and the group so far*, and finishes it into a
//! [`group::Staged`]: the commit that must become durable, and what is published once it is.
//!
//! ```text
//!  Command ──> Group::step ──> Decided      decide.rs    nodes' writes
//!                 │                         apply.rs     peers' handshakes, batches, heartbeats
//!                 │                         reconcile.rs peers' reconciles
//!                 │                         tombstones.rs, expiry.rs, ended.rs   what is owed to time (Housekeep)
//!                 v
//!              Staged { Commit } ──durable──> Replica::publish
//! ```

pub mod claim;
pub mod command;
pub mod conflicts;
pub mod context;
pub mod drift;
pub mod group;
pub mod guards;
pub mod header;
pub mod history;
pub mod link;
pub mod outage;
pub mod reconfigure;
pub mod replica;
pub mod slot;
pub mod window;

mod apply;
mod decide;
mod differences;
mod digest;
mod ended;
mod expiry;
mod fill;
mod filter;
mod index;
mod index_key;
mod introduction;
mod layers;
mod merge;
mod outdone;
mod peer;
mod reconcile;
mod replay;
mod runs;
mod sums;
mod tokens;
mod tombstones;
mod widening;

#[cfg(test)]
mod tests;
