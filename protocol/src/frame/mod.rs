//! Frames: what travels on streams. A fixed header and a MessagePack body; see `WIRE.md`.

pub mod admin;
pub mod node;
pub mod peer;

/// Version of the protocol that this build speaks; hellos carry the range that their sender speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// ALPN of application nodes.
pub const ALPN_NODE: &[u8] = b"landbridge-node/1";
/// ALPN of other sites' relays.
pub const ALPN_PEER: &[u8] = b"landbridge-peer/1";
/// ALPN of operators' commands.
pub const ALPN_ADMIN: &[u8] = b"landbridge-admin/1";
