//! What a write had seen of its key: the context that its record carries.
//!
//! A write has seen what it was written over, and what that had seen. Its context names, for each origin other than its
//! own that has a part in this, a clock up to which its relay had that origin's writes or what outgrew them. Its own
//! origin needs no place: each run decides on what it holds, and what it holds no more has met there what outgrew it. Of
//! an origin with a part the clock is V's, where V covers what the context must say; so the index need not know clocks,
//! only *which origins* have a part (a number, see [`Parties`]), and a write reads the log for a context only where V
//! does not cover it yet.
//!
//! A context has [`MAX_CONTEXT`] origins at most: beyond, the lowest clocks go, and a full context counts as having seen
//! what is older than all of it. So a conflict with a write that is older than the newest of eight other runs may go
//! uncounted; one is never made up.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use landbridge_protocol::{
    error::Refusal,
    position::Sequence,
    record::{MAX_CONTEXT, Record},
    vector::Vector,
    version::{Origin, Version},
};

use super::{
    group::Group,
    header::{LogRecord, Records},
    replica::Replica,
    slot::Slot,
};

/// How the context of what is held is found. Not part of what is held: all are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parties(u16);

impl Parties {
    /// The context is empty.
    pub(crate) const NONE: Self = Self(0);
    /// It is to be read from the log.
    pub(crate) const LOGGED: Self = Self(u16::MAX);

    /// Whether nothing has to be looked up for the context, as it is empty.
    pub(crate) fn are_none(self) -> bool {
        self.0 == Self::NONE.0
    }
}

impl PartialEq for Parties {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Parties {}
impl Hash for Parties {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Sets of origins, by number: few, as many keys have the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PartySets {
    sets: Vec<Arc<[Origin]>>,
    numbers: BTreeMap<Arc<[Origin]>, Parties>,
    /// What was asked for last: mostly the next is the same.
    last: Parties,
}

impl PartySets {
    /// The number of the context's origins; [`Parties::LOGGED`] once there are too many sets.
    pub(crate) fn of(&mut self, context: &Vector) -> Parties {
        if context.is_empty() {
            return Parties::NONE;
        }
        if context.iter().map(|(origin, _)| origin).eq(self.origins(self.last).iter().copied()) {
            return self.last;
        }
        let set: Arc<[Origin]> = context.iter().map(|(origin, _)| origin).collect();
        if let Some(known) = self.numbers.get(&set) {
            self.last = *known;
            return *known;
        }
        let number = Parties(u16::try_from(self.sets.len() + 1).unwrap_or(u16::MAX));
        if number.0 < Parties::LOGGED.0 {
            self.sets.push(set.clone());
            self.numbers.insert(set, number);
            self.last = number;
        }
        number
    }

    fn origins(&self, parties: Parties) -> &[Origin] {
        let at = usize::from(parties.0).checked_sub(1);
        at.and_then(|at| self.sets.get(at)).map_or(&[], |set| set)
    }
}

/// Whether the write of `newer`, which had this context, saw `older`.
pub(crate) fn saw(context: &Vector, newer: &Version, older: &Version) -> bool {
    let least = || context.iter().map(|(_, clock)| clock).min();
    let outgrown =
        || context.len() >= MAX_CONTEXT && context.clock(&older.origin).bits() == 0 && least() > Some(older.clock);
    older.origin == newer.origin || context.covers(older) || outgrown()
}

/// The context as it is written: without the writer's own origin, and only its greatest clocks.
pub(crate) fn bounded(mut context: Vector, own: &Origin) -> Vector {
    context.forget(own);
    if context.len() > MAX_CONTEXT {
        let mut pairs: Vec<_> = context.iter().collect();
        pairs.sort_by_key(|(_, clock)| std::cmp::Reverse(*clock));
        pairs.truncate(MAX_CONTEXT);
        context = pairs.into_iter().collect();
    }
    context
}

impl Group<'_> {
    /// The context of a write of this run over what is held.
    pub(crate) fn context_over(&self, held: Option<&Slot>, read: &dyn Records) -> Result<Vector, Refusal> {
        let Some(held) = held else { return Ok(Vector::new()) };
        let own = self.own_origin();
        if held.parties.are_none() && held.version.origin == own {
            return Ok(Vector::new());
        }
        let mut context = self.context_held(held, read)?;
        if held.version.origin != own {
            context.raise(held.version.origin, self.core.seen.clock(&held.version.origin).max(held.version.clock));
        }
        Ok(bounded(context, &own))
    }

    /// The context of what is held, or one that says more and is as true by now.
    pub(crate) fn context_held(&self, held: &Slot, read: &dyn Records) -> Result<Vector, Refusal> {
        match held.parties {
            parties if parties.are_none() => Ok(Vector::new()),
            parties if parties.0 == Parties::LOGGED.0 => Ok(self.record(held.sequence, read)?.context),
            parties => {
                let origins = self.base.index.party_sets().origins(parties).iter();
                Ok(origins.map(|origin| (*origin, self.core.seen.clock(origin))).collect())
            }
        }
    }

    /// The context of what writes `record` anew.
    pub(crate) fn context_anew(&self, record: &Record) -> Vector {
        let mut context = record.context.clone();
        context.raise(record.version.origin, record.version.clock);
        bounded(context, &self.own_origin())
    }

    /// The context of a clear: V, and what is held beyond it.
    pub(crate) fn context_of_clear(&self, held: impl Iterator<Item = Slot>) -> Vector {
        let mut context = self.core.seen.clone();
        for slot in held {
            context.raise(slot.version.origin, slot.version.clock);
        }
        bounded(context, &self.own_origin())
    }
}

impl Replica {
    /// Notes which origins the contexts of these records name, for those that are held.
    pub(crate) fn note_contexts<'a>(&mut self, records: impl IntoIterator<Item = &'a (Sequence, LogRecord)>) {
        for (sequence, record) in records {
            if let LogRecord::Record(record) = record {
                self.index.note_context(*sequence, record, &self.core.seen);
            }
        }
    }
}
