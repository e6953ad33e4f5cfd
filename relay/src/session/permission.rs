//! The one check that every request passes.

use std::collections::BTreeMap;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::CacheName,
};

use super::hello::Introduced;
use crate::{certs::Role, config::CacheConfig};

/// What is asked of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its entries.
    Read,
    /// To change them.
    Write,
    /// To hear of their changes.
    Listen,
}

/// Whether the session may do that to the cache, and the cache's settings if so. In this version a node may do everything to
/// every cache; rights per cache will be looked up here.
pub fn permit<'a>(
    session: &Introduced,
    role: Role,
    caches: &'a BTreeMap<CacheName, CacheConfig>,
    cache: &CacheName,
    access: Access,
) -> Result<&'a CacheConfig, Refusal> {
    if role != Role::Node {
        let text = format!("{} is connected as {role}, and entries are for nodes ({access:?})", session.node);
        return Err(Refusal::new(ErrorCode::NotPermitted, text));
    }
    caches.get(cache).ok_or_else(|| {
        let there: Vec<&str> = caches.keys().map(CacheName::as_str).collect();
        let text = format!("no cache {cache} is configured at this relay; there are {}", there.join(", "));
        Refusal::new(ErrorCode::UnknownCache, text)
    })
}
