//! The relay's configuration: one TOML file, read at start, and anew on reload, into types that need no further checks.
//!
//! [`RelayConfig::load`] reads the file (`reader` keeps account of everything wrong with it, by line), [`check()`] goes on
//! to try what a start would: certificates and their dates, trust, the directory, the addresses. `ops/relay.toml` in the
//! repository has every setting with its default; a test here keeps it equal to the code.
//!
//! [`changes()`] compares two of them: what a running relay takes over, and what needs a restart.
//!
//! It knows neither what the settings are for in detail nor who uses them.

mod cache;
mod changes;
mod check;
mod error;
mod limits;
mod reader;
#[cfg(test)]
mod reference;
mod relay;
#[cfg(test)]
mod tests;
mod units;

pub use cache::{CacheConfig, Replicate};
pub use changes::{Change, Changes, changes};
pub use check::{Checked, check, check_anew};
pub use error::{ConfigError, Problem};
pub use limits::{Limits, Replication};
pub use relay::{
    DEFAULT_PORT, MAX_FORMER_SITES, MAX_PEERS, PeerAddress, PeerConfig, RelayConfig, StoreConfig, TlsConfig,
};
pub use units::{ByteSize, OrOff, parse_size, parse_span, show_duration, show_span};
