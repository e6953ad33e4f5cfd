//! The store: one log of commits, and the engine's index over it in memory.
pub mod directory;
pub mod error;
pub mod log;
pub mod memory_log;
pub mod sled_log;
