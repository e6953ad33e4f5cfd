//! What a world is made of, and what may happen in it.

use landbridge_protocol::{record::Merge, time::Millis};
use landbridge_relay::engine::guards::{Guard, Guards};

use super::action::Action;

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
    /// Whether the others must agree also without any one site, or any one link.
    pub one_dead: bool,
    /// What has happened already: for what lies too deep to be searched from nothing.
    pub begin: &'static [Action],
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
            one_dead: false,
            begin: &[],
            guards: Guards::all(),
        }
    }

    /// Whether removals win.
    pub fn remove_wins(&self) -> bool {
        self.merge == Merge::RemoveWins
    }

    /// Whether anything waits for time.
    pub fn is_timed(&self) -> bool {
        self.lifespan > Millis::ZERO || self.forward_after > Millis::ZERO
    }
}

/// The scenarios, as those of the model.
pub fn scenarios() -> Vec<Scenario> {
    let base = Scenario { writes: 2, removes: 1, ..Scenario::of(2) };
    let two = || base.clone();
    let three = || Scenario { sites: 3, ..base.clone() };
    let wins = || Scenario { merge: Merge::RemoveWins, ..base.clone() };
    let wins3 = || Scenario { sites: 3, ..wins() };
    let mutual = |of: Scenario| Scenario { forced: true, isolations: 1, removes: 2, ..of };
    let forced = |of: Scenario| Scenario { forced: true, isolations: 1, ..of };
    let expiry = |of: Scenario| Scenario { lifespan: Millis::from_secs(2), passes: 2, pass: Millis::new(1_500), ..of };
    let late = |of: Scenario| Scenario { forward_after: Millis::from_secs(2), passes: 1, ..of };
    vec![
        Scenario { name: "two", depth: 2, writes: 3, removes: 2, breaks: 1, ..two() },
        Scenario { name: "two-small", ..two() },
        Scenario { name: "two-keys", keys: 2, depth: 2, writes: 3, ..two() },
        Scenario { name: "two-restart", depth: 2, restarts: 2, ..two() },
        Scenario { name: "two-tail", depth: 2, tails: 1, ..two() },
        Scenario { name: "two-tail-restart", tails: 1, restarts: 1, ..two() },
        Scenario { name: "two-tail-keys", keys: 2, tails: 1, ..two() },
        Scenario { name: "two-wipe", depth: 2, wipes: 2, ..two() },
        Scenario { name: "two-mutual", writes: 3, ..mutual(two()) },
        Scenario { name: "two-mutual-keys", keys: 2, ..mutual(two()) },
        Scenario { name: "two-mutual-tail", tails: 1, ..mutual(two()) },
        Scenario { name: "two-mutual-wipe", wipes: 1, ..mutual(two()) },
        Scenario { name: "two-unseen", keys: 2, wipes: 1, breaks: 1, absent: true, ..two() },
        Scenario { name: "wins", depth: 2, writes: 3, removes: 2, absent: true, ..wins() },
        Scenario { name: "wins-mutual", writes: 3, ..mutual(wins()) },
        Scenario { name: "wins-mutual-absent", absent: true, ..mutual(wins()) },
        Scenario { name: "wins-tail", removes: 2, tails: 1, absent: true, ..wins() },
        Scenario { name: "wins-anew", keys: 2, removes: 2, absent: true, ..forced(wins()) },
        Scenario { name: "expiry", ..forced(expiry(two())) },
        Scenario { name: "wins-expiry", writes: 3, ..expiry(wins()) },
        Scenario { name: "wins-expiry-forced", ..forced(expiry(wins())) },
        Scenario { name: "wins-expiry-keys", keys: 2, writes: 3, ..forced(expiry(wins())) },
        Scenario { name: "wins-expiry-outage", keys: 2, absent: true, begin: OUTAGE, ..forced(expiry(wins())) },
        Scenario { name: "three-gc", writes: 1, ..three() },
        Scenario { name: "three-dead", removes: 0, one_dead: true, ..three() },
        Scenario { name: "three-dead-late", removes: 0, one_dead: true, breaks: 1, ..late(three()) },
        Scenario { name: "three-dead-keys", keys: 2, writes: 3, removes: 0, one_dead: true, ..three() },
        Scenario { name: "three-break", writes: 1, breaks: 1, ..three() },
        Scenario { name: "three-late", writes: 1, breaks: 1, ..late(three()) },
        Scenario { name: "three-tail", writes: 1, tails: 1, ..three() },
        Scenario { name: "three-tail2", removes: 0, tails: 1, ..three() },
        Scenario { name: "three-wipe", writes: 1, wipes: 1, ..three() },
        Scenario { name: "three-forced", writes: 1, ..forced(three()) },
        Scenario { name: "three-forced2", ..forced(three()) },
        Scenario { name: "three-forced-absent", writes: 1, removes: 2, absent: true, ..forced(three()) },
        Scenario { name: "three-two-writes", ..three() },
        Scenario { name: "wins3", writes: 1, absent: true, ..wins3() },
        Scenario { name: "wins3-two", ..wins3() },
        Scenario { name: "wins3-forced", ..forced(wins3()) },
        Scenario { name: "wins3-forced-absent", writes: 1, removes: 2, absent: true, ..forced(wins3()) },
        Scenario { name: "wins3-known-to-one", writes: 1, removes: 2, begin: KNOWN_TO_ONE, ..forced(wins3()) },
        Scenario { name: "wins3-dropped-by-one", writes: 1, removes: 2, begin: DROPPED_BY_ONE, ..forced(wins3()) },
        Scenario { name: "three-known-to-one", writes: 1, removes: 2, begin: KNOWN_TO_ONE, ..forced(three()) },
        Scenario { name: "three-dropped-by-one", writes: 1, removes: 2, begin: DROPPED_BY_ONE, ..forced(three()) },
        Scenario {
            name: "three-dropped-wipe",
            writes: 1,
            removes: 2,
            wipes: 1,
            begin: DROPPED_BY_ONE,
            ..forced(three())
        },
        Scenario { name: "wins3-tail", writes: 1, tails: 1, ..wins3() },
    ]
}

/// The scenario of that name.
pub fn scenario(name: &str) -> Option<Scenario> {
    scenarios().into_iter().find(|scenario| scenario.name == name)
}

/// The second site removes an absent key, and the first hears of it and says so; then the third's put reaches the first
/// alone, and the third is isolated.
const KNOWN_TO_ONE: &[Action] = &[
    Action::Remove(1, 0),
    Action::Poll(1, 0),
    Action::Deliver(1, 0),
    Action::Poll(0, 1),
    Action::Deliver(0, 1),
    Action::Put(2, 0),
    Action::Poll(2, 0),
    Action::Deliver(2, 0),
    Action::Isolate(2),
];

/// The second site removes an absent key, and the first hears of it and says so; the third is isolated and puts, and the
/// second would let its tombstone go.
const DROPPED_BY_ONE: &[Action] = &[
    Action::Remove(1, 0),
    Action::Poll(1, 0),
    Action::Deliver(1, 0),
    Action::Poll(0, 1),
    Action::Deliver(0, 1),
    Action::Isolate(2),
    Action::Put(2, 0),
    Action::Housekeep(1),
];

/// Every rule, and the scenario that should show what breaks without it.
pub const MUTATIONS: &[(Guard, &str)] = &[
    (Guard::EagerVector, "two-keys"),
    (Guard::NoSuperseder, "three-dead-keys"),
    (Guard::AnyHandshake, "two"),
    (Guard::OutOfBand, "two"),
    (Guard::DropUnseen, "two-unseen"),
    (Guard::Unannounced, "wins3-dropped-by-one"),
    (Guard::Unagreed, "wins3-known-to-one"),
    (Guard::ContextUnseen, "wins-expiry-keys"),
    (Guard::NoInherit, "three-dropped-wipe"),
    (Guard::NoAnew, "three-forced2"),
    (Guard::WrittenAnew, "wins3-forced"),
    (Guard::AnewBirth, "wins-anew"),
    (Guard::NoGate, "two-mutual"),
    (Guard::NoMutual, "two-mutual"),
    (Guard::MergeCovered, "three-break"),
    (Guard::TombstoneCovered, "two"),
    (Guard::WrittenCursor, "two-tail-keys"),
    (Guard::NeedlessTaken, "wins3-dropped-by-one"),
    (Guard::NoClamp, "two-tail"),
    (Guard::NoZero, "two-wipe"),
    (Guard::KeepReport, "two-tail"),
    (Guard::FormerRun, "two-tail"),
    (Guard::JoinHandshake, "two"),
    (Guard::OwnOnly, "three-dead"),
    (Guard::OneCursor, "three-dead-late"),
    (Guard::ByVersion, "wins-mutual"),
    (Guard::TombstoneBirth, "wins"),
    (Guard::OrderVersion, "wins"),
    (Guard::MarkRemoved, "wins-expiry"),
    (Guard::FillOne, "three-dropped-wipe"),
    (Guard::NoClose, "two-unseen"),
    (Guard::MarkForced, "wins-expiry-outage"),
    (Guard::MarkEarly, "wins-expiry-outage"),
    (Guard::FreshBirth, "wins"),
];

/// An entry is known to both; then they are cut, and the second refreshes it.
const OUTAGE: &[Action] = &[
    Action::Put(0, 0),
    Action::Poll(0, 1),
    Action::Deliver(0, 1),
    Action::Poll(1, 0),
    Action::Deliver(1, 0),
    Action::Isolate(0),
    Action::Pass,
    Action::Put(1, 0),
];
