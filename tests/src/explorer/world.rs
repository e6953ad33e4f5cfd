//! Sites and links, and what can happen to them. The shell around the engine, with every step at will.

mod drift;
mod guest;
mod listening;
mod quiet;
mod wires;

use std::rc::Rc;

use bytes::Bytes;
use landbridge_protocol::{
    error::Refusal,
    frame::{
        PROTOCOL_VERSION, ReceiverToSender, SenderToReceiver,
        node::{Operation, Write},
        peer,
    },
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, Key, Record, WriteToken},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use landbridge_relay::engine::{
    command::{Answer, Command, Decided},
    guards::{Guard, Guards},
    link::{DriftAnswer, Sender, SenderInput, SenderOutput, State},
    replica::{CacheConfig, ReplicaConfig, Replicate},
    slot::Slot,
};

use super::{
    known::{Known, Removal},
    link::{Flying, Link, Wire, sender_config},
    listener::Listener,
    pairs::{Pairs, pairs},
    part::Part,
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

/// All sites and links. Cheap to clone: parts are shared until they change.
#[derive(Debug, Clone)]
pub struct World {
    /// What it runs by.
    pub scenario: Rc<Scenario>,
    /// The sites, by name.
    pub sites: Vec<Part<Site>>,
    /// The links, in the order of [`World::pairs`].
    pub links: Vec<Part<Link>>,
    /// The time, at all sites.
    pub now: Timestamp,
    /// Who can't reach whom.
    pub cut: Pairs,
    /// Whose relays run, one bit each.
    pub running: u8,
    /// What the checks know.
    pub known: Rc<Known>,
    /// A log that a site may fall back to: the site, its commits, and its print then.
    pub saved: Option<(usize, usize, u64)>,
    /// Who listens.
    pub listener: Rc<Listener>,
    /// What of the scenario's bounds is used up.
    pub spent: Spent,
    /// Links whose senders would dial or send content, if polled.
    pub loud: Pairs,
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
    /// Clears of the cache.
    pub clears: u8,
    /// Links cut, one way.
    pub cuts: u8,
    /// Reconfigurations.
    pub widenings: u8,
    /// Times that the guest has started.
    pub joins: u8,
    /// Times that it was taken out of the last configuration.
    pub leaves: u8,
    /// Times that the listener has come to a site.
    pub listens: u8,
    /// Records that a log has lost.
    pub losses: u8,
    /// Drift checks.
    pub checks: u8,
}

/// The cache of the world.
pub fn cache() -> CacheName {
    CacheName::new("c").expect("a name")
}

/// The cache of the second key, where that of the first is local at some site.
fn everywhere() -> CacheName {
    CacheName::new("d").expect("a name")
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
        let site = |n: usize| Part::new(Site::new(config(scenario, n), n as u64 + 1, BEGINNING));
        let link = |(_, to): (usize, usize)| {
            let sender = Sender::new(site_name(to), sender_config(scenario.depth, scenario.batch), 1);
            Part::new(Link { sender, wire: Wire::default() })
        };
        let mut world = Self {
            scenario: Rc::new(scenario.clone()),
            sites: (0..count).map(site).collect(),
            links: pairs(count).map(link).collect(),
            now: BEGINNING,
            cut: Pairs::default(),
            running: (0..count).filter(|n| is_there(scenario, *n)).fold(0, |running, n| running | 1 << n),
            known: Rc::new(Known { ended: vec![None; scenario.keys], ..Known::default() }),
            saved: None,
            listener: Rc::new(Listener::new(scenario.keys)),
            spent: Spent::default(),
            loud: Pairs::default(),
            fault: None,
        };
        world.exchange();
        world.hush(None);
        world
    }

    /// Pairs of sites with a link.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        pairs(self.sites.len())
    }

    fn number(&self, from: usize, to: usize) -> usize {
        from * (self.sites.len() - 1) + to - usize::from(to > from)
    }

    /// The link.
    pub fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[self.number(from, to)]
    }

    fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        let number = self.number(from, to);
        self.links[number].change()
    }

    /// Whether the one can't reach the other.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(from, to) || !self.are_linked(from, to)
    }

    /// Gives a command to a site's writer.
    pub fn step(&mut self, site: usize, command: Command) -> Decided {
        let decided = self.sites[site].change().step(command, self.now);
        if let Err(refusal) = &decided
            && !refusal.retryable
        {
            self.fault = Some(format!("REFUSED FOR GOOD at site {site}: {refusal}"));
        }
        decided
    }

    /// The cache in which a key lies.
    fn cache_of(&self, k: usize) -> CacheName {
        if self.scenario.local.is_some() && k > 0 { everywhere() } else { cache() }
    }

    /// Whether the key's cache replicates at this site.
    pub fn shares(&self, site: usize, k: usize) -> bool {
        let config = self.sites[site].replica.config();
        config.caches.get(&self.cache_of(k)).is_some_and(|cache| cache.replicate == Replicate::Async)
    }

    /// What V says of a key's cache at a site.
    fn seen_of(&self, site: usize, k: usize) -> Vector {
        self.sites[site].replica.published().seen_of(&self.cache_of(k)).into_owned()
    }

    /// What a site holds of a key.
    pub fn slot(&self, site: usize, k: usize) -> Option<Slot> {
        self.sites[site].replica.slot(&self.cache_of(k), &key(k))
    }

    /// The entry of a key that can be read.
    pub fn live(&self, site: usize, k: usize) -> Option<Slot> {
        self.sites[site].replica.live(&self.cache_of(k), &key(k), self.now)
    }

    /// The record behind a slot.
    pub fn record(&self, site: usize, slot: &Slot) -> Record {
        use landbridge_relay::engine::header::Records;
        self.sites[site].log.record(slot.sequence).expect("what is held is in the log")
    }

    /// The write that truly began the life of an entry; under `latest`, the write whose value it has. Values name it.
    pub fn life(&self, site: usize, slot: &Slot) -> Version {
        life_of(&self.record(site, slot).value)
    }

    fn token(&self, site: usize) -> WriteToken {
        let number = self.known.puts as u64 * 100 + self.known.removals.len() as u64;
        WriteToken { client: ClientId(site as u64), number }
    }

    fn write(&mut self, site: usize, k: usize, operation: Operation, value: Bytes) -> Decided {
        let token = self.token(site);
        let lifespan = (self.scenario.lifespan > Millis::ZERO).then_some(self.scenario.lifespan);
        let lifespan = lifespan.filter(|_| operation == Operation::Put);
        let write = Write { lifespan, ..Write::new(operation, self.cache_of(k), key(k), token, value) };
        self.step(site, Command::Write { node: NodeName::new("node11").expect("a name"), write })
    }

    /// A node puts.
    pub fn put(&mut self, site: usize, k: usize) {
        let life = self.live(site, k).filter(|_| self.scenario.remove_wins());
        let replica = &self.sites[site].replica;
        let clock = replica.clock().next(self.now).expect("clocks have no end here");
        let next = Version { clock, origin: replica.origin() };
        let value = life.map_or_else(|| value_of(&next), |slot| self.record(site, &slot).value);
        let decided = self.write(site, k, Operation::Put, value);
        let Ok(Answer::Written(outcome)) = decided else { panic!("a put was refused: {decided:?}") };
        assert_eq!(outcome.version, Some(next), "the value names the write");
        Rc::make_mut(&mut self.known).puts += 1;
    }

    /// A node removes.
    pub fn remove(&mut self, site: usize, k: usize) {
        let live = self.live(site, k);
        // Where a log has lost something V says more than a node can know.
        let mut knew = if self.spent.losses == 0 { self.seen_of(site, k) } else { Vector::new() };
        if let Some(life) = live.map(|slot| self.life(site, &slot)) {
            knew.raise(life.origin, life.clock);
        }
        let decided = self.write(site, k, Operation::Remove, Bytes::new());
        let Ok(Answer::Written(_)) = decided else { panic!("a removal was refused: {decided:?}") };
        let mut tombstone = self.slot(site, k).expect("a removal leaves a tombstone");
        let life = live.filter(|_| self.scenario.remove_wins());
        tombstone.birth = life.map_or(tombstone.version, |slot| slot.birth);
        self.note(site, Removal { key: Some(k), tombstone, knew });
    }

    /// A node clears the cache.
    pub fn clear(&mut self, site: usize) {
        let mut knew = self.sites[site].replica.seen().clone();
        for life in (0..self.scenario.keys).filter_map(|k| Some(self.life(site, &self.live(site, k)?))) {
            knew.raise(life.origin, life.clock);
        }
        let (node, token) = (NodeName::new("node11").expect("a name"), self.token(site));
        let decided = self.step(site, Command::Clear { node, cache: cache(), token, retry: None });
        let Ok(Answer::Written(_)) = decided else { panic!("a clear was refused: {decided:?}") };
        let tombstone = self.sites[site].replica.clear_of(&cache()).expect("a clear leaves a floor");
        self.note(site, Removal { key: None, tombstone, knew });
    }

    fn note(&mut self, site: usize, removal: Removal) {
        let known = Rc::make_mut(&mut self.known);
        known.removals.push(removal);
        let bit = 1 << (known.removals.len() - 1);
        self.sites[site].change().learn(bit);
    }

    /// The cache that was local begins to replicate.
    pub fn widen(&mut self, site: usize) {
        let mut config = self.sites[site].replica.config().clone();
        config.caches.entry(cache()).and_modify(|cache| cache.replicate = Replicate::Async);
        self.reconfigure(site, config);
    }

    /// What is owed to time; tells whether there was anything.
    pub fn housekeep(&mut self, site: usize) -> bool {
        if self.sites[site].is_idle(self.now) {
            return false;
        }
        let before = self.sites[site].clone();
        let decided = self.step(site, Command::Housekeep);
        if let Err(refusal) = decided {
            self.fault = Some(format!("HOUSEKEEPING REFUSED at site {site}: {refusal}"));
        }
        let changed = self.sites[site].print() != before.print();
        if !changed {
            before.idles(self.now);
            self.sites[site] = before;
        }
        changed
    }

    /// Time goes on at all sites.
    pub fn pass(&mut self, span: Millis) {
        self.now = self.now.after(span);
        for site in 0..self.sites.len() {
            for k in 0..self.scenario.keys {
                let overdue = self.slot(site, k).filter(|slot| slot.is_overdue(self.now));
                let rank = overdue.map(|slot| slot.rank(self.scenario.merge, Guards::all()));
                if rank > self.known.ended[k] {
                    Rc::make_mut(&mut self.known).ended[k] = rank;
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
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// The one can't reach the other any more.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.set(from, to, true);
        self.break_link(from, to);
    }

    /// All sites can reach each other again.
    pub fn mend(&mut self) {
        self.cut = Pairs::default();
    }

    /// A run ends by kill -9, and the next begins on the first `commits` of its log. What it had sent may still be taken.
    pub fn restart(&mut self, site: usize, commits: usize) {
        // The wall clock does not go back with a store, nor does it stand still while a relay starts.
        self.pass(Millis::new(1));
        let now = self.now;
        self.sites[site].change().restart(commits, now);
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
        for (from, to) in self.pairs().filter(|(from, to)| self.are_linked(*from, *to)).collect::<Vec<_>>() {
            self.poll(from, to);
            while !self.link(from, to).wire.there.is_empty() {
                self.deliver(from, to);
            }
            while self.hear(from, to) {}
        }
        for site in (0..self.sites.len()).filter(|site| self.runs(*site)).collect::<Vec<_>>() {
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

fn value_of(life: &Version) -> Bytes {
    let origin = life.origin;
    [life.clock.bits().to_be_bytes().as_slice(), &origin.run.0.to_be_bytes(), origin.site.as_str().as_bytes()]
        .concat()
        .into()
}

fn life_of(value: &[u8]) -> Version {
    let word = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    let site = std::str::from_utf8(&value[16..]).ok().and_then(|name| SiteName::new(name).ok()).expect("a site");
    Version { clock: Clock::from_bits(word(0)), origin: Origin { site, run: RunId(word(8)) } }
}

/// Whether a site is there in the beginning.
fn is_there(scenario: &Scenario, n: usize) -> bool {
    scenario.guest != Some(n) || scenario.guest_is_there
}

fn config(scenario: &Scenario, n: usize) -> ReplicaConfig {
    let of = |replicate| CacheConfig { merge: scenario.merge, replicate, lifespan: None, max_entry_bytes: 1 << 20 };
    let first = if scenario.local == Some(n) { Replicate::Local } else { Replicate::Async };
    let second = scenario.local.map(|_| (everywhere(), of(Replicate::Async)));
    ReplicaConfig {
        site: site_name(n),
        peers: (0..scenario.sites).filter(|other| *other != n && is_there(scenario, *other)).map(site_name).collect(),
        former_sites: Default::default(),
        caches: second.into_iter().chain([(cache(), of(first))]).collect(),
        max_clock_skew: Millis::from_secs(1),
        tombstone_min_age: Millis::ZERO,
        tombstone_max_age: Millis::from_secs(1_000_000),
        max_tombstones: if scenario.forced { 0 } else { 1_000 },
        max_runs: 1_000,
        reconcile_keys: scenario.batch,
        forward_after: scenario.forward_after,
        fill_wait: Millis::from_secs(1_000),
        guards: scenario.guards,
    }
}
