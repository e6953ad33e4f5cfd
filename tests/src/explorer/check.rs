//! What must hold of every world, and of the one that it settles to.

use landbridge_protocol::{record::Kind, time::Millis};
use landbridge_relay::engine::{
    guards::Guards,
    slot::{Rank, Slot},
};

use super::{
    print::Prints,
    world::{PASS, PASSES, World, cache},
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
    /// The links that are cut.
    AsCut,
}

/// Rounds in which a world must settle.
const MAX_ROUNDS: usize = 200;

impl World {
    fn rank(&self, slot: &Slot) -> Rank {
        slot.rank(self.scenario.merge, Guards::all())
    }

    /// A removal that a store of `now` that could be `heard` has durably, and that outdoes this entry.
    fn removed(
        &self,
        now: &World,
        heard: impl Fn(usize) -> bool,
        site: usize,
        k: usize,
        slot: &Slot,
        by_order: bool,
    ) -> bool {
        let heard = (0..now.sites.len()).filter(|site| heard(*site));
        let durable = heard.fold(0, |knows, site| knows | now.sites[site].knows);
        let life = self.life(site, slot);
        now.known
            .removals
            .iter()
            .enumerate()
            .any(|(n, removal)| durable >> n & 1 == 1 && removal.outdoes(k, &life, slot, self.scenario.merge, by_order))
    }

    /// An entry of `before` that is neither held now, nor outdone by a held one or by a known removal.
    pub fn lost(&self, before: &World, absent: Absent) -> Option<String> {
        for k in 0..self.scenario.keys {
            for site in (0..self.sites.len()).filter(|site| Absent::Site(*site) != absent && self.runs(*site)) {
                let Some(slot) = before.live(site, k) else { continue };
                let rank = self.rank(&slot);
                let known = |other: &Slot| matches!(other.kind, Kind::Live | Kind::Mark) && self.rank(other) >= rank;
                if (0..self.sites.len())
                    .any(|other| self.runs(other) && self.slot(other, k).is_some_and(|held| known(&held)))
                {
                    continue;
                }
                let expired = !slot.is_live(self.now) || self.known.ended[k].is_some_and(|ended| rank <= ended);
                if !expired && !before.removed(self, |_| true, site, k, &slot, true) {
                    return Some(format!("LOST key {k}: {}", show(&slot)));
                }
            }
        }
        None
    }

    /// What is wrong with a world in which nothing happens by itself any more, at this time or ever: those that can
    /// reach each other hold the same.
    fn judge(&self, at_the_end: bool) -> Option<String> {
        let whole = self.cut.is_empty();
        for one in (0..self.sites.len()).filter(|one| self.runs(*one)) {
            for other in one + 1..self.sites.len() {
                if let Some(differs) = self.differ(one, other) {
                    return Some(differs);
                }
            }
            for k in 0..self.scenario.keys {
                let shown = || format!("key {k}: {}", self.shown(k));
                if let Some(slot) = self.live(one, k)
                    && self.removed(self, |other| self.reach(other, one, k), one, k, &slot, false)
                {
                    return Some(format!("RESURRECTED {}", shown()));
                }
                let kept = self.slot(one, k).is_some_and(|slot| slot.kind != Kind::Live);
                if at_the_end && whole && kept {
                    return Some(format!("TOMBSTONE KEPT {}", shown()));
                }
            }
        }
        if at_the_end && whole { self.misheard() } else { None }
    }

    /// Whether some chain of links over which the key's cache replicates leads from the one to the other.
    fn reach(&self, from: usize, to: usize, k: usize) -> bool {
        let mut reached = 1u8 << from;
        let goes = |one, other| !self.is_cut(one, other) && self.shares(one, k) && self.shares(other, k);
        for _ in 0..self.sites.len() {
            for (one, other) in self.pairs().filter(|(one, other)| goes(*one, *other)) {
                reached |= (reached >> one & 1) << other;
            }
        }
        reached >> to & 1 == 1
    }

    fn differ(&self, one: usize, other: usize) -> Option<String> {
        let live = |site: usize, k: usize| {
            let slot = self.live(site, k)?;
            Some((slot.version, slot.birth, slot.deadline, self.record(site, &slot).value))
        };
        let floor = |site: usize| self.sites[site].replica.clear_of(&cache()).map(|clear| clear.version);
        let both = |k: usize| self.reach(one, other, k) && self.reach(other, one, k);
        if floor(one) != floor(other) && both(0) {
            return Some(format!("DIVERGED floors at {one} and {other}: {:?} | {:?}", floor(one), floor(other)));
        }
        let k = (0..self.scenario.keys).find(|k| live(one, *k) != live(other, *k) && both(*k))?;
        Some(format!("DIVERGED key {k} at {one} and {other}: {}", self.shown(k)))
    }

    fn shown(&self, k: usize) -> String {
        let of = |site: usize| self.slot(site, k).map_or_else(|| "-".to_owned(), |slot| show(&slot));
        (0..self.sites.len()).map(of).collect::<Vec<_>>().join(" | ")
    }

    /// What is wrong with a world in which nothing more happens by itself at this time, whoever is cut from whom.
    pub fn stands(&self, settled: &mut Prints) -> Option<String> {
        // What is being changed is brought to its end there; and all that is configured anew takes time.
        if self.scenario.is_timed() || self.scenario.losses > 0 {
            self.settles(Absent::AsCut, settled)
        } else {
            self.judge(true)
        }
    }

    fn without(&self, absent: Absent) -> Self {
        let mut world = self.clone();
        if absent != Absent::AsCut {
            world.mend();
        }
        world.change_all();
        match absent {
            Absent::None | Absent::AsCut => {}
            Absent::Site(site) => {
                (0..world.sites.len()).filter(|other| *other != site).for_each(|other| world.cut(site, other));
            }
            Absent::Pair(one, other) => world.cut(one, other),
        }
        world
    }

    /// Lets a copy of the world settle without `absent`, and judges its end. `settled` holds the ways of earlier ones
    /// that ended well.
    fn settles(&self, absent: Absent, settled: &mut Prints) -> Option<String> {
        let mut world = self.without(absent);
        let salt = match absent {
            Absent::None => 7,
            Absent::Site(site) => 11 + site as u64,
            Absent::Pair(one, other) => 101 + (one * 10 + other) as u64,
            Absent::AsCut => 8,
        };
        let mut passes = if self.scenario.is_timed() { PASSES } else { 0 };
        let mut way = Vec::new();
        let mut checked = self.scenario.losses == 0;
        loop {
            let print = super::print::print(&world, salt + 1_000 * passes as u64);
            if settled.contains(print) {
                break;
            }
            way.push(print);
            if way.len() > MAX_ROUNDS {
                return Some("NO QUIESCENCE".into());
            }
            let before = world.clone();
            world.round();
            if super::print::print(&world, salt + 1_000 * passes as u64) != print {
                let fault = world.fault.clone().or_else(|| world.lost(&before, absent));
                if let Some(why) = fault {
                    return Some(format!("{why} while settling"));
                }
                continue;
            }
            if !checked {
                checked = true;
                world
                    .pairs()
                    .filter(|(from, to)| !world.is_cut(*from, *to))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|(from, to)| world.check_drift(from, to));
                continue;
            }
            if passes == 0 {
                if let Some(why) = world.judge(true) {
                    return Some(why);
                }
                break;
            }
            // What expires would hide what has diverged before; what is passed on late has not yet arrived.
            let early = passes == PASSES && self.scenario.forward_after == Millis::ZERO && !self.scenario.changes();
            let early = early.then(|| world.judge(false));
            if let Some(why) = early.flatten() {
                return Some(why);
            }
            passes -= 1;
            world.pass(PASS);
        }
        for print in way {
            settled.insert(print);
        }
        None
    }

    /// What is wrong with this world, or with what becomes of it.
    pub fn verdict(&self, settled: &mut Prints) -> Option<String> {
        if let Some(fault) = &self.fault {
            return Some(fault.clone());
        }
        let mut absent = vec![Absent::None];
        if self.scenario.one_dead {
            absent.extend((0..self.sites.len()).map(Absent::Site));
            absent.extend(self.pairs().filter(|(one, other)| one < other).map(|(a, b)| Absent::Pair(a, b)));
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
