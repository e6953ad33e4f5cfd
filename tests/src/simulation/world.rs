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
    clock::EPOCH,
    dice::Dice,
    files::Files,
    history::{self, Entry, Happening, History},
    listeners::{Model, listen},
    mutation::Mutation,
    network::Network,
    nodes::{Town, work},
    plan::{CACHES, Disk, Listener, Plan, Planned},
    relay::Relay,
    scene::{LAST_LOOK, Looked, Scene},
};

/// In calm, all sites must list the same after so long.
const CALM: Duration = Duration::from_secs(240);
/// A listing may take so long.
const LISTING: Duration = Duration::from_secs(20);
/// Where a site is out, its nodes may take so long to find that out.
const WORK: Duration = Duration::from_secs(60);
/// Drift is looked for again after this, where some of it could not be.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

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
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Which sites there are: in the others' configurations.
    pub members: Vec<bool>,
    /// What each of these lists, cache by cache; `None` where it does not serve.
    pub listings: Vec<Option<Vec<Listing>>>,
    /// What each listener holds for true.
    pub models: Vec<Model>,
    /// The links that are not as they should be, in words.
    pub links: Vec<String>,
    /// What drift checks have found, in words.
    pub drift: Vec<String>,
}

impl End {
    /// What is listed by the sites that there are, by number.
    pub fn listed(&self) -> impl Iterator<Item = (usize, Option<&Vec<Listing>>)> {
        let members = self.members.iter().zip(&self.listings).enumerate();
        members.filter(|(_, (is_member, _))| **is_member).map(|(site, (_, listing))| (site, listing.as_ref()))
    }

    /// What the first of these lists.
    pub fn first(&self) -> Option<&Vec<Listing>> {
        self.listed().next().and_then(|(_, listing)| listing)
    }
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
    scene: Arc<Scene>,
}

impl World {
    fn new(plan: Plan, mutation: Option<Mutation>) -> Self {
        let mut dice = Dice::of(plan.seed ^ 0x5eed);
        let history = History::begin();
        let network = Network::new(dice.draw());
        let files = Arc::new(Files::of(&plan));
        let relay = |site| {
            let around = (history.clone(), network.clone());
            Arc::new(Mutex::new(Relay::new(site, &plan, around, files.clone(), dice.apart(), mutation)))
        };
        let relays = (0..plan.sites).map(relay).collect();
        let town = Town { network, history, files };
        Self { plan, dice, scene: Arc::new(Scene { town, relays, mutation }) }
    }

    async fn go(mut self) -> Run {
        let scene = self.scene.clone();
        let (town, mutation) = (&scene.town, scene.mutation);
        let mut tasks = JoinSet::new();
        tasks.spawn(town.network.clone().postman());
        for relay in &scene.relays {
            relay.lock().await.start(Disk::Same).await;
        }
        let mut workers = JoinSet::new();
        for (number, node) in self.plan.nodes.iter().enumerate() {
            let values = self.plan.bounds.value_bytes;
            workers.spawn(work(town.clone(), (number, values), node.clone(), self.dice.apart(), mutation));
        }
        let mut models = Vec::new();
        for (number, listener) in self.plan.listeners.iter().enumerate() {
            let (tell, model) = watch::channel(Model::new());
            models.push(model);
            tasks.spawn(listen(town.clone(), number, listener.clone(), self.dice.apart(), tell, mutation));
        }
        if self.plan.bounds.drift_check_every_ms.is_some() {
            tasks.spawn(scene.clone().watch_drift());
        }
        let mut faults = JoinSet::new();
        for Planned { at_ms, what } in self.plan.faults.clone() {
            let scene = scene.clone();
            faults.spawn(async move {
                sleep_until(scene.town.history.moment(at_ms)).await;
                scene.befall(what).await;
            });
        }
        sleep_until(town.history.moment(self.plan.calm_at_ms)).await;
        // Each fault mends itself; whatever is still bad then is mended here.
        while faults.join_next().await.is_some() {}
        scene.mend().await;
        town.history.happened(Happening::Calm);
        let members = scene.members().await;
        // Those of a site that is out wait for a relay that does not come.
        tokio::select! {
            biased;
            () = async { while workers.join_next().await.is_some() {} } => {}
            () = sleep(WORK), if members.contains(&false) => {}
        }
        let end = self.settle(members, &models).await;
        let history = town.history.taken();
        let run = Run { history, end, lasted_ms: town.history.now_ms(), datagrams: town.network.sent() };
        tasks.shutdown().await;
        for relay in &scene.relays {
            relay.lock().await.kill();
        }
        run
    }

    /// Until all sites list the same, all listeners hold that for true and no drift is found, or time is up.
    async fn settle(&mut self, members: Vec<bool>, models: &[watch::Receiver<Model>]) -> End {
        let scene = self.scene.clone();
        let until = Instant::now() + CALM;
        let mut lookers = Vec::new();
        for (site, is_member) in members.iter().enumerate() {
            lookers.push(match is_member {
                true => Some(scene.town.node(site, "looker", LAST_LOOK, &mut self.dice).await),
                false => None,
            });
        }
        loop {
            let mut listings = Vec::new();
            for looker in &lookers {
                listings.push(match looker {
                    Some(looker) => timeout(LISTING, list(looker)).await.ok().flatten(),
                    None => None,
                });
            }
            let now = Timestamp::from_millis(EPOCH.as_millis() + scene.town.history.now_ms());
            let lives = |deadline: Option<Timestamp>| deadline.is_none_or(|deadline| deadline > now);
            let models = models.iter().map(|model| {
                let held = model.borrow().clone().into_iter();
                held.filter(|(_, (.., deadline))| lives(*deadline)).collect()
            });
            let (members, models, links) = (members.clone(), models.collect(), scene.links().await);
            let mut end = End { members, listings, models, links, drift: Vec::new() };
            let late = Instant::now() >= until;
            let settled = self.is_settled(&end);
            // An operator has repaired what disks have lost; else there is nothing to repair.
            let repairs = self.plan.loses();
            if settled || late || repairs {
                let Looked { found, left_out } = scene.look_for_drift(repairs && !late).await;
                end.drift = found;
                let wrong = !end.drift.is_empty() && !repairs;
                if late || wrong || (settled && left_out.is_empty() && end.drift.is_empty()) {
                    end.links.extend(left_out);
                    return end;
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn is_settled(&self, end: &End) -> bool {
        let Some(first) = end.first() else { return false };
        let equal = end.listed().all(|(_, listing)| listing == Some(first));
        let told = |(listener, model): (&Listener, &Model)| {
            first[listener.cache] == *model || !end.members[listener.last_site()]
        };
        equal && end.links.is_empty() && self.plan.listeners.iter().zip(&end.models).all(told)
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
