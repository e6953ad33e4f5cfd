//! What must hold of every world, and of the one that it settles to.

use landbridge_protocol::{record::Kind, time::Millis};
use landbridge_relay::engine::{
    guards::Guards,
    slot::{Rank, Slot},
};

use super::{
    print::Prints,
    world::{PASS, PASSES, World},
};

/// Who takes no part while a world settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Nobody: all are there.
    None,
    /// A site.
    Site(usize),
    /// A link, both ways.
    Pair(usize, usize),
}

/// Rounds in which a world must settle.
const MAX_ROUNDS: usize = 200;

impl World {
    fn rank(&self, slot: &Slot) -> Rank {
        slot.rank(self.scenario.merge, Guards::all())
    }

    /// A removal that a store has durably, and that outdoes this entry.
    fn removed(&self, site: usize, k: usize, slot: &Slot, by_order: bool) -> bool {
        let known = self.sites.iter().fold(0, |known, site| known | site.knows);
        let life = self.life(site, slot);
        self.removals.iter().enumerate().any(|(n, removal)| {
            let outdoes = removal.knew.covers(&life) || (by_order && self.rank(&removal.tombstone) > self.rank(slot));
            removal.key == k && known >> n & 1 == 1 && outdoes
        })
    }

    /// An entry of `before` that is neither held now, nor outdone by a held one or by a known removal.
    pub fn lost(&self, before: &World, absent: Absent) -> Option<String> {
        for k in 0..self.scenario.keys {
            for site in (0..self.sites.len()).filter(|site| Absent::Site(*site) != absent) {
                let Some(slot) = before.live(site, k) else { continue };
                let rank = self.rank(&slot);
                let known = |other: &Slot| matches!(other.kind, Kind::Live | Kind::Mark) && self.rank(other) >= rank;
                if (0..self.sites.len()).any(|other| self.slot(other, k).is_some_and(|held| known(&held))) {
                    continue;
                }
                let expired = !slot.is_live(self.now) || self.ended[k].is_some_and(|ended| rank <= ended);
                if !expired && !before.removed_by(self, site, k, &slot) {
                    return Some(format!("LOST key {k}: {}", show(&slot)));
                }
            }
        }
        None
    }

    fn removed_by(&self, now: &World, site: usize, k: usize, slot: &Slot) -> bool {
        let life = self.life(site, slot);
        let known = now.sites.iter().fold(0, |known, site| known | site.knows);
        now.removals.iter().enumerate().any(|(n, removal)| {
            let outdoes = removal.knew.covers(&life) || now.rank(&removal.tombstone) > now.rank(slot);
            removal.key == k && known >> n & 1 == 1 && outdoes
        })
    }

    /// What is wrong with a world in which nothing happens by itself any more, at this time or ever.
    fn judge(&self, absent: Absent, at_the_end: bool) -> Option<String> {
        let sites: Vec<usize> = (0..self.sites.len()).filter(|site| Absent::Site(*site) != absent).collect();
        for k in 0..self.scenario.keys {
            let shown = || {
                let of = |site: &usize| self.slot(*site, k).map_or_else(|| "-".to_owned(), |slot| show(&slot));
                sites.iter().map(of).collect::<Vec<_>>().join(" | ")
            };
            let live = |site: usize| {
                let slot = self.live(site, k)?;
                Some((slot.version, slot.birth, slot.deadline, self.record(site, &slot).value))
            };
            if sites.iter().any(|site| live(*site) != live(sites[0])) {
                return Some(format!("DIVERGED key {k}: {} ({absent:?} absent)", shown()));
            }
            if let Some(slot) = self.live(sites[0], k)
                && self.removed(sites[0], k, &slot, false)
            {
                return Some(format!("RESURRECTED key {k}: {}", shown()));
            }
            let dead = |site: &usize| self.slot(*site, k).is_some_and(|slot| slot.kind != Kind::Live);
            if at_the_end && absent == Absent::None && sites.iter().any(dead) {
                return Some(format!("TOMBSTONE KEPT key {k}: {}", shown()));
            }
        }
        None
    }

    /// Lets a copy of the world settle without `absent`, and judges its end. `settled` holds the ways of earlier ones.
    fn settles(&self, absent: Absent, settled: &mut Prints) -> Option<String> {
        let mut world = self.clone();
        world.mend();
        let salt = match absent {
            Absent::None => 7,
            Absent::Site(site) => 11 + site as u64,
            Absent::Pair(one, other) => 101 + (one * 10 + other) as u64,
        };
        match absent {
            Absent::None => {}
            Absent::Site(site) => {
                (0..world.sites.len()).filter(|other| *other != site).for_each(|other| world.cut(site, other));
            }
            Absent::Pair(one, other) => world.cut(one, other),
        }
        let mut passes = if self.scenario.is_timed() { PASSES } else { 0 };
        let mut way = Vec::new();
        let mut print = super::print::print(&world, salt);
        loop {
            if !settled.insert(print) {
                return None;
            }
            way.push(print);
            if way.len() > MAX_ROUNDS {
                return Some("NO QUIESCENCE".into());
            }
            let before = world.clone();
            world.round();
            if let Some(fault) = &world.fault {
                return Some(format!("{fault} while settling"));
            }
            if let Some(lost) = world.lost(&before, absent) {
                return Some(format!("{lost} while settling"));
            }
            let after = super::print::print(&world, salt);
            if after == print {
                if passes == 0 {
                    return world.judge(absent, true);
                }
                // What expires would hide what has diverged before; what is passed on late has not yet arrived.
                let early = (passes == PASSES && self.scenario.forward_after == Millis::ZERO)
                    .then(|| world.judge(absent, false));
                if let Some(why) = early.flatten() {
                    return Some(why);
                }
                passes -= 1;
                world.pass(PASS);
            }
            print = super::print::print(&world, salt);
        }
    }

    /// What is wrong with this world, or with what becomes of it.
    pub fn verdict(&self, settled: &mut Prints) -> Option<String> {
        if let Some(fault) = &self.fault {
            return Some(fault.clone());
        }
        let mut absent = vec![Absent::None];
        if self.scenario.one_dead {
            absent.extend((0..self.sites.len()).map(Absent::Site));
            absent.extend(self.pairs().into_iter().filter(|(one, other)| one < other).map(|(a, b)| Absent::Pair(a, b)));
        }
        absent.into_iter().find_map(|absent| self.settles(absent, settled))
    }
}

/// A slot in words.
pub fn show(slot: &Slot) -> String {
    let version = |version: landbridge_protocol::version::Version| {
        let millis = version.clock.wall().as_millis().saturating_sub(1_000_000);
        let count = version.clock.bits() & 0xffff;
        format!("{millis}+{count}@{}.{:x}", version.origin.site, version.origin.run.0)
    };
    format!("{:?} {} born {} at {}", slot.kind, version(slot.version), version(slot.birth), slot.sequence)
}
