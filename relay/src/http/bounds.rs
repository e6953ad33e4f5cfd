//! What the callers of the HTTP port may take.

use std::time::Duration;

use crate::config::Limits;

/// What the callers of the HTTP port may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpBounds {
    /// Connections at once; further ones wait in the kernel.
    pub connections: usize,
    /// A connection is closed when it is so old, whatever it does. Prometheus and balancers open another.
    pub age: Duration,
}

impl From<&Limits> for HttpBounds {
    fn from(limits: &Limits) -> Self {
        Self { connections: limits.max_http_connections, age: limits.max_http_age.into() }
    }
}
