//! What a world is made of, and what may happen in it. The [`super::scenarios`] are made of these.

use landbridge_protocol::{record::Merge, time::Millis};
use landbridge_relay::engine::guards::Guards;

/// What a world is made of, and how often what may happen in it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Sites.
    pub sites: usize,
    /// Keys.
    pub keys: usize,
    /// Batches in flight on a link.
    pub depth: usize,
    /// Records of a batch, and of a range of a reconcile.
    pub batch: usize,
    /// How records are merged.
    pub merge: Merge,
    /// Lifespan of entries; zero: they don't expire.
    pub lifespan: Millis,
    /// When others' changes are passed on.
    pub forward_after: Millis,
    /// Whether tombstones are forced out wherever that may be.
    pub forced: bool,
    /// Puts.
    pub writes: usize,
    /// Removals.
    pub removes: usize,
    /// Whether absent keys are removed too.
    pub absent: bool,
    /// Restarts.
    pub restarts: u8,
    /// Lost tails.
    pub tails: u8,
    /// Wiped stores.
    pub wipes: u8,
    /// Broken streams.
    pub breaks: u8,
    /// Isolations.
    pub isolations: u8,
    /// Passings of time.
    pub passes: u8,
    /// How much time passes.
    pub pass: Millis,
    /// Clears of the cache.
    pub clears: u8,
    /// Links cut, each one way.
    pub cuts: u8,
    /// The site at which the cache of the first key is local, and empty; that of the other key then replicates everywhere.
    pub local: Option<usize>,
    /// Reconfigurations by which it begins to replicate there.
    pub widenings: u8,
    /// The site that comes and goes.
    pub guest: Option<usize>,
    /// Whether it is there in the beginning.
    pub guest_is_there: bool,
    /// How often it is added: each other site takes it into its configuration, and then it starts.
    pub joins: u8,
    /// How often it is decommissioned, site by site.
    pub leaves: u8,
    /// Whether it comes back with what it had; else wiped.
    pub keeps_disk: bool,
    /// Times that a listener comes to a site, hears one event there or all, and is gone.
    pub listens: u8,
    /// Records that a log loses without a word.
    pub losses: u8,
    /// Drift checks at any moment, with a repair; where records are lost, there is one of each link at the end as well.
    pub checks: u8,
    /// Whether what is said of a forced drop flies until it is delivered, and may be lost.
    pub slow_words: bool,
    /// Whether the others must agree also without any one site, or any one link.
    pub one_dead: bool,
    /// What has happened already, as it prints: for what lies too deep to be searched from nothing.
    pub begin: &'static str,
    /// And then: for what without a rule breaks soon after.
    pub then: &'static str,
    /// The rules that hold.
    pub guards: Guards,
}

impl Scenario {
    /// So many sites, one key, `latest`, and nothing that may happen but what every relay does by itself.
    pub fn of(sites: usize) -> Self {
        Self {
            name: "",
            sites,
            keys: 1,
            depth: 1,
            batch: 1,
            merge: Merge::Latest,
            lifespan: Millis::ZERO,
            forward_after: Millis::ZERO,
            forced: false,
            writes: 0,
            removes: 0,
            absent: false,
            restarts: 0,
            tails: 0,
            wipes: 0,
            breaks: 0,
            isolations: 0,
            passes: 0,
            pass: Millis::from_secs(3),
            clears: 0,
            cuts: 0,
            local: None,
            widenings: 0,
            guest: None,
            guest_is_there: false,
            joins: 0,
            leaves: 0,
            keeps_disk: false,
            listens: 0,
            losses: 0,
            checks: 0,
            slow_words: false,
            one_dead: false,
            begin: "",
            then: "",
            guards: Guards::all(),
        }
    }

    /// Whether removals win.
    pub fn remove_wins(&self) -> bool {
        self.merge == Merge::RemoveWins
    }

    /// Whether relays are configured anew.
    pub fn changes(&self) -> bool {
        self.widenings > 0 || self.guest.is_some()
    }

    /// Whether anything waits for time: that another configuration holds, a peer is told when its heartbeat is refused.
    pub fn is_timed(&self) -> bool {
        self.lifespan > Millis::ZERO || self.forward_after > Millis::ZERO || self.changes()
    }
}
