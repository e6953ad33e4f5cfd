//! Random walks through what can happen: deeper than a search reaches, and not all of it. A violation is shortened by
//! leaving out what it does not need.

use std::time::Instant;

use super::{
    action::Action,
    check::Absent,
    print::Prints,
    scenario::Scenario,
    search::{Bounds, Outcome, beginning},
    world::World,
};

/// Steps of a walk.
const STEPS: usize = 60;

/// Walks until a bound is reached.
pub fn walk(scenario: &Scenario, seed: u64, bounds: Bounds) -> Outcome {
    let begun = Instant::now();
    let mut random = Random(seed);
    let mut settled = Prints::default();
    let mut states = 0;
    while states < bounds.states && begun.elapsed() < bounds.time {
        let mut world = beginning(scenario);
        let mut way = Vec::new();
        // Some walks are hasty: what flies arrives seldom.
        let haste = random.below(4);
        for _ in 0..STEPS {
            let action = draw(&world, haste, &mut random);
            way.push(action);
            states += 1;
            if let Some(why) = stride(&mut world, action, &mut settled) {
                let (way, why) = shorten(scenario, way, why);
                return Outcome::Violation { states, why, trace: retrace(scenario, &way) };
            }
        }
    }
    Outcome::Capped { states, depth: STEPS }
}

/// Mostly what goes on by itself; what happens but seldom is not used up at once.
fn draw(world: &World, haste: u64, random: &mut Random) -> Action {
    let actions = world.actions();
    loop {
        let action = actions[random.below(actions.len() as u64) as usize];
        let rare = match action {
            Action::Poll(..) | Action::Deliver(..) | Action::Hear(..) => haste,
            Action::Put(..) | Action::Remove(..) | Action::Clear(_) | Action::Isolate(_) | Action::Housekeep(_) => 2,
            Action::Check(..) | Action::Break(..) | Action::Cut(..) | Action::Mend | Action::Pass | Action::Save(_) => {
                4
            }
            Action::Restart(_) | Action::Stop(_) | Action::LoseTail(_) | Action::Wipe(_) | Action::Widen(_) => 5,
            Action::Name(_) | Action::Strike(_) | Action::Start => 5,
            Action::Listen(_) | Action::Glimpse(_) => 3,
            Action::Lose(..) => 5,
        };
        if random.below(rare + 1) == 0 {
            return action;
        }
    }
}

/// One step, and what is wrong after it.
fn stride(world: &mut World, action: Action, settled: &mut Prints) -> Option<String> {
    let before = world.clone();
    world.act(action);
    let lawful = matches!(action, Action::Wipe(_) | Action::LoseTail(_) | Action::Start);
    let lost = world.lost(&before, Absent::None).filter(|_| !lawful);
    lost.or_else(|| world.verdict(settled))
}

/// The first violation on this way, if all of it can be gone, and where.
fn violates(scenario: &Scenario, way: &[Action]) -> Option<(usize, String)> {
    let mut world = beginning(scenario);
    let mut settled = Prints::default();
    for (at, action) in way.iter().enumerate() {
        if !world.actions().contains(action) {
            return None;
        }
        if let Some(why) = stride(&mut world, *action, &mut settled) {
            return Some((at, why));
        }
    }
    None
}

fn shorten(scenario: &Scenario, mut way: Vec<Action>, mut why: String) -> (Vec<Action>, String) {
    let mut at = 0;
    while at < way.len() {
        let mut shorter = way.clone();
        shorter.remove(at);
        match violates(scenario, &shorter) {
            Some((last, its)) => {
                shorter.truncate(last + 1);
                (way, why) = (shorter, its);
                at = 0;
            }
            None => at += 1,
        }
    }
    (way, why)
}

/// Goes a way, as far as it can be gone: what happens, and what is wrong at its end.
pub fn go(scenario: &Scenario, way: &[Action]) -> (Vec<String>, Option<String>) {
    let mut world = beginning(scenario);
    let mut told = Vec::new();
    for action in way {
        let possible = world.actions();
        if !possible.contains(action) {
            return (told, Some(format!("{action:?} can't happen now; what can: {possible:?}")));
        }
        let why = stride(&mut world, *action, &mut Prints::default());
        told.push(world.describe(*action));
        if why.is_some() {
            return (told, why);
        }
    }
    (told, world.verdict(&mut Prints::default()))
}

fn retrace(scenario: &Scenario, way: &[Action]) -> Vec<String> {
    let mut world = beginning(scenario);
    let tell = |action: &Action| {
        world.act(*action);
        world.describe(*action)
    };
    way.iter().map(tell).collect()
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
