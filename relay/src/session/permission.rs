//! The one check that every request passes.

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::CacheName,
};

use super::{hello::Introduced, terms::Terms};
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
    terms: &'a Terms,
    cache: &CacheName,
    access: Access,
) -> Result<&'a CacheConfig, Refusal> {
    if role != Role::Node {
        let text = format!("{} is connected as {role}, and entries are for nodes ({access:?})", session.node);
        return Err(Refusal::new(ErrorCode::NotPermitted, text));
    }
    terms.cache(cache)
}
