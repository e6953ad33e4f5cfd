//! Sites and links, and what can happen to them. The shell around the engine, with every step at will.

mod wires;

use std::sync::Arc;

use bytes::Bytes;
use landbridge_protocol::{
    error::Refusal,
    frame::{
        ReceiverToSender, SenderToReceiver,
        node::{Operation, Write},
        peer,
    },
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, Record, WriteToken},
    time::{Millis, Timestamp},
    version::{RunId, Version},
};
use landbridge_relay::engine::{
    command::{Answer, Command, Decided},
    guards::Guards,
    link::{Sender, SenderInput, SenderOutput, State},
    replica::{CacheConfig, ReplicaConfig, Replicate},
    slot::{Rank, Slot},
};

use super::{
    link::{Flying, Link, Wire, sender_config},
    print::print,
    scenario::Scenario,
    site::Site,
};

/// When worlds begin.
pub const BEGINNING: Timestamp = Timestamp::from_millis(1_000_000);

/// Time that passes while a world settles, at once: less than the silence after which a link breaks.
pub const PASS: Millis = Millis::from_secs(5);
/// How often.
pub const PASSES: usize = 4;

/// A removal, as the checks see it.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Of which key.
    pub key: usize,
    /// Its tombstone.
    pub tombstone: Slot,
    /// V of its site just before, and the life that it ended.
    pub knew: landbridge_protocol::vector::Vector,
}

/// All sites and links. Cheap to clone: parts are shared until they change.
#[derive(Debug, Clone)]
pub struct World {
    /// What it runs by.
    pub scenario: Arc<Scenario>,
    /// The sites, by name.
    pub sites: Vec<Arc<Site>>,
    /// `links[from][to]`; none to itself.
    pub links: Vec<Vec<Option<Arc<Link>>>>,
    /// The time, at all sites.
    pub now: Timestamp,
    /// Pairs that can't reach each other.
    pub cut: Vec<(usize, usize)>,
    /// The version of each put so far, which its value names: the life that it truly belongs to.
    pub lives: Vec<Version>,
    /// Removals so far.
    pub removals: Vec<Removal>,
    /// The greatest expired entry of each key, in its order.
    pub ended: Vec<Option<Rank>>,
    /// A log that a site may fall back to: the site, its commits, and its print then.
    pub saved: Option<(usize, usize, u64)>,
    /// What of the scenario's bounds is used up.
    pub spent: Spent,
    /// Links whose senders would dial or send content, if polled.
    pub loud: Vec<(usize, usize)>,
    /// What must never happen, and did.
    pub fault: Option<String>,
}

/// How often something has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// Restarts with all commits.
    pub restarts: u8,
    /// Restarts without the last ones.
    pub tails: u8,
    /// Restarts with none.
    pub wipes: u8,
    /// Broken links.
    pub breaks: u8,
    /// Isolations of a site.
    pub isolations: u8,
    /// Passings of time.
    pub passes: u8,
}

/// The cache of the world.
pub fn cache() -> CacheName {
    CacheName::new("c").expect("a name")
}

/// The n-th key.
pub fn key(n: usize) -> Key {
    Key::new(vec![b'a' + n as u8]).expect("a key")
}

fn site_name(n: usize) -> SiteName {
    SiteName::new(["site1", "site2", "site3", "site4"][n]).expect("a name")
}

impl World {
    /// Fresh sites that have shaken hands.
    pub fn new(scenario: &Scenario) -> Self {
        let count = scenario.sites;
        let site = |n: usize| Arc::new(Site::new(config(scenario, n), n as u64 + 1, BEGINNING));
        let sender = |from: usize, to: usize| {
            let sender = Sender::new(site_name(to), sender_config(scenario.depth, scenario.batch), 1);
            (from != to).then(|| Arc::new(Link { sender, wire: Wire::default() }))
        };
        let mut world = Self {
            scenario: Arc::new(scenario.clone()),
            sites: (0..count).map(site).collect(),
            links: (0..count).map(|from| (0..count).map(|to| sender(from, to)).collect()).collect(),
            now: BEGINNING,
            cut: Vec::new(),
            lives: Vec::new(),
            removals: Vec::new(),
            ended: vec![None; scenario.keys],
            saved: None,
            spent: Spent::default(),
            loud: Vec::new(),
            fault: None,
        };
        world.exchange();
        world.hush();
        world
    }

    /// Pairs of sites with a link.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let count = self.sites.len();
        (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to).collect()
    }

    /// The link.
    pub fn link(&self, from: usize, to: usize) -> &Link {
        self.links[from][to].as_ref().expect("two different sites")
    }

    fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        Arc::make_mut(self.links[from][to].as_mut().expect("two different sites"))
    }

    /// Whether the two can't reach each other.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from.min(to), from.max(to)))
    }

    /// Gives a command to a site's writer.
    pub fn step(&mut self, site: usize, command: Command) -> Decided {
        let decided = Arc::make_mut(&mut self.sites[site]).step(command, self.now);
        if let Err(refusal) = &decided
            && !refusal.retryable
        {
            self.fault = Some(format!("REFUSED FOR GOOD at site {site}: {refusal}"));
        }
        decided
    }

    /// What a site holds of a key.
    pub fn slot(&self, site: usize, k: usize) -> Option<Slot> {
        self.sites[site].replica.slot(&cache(), &key(k))
    }

    /// The entry of a key that can be read.
    pub fn live(&self, site: usize, k: usize) -> Option<Slot> {
        self.sites[site].replica.live(&cache(), &key(k), self.now)
    }

    /// The record behind a slot.
    pub fn record(&self, site: usize, slot: &Slot) -> Record {
        use landbridge_relay::engine::header::Records;
        self.sites[site].log.record(slot.sequence).expect("what is held is in the log")
    }

    /// The write that truly began the life of an entry; under `latest`, the write whose value it has.
    pub fn life(&self, site: usize, slot: &Slot) -> Version {
        let value = self.record(site, slot).value;
        self.lives[usize::from(value[0])]
    }

    fn write(&mut self, site: usize, k: usize, operation: Operation, value: Bytes) -> Decided {
        let number = self.lives.len() as u64 * 100 + self.removals.len() as u64;
        let lifespan = (self.scenario.lifespan > Millis::ZERO).then_some(self.scenario.lifespan);
        let lifespan = lifespan.filter(|_| operation == Operation::Put);
        let token = WriteToken { client: ClientId(site as u64), number };
        let write = Write { lifespan, ..Write::new(operation, cache(), key(k), token, value) };
        self.step(site, Command::Write { node: NodeName::new("node11").expect("a name"), write })
    }

    /// A node puts.
    pub fn put(&mut self, site: usize, k: usize) {
        let life = self.live(site, k).filter(|_| self.scenario.remove_wins());
        let number = life.map_or(self.lives.len() as u8, |slot| self.record(site, &slot).value[0]);
        let decided = self.write(site, k, Operation::Put, Bytes::from(vec![number]));
        let Ok(Answer::Written(outcome)) = decided else { panic!("a put was refused: {decided:?}") };
        self.lives.push(outcome.version.expect("a put writes"));
    }

    /// A node removes.
    pub fn remove(&mut self, site: usize, k: usize) {
        let live = self.live(site, k);
        let mut knew = self.sites[site].replica.seen().clone();
        if let Some(life) = live.map(|slot| self.life(site, &slot)) {
            knew.raise(life.origin, life.clock);
        }
        let decided = self.write(site, k, Operation::Remove, Bytes::new());
        let Ok(Answer::Written(_)) = decided else { panic!("a removal was refused: {decided:?}") };
        let mut tombstone = self.slot(site, k).expect("a removal leaves a tombstone");
        let life = live.filter(|_| self.scenario.remove_wins());
        tombstone.birth = life.map_or(tombstone.version, |slot| slot.birth);
        let bit = 1 << self.removals.len();
        self.removals.push(Removal { key: k, tombstone, knew });
        Arc::make_mut(&mut self.sites[site]).learn(bit);
    }

    /// What is owed to time.
    pub fn housekeep(&mut self, site: usize) {
        let decided = self.step(site, Command::Housekeep);
        if let Err(refusal) = decided {
            self.fault = Some(format!("HOUSEKEEPING REFUSED at site {site}: {refusal}"));
        }
    }

    /// Time goes on at all sites.
    pub fn pass(&mut self, span: Millis) {
        self.now = self.now.after(span);
        for site in 0..self.sites.len() {
            for k in 0..self.scenario.keys {
                let overdue = self.slot(site, k).filter(|slot| slot.is_overdue(self.now));
                let rank = overdue.map(|slot| slot.rank(self.scenario.merge, Guards::all()));
                self.ended[k] = self.ended[k].max(rank);
            }
        }
    }

    /// Polls all senders for what is quiet: what they read and don't send, commands, heartbeats. So that what is left to
    /// be polled for at some time is content, and handshakes.
    pub fn hush(&mut self) {
        for _ in 0..2 {
            self.loud.clear();
            for (from, to) in self.pairs() {
                let mut polled = self.clone();
                if polled.poll(from, to) {
                    self.loud.push((from, to));
                } else {
                    let loud = std::mem::take(&mut self.loud);
                    *self = Self { loud, ..polled };
                }
            }
        }
    }

    /// The stream breaks; what flew is gone.
    pub fn break_link(&mut self, from: usize, to: usize) {
        self.close_wire(from, to);
        self.handle(from, to, SenderInput::Lost("broken".into()));
        self.drain(from, to);
    }

    /// Carries out what a sender that is not streaming has to say to its writer.
    fn drain(&mut self, from: usize, to: usize) {
        while !matches!(self.link(from, to).sender.state(), State::Connecting { .. }) {
            let Some(output) = self.ask(from, to, self.now) else { break };
            if self.carry_out(from, to, output) {
                break;
            }
        }
    }

    /// Cuts two sites from each other.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut.push((one.min(other), one.max(other)));
        self.break_link(one, other);
        self.break_link(other, one);
    }

    /// All sites can reach each other again.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// A run ends by kill -9, and the next begins on the first `commits` of its log. What it had sent may still be taken.
    pub fn restart(&mut self, site: usize, commits: usize) {
        // The wall clock does not go back with a store, nor does it stand still while a relay starts.
        self.pass(Millis::new(1));
        let now = self.now;
        Arc::make_mut(&mut self.sites[site]).restart(commits, now);
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            let config = sender_config(self.scenario.depth, self.scenario.batch);
            let link = self.link_mut(site, other);
            link.sender = Sender::new(site_name(other), config, 1);
            link.wire.open = false;
            link.wire.back.clear();
            // The others' streams to it break.
            self.link_mut(other, site).wire = Wire::default();
            self.handle(other, site, SenderInput::Lost("the peer restarts".into()));
            self.drain(other, site);
        }
    }

    /// One round of what happens by itself at this time.
    pub fn round(&mut self) {
        for (from, to) in self.pairs() {
            self.poll(from, to);
            while !self.link(from, to).wire.there.is_empty() {
                self.deliver(from, to);
            }
        }
        for site in 0..self.sites.len() {
            self.housekeep(site);
        }
    }

    /// Everything is sent and taken, again and again, until nothing more happens at this time.
    pub fn exchange(&mut self) {
        for _ in 0..1_000 {
            let before = print(self, 0);
            self.round();
            if print(self, 0) == before {
                return;
            }
        }
        self.fault = Some("NO QUIESCENCE".into());
    }

    /// All are linked again, time goes on, and everything that may happen by itself has happened.
    pub fn settle(&mut self) {
        self.mend();
        self.exchange();
        for _ in 0..PASSES {
            self.pass(PASS);
            self.exchange();
        }
    }
}

fn config(scenario: &Scenario, n: usize) -> ReplicaConfig {
    let cache_config =
        CacheConfig { merge: scenario.merge, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
    ReplicaConfig {
        site: site_name(n),
        peers: (0..scenario.sites).filter(|other| *other != n).map(site_name).collect(),
        caches: [(cache(), cache_config)].into(),
        max_clock_skew: Millis::from_secs(1),
        tombstone_min_age: Millis::ZERO,
        tombstone_max_age: Millis::from_secs(1_000_000),
        max_tombstones: if scenario.forced { 0 } else { 1_000 },
        max_runs: 1_000,
        forward_after: scenario.forward_after,
        fill_wait: Millis::from_secs(1_000),
        guards: scenario.guards,
    }
}
