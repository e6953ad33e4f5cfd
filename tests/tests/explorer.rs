//! Small searches of all that can happen, and rules without which a promise breaks within a few steps.

use std::time::Duration;

use landbridge_relay::engine::guards::{Guard, Guards};
use landbridge_tests::explorer::{
    scenario::{MUTATIONS, Scenario, scenario},
    search::{Bounds, Outcome, explore},
};

const BOUNDS: Bounds = Bounds { states: 3_000, time: Duration::from_secs(20) };

#[test]
fn nothing_breaks_as_far_as_seconds_go() {
    for name in ["two-small", "two-restart", "two-tail", "two-wipe", "two-mutual", "wins-expiry", "three-forced"] {
        let outcome = explore(&scenario(name).expect("a scenario"), BOUNDS);
        assert!(!matches!(outcome, Outcome::Violation { .. }), "{name}: {outcome:#?}");
    }
}

#[test]
fn without_a_rule_a_promise_breaks() {
    for guard in [Guard::OwnOnly, Guard::TombstoneBirth, Guard::FreshBirth, Guard::KeepReport] {
        let (_, name) = MUTATIONS.iter().find(|(of, _)| *of == guard).expect("every rule is in the table");
        let scenario = scenario(name).expect("a scenario");
        let outcome = explore(&Scenario { guards: Guards::without(guard), ..scenario }, BOUNDS);
        assert!(matches!(outcome, Outcome::Violation { .. }), "{guard:?} in {name}: {outcome:?}");
    }
}
