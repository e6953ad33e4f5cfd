//! The sites of a run, and what befalls them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use landbridge_protocol::{frame::admin::LinkDrift, record::Kind};
use landbridge_relay::link::Links;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    certificates::site_name,
    history::Happening,
    listeners,
    mutation::{Forgets, Mutation},
    network::Weather,
    nodes::{self, Town},
    plan::{Disk, Fault, Holder},
    relay::{self, Known, Relay},
};

/// The number that the node has, of those of its site, which looks in the end.
pub const LAST_LOOK: usize = 90;
/// A drift check that was asked for takes so long at most.
const CHECK: Duration = Duration::from_secs(20);
/// How often is looked whether it is done, and what links have found by themselves.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const WATCH_EVERY: Duration = Duration::from_secs(3);

/// The sites, and what is around them.
#[derive(Debug)]
pub struct Scene {
    /// Where nodes come from.
    pub town: Town,
    /// The relays, by site.
    pub relays: Vec<Arc<Mutex<Relay>>>,
    /// What is wrong with all of it.
    pub mutation: Option<Mutation>,
}

/// What a drift check of all links has come to.
#[derive(Debug, Default)]
pub struct Looked {
    /// What is lacked, in words.
    pub found: Vec<String>,
    /// What could not be looked at, in words.
    pub left_out: Vec<String>,
}

impl Scene {
    /// Something goes wrong, until it is mended.
    pub async fn befall(&self, fault: Fault) {
        let history = &self.town.history;
        history.happened(Happening::Fault(fault));
        self.carry_out(fault).await;
        history.happened(Happening::Over(fault));
    }

    async fn carry_out(&self, fault: Fault) {
        match fault {
            // Held until it is up again: faults of one site come one after the other.
            Fault::Kill { site, down_ms, disk } => {
                let mut relay = self.relays[site].lock().await;
                relay.kill();
                for_ms(down_ms).await;
                relay.start(disk).await;
            }
            Fault::Restart { site, down_ms } => {
                let mut relay = self.relays[site].lock().await;
                relay.end().await;
                for_ms(down_ms).await;
                relay.start(Disk::Same).await;
            }
            Fault::Copy { site } => self.relays[site].lock().await.disk.keep_copy(),
            Fault::FlushFails { site, for_ms: down_ms } => {
                let mut relay = self.relays[site].lock().await;
                if relay.is_out() {
                    return;
                }
                relay.disk.fail_flush();
                for_ms(down_ms).await;
                relay.kill();
                relay.start(Disk::Same).await;
            }
            Fault::DiskFull { site, for_ms: full_ms } => {
                let relay = self.relays[site].lock().await;
                relay.disk.set_free_bytes(0);
                for_ms(full_ms).await;
                relay.disk.set_free_bytes(u64::MAX);
            }
            Fault::Clock { site, by_ms, fast_by, for_ms: wrong_ms } => {
                let clock = self.relays[site].lock().await.clock.clone();
                clock.disturb(by_ms, fast_by);
                for_ms(wrong_ms).await;
                clock.right();
            }
            Fault::Offline { site, peer, for_ms: off_ms } => {
                self.set_offline(site, peer, true).await;
                for_ms(off_ms).await;
                self.set_offline(site, peer, false).await;
            }
            Fault::Weather { .. } | Fault::NodesWeather { .. } | Fault::Isolate { .. } => self.pass(fault).await,
            Fault::Join { apart_ms, first, kept } => self.join(apart_ms, first, kept).await,
            Fault::Leave { apart_ms, first } => self.leave(apart_ms, first).await,
            Fault::CertificateEnds { site, whose, for_ms: ended_ms } => {
                for_ms(ended_ms).await;
                self.town.files.renew(site, whose, self.town.history.now_ms());
                if whose == Holder::Relay && self.mutation != Some(Mutation::Forgets(Forgets::Certificate)) {
                    self.relays[site].lock().await.reload().await;
                }
            }
            Fault::Loses { site, for_ms: lost_ms } => self.lose(site, lost_ms).await,
        }
    }

    /// What is wrong on the way.
    async fn pass(&self, fault: Fault) {
        let set = |ways: &[(std::net::IpAddr, std::net::IpAddr)], weather| {
            for (one, other) in ways {
                self.town.network.set(*one, *other, weather);
            }
        };
        let both = |one, other| [(one, other), (other, one)];
        let (ways, weather, bad_ms) = match fault {
            Fault::Weather { from, to, weather, for_ms } => {
                (vec![(relay::machine_of(from), relay::machine_of(to))], weather, for_ms)
            }
            Fault::NodesWeather { site, weather, for_ms } => {
                let nodes = (0..=LAST_LOOK).map(|number| nodes::machine_of(site, number));
                (nodes.flat_map(|node| both(node, relay::machine_of(site))).collect(), weather, for_ms)
            }
            Fault::Isolate { site, for_ms } => {
                let others = (0..self.relays.len()).filter(|other| *other != site).map(relay::machine_of);
                let ways = others.flat_map(|other| both(other, relay::machine_of(site)));
                (ways.collect(), Weather { cut: true, ..Weather::FAIR }, for_ms)
            }
            _ => return,
        };
        set(&ways, weather);
        for_ms(bad_ms).await;
        set(&ways, Weather::FAIR);
    }

    /// A relay that is down has nobody to be told, and one that is out is nobody's peer; a start has all links online.
    async fn set_offline(&self, site: usize, peer: usize, offline: bool) {
        let relay = self.relays[site].lock().await;
        let Some(service) = relay.service().filter(|_| relay.has_peer(peer)) else { return };
        let (links, peer) = (service.links(), site_name(peer));
        let done = if offline { links.take_offline(peer) } else { links.bring_online(peer) };
        done.expect("the peer is configured");
    }

    /// The sites but for the last, beginning with one of them.
    fn others(&self, first: usize) -> impl Iterator<Item = usize> {
        let count = self.relays.len() - 1;
        (0..count).map(move |at| (first + at) % count)
    }

    /// As the runbook has it: each relay is told of the new site, and then that is started.
    async fn join(&self, apart_ms: u64, first: usize, kept: bool) {
        let last = self.relays.len() - 1;
        // Whatever else befalls that site waits.
        let mut guest = self.relays[last].lock().await;
        if !guest.is_out() {
            return;
        }
        for other in self.others(first) {
            self.relays[other].lock().await.know(last, Known::Peer).await;
            for_ms(apart_ms).await;
        }
        guest.set_out(false);
        guest.start(if kept { Disk::Same } else { Disk::Wiped }).await;
    }

    /// Each relay is told that the site is one no more, and then that is ended. Its nodes write to the last.
    async fn leave(&self, apart_ms: u64, first: usize) {
        let last = self.relays.len() - 1;
        let mut guest = self.relays[last].lock().await;
        if guest.is_out() {
            return;
        }
        let forgotten = (self.mutation == Some(Mutation::Forgets(Forgets::Relay))).then_some(first);
        for other in self.others(first).filter(|other| Some(*other) != forgotten) {
            self.relays[other].lock().await.know(last, Known::Former).await;
            for_ms(apart_ms).await;
        }
        guest.end().await;
        guest.set_out(true);
        self.town.history.happened(Happening::Left { site: last });
    }

    /// A disk loses an entry that is the newest of its key at every site, and no deadline has: that is drift, and nothing else.
    async fn lose(&self, site: usize, lost_ms: u64) {
        let mut everywhere = Vec::new();
        for relay in &self.relays {
            let relay = relay.lock().await;
            if !relay.is_out() {
                everywhere.push(relay.disk.held());
            }
        }
        {
            let mut relay = self.relays[site].lock().await;
            if relay.is_out() {
                return;
            }
            relay.kill();
            let here = relay.disk.held();
            let lost = here.iter().find(|(place, record)| {
                let there = |held: &std::collections::BTreeMap<_, _>| held.get(*place) == Some(*record);
                record.kind == Kind::Live && record.deadline.is_none() && everywhere.iter().all(there)
            });
            if let Some((_, record)) = lost.filter(|_| everywhere.len() > 1) {
                relay.disk.lose(record);
            }
            relay.start(Disk::Same).await;
        }
        for_ms(lost_ms).await;
        // At whatever side: here at all of them, as one may be down.
        for (_, links) in self.up().await {
            links.drift(None, None, Some(true)).expect("all peers are asked");
        }
    }

    /// The weather is fair, clocks are right, disks have room.
    pub async fn mend(&self) {
        self.town.network.clear_up();
        for relay in &self.relays {
            let relay = relay.lock().await;
            relay.clock.right();
            relay.disk.set_free_bytes(u64::MAX);
        }
    }

    /// Which sites there are.
    pub async fn members(&self) -> Vec<bool> {
        let mut members = Vec::new();
        for relay in &self.relays {
            members.push(!relay.lock().await.is_out());
        }
        members
    }

    /// What is not as it should be in calm.
    pub async fn links(&self) -> Vec<String> {
        let mut bad = Vec::new();
        for relay in &self.relays {
            let relay = relay.lock().await;
            let Some(service) = relay.service() else {
                bad.extend((!relay.is_out()).then(|| "a relay is down".to_owned()));
                continue;
            };
            let status = service.status();
            bad.extend(status.not_ready_because.iter().map(|because| format!("{}: {because}", status.site)));
            for link in status.links.iter().filter(|link| link.state != "streaming" || link.lag_changes > 0) {
                let (site, peer, state, detail, lag) =
                    (status.site, link.peer, &link.state, &link.detail, link.lag_changes);
                bad.push(format!("{site} to {peer}: {state} {detail}, {lag} changes behind, {} s", link.lag_seconds));
            }
            let differences = status.links.iter().flat_map(|link| &link.differences);
            bad.extend(differences.map(|difference| format!("{}: {difference}", status.site)));
        }
        bad
    }

    /// The links of the relays that are up and in nobody's hands.
    async fn up(&self) -> Vec<(usize, Links)> {
        let links = self.relays.iter().enumerate().filter_map(|(site, relay)| {
            let relay = relay.try_lock().ok()?;
            Some((site, relay.service()?.links().clone()))
        });
        links.collect()
    }

    /// Has every link checked, both ways, and what is lacked sent where `repair` says so.
    pub async fn look_for_drift(&self, repair: bool) -> Looked {
        let mut looked = Looked::default();
        for (site, links) in self.up().await {
            let asked = links.drift(None, None, Some(repair)).expect("all peers are asked");
            let until = Instant::now() + CHECK;
            let peers: BTreeSet<_> = asked.links.iter().map(|link| link.peer).collect();
            for peer in peers {
                let drift = loop {
                    let drift = links.drift(Some(peer), None, None).expect("a peer").links.remove(0);
                    if is_done(&drift) || Instant::now() >= until {
                        break drift;
                    }
                    sleep(LOOK_EVERY).await;
                };
                looked.take(site, &drift);
            }
        }
        looked
    }

    /// Notes what links find by themselves, for as long as it is polled.
    pub async fn watch_drift(self: Arc<Self>) {
        loop {
            sleep(WATCH_EVERY).await;
            for (site, links) in self.up().await {
                for report in links.reports() {
                    let Some(drift) = report.drift else { continue };
                    for (cache, count) in drift.there.iter().chain(&drift.here).filter(|(_, count)| *count > 0) {
                        let how = format!("{count} of {cache} between site{} and {}", site + 1, report.peer);
                        self.town.history.happened(Happening::Drift { site, how });
                    }
                }
            }
        }
    }
}

fn is_done(drift: &LinkDrift) -> bool {
    drift.there.asked == drift.asked && drift.here.asked == drift.asked
}

impl Looked {
    fn take(&mut self, site: usize, drift: &LinkDrift) {
        let (site, peer) = (site_name(site), drift.peer);
        if !is_done(drift) {
            let why = drift.why_not.iter().chain(&drift.why_not_here).cloned().collect::<Vec<_>>().join("; ");
            self.left_out.push(format!("no drift check between {site} and {peer}: {why}"));
        }
        for (who, side) in [(peer, &drift.there), (site, &drift.here)] {
            for cache in &side.caches {
                let name = &cache.cache;
                let why = cache.left_out.iter().map(|why| format!("no drift check of {name} at {who}: {why}"));
                self.left_out.extend(why);
                if cache.found > cache.repaired {
                    let records: Vec<_> = side.records.iter().map(|record| format!("{record:?}")).collect();
                    self.found.push(format!("{who} lacks {} of {name}: {}", cache.found, records.join(", ")));
                }
            }
        }
    }
}

async fn for_ms(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Where the numbers of listeners and of the last look lie, so that they never meet.
const _: () = assert!(listeners::FIRST_NUMBER < LAST_LOOK);
