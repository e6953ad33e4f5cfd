//! The connections that each peer has open to this relay: a bounded number, the newest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use landbridge_protocol::name::SiteName;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// What each peer may take of this relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestBounds {
    /// Connections.
    pub connections: usize,
    /// Streams of one connection: the one in use, and those that are ending.
    pub streams: usize,
    /// Commands of one stream that wait for the writer.
    pub commands: usize,
    /// Answers of one stream that wait to be written. A sender has a window of batches: one that leaves so many unread is
    /// broken.
    pub answers: usize,
}

impl From<&Limits> for GuestBounds {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.max_connections_per_peer,
            streams: limits.max_peer_streams,
            commands: limits.max_peer_commands,
            answers: limits.max_peer_answers,
        }
    }
}

/// Who is connected. Where a peer has one connection too many its oldest is ended: of a link that broke and was dialled
/// anew it is the one that nobody uses any more.
#[derive(Debug)]
pub(in crate::link) struct Guests {
    pub(super) bounds: GuestBounds,
    by_peer: Mutex<HashMap<SiteName, VecDeque<CancellationToken>>>,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(in crate::link) struct Guest {
    /// Cancelled when a newer one needs the place.
    pub(in crate::link) ended: CancellationToken,
    /// Whether another was ended for this one.
    pub(in crate::link) in_place_of_another: bool,
}

impl Guests {
    pub(in crate::link) fn new(bounds: GuestBounds) -> Self {
        Self { bounds, by_peer: Mutex::default() }
    }

    pub(in crate::link) fn enter(&self, peer: SiteName) -> Guest {
        let ended = CancellationToken::new();
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_peer.entry(peer).or_default();
        here.retain(|guest| !guest.is_cancelled());
        here.push_back(ended.clone());
        let oldest = if here.len() > self.bounds.connections { here.pop_front() } else { None };
        let in_place_of_another = oldest.inspect(CancellationToken::cancel).is_some();
        Guest { ended, in_place_of_another }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_and_those_who_left_do_not_count() {
        let guests = Guests::new(GuestBounds { connections: 2, ..GuestBounds::from(&Limits::default()) });
        let (peer, other) = (SiteName::new("site2").unwrap(), SiteName::new("site3").unwrap());
        let first = guests.enter(peer);
        drop(guests.enter(peer));
        let second = guests.enter(peer);
        let elsewhere = guests.enter(other);
        assert!(!first.ended.is_cancelled() && !second.in_place_of_another);
        let third = guests.enter(peer);
        assert!(third.in_place_of_another && first.ended.is_cancelled());
        assert!(![&second, &third, &elsewhere].iter().any(|guest| guest.ended.is_cancelled()));
    }
}
