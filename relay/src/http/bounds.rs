//! What a caller of the HTTP port may take.

use std::time::Duration;

/// Connections at once; further ones wait in the kernel.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// A connection is closed when it is so old, whatever it does. Prometheus and balancers open another.
pub(super) const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);
