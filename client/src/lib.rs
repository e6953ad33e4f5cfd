//! The client library of Landbridge: caches that every node of every site shares.
//!
//! A [`Client`] keeps one QUIC connection to the relay of its site. Requests are pipelined over a few streams of it; each
//! [`Listener`] has a stream of its own, so that a slow one holds back nobody else. When the connection breaks, the
//! client dials again with jittered, capped back-off, or another site's relay where one is configured; requests are
//! retried within their deadline (a write carries a token, so that it is done once), listeners resume where they were.
//!
//! ```no_run
//! use landbridge_client::{Client, Profile};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().profile(Profile::load("site1.profile.toml")?).connect().await?;
//! let sessions = client.cache::<String, String>("sessions")?;
//! sessions.put("s-1", &"alice".to_owned()).await?;
//! assert_eq!(sessions.get("s-1").await?.as_deref(), Some("alice"));
//! # Ok(())
//! # }
//! ```
//!
//! How a call travels: [`Cache`] (serde) → [`RawCache`] (bytes) → retries and the deadline → the session's request
//! streams → the relay. The dialling task owns the connection and hands the live session out; nothing else dials.
//!
//! This library does not know how relays store or replicate.
#![forbid(unsafe_code)]

mod backoff;
mod builder;
mod cache;
mod call;
mod chance;
mod client;
mod entries;
mod error;
mod event;
mod identity;
mod key;
mod listener;
mod owner;
mod profile;
mod raw;
mod route;
mod session;
mod value;

pub use builder::ClientBuilder;
pub use cache::{Cache, Update};
pub use client::Client;
pub use entries::{Entries, RawEntries};
pub use error::{ConnectError, Error, LinkError};
pub use event::{Change, Ended, Event, Token, TokenTextError, Written};
pub use identity::{Identity, IdentityError};
pub use key::{AsKey, CacheKey};
pub use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::{EventKind, View},
    name::{CacheName, NameError, NodeName, SiteName},
    record::{Key, KeyError},
    time::Timestamp,
    version::Version,
};
pub use listener::{Listen, Listener, RawListener};
pub use profile::{Profile, ProfileError};
pub use raw::RawCache;
pub use route::Failover;
pub use value::{Conditional, Entry, Versioned};
