//! Breadth first through all that can happen; a violation is shown with the shortest way to it.

use std::time::{Duration, Instant};

use super::{
    action::Action,
    check::Absent,
    print::{Prints, print},
    scenario::Scenario,
    world::World,
};

/// How a search ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every state was visited, and holds.
    Exhaustive {
        /// How many.
        states: usize,
    },
    /// A bound was reached; all that was visited holds.
    Capped {
        /// How many.
        states: usize,
        /// Steps in which all states were visited.
        depth: usize,
    },
    /// One does not hold.
    Violation {
        /// States visited before.
        states: usize,
        /// What is wrong.
        why: String,
        /// The way there, in words.
        trace: Vec<String>,
    },
}

/// Bounds of a search.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// States.
    pub states: usize,
    /// Time.
    pub time: Duration,
}

/// How a state was found: from which, by which of its actions.
type Found = (u32, u8);

/// Searches.
pub fn explore(scenario: &Scenario, bounds: Bounds) -> Outcome {
    let begun = Instant::now();
    let first = beginning(scenario);
    let mut visited = Prints::default();
    let mut settled = Prints::default();
    let mut found: Vec<Found> = vec![(0, 0)];
    visited.insert(print(&first, 1));
    let mut level = vec![(first, 0u32)];
    let mut depth = 0;
    while !level.is_empty() {
        let mut next = Vec::new();
        for (world, id) in level.drain(..) {
            if let Some(why) = world.verdict(&mut settled) {
                return violation(scenario, &found, id, None, why);
            }
            for (n, action) in world.actions().into_iter().enumerate() {
                let mut after = world.clone();
                after.act(action);
                let lawful = matches!(action, Action::Wipe(_) | Action::LoseTail(_));
                if let Some(why) = after.lost(&world, Absent::None).filter(|_| !lawful) {
                    return violation(scenario, &found, id, Some(n as u8), why);
                }
                if visited.insert(print(&after, 1)) {
                    found.push((id, n as u8));
                    next.push((after, found.len() as u32 - 1));
                }
            }
            if found.len() > bounds.states || begun.elapsed() >= bounds.time {
                return Outcome::Capped { states: found.len(), depth };
            }
        }
        level = next;
        depth += 1;
    }
    Outcome::Exhaustive { states: found.len() }
}

/// The world in which a scenario begins.
pub(super) fn beginning(scenario: &Scenario) -> World {
    let mut world = World::new(scenario);
    for action in scenario.begin {
        world.act(*action);
    }
    world
}

fn violation(scenario: &Scenario, found: &[Found], id: u32, last: Option<u8>, why: String) -> Outcome {
    let mut steps: Vec<u8> = last.into_iter().collect();
    let mut at = id;
    while at != 0 {
        let (from, n) = found[at as usize];
        steps.push(n);
        at = from;
    }
    let mut world = beginning(scenario);
    let mut trace = Vec::new();
    for n in steps.into_iter().rev() {
        let action = world.actions()[usize::from(n)];
        world.act(action);
        trace.push(world.describe(action));
    }
    Outcome::Violation { states: found.len(), why, trace }
}
