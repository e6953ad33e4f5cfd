//! A listener at a site of the world: the relay's own subscription, on the site as it is, until it has no more to say.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use bytes::BytesMut;
use landbridge_protocol::{
    blob::Blob,
    frame::{FrameCodec, RelayToNode, node::Subscribe},
    position::Sequence,
    record::Merge,
};
use landbridge_relay::{
    engine::{command::Published, header::Records, replica::Replica},
    listener::{Feed, Read, SnapshotPage, serve},
};
use tokio::sync::watch;
use tokio_util::{codec::Decoder, sync::CancellationToken};

use super::*;
use crate::explorer::site::Log;

/// A site as a subscription sees it. It stands still.
struct Still {
    replica: Replica,
    log: Log,
    now: Timestamp,
    published: watch::Sender<Published>,
}

impl Feed for Still {
    fn origin(&self) -> Origin {
        self.replica.origin()
    }

    fn continues(&self, origin: &Origin) -> bool {
        self.replica.continues(origin)
    }

    fn had(&self, origin: &Origin, sequence: Sequence) -> bool {
        self.replica.had(origin, sequence)
    }

    fn former(&self) -> Option<(Origin, Sequence)> {
        self.replica.former()
    }

    fn replicates(&self, cache: &CacheName, site: SiteName) -> bool {
        self.replica.replicates(cache, &site)
    }

    fn merge(&self, cache: &CacheName) -> Merge {
        self.replica.merge(cache)
    }

    fn has_messages(&self, _: &CacheName) -> bool {
        false
    }

    fn dropped(&self) -> Vector {
        self.replica.dropped().clone()
    }

    fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    async fn read(&self, after: Sequence, _: usize) -> Result<Read, Refusal> {
        let read = self.log.read(after, self.replica.head());
        Ok(Read { through: read.through, records: read.records })
    }

    fn holds(&self, sequence: Sequence, record: &Record) -> Result<(), Sequence> {
        if self.replica.holds(sequence, record) { Ok(()) } else { Err(self.replica.head()) }
    }

    async fn page(&self, cache: &CacheName, after: Option<&Key>, _: usize) -> Result<SnapshotPage, Refusal> {
        let (found, _) = self.replica.entries(cache, b"", after, (usize::MAX, usize::MAX), self.now);
        let record = |slot: &Slot| self.log.record(slot.sequence).expect("what is held is in the log");
        Ok(SnapshotPage { records: found.iter().map(|(_, slot)| record(slot)).collect(), more: false })
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

impl World {
    /// The listener comes to a site, hears `events` events at most, and is gone.
    pub fn listen(&mut self, site: usize, events: usize) {
        let (token, snapshot) = Rc::make_mut(&mut self.listener).comes_to(site);
        let frames = self.told(site, Subscribe { cache: cache(), from: token.map(Blob), snapshot });
        for frame in frames.into_iter().take(events.saturating_add(1)) {
            if Rc::make_mut(&mut self.listener).is_told(frame) && !self.may_leave_gaps() {
                self.fault = Some(format!("GAP FOR NOTHING at site {site}"));
            }
        }
    }

    /// Whether something has happened by which what a token skips may be untold for good.
    fn may_leave_gaps(&self) -> bool {
        let spent = &self.spent;
        let decommissioned = |site: &Part<Site>| !site.replica.config().former_sites.is_empty();
        !self.known.removals.is_empty()
            || spent.tails + spent.wipes + spent.joins > 0
            || self.sites.iter().any(decommissioned)
    }

    /// All that a relay has to say to one who subscribes now.
    fn told(&self, site: usize, subscribe: Subscribe) -> Vec<RelayToNode> {
        let at = &self.sites[site];
        let published = watch::Sender::new(at.replica.published());
        let still = Still { replica: at.replica.clone(), log: at.log.clone(), now: self.now, published };
        let mut bytes = Vec::new();
        {
            let stop = CancellationToken::new();
            let serving = pin!(serve(&still, subscribe, 1, &mut bytes, stop, std::future::pending()));
            let waits = serving.poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(waits, "a subscription ends only when it is refused");
        }
        let (mut codec, mut bytes) = (FrameCodec::new(1 << 20), BytesMut::from(bytes.as_slice()));
        let mut next = || codec.decode(&mut bytes).expect("what the relay says is whole");
        std::iter::from_fn(|| next().map(|raw| RelayToNode::decode(&raw).expect("a frame"))).collect()
    }

    /// What a site has is lost, or the end of it.
    pub(in crate::explorer) fn listener_loses(&mut self, site: usize) {
        let name = site_name(site);
        Rc::make_mut(&mut self.listener).has_lost(site, |token| token.origin.site == name);
    }

    /// A listener that comes to a site now, wherever it stands, has then been told what is held of each key; and goes on to
    /// each other one, and has so again.
    pub fn misheard(&self) -> Option<String> {
        if !self.listener.has_begun() {
            return None;
        }
        let sites: Vec<usize> = (0..self.sites.len()).filter(|site| self.runs(*site)).collect();
        let mut firsts: Vec<usize> = sites.iter().filter_map(|site| self.listener.goes_first(*site)).collect();
        firsts.dedup();
        firsts.into_iter().find_map(|first| {
            let mut world = self.clone();
            let on = sites.iter().filter(|site| **site != first);
            [first].iter().chain(on).filter(|site| self.runs(**site)).find_map(|site| {
                world.listen(*site, usize::MAX);
                world.fault.clone().or_else(|| world.heard_otherwise(*site))
            })
        })
    }

    fn heard_otherwise(&self, site: usize) -> Option<String> {
        if self.listener.is_in_snapshot() {
            return Some(format!("MISHEARD at {site}: a snapshot without an end"));
        }
        let k = (0..self.scenario.keys).find(|k| {
            let live = self.live(site, *k).map(|slot| (slot.version, self.record(site, &slot).value));
            live.as_ref() != self.listener.last(*k)
        })?;
        Some(format!("MISHEARD key {k} at {site}: {:?}", self.listener.last(k).map(|(version, _)| version)))
    }
}
