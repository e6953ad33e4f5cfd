//! What the configuration says to sessions, and changes while they last.

use std::{collections::BTreeMap, sync::Arc};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::CacheName,
};
use tokio::sync::watch;

use crate::{
    config::{CacheConfig, Limits},
    metrics::{CacheMetrics, Metrics},
};

/// The caches, which hold for every request at once, and the bounds, which hold for sessions that begin from now on.
#[derive(Debug)]
pub struct Terms {
    /// The caches.
    pub caches: BTreeMap<CacheName, CacheConfig>,
    /// Where the requests of each cache are counted.
    pub requests: BTreeMap<CacheName, CacheMetrics>,
    /// The bounds.
    pub limits: Limits,
}

impl Terms {
    /// Of these caches and bounds.
    pub fn new(caches: &[CacheConfig], limits: Limits, metrics: &Metrics) -> Self {
        Self {
            caches: caches.iter().map(|cache| (cache.name.clone(), cache.clone())).collect(),
            requests: caches.iter().map(|cache| (cache.name.clone(), metrics.cache(&cache.name))).collect(),
            limits,
        }
    }

    /// That cache, or what is answered where there is none.
    pub fn cache(&self, name: &CacheName) -> Result<&CacheConfig, Refusal> {
        self.caches.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.caches.keys().map(CacheName::as_str).collect();
            let text = format!("no cache {name} is configured at this relay; there are {}", there.join(", "));
            Refusal::new(ErrorCode::UnknownCache, text)
        })
    }
}

/// Resolves once that cache is configured no more, with what its subscribers are told.
pub(super) async fn removed(mut terms: watch::Receiver<Arc<Terms>>, name: CacheName) -> Refusal {
    loop {
        if let Err(refusal) = terms.borrow_and_update().cache(&name) {
            return refusal;
        }
        if terms.changed().await.is_err() {
            // The relay ends, and with it the session.
            return std::future::pending().await;
        }
    }
}
