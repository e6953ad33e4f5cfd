//! What the crash loop does to relays besides killing them under load: bits that flip on disk, a disk that is full, kills in
//! the middle of a state transfer and of compaction, networks that are cut. Each is a loop with a seed that tells its rounds.

pub mod flips;
pub mod full;
pub mod mount;
pub mod namespaces;
pub mod transfer;
