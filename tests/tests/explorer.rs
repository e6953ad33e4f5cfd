//! Small searches of all that can happen, and what breaks within a few steps without each rule.

use std::time::Duration;

use landbridge_relay::engine::guards::{Guard, Guards};
use landbridge_tests::explorer::{
    scenario::Scenario,
    scenarios::{HIDDEN, scenario, scenarios, without},
    search::{Bounds, Outcome, explore},
};

const BOUNDS: Bounds = Bounds { states: 400, time: Duration::from_secs(60), megabytes: 2_000, ahead: true };

#[test]
fn nothing_breaks_in_any_scenario_as_far_as_seconds_go() {
    for scenario in scenarios() {
        // There each state takes long to settle, or to hear out; what they begin with is deep already.
        let long = scenario.guest.is_some() || scenario.listens > 0 || (scenario.wipes > 1 && scenario.forced);
        let states = if long { 150 } else { BOUNDS.states };
        let outcome = explore(&scenario, Bounds { states, ..BOUNDS });
        assert!(!matches!(outcome, Outcome::Violation { .. }), "{}: {outcome:#?}", scenario.name);
    }
}

#[test]
fn a_small_world_is_searched_to_its_end() {
    let bounds = Bounds { states: 20_000, ahead: false, ..BOUNDS };
    let outcome = explore(&scenario("two-small").expect("a scenario"), bounds);
    assert!(matches!(outcome, Outcome::Exhaustive { states: 5_000.., .. }), "{outcome:#?}");
}

#[test]
fn without_any_one_rule_a_promise_breaks() {
    for guard in Guard::ALL.iter().filter(|guard| !HIDDEN.contains(guard)) {
        let outcome = explore(&without(*guard), Bounds { states: 5_000, ..BOUNDS });
        assert!(matches!(outcome, Outcome::Violation { .. }), "{guard:?}: {outcome:?}");
    }
}

#[test]
fn with_the_rule_nothing_breaks_after_the_same_steps() {
    for guard in Guard::ALL {
        let outcome = explore(&Scenario { guards: Guards::all(), ..without(*guard) }, Bounds { states: 100, ..BOUNDS });
        assert!(!matches!(outcome, Outcome::Violation { .. }), "{guard:?}: {outcome:#?}");
    }
}
