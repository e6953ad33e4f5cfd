//! Breadth first through all that can happen; a violation is shown with the shortest way to it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    action::Action,
    check::Absent,
    link::Link,
    part::Part,
    print::{Prints, print},
    scenario::Scenario,
    site::Site,
    world::World,
};

/// How a search ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every state was visited, and holds.
    Exhaustive {
        /// How many.
        states: usize,
        /// Steps to the last of them.
        depth: usize,
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
    /// Memory of this process.
    pub megabytes: usize,
    /// Whether every state is let settle at once, which finds what breaks in fewer steps and takes longer; else only
    /// those in which nothing happens by itself any more are judged, to which all others lead, and a sample.
    pub ahead: bool,
}

impl Bounds {
    fn are_reached(&self, states: usize, begun: Instant) -> bool {
        states > self.states
            || begun.elapsed() >= self.time
            || (states.is_multiple_of(64) && resident_megabytes().is_some_and(|now| now > self.megabytes))
    }
}

/// What this process holds in memory, where the system tells.
fn resident_megabytes() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<usize>().ok()? / 256)
}

/// One state in so many is let settle in a search that does not look ahead.
const SAMPLE: usize = 256;

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
    if let Some(why) = first.verdict(&mut settled) {
        return violation(scenario, &found, 0, None, why);
    }
    let mut level = vec![(first, 0u32)];
    let mut depth = 0;
    while !level.is_empty() {
        let mut next = Vec::new();
        let mut shared = Shared::default();
        while let Some((world, id)) = level.pop() {
            let before = print(&world, 1);
            let mut quiet = true;
            for (n, action) in world.actions().into_iter().enumerate() {
                if matches!(action, Action::Housekeep(site) if world.sites[site].is_idle(world.now)) {
                    continue;
                }
                let mut after = world.clone();
                after.act(action);
                let print = print(&after, 1);
                quiet &= !action.is_natural() || print == before;
                let lawful = matches!(action, Action::Wipe(_) | Action::LoseTail(_) | Action::Start);
                let wrong = after.fault.clone().or_else(|| after.lost(&world, Absent::None).filter(|_| !lawful));
                let new = visited.insert(print);
                let settle = new && (bounds.ahead || found.len().is_multiple_of(SAMPLE));
                let verdict = || if settle { after.verdict(&mut settled) } else { None };
                if let Some(why) = wrong.or_else(verdict) {
                    return violation(scenario, &found, id, Some(n as u8), why);
                }
                if new {
                    found.push((id, n as u8));
                    shared.share(&mut after);
                    next.push((after, found.len() as u32 - 1));
                }
            }
            if quiet && let Some(why) = world.stands(&mut settled) {
                return violation(scenario, &found, id, None, why);
            }
            if bounds.are_reached(found.len(), begun) {
                return Outcome::Capped { states: found.len(), depth };
            }
        }
        level = next;
        depth += 1;
    }
    Outcome::Exhaustive { states: found.len(), depth }
}

/// Parts of the worlds of one level, so that equal ones are kept once.
#[derive(Default)]
struct Shared {
    sites: HashMap<u64, Part<Site>>,
    links: HashMap<u64, Part<Link>>,
}

impl Shared {
    /// Equal parts decide alike; but where a tail may be lost, the logs that led there matter too.
    fn share(&mut self, world: &mut World) {
        for link in &mut world.links {
            *link = self.links.entry(link.print()).or_insert_with(|| link.clone()).clone();
        }
        if world.scenario.tails == 0 {
            for site in &mut world.sites {
                *site = self.sites.entry(site.print()).or_insert_with(|| site.clone()).clone();
            }
        }
    }
}

/// The world in which a scenario begins.
pub(super) fn beginning(scenario: &Scenario) -> World {
    let mut world = World::new(scenario);
    for step in scenario.begin.split_whitespace().chain(scenario.then.split_whitespace()) {
        let action: Action = step.parse().expect("a step");
        // A node may have done what it does no more; but nothing happens by itself that does not.
        let possible = !action.is_natural() || world.actions().contains(&action);
        assert!(possible, "{}: {step} can't happen; {:?} can", scenario.name, world.actions());
        world.act(action);
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
