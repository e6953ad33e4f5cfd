//! The relay view: which relays stream with this one, both ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
};

use landbridge_protocol::{frame::node::View, name::SiteName};
use tokio::sync::watch;

/// One of the two streams between this relay and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// This relay's own link to the peer.
    Out,
    /// The peer's link to this relay.
    In,
}

/// Keeps the view, publishes each change and logs it. Members are by name, the relay's own site among them.
#[derive(Debug)]
pub struct RelayView {
    site: SiteName,
    streaming: Mutex<BTreeMap<SiteName, BTreeSet<Way>>>,
    published: watch::Sender<View>,
}

impl RelayView {
    /// The view of a relay that has just started: itself.
    pub fn new(site: SiteName) -> Self {
        let view = View { number: 0, members: vec![site.as_str().to_owned()] };
        tracing::info!("Received new relay view: {}", Described(&view));
        Self { site, streaming: Mutex::default(), published: watch::Sender::new(view) }
    }

    /// The view, now and as it changes.
    pub fn subscribe(&self) -> watch::Receiver<View> {
        self.published.subscribe()
    }

    /// Says whether a stream streams.
    pub fn set(&self, peer: SiteName, way: Way, streams: bool) {
        // Published under the lock, so that views come in the order of their numbers.
        let mut streaming = self.streaming.lock().unwrap_or_else(PoisonError::into_inner);
        let ways = streaming.entry(peer).or_default();
        if streams {
            ways.insert(way);
        } else {
            ways.remove(&way);
        }
        let both_ways = streaming.iter().filter(|(_, ways)| ways.len() == 2).map(|(peer, _)| peer);
        let members: BTreeSet<&str> = both_ways.chain([&self.site]).map(SiteName::as_str).collect();
        self.published.send_if_modified(|view| {
            if view.members.iter().map(String::as_str).eq(members.iter().copied()) {
                return false;
            }
            view.number += 1;
            view.members = members.iter().map(|member| (*member).to_owned()).collect();
            tracing::info!("Received new relay view: {}", Described(view));
            true
        });
    }

    /// Whether the peer's link to this relay streams.
    pub fn incoming(&self, peer: SiteName) -> bool {
        let streaming = self.streaming.lock().unwrap_or_else(PoisonError::into_inner);
        streaming.get(&peer).is_some_and(|ways| ways.contains(&Way::In))
    }
}

/// A view in the words of the log: `[first|number] (count) [members]`.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a>(pub &'a View);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let View { number, members } = self.0;
        let first = members.first().map_or("", String::as_str);
        write!(f, "[{first}|{number}] ({}) [{}]", members.len(), members.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    #[test]
    fn a_peer_is_a_member_while_both_ways_stream() {
        let view = RelayView::new(site("site2"));
        let told = view.subscribe();
        let now = || Described(&told.borrow()).to_string();
        assert_eq!(now(), "[site2|0] (1) [site2]");
        view.set(site("site1"), Way::Out, true);
        assert_eq!(now(), "[site2|0] (1) [site2]");
        view.set(site("site1"), Way::In, true);
        assert_eq!(now(), "[site1|1] (2) [site1, site2]");
        view.set(site("site1"), Way::In, true);
        view.set(site("site3"), Way::In, true);
        assert_eq!(now(), "[site1|1] (2) [site1, site2]");
        view.set(site("site1"), Way::Out, false);
        assert_eq!(now(), "[site2|2] (1) [site2]");
    }

    #[test]
    fn nobody_is_woken_by_what_changes_nothing() {
        let view = RelayView::new(site("site1"));
        let told = view.subscribe();
        view.set(site("site2"), Way::Out, true);
        view.set(site("site2"), Way::Out, false);
        assert!(!told.has_changed().unwrap());
    }
}
