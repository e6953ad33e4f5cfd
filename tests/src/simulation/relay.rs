//! A site's relay: the real service, on a simulated machine, with a disk and a clock that outlive its runs.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use landbridge_relay::{
    config::RelayConfig,
    metrics::Metrics,
    service::{Service, ServiceOptions},
};
use tokio::time::sleep;

use super::{
    certificates::{self, site_name},
    clock::SimulatedClock,
    dice::Dice,
    disk::SiteDisk,
    files::Files,
    history::{Happening, History},
    machine::SimulatedMachine,
    mutation::Mutation,
    network::Network,
    plan::{Bounds, CACHES, Disk, Holder, Plan, idle_timeout_ms},
};

/// The port of every relay.
const PORT: u16 = 12_232;
/// How long a relay that is ended in order may take.
const DRAIN: Duration = Duration::from_secs(10);
/// What a reload is refused with while the relay's certificate has ended.
const HAS_ENDED: &str = "has expired";
/// It is tried so often then, and this apart.
const RELOADS: u32 = 100;
const AGAIN: Duration = Duration::from_secs(1);

/// A site's relay, through all its runs.
#[derive(Debug)]
pub struct Relay {
    site: usize,
    plan: (Bounds, bool),
    /// What its configuration says of each site.
    known: Vec<Known>,
    is_out: bool,
    history: History,
    network: Network,
    files: Arc<Files>,
    dice: Dice,
    mutation: Option<Mutation>,
    /// Its disk.
    pub disk: SiteDisk,
    /// Its wall clock.
    pub clock: Arc<SimulatedClock>,
    service: Option<Service>,
    /// Counts its runs.
    runs: u64,
}

/// The machine of a site's relay.
pub fn machine_of(site: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, site as u8, 1).into()
}

/// Where a site's relay listens.
pub fn address_of(site: usize) -> SocketAddr {
    (machine_of(site), PORT).into()
}

/// What a relay's configuration says of another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Not,
    /// It is a peer.
    Peer,
    /// It was one.
    Former,
}

impl Relay {
    /// One that does not run yet.
    pub fn new(
        site: usize,
        plan: &Plan,
        (history, network): (History, Network),
        files: Arc<Files>,
        dice: Dice,
        mutation: Option<Mutation>,
    ) -> Self {
        let guest = plan.sites - 1;
        let is_out = plan.guest_is_out && site == guest;
        let known = |other| match other {
            other if other == site => Known::Not,
            other if other == guest && plan.guest_is_out => Known::Not,
            _ => Known::Peer,
        };
        Self {
            site,
            plan: (plan.bounds, plan.hours),
            known: (0..plan.sites).map(known).collect(),
            is_out,
            disk: SiteDisk::new(site, history.clone(), mutation),
            clock: Arc::new(SimulatedClock::new()),
            history,
            network,
            files,
            dice,
            mutation,
            service: None,
            runs: 0,
        }
    }

    fn configuration(&self) -> String {
        configuration(self.site, &self.known, self.plan, &self.files)
    }

    /// Has its configuration say so of another site from now on, and has it taken over where the relay runs.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn know(&mut self, other: usize, known: Known) {
        self.known[other] = known;
        self.reload().await;
    }

    /// Whether another site is a peer by its configuration.
    pub fn has_peer(&self, other: usize) -> bool {
        self.known[other] == Known::Peer
    }

    /// Has it read its configuration and its certificates anew, if it runs.
    ///
    /// # Panics
    /// When it is refused. One whose certificate has ended is tried again: it is renewed before long.
    pub async fn reload(&self) {
        let path = self.files.configuration(self.site).expect("the files of a run in which configurations change");
        std::fs::write(path, self.configuration()).expect("a configuration can be written");
        let Some(service) = &self.service else { return };
        for _ in 0..RELOADS {
            match service.reload().await {
                Ok(_) => return,
                Err(refusal) if refusal.message.contains(HAS_ENDED) => sleep(AGAIN).await,
                Err(refusal) => panic!("a reload of site{} is refused: {refusal}", self.site + 1),
            }
        }
        panic!("no reload of site{} in {RELOADS} tries", self.site + 1);
    }

    /// It is one of the sites from now on, or one no more.
    pub fn set_out(&mut self, is_out: bool) {
        self.is_out = is_out;
    }

    /// Whether nobody has it in a configuration.
    pub fn is_out(&self) -> bool {
        self.is_out
    }

    /// Starts it on what is to be found on its disk; not one that is out.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&mut self, disk: Disk) {
        if self.is_out {
            return;
        }
        let disk = match disk {
            Disk::Same => Disk::Same,
            Disk::Wiped => {
                self.disk.wipe();
                Disk::Wiped
            }
            Disk::Copy if self.disk.restore_copy() => Disk::Copy,
            Disk::Copy => Disk::Same,
        };
        self.runs += 1;
        self.history.happened(Happening::Starts { site: self.site, disk });
        let same_number = (self.mutation == Some(Mutation::SameRun)).then_some(self.site as u64 + 1);
        let network = self.network.clone();
        let machine = SimulatedMachine::new(network, machine_of(self.site), self.dice.apart(), same_number);
        let options = ServiceOptions {
            file: self.files.configuration(self.site),
            clock: self.clock.clone(),
            machine: Arc::new(machine),
            log: Some(self.disk.attach()),
            http: false,
            guards: self.mutation.map(Mutation::guards).unwrap_or_default(),
            ..ServiceOptions::new(Metrics::new())
        };
        let config = RelayConfig::parse(&self.configuration(), self.files.directory());
        let started = Service::start(config.expect("a configuration that is good"), options).await;
        self.service = Some(started.expect("a relay starts on what is on its disk"));
    }

    /// The machine fails: whatever it was at ends here.
    pub fn kill(&mut self) {
        if let Some(service) = self.service.take() {
            self.network.unplug(machine_of(self.site));
            self.disk.fail(self.dice.draw());
            self.history.happened(Happening::Down { site: self.site });
            drop(service);
        }
    }

    /// Ends it in order.
    pub async fn end(&mut self) {
        if let Some(service) = self.service.take() {
            service.shutdown(DRAIN).await;
            self.network.unplug(machine_of(self.site));
            self.disk.detach();
            self.history.happened(Happening::Down { site: self.site });
        }
    }

    /// The service, while it runs.
    pub fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// How often it was started.
    pub fn runs(&self) -> u64 {
        self.runs
    }
}

fn configuration(site: usize, known: &[Known], (bounds, hours): (Bounds, bool), files: &Files) -> String {
    let Bounds { max_tombstones, tombstone_min_age_ms, tombstone_max_age_ms, .. } = bounds;
    let Bounds { max_batch_records, max_batches_in_flight, max_commit_commands, .. } = bounds;
    let name = site_name(site);
    let [certificate, key] = files.certificate(site, Holder::Relay);
    let of = |wanted: Known| (0..known.len()).filter(move |other| known[*other] == wanted);
    let former: Vec<_> = of(Known::Former).map(|other| format!("\"{}\"", site_name(other))).collect();
    let drift = bounds.drift_check_every_ms.map_or("off".into(), |every| format!("{every}ms"));
    // Where hours pass, signs of life are few.
    let (alive, heartbeat, longest_wait) = if hours { (60, 30, 60) } else { (3, 1, 3) };
    let mut text = format!(
        r#"
        site = "{name}"
        listen = "{}"
        former_sites = [{}]
        [store]
        dir = "store"
        [tls]
        certificate = "{}"
        key = "{}"
        trust = "{}"
        reload_every = "off"
        [limits]
        max_commit_commands = {max_commit_commands}
        idle_timeout = "{}ms"
        keep_alive = "{alive}s"
        [replication]
        max_tombstones = {max_tombstones}
        tombstone_min_age = "{tombstone_min_age_ms}ms"
        tombstone_max_age = "{}ms"
        max_batch_records = {max_batch_records}
        max_batches_in_flight = {max_batches_in_flight}
        max_clock_skew = "5s"
        fill_wait = "10s"
        heartbeat_every = "{heartbeat}s"
        backoff_max = "{longest_wait}s"
        drift_check_every = "{drift}"
        "#,
        address_of(site),
        former.join(", "),
        certificate.display(),
        key.display(),
        certificates::directory().join("ca.pem").display(),
        idle_timeout_ms(hours),
        tombstone_max_age_ms.max(tombstone_min_age_ms),
    );
    for peer in of(Known::Peer) {
        let (name, address) = (site_name(peer), address_of(peer));
        text += &format!("[[peers]]\nsite = \"{name}\"\naddress = \"{address}\"\n");
    }
    for (name, merge, lifespan) in CACHES {
        text += &format!("[[caches]]\nname = \"{name}\"\nmerge = \"{merge}\"\n");
        if let Some(lifespan) = lifespan {
            text += &format!("lifespan = \"{lifespan}ms\"\n");
        }
    }
    text
}
