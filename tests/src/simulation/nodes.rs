//! Nodes: real clients on simulated machines, that do what the plan says and write down what they are answered.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use landbridge_client::{Client, Conditional, Error, RawCache};
use landbridge_protocol::{record::Key, version::Version};
use landbridge_relay::machine::Machine;
use tokio::time::sleep_until;

use super::{
    certificates::{directory, of_nodes, site_name},
    dice::Dice,
    files::Files,
    history::{Answer, Happening, History},
    machine::SimulatedMachine,
    mutation::{Careless, Mutation},
    network::Network,
    plan::{CACHES, Node, Operation, Planned, What},
    relay::address_of,
};

/// How long an operation may take.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);

/// A node that has nothing to do for longer is disconnected until then: in hours it would do nothing but say that it lives.
const IDLE_MS: u64 = 60_000;

/// Where nodes come from.
#[derive(Debug, Clone)]
pub struct Town {
    /// The network.
    pub network: Network,
    /// What happens.
    pub history: History,
    /// Certificates, of those that end.
    pub files: Arc<Files>,
}

/// The machine of a node, of those of its site.
pub fn machine_of(site: usize, number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, site as u8, 10 + number as u8).into()
}

impl Town {
    /// A node of a site, once it is connected.
    pub async fn node(&self, site: usize, name: &str, number: usize, dice: &mut Dice) -> Client {
        let machine = SimulatedMachine::new(self.network.clone(), machine_of(site, number), dice.apart(), None);
        loop {
            let endpoint = machine.dial_from(machine_of(site, number)).expect("a socket on the simulated network");
            let builder = Client::builder().site(site_name(site).as_str()).node(name).relay(address_of(site));
            let builder = match self.files.nodes(site) {
                Some([certificate, key]) => builder.identity_files(certificate, key, directory().join("ca.pem")),
                None => builder.identity(of_nodes()),
            };
            let builder = builder.timeout(OPERATION_TIMEOUT).simulated(endpoint, dice.draw());
            if let Ok(client) = builder.connect().await {
                return client;
            }
        }
    }
}

/// The key of a number.
pub fn key_of(number: u64) -> Key {
    Key::new(format!("k{number}")).expect("a key of a few bytes")
}

/// The name that a node has.
pub fn name_of(node: usize) -> String {
    format!("node{node}")
}

/// Does all that the node is to do, one after the other.
pub async fn work(
    town: Town,
    (node, value_bytes): (usize, usize),
    plan: Node,
    mut dice: Dice,
    mutation: Option<Mutation>,
) {
    let mut client = Some(town.node(plan.site, &name_of(node), node, &mut dice).await);
    let careless = match mutation {
        Some(Mutation::Node(careless)) => Some(careless),
        _ => None,
    };
    let (seen, first) = (BTreeMap::new(), BTreeMap::new());
    let history = town.history.clone();
    let mut worker = Worker { history, node, site: plan.site, value_bytes, seen, first, writes: 0, careless };
    for Planned { at_ms, what } in plan.operations {
        if at_ms > town.history.now_ms() + IDLE_MS {
            client = None;
        }
        sleep_until(town.history.moment(at_ms)).await;
        let connected = match client.take() {
            Some(client) => client,
            None => town.node(plan.site, &name_of(node), node, &mut dice).await,
        };
        worker.carry_out(what, connected.raw(CACHES[what.cache].0).expect("a cache's name")).await;
        client = Some(connected);
    }
}

struct Worker {
    history: History,
    node: usize,
    site: usize,
    value_bytes: usize,
    /// The versions that it saw last.
    seen: BTreeMap<(usize, u64), Version>,
    /// What it read of each key first; kept for a careless one alone.
    first: BTreeMap<(usize, u64), Answer>,
    writes: u64,
    careless: Option<Careless>,
}

impl Worker {
    async fn carry_out(&mut self, operation: Operation, mut written_to: RawCache) {
        let Operation { cache, key: number, what, lifespan_ms } = operation;
        self.writes += 1;
        let (number_of_write, width) = (self.writes, self.value_bytes);
        let value = Bytes::from(format!("{:<width$}", format!("{}.{number_of_write}", self.node)));
        let expected = matches!(what, What::ReplaceIfVersion | What::RemoveIfVersion);
        let expected = if expected { self.seen.get(&(cache, number)).copied() } else { None };
        let (node, site, entry) = (self.node, self.site, value.clone());
        self.history.happened(Happening::Asked { node, site, operation, value: entry, expected });
        if let Some(lifespan) = lifespan_ms {
            written_to = written_to.with_lifespan(Duration::from_millis(lifespan));
        }
        let done = match (self.careless, what) {
            (Some(Careless::Unconditional), What::PutIfAbsent | What::ReplaceIfVersion) => What::Put,
            (_, what) => what,
        };
        let answered = ask(&written_to, done, number, value, expected).await;
        let answer = answered.unwrap_or_else(|error| Answer::Unknown(error.to_string()));
        let answer = self.carelessly(what, (cache, number), answer);
        match &answer {
            Answer::Written(versions) => {
                for (number, version) in (number..).zip(versions) {
                    self.seen.insert((cache, number), *version);
                }
            }
            Answer::Failed(Some(version)) => drop(self.seen.insert((cache, number), *version)),
            Answer::Read(Some(entry)) => drop(self.seen.insert((cache, number), entry.version)),
            _ => {}
        }
        self.history.happened(Happening::Answered { node, answer });
    }
}

impl Worker {
    fn carelessly(&mut self, what: What, place: (usize, u64), answer: Answer) -> Answer {
        match (self.careless, what, &answer) {
            (Some(Careless::ReadsOld), What::Get, Answer::Read(_)) => self.first.entry(place).or_insert(answer).clone(),
            (Some(Careless::TakesForDone), What::Remove, Answer::Unknown(_)) => Answer::Gone,
            _ => answer,
        }
    }
}

async fn ask(
    cache: &RawCache,
    what: What,
    number: u64,
    value: Bytes,
    expected: Option<Version>,
) -> Result<Answer, Error> {
    let key = key_of(number);
    let of = |conditional: Conditional<Bytes>, done: fn(Version) -> Answer| match conditional {
        Conditional::Done(version) => done(version),
        Conditional::Failed(present) => Answer::Failed(present.map(|present| present.version)),
    };
    let written = |version| Answer::Written(vec![version]);
    Ok(match (what, expected) {
        (What::Get, _) => Answer::Read(cache.get_versioned(&key).await?),
        (What::Put, _) => written(cache.put(&key, value).await?),
        (What::PutIfAbsent, _) => of(cache.put_if_absent(&key, value).await?, written),
        (What::ReplaceIfVersion, Some(expected)) => of(cache.replace_if_version(&key, expected, value).await?, written),
        (What::RemoveIfVersion, Some(expected)) => of(cache.remove_if_version(&key, expected).await?, |_| Answer::Gone),
        (What::ReplaceIfVersion | What::RemoveIfVersion, None) => Answer::Nothing,
        (What::Remove, _) => {
            cache.remove(&key).await?;
            Answer::Gone
        }
        (What::PutAll(count), _) => {
            let entries = (0..count).map(|more| (key_of(number + more), value.clone()));
            Answer::Written(cache.put_all(entries).await?)
        }
        (What::Clear, _) => {
            cache.clear().await?;
            Answer::Gone
        }
    })
}
