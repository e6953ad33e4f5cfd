//! What travels between nodes and relays, and between relays: names, versions, records, frames and their codec.
//!
//! No runtime, no I/O, no clock. The bytes are described in `WIRE.md`.
#![forbid(unsafe_code)]

pub mod blob;
mod bounded;
pub mod error;
pub mod frame;
pub mod name;
mod pack;
pub mod position;
pub mod record;
pub mod record_set;
pub mod time;
pub mod token;
pub mod vector;
pub mod version;
