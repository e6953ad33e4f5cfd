//! How many may be in at once: handshakes and connections, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::config::Limits;

/// Connections beyond those of sessions: peers' and operators', which sessions must not keep out.
const CONNECTIONS_BESIDE_SESSIONS: usize = 128;

/// Bounds of an accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Handshakes under way.
    pub handshakes: usize,
    /// Those from one address.
    pub handshakes_per_source: usize,
    /// Connections that are in.
    pub connections: usize,
    /// Those from one address.
    pub connections_per_source: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl AcceptLimits {
    /// As configured: one address may have a quarter of the handshakes and three quarters of the connections.
    pub fn from_limits(limits: &Limits) -> Self {
        let connections = limits.max_sessions + CONNECTIONS_BESIDE_SESSIONS;
        Self {
            handshakes: limits.max_handshakes,
            handshakes_per_source: limits.max_handshakes.div_ceil(4),
            connections,
            connections_per_source: connections - connections / 4,
            handshake_timeout: limits.hello_timeout.into(),
        }
    }
}

/// Counts who is in.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    in_all: usize,
    by_source: HashMap<IpAddr, usize>,
    bound: usize,
    bound_per_source: usize,
}

/// A place taken; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    source: IpAddr,
}

impl Places {
    pub(super) fn new(bound: usize, bound_per_source: usize) -> Self {
        Self(Arc::new(Mutex::new(Counts { in_all: 0, by_source: HashMap::new(), bound, bound_per_source })))
    }

    /// A place for a connection from there, if one is free.
    pub(super) fn take(&self, from: SocketAddr) -> Option<Place> {
        let source = from.ip().to_canonical();
        let mut counts = self.counts();
        let here = counts.by_source.get(&source).copied().unwrap_or(0);
        if counts.in_all >= counts.bound || here >= counts.bound_per_source {
            return None;
        }
        counts.in_all += 1;
        counts.by_source.insert(source, here + 1);
        Some(Place { places: self.clone(), source })
    }

    /// Whether half of the places are taken: time to have addresses proven.
    pub(super) fn crowded(&self) -> bool {
        let counts = self.counts();
        counts.in_all * 2 >= counts.bound
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change below is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        counts.in_all -= 1;
        if let Some(here) = counts.by_source.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let places = Places::new(3, 2);
        let first = places.take(from("10.0.0.1:1")).unwrap();
        assert!(!places.crowded());
        let _second = places.take(from("[::ffff:10.0.0.1]:2")).unwrap();
        assert!(places.crowded());
        assert!(places.take(from("10.0.0.1:3")).is_none(), "one address has its share, however it is written");
        let _third = places.take(from("10.0.0.2:1")).unwrap();
        assert!(places.take(from("10.0.0.3:1")).is_none(), "all places are taken");
        drop(first);
        let again = places.take(from("10.0.0.3:1"));
        assert!(again.is_some());
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let places = Places::new(3, 2);
        drop(places.take(from("10.0.0.1:1")));
        assert!(places.counts().by_source.is_empty());
    }
}
