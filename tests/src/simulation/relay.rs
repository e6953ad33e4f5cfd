//! A site's relay: the real service, on a simulated machine, with a disk and a clock that outlive its runs.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use landbridge_relay::{
    config::RelayConfig,
    metrics::Metrics,
    service::{Service, ServiceOptions, StartError},
};

use super::{
    certificates::{self, site_name},
    clock::SimulatedClock,
    dice::Dice,
    disk::SiteDisk,
    history::{Happening, History},
    machine::SimulatedMachine,
    mutation::Mutation,
    network::Network,
    plan::{Bounds, CACHES, Disk, Plan},
};

/// The port of every relay.
const PORT: u16 = 12_232;
/// How long a relay that is ended in order may take.
const DRAIN: Duration = Duration::from_secs(10);

/// A site's relay, through all its runs.
pub struct Relay {
    site: usize,
    config: RelayConfig,
    history: History,
    network: Network,
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

impl Relay {
    /// One that does not run yet.
    pub fn new(
        site: usize,
        plan: &Plan,
        history: History,
        network: Network,
        dice: Dice,
        mutation: Option<Mutation>,
    ) -> Self {
        let config = RelayConfig::parse(&configuration(site, plan.sites, plan.bounds), certificates::directory());
        Self {
            site,
            config: config.expect("a configuration that is good"),
            disk: SiteDisk::new(site, history.clone(), mutation),
            clock: Arc::new(SimulatedClock::new()),
            history,
            network,
            dice,
            mutation,
            service: None,
            runs: 0,
        }
    }

    /// Starts it on what is to be found on its disk.
    pub async fn start(&mut self, disk: Disk) -> Result<(), StartError> {
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
            clock: self.clock.clone(),
            machine: Arc::new(machine),
            log: Some(self.disk.attach()),
            http: false,
            guards: self.mutation.map(Mutation::guards).unwrap_or_default(),
            ..ServiceOptions::new(Metrics::new())
        };
        self.service = Some(Service::start(self.config.clone(), options).await?);
        Ok(())
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

fn configuration(site: usize, sites: usize, bounds: Bounds) -> String {
    let Bounds { max_tombstones, tombstone_min_age_ms, tombstone_max_age_ms, .. } = bounds;
    let Bounds { max_batch_records, max_batches_in_flight, max_commit_commands, .. } = bounds;
    let name = site_name(site);
    let mut text = format!(
        r#"
        site = "{name}"
        listen = "{}"
        [store]
        dir = "store"
        [tls]
        certificate = "{name}.pem"
        key = "{name}.key"
        trust = "ca.pem"
        [limits]
        max_commit_commands = {max_commit_commands}
        [replication]
        max_tombstones = {max_tombstones}
        tombstone_min_age = "{tombstone_min_age_ms}ms"
        tombstone_max_age = "{}ms"
        max_batch_records = {max_batch_records}
        max_batches_in_flight = {max_batches_in_flight}
        max_clock_skew = "5s"
        fill_wait = "10s"
        backoff_max = "3s"
        "#,
        address_of(site),
        tombstone_max_age_ms.max(tombstone_min_age_ms),
    );
    for peer in (0..sites).filter(|peer| *peer != site) {
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
