//! How many may be in at once: handshakes and connections, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    certs::Role,
    config::{Limits, MAX_PEERS},
};

/// Connections of nodes beyond those that are sessions: of one that restarted and takes its session over, and of those that
/// are told that there are no more.
const CONNECTIONS_BESIDE_SESSIONS: usize = 128;

/// How many may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// At once.
    pub all: usize,
    /// Of those from one address.
    pub per_source: usize,
}

impl Quota {
    /// One address may have three quarters.
    fn of(all: usize) -> Self {
        Self { all, per_source: all - all / 4 }
    }
}

/// Bounds of an accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Handshakes under way.
    pub handshakes: Quota,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Nodes' connections. Each role has places of its own, so that none keeps out another, whatever it says or leaves unsaid.
    pub nodes: Quota,
    /// Peers' connections.
    pub peers: Quota,
    /// Operators' connections.
    pub operators: Quota,
}

impl AcceptLimits {
    /// As configured: one address may have a quarter of the handshakes. Peers and operators have more places than they can
    /// keep: a peer's newest connection is let in before its oldest is ended, and an operator too many is told so.
    pub fn from_limits(limits: &Limits) -> Self {
        Self {
            handshakes: Quota { all: limits.max_handshakes, per_source: limits.max_handshakes.div_ceil(4) },
            handshake_timeout: limits.hello_timeout.into(),
            nodes: Quota::of(limits.max_sessions + CONNECTIONS_BESIDE_SESSIONS),
            peers: Quota::of((MAX_PEERS + 1) * limits.max_connections_per_peer),
            operators: Quota::of(2 * limits.max_operators),
        }
    }
}

/// The places for connections, by role.
#[derive(Debug)]
pub(super) struct ByRole {
    nodes: Places,
    peers: Places,
    operators: Places,
}

impl ByRole {
    pub(super) fn new(limits: &AcceptLimits) -> Self {
        let [nodes, peers, operators] = [limits.nodes, limits.peers, limits.operators].map(Places::new);
        Self { nodes, peers, operators }
    }

    pub(super) fn of(&self, role: Role) -> &Places {
        match role {
            Role::Node => &self.nodes,
            Role::Peer => &self.peers,
            Role::Admin => &self.operators,
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
    quota: Quota,
}

/// A place taken; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    source: IpAddr,
}

impl Places {
    pub(super) fn new(quota: Quota) -> Self {
        Self(Arc::new(Mutex::new(Counts { in_all: 0, by_source: HashMap::new(), quota })))
    }

    /// A place for a connection from there, if one is free.
    pub(super) fn take(&self, from: SocketAddr) -> Option<Place> {
        let source = from.ip().to_canonical();
        let mut counts = self.counts();
        let here = counts.by_source.get(&source).copied().unwrap_or(0);
        if counts.in_all >= counts.quota.all || here >= counts.quota.per_source {
            return None;
        }
        counts.in_all += 1;
        counts.by_source.insert(source, here + 1);
        Some(Place { places: self.clone(), source })
    }

    /// Whether half of the places are taken: time to have addresses proven.
    pub(super) fn crowded(&self) -> bool {
        let counts = self.counts();
        counts.in_all * 2 >= counts.quota.all
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
        let places = Places::new(Quota { all: 3, per_source: 2 });
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
    fn each_role_has_places_of_its_own() {
        let one = Quota { all: 1, per_source: 1 };
        let limits = AcceptLimits::from_limits(&Limits::default());
        let places = ByRole::new(&AcceptLimits { nodes: one, peers: one, operators: one, ..limits });
        let held = Role::ALL.map(|role| places.of(role).take(from("10.0.0.1:1")));
        assert!(held.iter().all(Option::is_some));
        assert!(Role::ALL.iter().all(|role| places.of(*role).take(from("10.0.0.2:1")).is_none()));
    }

    /// So that the bounds by peer and of operators are met, and told, before the places of one address are spent.
    #[test]
    fn one_address_has_places_for_more_than_a_peer_and_all_operators_can_keep() {
        for (max_connections_per_peer, max_operators) in [(1, 1), (8, 32), (64, 1024)] {
            let limits = Limits { max_connections_per_peer, max_operators, ..Limits::default() };
            let accept = AcceptLimits::from_limits(&limits);
            assert!(accept.peers.all > MAX_PEERS * max_connections_per_peer);
            assert!(accept.peers.per_source > max_connections_per_peer);
            assert!(accept.operators.per_source > max_operators);
        }
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let places = Places::new(Quota { all: 3, per_source: 2 });
        drop(places.take(from("10.0.0.1:1")));
        assert!(places.counts().by_source.is_empty());
    }
}
