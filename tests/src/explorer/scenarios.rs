//! What is searched, and in which of it each rule shows.

use landbridge_protocol::{record::Merge, time::Millis};
use landbridge_relay::engine::guards::{Guard, Guards};

use super::scenario::Scenario;

/// The scenarios: first those of the model, then what it leaves out.
pub fn scenarios() -> Vec<Scenario> {
    let base = Scenario { writes: 2, removes: 1, ..Scenario::of(2) };
    let two = || base.clone();
    let three = || Scenario { sites: 3, ..base.clone() };
    let wins = || Scenario { merge: Merge::RemoveWins, ..base.clone() };
    let wins3 = || Scenario { sites: 3, ..wins() };
    let four = || Scenario { sites: 4, ..base.clone() };
    let four_writes = |of: Scenario| Scenario { keys: 2, writes: 4, forced: true, isolations: 1, ..of };
    let words = |of: Scenario| {
        let slow = Scenario { slow_words: true, breaks: 1, passes: 2, pass: Millis::from_secs(6), ..of };
        Scenario { forced: true, isolations: 1, ..slow }
    };
    let mutual = |of: Scenario| Scenario { forced: true, isolations: 1, removes: 2, ..of };
    let mutual_again = |of: Scenario| Scenario { isolations: 2, ..mutual(of) };
    let forced = |of: Scenario| Scenario { forced: true, isolations: 1, ..of };
    let expiry = |of: Scenario| Scenario { lifespan: Millis::from_secs(2), passes: 2, pass: Millis::new(1_500), ..of };
    let comes = |of: Scenario| Scenario { guest: Some(2), joins: 1, ..of };
    let goes = |of: Scenario| Scenario { guest: Some(2), guest_is_there: true, leaves: 1, ..of };
    let hears = |of: Scenario| Scenario { listens: 3, ..of };
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
        // Two wipes, and two forced drops: both at one site, one at each, or as it comes.
        Scenario { name: "two-mutual-wipes", wipes: 2, ..mutual(two()) },
        Scenario { name: "two-wipes-drops-at-one", wipes: 2, writes: 3, begin: DROPPED_TWICE, ..mutual(two()) },
        Scenario { name: "two-wipes-drops-at-both", wipes: 2, begin: BOTH_DROPPED, ..mutual(two()) },
        Scenario { name: "wins-mutual-wipes", wipes: 2, ..mutual(wins()) },
        Scenario { name: "wins-wipes-drops-at-one", wipes: 2, writes: 3, begin: DROPPED_TWICE, ..mutual(wins()) },
        Scenario { name: "wins-wipes-drops-at-both", wipes: 2, begin: BOTH_DROPPED, ..mutual(wins()) },
        Scenario { name: "two-wipes-drop-wipe", wipes: 2, begin: DROPPED_WIPED, ..mutual_again(two()) },
        Scenario { name: "two-wipes-wipe-drop", wipes: 2, begin: WIPED_DROPPED, ..mutual_again(two()) },
        Scenario { name: "wins-wipes-drop-wipe", wipes: 2, begin: DROPPED_WIPED, ..mutual_again(wins()) },
        Scenario { name: "wins-wipes-wipe-drop", wipes: 2, begin: WIPED_DROPPED, ..mutual_again(wins()) },
        Scenario { name: "three-dropped-wipes", wipes: 2, removes: 2, begin: DROPPED_BY_ONE, ..forced(three()) },
        Scenario { name: "wins3-tail", writes: 1, tails: 1, ..wins3() },
        // Records that are lost without a word, and drift checks at any moment.
        Scenario { name: "drift", losses: 1, checks: 1, ..two() },
        Scenario { name: "drift-keys", keys: 2, batch: 4, losses: 1, checks: 1, ..two() },
        Scenario { name: "drift-wins", removes: 2, losses: 1, checks: 1, ..wins() },
        Scenario { name: "drift-clear", clears: 1, losses: 1, checks: 1, ..two() },
        Scenario { name: "drift-checks", checks: 2, breaks: 1, restarts: 1, ..two() },
        Scenario { name: "drift-forced", removes: 2, checks: 2, ..forced(two()) },
        Scenario { name: "drift-dropped", removes: 1, checks: 2, begin: GONE, ..forced(two()) },
        Scenario { name: "drift-three", writes: 1, losses: 1, checks: 1, ..three() },
        Scenario { name: "drift-wins3", writes: 1, losses: 1, checks: 1, ..wins3() },
        Scenario { name: "drift-three-forced", writes: 1, checks: 2, ..forced(three()) },
        // Clears.
        Scenario { name: "clear", writes: 2, clears: 2, ..two() },
        Scenario { name: "clear-keys", keys: 2, clears: 1, ..two() },
        Scenario { name: "clear-forced", clears: 1, absent: true, ..forced(two()) },
        Scenario { name: "clear-forced-keys", keys: 2, clears: 1, absent: true, ..forced(two()) },
        Scenario { name: "wins-clear", writes: 2, clears: 2, ..wins() },
        Scenario { name: "wins-clear-forced", clears: 1, absent: true, ..forced(wins()) },
        Scenario { name: "wins-clear-forced-keys", keys: 2, clears: 1, absent: true, ..forced(wins()) },
        Scenario { name: "wins-clear-tail", removes: 0, clears: 1, tails: 1, ..wins() },
        Scenario { name: "wins-clear-expiry-keys", keys: 2, writes: 3, clears: 1, ..expiry(wins()) },
        Scenario { name: "wins-clear-expiry-keys-forced", keys: 2, clears: 1, absent: true, ..forced(expiry(wins())) },
        Scenario { name: "wins-clear-expiry-outage", keys: 2, clears: 1, begin: OUTAGE, ..forced(expiry(wins())) },
        Scenario { name: "three-clear", writes: 1, removes: 0, clears: 1, isolations: 1, ..three() },
        Scenario { name: "wins3-clear", writes: 1, removes: 0, clears: 1, isolations: 1, ..wins3() },
        Scenario { name: "wins3-clear-forced", writes: 1, clears: 1, absent: true, ..forced(wins3()) },
        // A reconcile that breaks between any two of its ranges, in either direction.
        Scenario { name: "reconcile-cut", begin: LEFT_OUT, breaks: 2, ..four_writes(two()) },
        Scenario { name: "wins-reconcile-cut", begin: LEFT_OUT, breaks: 2, ..four_writes(wins()) },
        Scenario { name: "reconcile-cut-mutual", begin: BOTH_LEFT_OUT, breaks: 2, removes: 3, ..four_writes(two()) },
        Scenario {
            name: "wins-reconcile-cut-mutual",
            begin: BOTH_LEFT_OUT,
            breaks: 2,
            removes: 3,
            ..four_writes(wins())
        },
        Scenario { name: "reconcile-cut-kill", begin: BOTH_LEFT_OUT, restarts: 2, ..four_writes(two()) },
        Scenario { name: "reconcile-cut-clear", begin: LEFT_OUT, breaks: 1, clears: 1, ..four_writes(two()) },
        Scenario { name: "three-reconcile-cut", begin: ONE_OF_THREE_LEFT_OUT, breaks: 1, ..four_writes(three()) },
        Scenario { name: "wins3-reconcile-cut", begin: ONE_OF_THREE_LEFT_OUT, breaks: 1, ..four_writes(wins3()) },
        // G announced by words that are late, or lost.
        Scenario { name: "three-words", begin: DROPPED_BY_ONE, writes: 1, ..words(three()) },
        Scenario { name: "three-words-write", begin: DROPPED_BY_ONE, ..words(three()) },
        Scenario { name: "wins3-words", begin: DROPPED_BY_ONE, writes: 1, removes: 2, ..words(wins3()) },
        Scenario { name: "wins3-words-known", begin: KNOWN_TO_ONE, writes: 1, ..words(wins3()) },
        Scenario { name: "three-words-wipe", begin: DROPPED_BY_ONE, writes: 1, wipes: 1, ..words(three()) },
        // Links cut in any pattern, each one way.
        Scenario { name: "three-cuts", writes: 1, removes: 0, cuts: 3, ..three() },
        Scenario { name: "three-cuts-remove", writes: 1, cuts: 2, ..three() },
        Scenario { name: "three-cuts-late", writes: 1, cuts: 2, ..late(three()) },
        Scenario { name: "three-cuts-forced", writes: 1, cuts: 4, forced: true, ..three() },
        Scenario { name: "three-cuts-tail", writes: 1, removes: 0, cuts: 2, tails: 1, ..three() },
        Scenario { name: "three-cuts-wipe", writes: 1, removes: 0, cuts: 2, wipes: 1, ..three() },
        Scenario { name: "wins3-cuts", writes: 1, cuts: 2, absent: true, ..wins3() },
        // A cache that is local at one site; it may begin to replicate there.
        Scenario { name: "three-local", local: Some(2), keys: 2, ..three() },
        Scenario { name: "three-local-cuts", local: Some(2), writes: 2, cuts: 2, ..three() },
        Scenario { name: "three-local-late", local: Some(2), keys: 2, breaks: 1, ..late(three()) },
        Scenario { name: "three-local-forced", local: Some(2), ..forced(three()) },
        Scenario { name: "three-local-tail", local: Some(2), tails: 1, ..three() },
        Scenario { name: "three-widened", local: Some(2), widenings: 1, breaks: 1, ..three() },
        Scenario { name: "three-widened-first", local: Some(0), widenings: 1, breaks: 1, ..three() },
        Scenario { name: "three-widened-cuts", local: Some(2), widenings: 1, cuts: 2, ..three() },
        Scenario { name: "three-widened-late", local: Some(2), keys: 2, widenings: 1, breaks: 1, ..late(three()) },
        // A site that is added, is decommissioned, and comes back.
        Scenario { name: "site-added", ..comes(three()) },
        Scenario { name: "site-added-first", guest: Some(0), ..comes(three()) },
        Scenario { name: "site-added-keys", keys: 2, batch: 1, writes: 3, ..comes(three()) },
        Scenario { name: "site-added-break", writes: 1, breaks: 2, ..comes(three()) },
        Scenario { name: "site-added-restart", restarts: 1, ..comes(three()) },
        Scenario { name: "site-added-tail", tails: 1, ..comes(three()) },
        Scenario { name: "site-added-wipe", writes: 1, wipes: 1, ..comes(three()) },
        Scenario { name: "site-added-late", breaks: 1, ..comes(late(three())) },
        Scenario { name: "site-added-clear", clears: 1, ..comes(three()) },
        Scenario { name: "site-added-dropped", keys: 2, writes: 3, removes: 2, begin: GONE, ..comes(forced(three())) },
        Scenario { name: "site-added-forced", removes: 2, ..comes(forced(three())) },
        Scenario { name: "wins-site-added", absent: true, ..comes(wins3()) },
        Scenario { name: "wins-site-added-forced", removes: 2, ..comes(forced(wins3())) },
        Scenario { name: "site-removed", ..goes(three()) },
        Scenario { name: "site-removed-first", guest: Some(0), ..goes(three()) },
        Scenario { name: "site-removed-cut", isolations: 1, ..goes(three()) },
        Scenario { name: "site-removed-cuts", cuts: 2, ..goes(three()) },
        Scenario { name: "site-removed-late", ..goes(late(three())) },
        Scenario { name: "site-removed-restart", restarts: 1, ..goes(three()) },
        Scenario { name: "site-removed-tail", tails: 1, ..goes(three()) },
        Scenario { name: "site-removed-forced", ..goes(forced(three())) },
        Scenario { name: "wins-site-removed", absent: true, ..goes(wins3()) },
        Scenario { name: "site-removed-half-told", begin: HALF_TOLD, ..goes(three()) },
        Scenario { name: "site-removed-half-known", begin: HALF_KNOWN, removes: 2, ..goes(three()) },
        Scenario { name: "wins-site-removed-half-told", begin: HALF_TOLD, ..goes(wins3()) },
        Scenario { name: "wins-site-removed-half-known", begin: HALF_KNOWN, removes: 2, ..goes(wins3()) },
        Scenario { name: "site-returns", joins: 1, ..goes(three()) },
        Scenario { name: "site-returns-first", guest: Some(0), joins: 1, ..goes(three()) },
        Scenario { name: "site-returns-cut", joins: 1, isolations: 1, ..goes(three()) },
        Scenario { name: "wins-site-returns", joins: 1, absent: true, ..goes(wins3()) },
        Scenario { name: "site-returns-half-told", joins: 1, begin: LEFT_HALF_TOLD, ..goes(three()) },
        Scenario { name: "site-returns-half-known", joins: 1, begin: LEFT_HALF_KNOWN, removes: 2, ..goes(three()) },
        Scenario { name: "site-returns-kept", joins: 1, keeps_disk: true, ..goes(three()) },
        Scenario { name: "wins-site-returns-kept", joins: 1, keeps_disk: true, ..goes(wins3()) },
        Scenario { name: "site-returns-gone", joins: 1, removes: 2, begin: GONE_MEANWHILE, ..goes(three()) },
        Scenario {
            name: "site-returns-kept-gone",
            joins: 1,
            keeps_disk: true,
            removes: 2,
            begin: GONE_MEANWHILE,
            ..goes(three())
        },
        Scenario {
            name: "wins-site-returns-kept-gone",
            joins: 1,
            keeps_disk: true,
            removes: 2,
            begin: GONE_MEANWHILE,
            ..goes(wins3())
        },
        Scenario { name: "site-returns-kept-forced", joins: 1, keeps_disk: true, ..goes(forced(three())) },
        // A listener that goes from site to site with its token.
        Scenario { name: "listener", ..hears(two()) },
        Scenario { name: "listener-puts", keys: 2, writes: 3, removes: 0, depth: 2, ..hears(two()) },
        Scenario { name: "listener-restart", restarts: 1, removes: 0, begin: EACH_HAS_PUT, writes: 3, ..hears(two()) },
        Scenario { name: "listener-wipe", wipes: 1, ..hears(two()) },
        Scenario { name: "listener-tail", tails: 1, ..hears(two()) },
        Scenario { name: "listener-forced", ..hears(forced(two())) },
        Scenario { name: "listener-three", writes: 2, removes: 0, ..hears(three()) },
        Scenario { name: "listener-three-remove", writes: 1, ..hears(three()) },
        Scenario { name: "listener-wins", removes: 2, absent: true, ..hears(wins()) },
        Scenario { name: "listener-site-added", ..hears(comes(three())) },
        Scenario { name: "listener-site-removed", ..hears(goes(three())) },
        // What without one rule breaks deep down.
        Scenario { name: "three-passed-over", begin: PASSED_OVER, keys: 2, breaks: 1, one_dead: true, ..late(three()) },
        Scenario {
            name: "three-stands",
            begin: STANDS,
            writes: 3,
            removes: 0,
            tails: 1,
            one_dead: true,
            keys: 2,
            ..late(three())
        },
        Scenario {
            name: "three-earlier-run",
            begin: EARLIER_RUN,
            writes: 3,
            removes: 0,
            tails: 1,
            one_dead: true,
            ..late(three())
        },
        Scenario { name: "two-let-go", begin: LET_GO, removes: 2, breaks: 1, ..four_writes(two()) },
        Scenario { name: "wins-anew-known", begin: ANEW, removes: 2, ..four_writes(wins()) },
        Scenario { name: "wins3-anew-unknown", begin: ANEW_UNKNOWN, ..forced(wins3()) },
        Scenario {
            name: "three-filled-by-one",
            begin: WIPED,
            writes: 1,
            removes: 2,
            wipes: 1,
            absent: true,
            ..forced(three())
        },
        // Four sites.
        Scenario { name: "four", writes: 1, removes: 0, ..four() },
        Scenario { name: "four-remove", writes: 1, ..four() },
        Scenario { name: "four-cut", writes: 1, removes: 0, cuts: 2, ..four() },
        Scenario { name: "four-isolated", isolations: 1, ..four() },
        Scenario { name: "four-tail", writes: 1, removes: 0, tails: 1, ..four() },
        Scenario { name: "four-forced", begin: FOUR_FORCED, writes: 1, ..words(four()) },
        Scenario { name: "wins4", writes: 1, absent: true, merge: Merge::RemoveWins, ..four() },
    ]
}

/// The scenario of that name.
pub fn scenario(name: &str) -> Option<Scenario> {
    scenarios().into_iter().find(|scenario| scenario.name == name)
}

/// Every rule, the scenario in which something breaks without it, and the steps after which it soon does.
pub const MUTATIONS: &[(Guard, &str, &str)] = &[
    (Guard::EagerVector, "two-keys", ""),
    (Guard::NoSuperseder, "three-stands", ""),
    (Guard::EarlierRun, "three-earlier-run", ""),
    (Guard::OwnStands, "three-stands", ""),
    (Guard::AnyHandshake, "two", "Put(0,0) Remove(0,0) Put(1,0) Poll(0,1) Poll(1,0) Deliver(0,1)"),
    (Guard::OutOfBand, "two", ""),
    (Guard::DropUnseen, "two-unseen", "Break(1,0) Remove(1,0) Poll(1,0) Put(1,1) Poll(1,0) Deliver(1,0) Wipe(1)"),
    (Guard::Unannounced, "wins3-dropped-by-one", ""),
    (Guard::Unagreed, "wins3-known-to-one", ""),
    (
        Guard::ContextUnseen,
        "wins-expiry-keys",
        "Put(0,0) Put(0,1) Put(0,0) Poll(0,1) Deliver(0,1) Isolate(0) Remove(1,1)",
    ),
    (Guard::NoInherit, "three-filled-by-one", ""),
    (Guard::NoAnew, "three-forced2", "Put(1,0) Remove(1,0) Poll(1,0) Deliver(1,0) Isolate(2)"),
    (Guard::WrittenAnew, "wins3-anew-unknown", ""),
    (Guard::AnewBirth, "wins-anew-known", ""),
    (
        Guard::NoGate,
        "two-mutual",
        "Put(0,0) Remove(0,0) Isolate(0) Housekeep(0) Put(1,0) Mend Poll(0,1) Poll(1,0) Poll(0,1)",
    ),
    (Guard::NoMutual, "two-mutual", "Put(1,0) Remove(1,0) Isolate(0) Housekeep(1) Put(0,0)"),
    (Guard::MergeCovered, "two-let-go", ""),
    (Guard::TombstoneCovered, "two", ""),
    (Guard::WrittenCursor, "two-tail-keys", "Put(0,0) Save(0) Put(0,1) Remove(0,0) Poll(0,1)"),
    (Guard::NeedlessTaken, "wins3-dropped-by-one", "Mend Poll(1,2) Poll(1,2) Poll(0,2) Deliver(1,2)"),
    (Guard::NoClamp, "two-tail", ""),
    (Guard::NoZero, "two-wipe", "Put(1,0) Poll(1,0) Deliver(1,0) Wipe(1) Poll(0,1)"),
    (Guard::KeepReport, "two-tail", ""),
    (Guard::FormerRun, "two-tail", ""),
    (Guard::JoinHandshake, "two", ""),
    (Guard::Hearsay, "three-local", ""),
    (Guard::LackingClaims, "three-widened", CLAIMED_BY_THE_THIRD),
    (Guard::Unspoken, "three-widened", ENDED_AT_THE_SECOND),
    (Guard::OwnOnly, "three-dead", ""),
    (Guard::OneCursor, "three-passed-over", ""),
    (Guard::ByVersion, "wins-mutual", ""),
    (Guard::TombstoneBirth, "wins", ""),
    (Guard::OrderVersion, "wins", ""),
    (Guard::MarkRemoved, "wins-expiry", ""),
    (Guard::FillOne, "three-dropped-wipe", "Wipe(1) Mend Poll(2,1) Poll(2,1)"),
    (Guard::NoClose, "two-unseen", "Remove(0,0) Put(0,1)"),
    (Guard::MarkForced, "wins-expiry-outage", ""),
    (Guard::MarkEarly, "wins-expiry-outage", ""),
    (Guard::FreshBirth, "wins", ""),
    (Guard::DriftDropped, "drift-dropped", ""),
];

/// Without these alone nothing was found to break: see `relay/ARCHITECTURE.md` for why.
pub const HIDDEN: &[Guard] = &[Guard::OutOfBand, Guard::TombstoneCovered];

/// The scenario in which something breaks without the rule.
pub fn without(guard: Guard) -> Scenario {
    let (_, name, then) = MUTATIONS.iter().find(|(of, ..)| *of == guard).expect("every rule is in the table");
    let scenario = scenario(name).expect("the table names scenarios");
    Scenario { then, guards: Guards::without(guard), ..scenario }
}

/// The second site removes an absent key, and the first hears of it and says so; then the third's put reaches the first
/// alone, and the third is isolated.
const KNOWN_TO_ONE: &str = "Remove(1,0) Poll(1,0) Deliver(1,0) Poll(0,1) Deliver(0,1) \
    Put(2,0) Poll(2,0) Deliver(2,0) Isolate(2)";

/// The second site removes an absent key, and the first hears of it and says so; the third is isolated and puts, and the
/// second would let its tombstone go.
const DROPPED_BY_ONE: &str = "Remove(1,0) Poll(1,0) Deliver(1,0) Poll(0,1) Deliver(0,1) \
    Isolate(2) Put(2,0) Housekeep(1)";

/// As before; then the second is wiped, and reconciled by the first.
const WIPED: &str = "Remove(1,0) Poll(1,0) Deliver(1,0) Poll(0,1) Deliver(0,1) Isolate(2) Put(2,0) Housekeep(1) \
    Wipe(1) Poll(0,1) Poll(1,0) Poll(0,1) Deliver(0,1) Poll(0,1) Deliver(0,1)";

/// An entry is known to both; then they are cut, and the second refreshes it.
const OUTAGE: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Pass Put(1,0)";

/// An entry is known to both; while they are cut, the second removes it and lets the tombstone go.
const GONE: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(1,0) Housekeep(1) Mend";

/// An entry is known to both; while they are cut, the first removes it and lets the tombstone go, and does so with another.
const DROPPED_TWICE: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(0,0) Housekeep(0) \
    Put(0,0) Remove(0,0) Housekeep(0)";

/// What the guest has put is told to the first, which takes it out of its configuration.
const HALF_TOLD: &str = "Put(2,0) Poll(2,0) Deliver(2,0) Strike(0)";
/// And so does the second.
const LEFT_HALF_TOLD: &str = "Put(2,0) Poll(2,0) Deliver(2,0) Strike(0) Strike(1)";

/// What the guest has put is told to both, and that it has removed it to the first; the second takes it out of its
/// configuration.
const HALF_KNOWN: &str =
    "Put(2,0) Poll(2,0) Deliver(2,0) Poll(2,1) Deliver(2,1) Remove(2,0) Poll(2,0) Deliver(2,0) Strike(1)";
/// And so does the first.
const LEFT_HALF_KNOWN: &str = "Put(2,0) Poll(2,0) Deliver(2,0) Poll(2,1) Deliver(2,1) Remove(2,0) Poll(2,0) Deliver(2,0) \
    Strike(1) Strike(0)";

/// What the guest has put is known to all when it is decommissioned; then the others remove it, and let the tombstone go.
const GONE_MEANWHILE: &str = "Put(2,0) Poll(2,0) Deliver(2,0) Poll(2,1) Deliver(2,1) Strike(0) Strike(1) Remove(0,0) \
    Poll(0,1) Poll(0,1) Deliver(0,1) Poll(1,0) Poll(1,0) Deliver(1,0) Housekeep(0) Housekeep(1)";

/// Each of two has put, and none has heard of the other.
const EACH_HAS_PUT: &str = "Put(0,0) Put(1,0)";

/// An entry is known to both; while they are cut, the first removes it and lets the tombstone go, and the second is wiped.
const DROPPED_WIPED: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(0,0) Housekeep(0) \
    Wipe(1) Mend";

/// An entry is known to both; the second is wiped, and filled; while they are cut, the first removes the entry and lets the
/// tombstone go.
const WIPED_DROPPED: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Wipe(1) Poll(1,0) Poll(0,1) Poll(0,1) \
    Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(0,0) Housekeep(0)";

/// An entry is known to both; while they are cut, both remove it and let the tombstone go.
const BOTH_DROPPED: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(0,0) Housekeep(0) \
    Remove(1,0) Housekeep(1)";

/// An entry is known to both; while they are cut, the first removes it and lets the tombstone go, and both put the other
/// key.
const LEFT_OUT: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) \
    Remove(0,0) Housekeep(0) Put(0,1) Put(1,1) Mend";

/// As before, but the second removes the other key, puts it anew, and lets its tombstone go too.
const BOTH_LEFT_OUT: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) \
    Remove(0,0) Housekeep(0) Put(0,1) Put(1,1) Remove(1,1) Housekeep(1) Mend";

/// An entry is known to all; while the third is cut off, the first removes it, and the first two let the tombstone go.
/// The third has put the other key.
const ONE_OF_THREE_LEFT_OUT: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(0,2) Deliver(0,2) Isolate(2) \
    Remove(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Housekeep(0) Put(2,1) Mend";

/// The first withholds the second's put from the third, and sends a put of its own.
const PASSED_OVER: &str = "Put(1,0) Poll(1,0) Deliver(1,0) Put(0,1) Poll(0,2) Deliver(0,2)";

/// While one batch flies from the first to the third, the first puts what the second then overwrites; the second may yet
/// lose that.
const STANDS: &str = "Put(0,1) Poll(0,2) Put(0,0) Poll(0,1) Deliver(0,1) Poll(0,1) Deliver(0,1) \
    Save(1) Put(1,0) Poll(1,0) Deliver(1,0) Deliver(0,2)";

/// What the first has put is known to the second alone when the first is wiped. The second overwrites it, and may yet lose
/// that; the first takes it, and withholds it from the third.
const EARLIER_RUN: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Save(1) Wipe(0) Put(1,0) \
    Poll(0,2) Poll(1,0) Poll(1,0) Deliver(1,0)";

/// An entry is known to both; while they are cut, the second removes it, the first begins and ends a life of the other key,
/// and both let their tombstones go. So the first's reconcile, which is taken ungated, has the entry in it.
const LET_GO: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(1,0) Housekeep(1) \
    Put(0,1) Remove(0,1) Housekeep(0) Mend";

/// A life is known to both; while they are cut, the second refreshes it, and the first lets a tombstone of the other key
/// go. Then the first reconciles the second.
const ANEW: &str = "Put(0,0) Poll(0,1) Deliver(0,1) Poll(1,0) Deliver(1,0) Isolate(0) Remove(0,1) Put(1,0) Housekeep(0) \
    Mend Poll(0,1) Poll(1,0) Poll(0,1)";

/// The first, cut off, begins a life; meanwhile the third begins and ends one, as the second hears.
const ANEW_UNKNOWN: &str = "Put(0,0) Isolate(0) Put(2,0) Remove(2,0) Poll(2,1) Deliver(2,1) Poll(1,2) Deliver(1,2)";

/// The third has heard of the first's put, which it was not sent, when the cache begins to replicate there; it is linked to
/// the second, twice.
const CLAIMED_BY_THE_THIRD: &str =
    "Put(0,0) Poll(0,2) Deliver(0,2) Widen(2) Poll(2,1) Poll(2,1) Deliver(2,1) Break(2,1)";

/// The second's put is known to the first, and its end to the third, to which neither was sent. The cache begins to
/// replicate there, and the first sends what it has.
const ENDED_AT_THE_SECOND: &str = "Put(1,0) Poll(1,0) Deliver(1,0) Remove(1,0) Poll(1,2) Deliver(1,2) Widen(2) \
    Poll(0,2) Deliver(0,2)";

/// The second of four removes an absent key, and the third and the first hear of it; the fourth is cut off and puts.
const FOUR_FORCED: &str = "Remove(1,0) Poll(1,0) Deliver(1,0) Poll(1,2) Deliver(1,2) Poll(0,1) Deliver(0,1) \
    Poll(2,1) Deliver(2,1) Isolate(3) Put(3,0) Housekeep(1)";
