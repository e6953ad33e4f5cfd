//! **Atomic**: a conditional write that was answered as done was decided on what the site held at that moment.
//!
//! Exact, without a search: a site's log is the order of its decisions. Before the record of a `put_if_absent` its log has,
//! for the key, nothing, a removal, an entry past its deadline, or one below a clear; before that of a write with an
//! expected version the entry of that version. Let pass: what expired by a wall clock of which only the version is known.

use std::collections::BTreeMap;

use landbridge_protocol::{
    record::{Kind, Record},
    version::Version,
};
use landbridge_relay::engine::slot::is_below;

use super::{
    Broken, Promise,
    ledger::{Ledger, Place, had_expired, merge_of, place_of},
};
use crate::simulation::{
    history::{Answer, Happening},
    plan::{Disk, What},
};

/// What a site holds, as its log says.
#[derive(Debug, Clone, Default)]
struct Held<'h> {
    keys: BTreeMap<Place, &'h Record>,
    clears: BTreeMap<landbridge_protocol::name::CacheName, Version>,
}

impl<'h> Held<'h> {
    fn take(&mut self, record: &'h Record) {
        match place_of(record) {
            Some(place) => drop(self.keys.insert(place, record)),
            None => drop(self.clears.insert(record.cache.clone(), record.version)),
        }
    }

    /// The entry that was there, unless it was past its deadline.
    fn live(&self, place: &Place) -> Option<&'h Record> {
        let record = *self.keys.get(place)?;
        let below = |floor: &Version| is_below(merge_of(&place.0), floor, &record.version, &record.birth);
        let cleared = self.clears.get(&place.0).is_some_and(below);
        (record.kind == Kind::Live && !cleared).then_some(record)
    }
}

/// Every conditional write that was done.
pub(super) fn check(ledger: &Ledger<'_>) -> Result<(), Broken> {
    let mut conditional = BTreeMap::new();
    for (exchange, record) in ledger.acknowledged() {
        let done = matches!(exchange.answer, Answer::Written(_) | Answer::Gone);
        let what = exchange.operation.what;
        if done && matches!(what, What::PutIfAbsent | What::ReplaceIfVersion | What::RemoveIfVersion) {
            conditional.insert((exchange.site, record.version), exchange);
        }
    }
    let mut held = vec![Held::default(); ledger.sites];
    let mut copies = held.clone();
    for entry in ledger.history {
        match &entry.what {
            Happening::Durable { site, record, .. } => {
                // Only the first time: a peer may bring it back later.
                if let Some(exchange) = conditional.remove(&(*site, record.version)) {
                    let Some(place) = place_of(record) else { continue };
                    let before = held[*site].live(&place);
                    let fits = match exchange.operation.what {
                        What::PutIfAbsent => before.is_none_or(|before| had_expired(before, &record.version)),
                        _ => before.map(|before| before.version) == exchange.expected,
                    };
                    if !fits {
                        let (what, expected) = (exchange.operation.what, exchange.expected);
                        let (version, node) = (record.version, exchange.node);
                        let before = before.map(|before| before.version);
                        let how = format!("node{node}'s {what:?} {expected:?} made {version}, where {before:?} was");
                        return Err(Broken::new(Promise::Atomic, how));
                    }
                }
                held[*site].take(record);
            }
            Happening::Forgotten { site, cache, key } => drop(held[*site].keys.remove(&(cache.clone(), key.clone()))),
            Happening::Lost { site, record } => {
                if let Some(place) = place_of(record) {
                    held[*site].keys.remove(&place);
                }
            }
            Happening::Copied { site } => copies[*site] = held[*site].clone(),
            Happening::Starts { site, disk: Disk::Wiped } => held[*site] = Held::default(),
            Happening::Starts { site, disk: Disk::Copy } => held[*site] = copies[*site].clone(),
            _ => {}
        }
    }
    Ok(())
}
