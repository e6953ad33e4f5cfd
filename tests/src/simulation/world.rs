//! A run: a world is made of a plan, goes through what the plan says, is left in calm, and is looked at.
//!
//! ```text
//!  plan ─► relays, nodes, listeners ─► faults, one after the other ─► calm: everything is mended
//!                                                                       └─► until all sites list the same ─► History, End
//! ```
//!
//! All of it is one thread and virtual time: tokio's clock stands still while anything can run, and then jumps to the next
//! moment at which something is due.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_protocol::{record::Key, time::Timestamp, version::Version};
#[cfg(tokio_unstable)]
use tokio::runtime::{Builder, RngSeed};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    certificates::site_name,
    clock::EPOCH,
    dice::Dice,
    history::{self, Entry, Happening, History},
    listeners::{self, Model, listen},
    mutation::Mutation,
    network::{Network, Weather},
    nodes::{self, Town, work},
    plan::{CACHES, Disk, Fault, Listener, Plan, Planned},
    relay::{self, Relay},
};

/// In calm, all sites must list the same after so long.
const CALM: Duration = Duration::from_secs(240);
/// A listing may take so long.
const LISTING: Duration = Duration::from_secs(20);
/// The number that the node has, of those of its site, which looks in the end.
const LAST_LOOK: usize = 90;

/// What a site lists of a cache in the end.
pub type Listing = BTreeMap<Key, (Version, Bytes, Option<Timestamp>)>;

/// A run, as it went.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub history: Vec<Entry>,
    /// How it ended.
    pub end: End,
    /// Virtual time, in milliseconds.
    pub lasted_ms: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
}

impl Run {
    /// A number for all that happened: equal for equal runs.
    pub fn hash(&self) -> u64 {
        history::hash(&self.history)
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct End {
    /// What each site lists, cache by cache; `None` where it does not serve.
    pub listings: Vec<Option<Vec<Listing>>>,
    /// What each listener holds for true.
    pub models: Vec<Model>,
    /// The links that are not as they should be, in words.
    pub links: Vec<String>,
}

/// Goes through a plan. The same plan gives the same run.
///
/// # Panics
/// When the simulation itself can't go on.
pub fn run(plan: &Plan, mutation: Option<Mutation>) -> Run {
    let runtime = runtime(plan.seed);
    // The world is made inside, where the clock is the virtual one.
    let run = runtime.block_on(async { World::new(plan.clone(), mutation).go().await });
    drop(runtime);
    run
}

/// A runtime with nothing but time, whose random numbers follow from the seed.
#[cfg(tokio_unstable)]
fn runtime(seed: u64) -> Runtime {
    let seed = RngSeed::from_bytes(&seed.to_be_bytes());
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).rng_seed(seed).build();
    runtime.expect("a runtime with nothing but time")
}

#[cfg(not(tokio_unstable))]
fn runtime(_seed: u64) -> Runtime {
    panic!(
        "no simulation: tokio was built without `--cfg tokio_unstable`, which .cargo/config.toml gives; RUSTFLAGS in the \
         environment takes the place of that file's, so add it there"
    )
}

struct World {
    plan: Plan,
    dice: Dice,
    town: Town,
    relays: Vec<Arc<Mutex<Relay>>>,
    mutation: Option<Mutation>,
}

impl World {
    fn new(plan: Plan, mutation: Option<Mutation>) -> Self {
        let mut dice = Dice::of(plan.seed ^ 0x5eed);
        let history = History::begin();
        let network = Network::new(dice.draw());
        let relay = |site| {
            let relay = Relay::new(site, &plan, history.clone(), network.clone(), dice.apart(), mutation);
            Arc::new(Mutex::new(relay))
        };
        let relays = (0..plan.sites).map(relay).collect();
        Self { plan, dice, town: Town { network, history }, relays, mutation }
    }

    async fn go(mut self) -> Run {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.town.network.clone().postman());
        for relay in &self.relays {
            relay.lock().await.start(Disk::Same).await.expect("a relay starts on an empty disk");
        }
        let mut workers = JoinSet::new();
        for (number, node) in self.plan.nodes.iter().enumerate() {
            workers.spawn(work(self.town.clone(), number, node.clone(), self.dice.apart(), self.mutation));
        }
        let mut models = Vec::new();
        for (number, listener) in self.plan.listeners.iter().enumerate() {
            let (tell, model) = watch::channel(Model::new());
            models.push(model);
            let (town, plan, dice) = (self.town.clone(), listener.clone(), self.dice.apart());
            tasks.spawn(listen(town, number, plan, dice, tell, self.mutation));
        }
        let mut faults = JoinSet::new();
        for Planned { at_ms, what } in self.plan.faults.clone() {
            let (relays, town) = (self.relays.clone(), self.town.clone());
            faults.spawn(async move {
                sleep_until(town.history.moment(at_ms)).await;
                befall(&relays, &town, what).await;
            });
        }
        sleep_until(self.town.history.moment(self.plan.calm_at_ms)).await;
        // Each fault mends itself; whatever is still bad then is mended here.
        while faults.join_next().await.is_some() {}
        self.mend().await;
        self.town.history.happened(Happening::Calm);
        while workers.join_next().await.is_some() {}
        let end = self.settle(&models).await;
        let history = self.town.history.taken();
        let run = Run { history, end, lasted_ms: self.town.history.now_ms(), datagrams: self.town.network.sent() };
        tasks.shutdown().await;
        for relay in &self.relays {
            relay.lock().await.kill();
        }
        run
    }

    async fn mend(&self) {
        self.town.network.clear_up();
        for relay in &self.relays {
            let relay = relay.lock().await;
            relay.clock.right();
            relay.disk.set_free_bytes(u64::MAX);
        }
    }

    /// Until all sites list the same and all listeners hold that for true, or time is up.
    async fn settle(&mut self, models: &[watch::Receiver<Model>]) -> End {
        let until = Instant::now() + CALM;
        let mut lookers = Vec::new();
        for site in 0..self.plan.sites {
            lookers.push(self.town.node(site, "looker", LAST_LOOK, &mut self.dice).await);
        }
        loop {
            let mut listings = Vec::new();
            for looker in &lookers {
                listings.push(timeout(LISTING, list(looker)).await.ok().flatten());
            }
            let now = Timestamp::from_millis(EPOCH.as_millis() + self.town.history.now_ms());
            let lives = |deadline: Option<Timestamp>| deadline.is_none_or(|deadline| deadline > now);
            let models = models.iter().map(|model| {
                let held = model.borrow().clone().into_iter();
                held.filter(|(_, (.., deadline))| lives(*deadline)).collect()
            });
            let models = models.collect();
            let end = End { listings, models, links: self.links().await };
            if (self.is_settled(&end)) || Instant::now() >= until {
                return end;
            }
            sleep(Duration::from_secs(2)).await;
        }
    }

    fn is_settled(&self, end: &End) -> bool {
        let Some(Some(first)) = end.listings.first() else { return false };
        let equal = end.listings.iter().all(|listing| listing.as_ref() == Some(first));
        let told = |(listener, model): (&Listener, &Model)| first[listener.cache] == *model;
        equal && end.links.is_empty() && self.plan.listeners.iter().zip(&end.models).all(told)
    }

    async fn links(&self) -> Vec<String> {
        let mut bad = Vec::new();
        for relay in &self.relays {
            let relay = relay.lock().await;
            let Some(service) = relay.service() else {
                bad.push("a relay is down".to_owned());
                continue;
            };
            let status = service.status();
            bad.extend(status.not_ready_because.iter().map(|because| format!("{}: {because}", status.site)));
            for link in status.links.iter().filter(|link| link.state != "streaming" || link.lag_changes > 0) {
                let (site, peer, state, detail, lag) =
                    (status.site, link.peer, &link.state, &link.detail, link.lag_changes);
                bad.push(format!("{site} to {peer}: {state} {detail}, {lag} changes behind, {} s", link.lag_seconds));
            }
        }
        bad
    }
}

async fn list(looker: &Client) -> Option<Vec<Listing>> {
    let mut listings = Vec::new();
    for (name, ..) in CACHES {
        let mut listing = Listing::new();
        let mut entries = looker.raw(name).expect("a cache's name").entries("");
        while let Some(entry) = entries.next().await {
            let entry = entry.ok()?;
            listing.insert(entry.key, (entry.version, entry.value, entry.deadline));
        }
        listings.push(listing);
    }
    Some(listings)
}

async fn befall(relays: &[Arc<Mutex<Relay>>], town: &Town, fault: Fault) {
    let for_ms = |ms| sleep(Duration::from_millis(ms));
    town.history.happened(Happening::Fault(fault));
    match fault {
        Fault::Kill { site, down_ms, disk } => {
            // Held until it is up again: faults of one site come one after the other.
            let mut relay = relays[site].lock().await;
            relay.kill();
            for_ms(down_ms).await;
            relay.start(disk).await.expect("a relay starts on what it finds");
        }
        Fault::Restart { site, down_ms } => {
            let mut relay = relays[site].lock().await;
            relay.end().await;
            for_ms(down_ms).await;
            relay.start(Disk::Same).await.expect("a relay starts on what it left");
        }
        Fault::Copy { site } => relays[site].lock().await.disk.keep_copy(),
        Fault::FlushFails { site, for_ms: down_ms } => {
            let mut relay = relays[site].lock().await;
            relay.disk.fail_flush();
            for_ms(down_ms).await;
            relay.kill();
            relay.start(Disk::Same).await.expect("a relay starts on a disk that works again");
        }
        Fault::DiskFull { site, for_ms: full_ms } => {
            let relay = relays[site].lock().await;
            relay.disk.set_free_bytes(0);
            for_ms(full_ms).await;
            relay.disk.set_free_bytes(u64::MAX);
        }
        Fault::Weather { from, to, weather, for_ms: bad_ms } => {
            let way = [relay::machine_of(from), relay::machine_of(to)];
            town.network.set(way[0], way[1], weather);
            for_ms(bad_ms).await;
            town.network.set(way[0], way[1], Weather::FAIR);
        }
        Fault::NodesWeather { site, weather, for_ms: bad_ms } => {
            let set = |weather| {
                for number in 0..=LAST_LOOK {
                    let (node, relay) = (nodes::machine_of(site, number), relay::machine_of(site));
                    town.network.set(node, relay, weather);
                    town.network.set(relay, node, weather);
                }
            };
            set(weather);
            for_ms(bad_ms).await;
            set(Weather::FAIR);
        }
        Fault::Clock { site, by_ms, fast_by, for_ms: wrong_ms } => {
            let clock = relays[site].lock().await.clock.clone();
            clock.disturb(by_ms, fast_by);
            for_ms(wrong_ms).await;
            clock.right();
        }
        Fault::Offline { site, peer, for_ms: off_ms } => {
            set_offline(relays, site, peer, true).await;
            for_ms(off_ms).await;
            set_offline(relays, site, peer, false).await;
        }
    }
    town.history.happened(Happening::Over(fault));
}

/// A relay that is down has nobody to be told; a start has all links online.
async fn set_offline(relays: &[Arc<Mutex<Relay>>], site: usize, peer: usize, offline: bool) {
    let relay = relays[site].lock().await;
    let Some(service) = relay.service() else { return };
    let links = service.links();
    let done = if offline { links.take_offline(site_name(peer)) } else { links.bring_online(site_name(peer)) };
    done.expect("the peer is configured");
}

/// Where the numbers of listeners and of the last look lie, so that they never meet.
const _: () = assert!(listeners::FIRST_NUMBER < LAST_LOOK);
