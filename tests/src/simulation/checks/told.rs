//! **Told**: each listener, through all its absences, in the end holds for true what all sites list; what it is told of a
//! key comes in order; what it was told was durable, and can be read when it arrives.
//!
//! The end is exact: what a listener holds is made of its events alone; let pass for one that moves between sites is what it was
//! told and what was lost with the only disk that had it (a limit that the README names). The order is exact within a subscription: ranks of
//! one key don't go down, but after a gap, and where [`Ledger::may_outlive`] says so. Readable: who asks the same relay for the key at once finds that version or one
//! that outranks it, or nothing where that was removed, cleared or past its deadline; let pass where the relay's disk was
//! replaced in between.

use std::{collections::BTreeMap, sync::Arc};

use landbridge_client::Change;
use landbridge_protocol::{
    record::{Key, Record},
    version::Version,
};

use super::{
    Broken, Promise,
    ledger::{Ledger, rank_of},
};
use crate::simulation::{
    history::Happening,
    plan::{CACHES, Plan, Planned},
    world::Run,
};

#[derive(Debug, Default)]
struct Subscription {
    site: usize,
    told: BTreeMap<Vec<u8>, Arc<Record>>,
    /// Where in the history it was told each version.
    told_at: BTreeMap<Vec<u8>, usize>,
}

/// Order, durability and what can be read.
pub(super) fn check_history(ledger: &Ledger<'_>) -> Result<(), Broken> {
    let mut subscriptions: BTreeMap<usize, Subscription> = BTreeMap::new();
    for (at, entry) in ledger.history.iter().enumerate() {
        match &entry.what {
            Happening::Subscribed { listener, site, .. } => {
                subscriptions.insert(*listener, Subscription { site: *site, ..Subscription::default() });
            }
            Happening::Told { listener, change } => {
                let Some(subscription) = subscriptions.get_mut(listener) else { continue };
                told(ledger, subscription, at, change).map_err(|how| {
                    let site = subscription.site + 1;
                    Broken::new(Promise::Told, format!("listener{listener} at site{site}: {how}"))
                })?;
            }
            Happening::Found { listener, site, told, key, found } => {
                let Some(subscription) = subscriptions.get(listener) else { continue };
                let from = subscription.told_at.get(key.as_bytes()).copied().unwrap_or(at);
                let Some(record) = ledger.record(told) else { continue };
                let there = found.and_then(|found| ledger.record(&found));
                let fine = match there {
                    Some(there) => rank_of(there) >= rank_of(record) || ledger.may_outlive(there, record),
                    None => found.is_none() && ledger.may_be_gone(record, entry.at_ms),
                };
                if !fine && !ledger.was_replaced(*site, from, at) {
                    let how = format!("listener{listener} was told {key:?} {told} and finds {found:?}");
                    return Err(Broken::new(Promise::Told, how));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn told(
    ledger: &Ledger<'_>,
    subscription: &mut Subscription,
    at: usize,
    change: &Change<Key, bytes::Bytes>,
) -> Result<(), String> {
    let (key, version) = match change {
        Change::Created(written) | Change::Modified(written) => (&written.key, written.version),
        Change::Removed(ended) => (&ended.key, ended.version),
        Change::Gap => {
            subscription.told.clear();
            return Ok(());
        }
        Change::Expired(_) | Change::Cleared { .. } | Change::SnapshotEnd => return Ok(()),
    };
    let before = &ledger.history[..at];
    let durable = before.iter().rev().any(|entry| match &entry.what {
        Happening::Durable { site, record, .. } => *site == subscription.site && record.version == version,
        _ => false,
    });
    if !durable {
        return Err(format!("is told {key:?} {version}, which is not on disk"));
    }
    let Some(record) = ledger.record(&version) else { return Ok(()) };
    let key = key.as_bytes().to_vec();
    subscription.told_at.insert(key.clone(), at);
    match subscription.told.insert(key, record.clone()) {
        Some(former) if rank_of(&former) > rank_of(record) && !ledger.may_outlive(record, &former) => {
            Err(format!("is told {version} after {}", former.version))
        }
        _ => Ok(()),
    }
}

/// Whether the last that a listener was told of a key, or a clear that it was told, was destroyed with the only disk that had it.
fn was_told_lost(ledger: &Ledger<'_>, number: usize, key: &Key) -> bool {
    let told = ledger.history.iter().filter_map(|entry| match &entry.what {
        Happening::Told { listener, change } if *listener == number => Some(change),
        _ => None,
    });
    let lost = |version: &Version| ledger.record(version).is_some_and(|record| ledger.was_destroyed(record));
    let mut last = None;
    for change in told {
        match change {
            Change::Created(written) | Change::Modified(written) if written.key == *key => last = Some(written.version),
            Change::Removed(ended) | Change::Expired(ended) if ended.key == *key => last = Some(ended.version),
            Change::Cleared { floor, .. } if lost(floor) => return true,
            _ => {}
        }
    }
    last.is_some_and(|version| lost(&version))
}

/// What each listener holds for true.
pub(super) fn check_end(plan: &Plan, ledger: &Ledger<'_>, run: &Run) -> Result<(), Broken> {
    let Some(Some(listings)) = run.end.listings.first() else { return Ok(()) };
    for (number, (listener, model)) in plan.listeners.iter().zip(&run.end.models).enumerate() {
        let listed = &listings[listener.cache];
        let keys = listed.keys().chain(model.keys());
        let moves = listener.moves.iter().any(|Planned { what, .. }| what.to != listener.site);
        let wrong = |key: &Key| listed.get(key) != model.get(key) && !(moves && was_told_lost(ledger, number, key));
        if let Some(key) = keys.into_iter().find(|key| wrong(key)) {
            let (listed, held) = (listed.get(key), model.get(key));
            let name = CACHES[listener.cache].0;
            let how = format!("listener{number} of {name} holds {held:?} of {key:?}, where {listed:?} is listed");
            return Err(Broken::new(Promise::Told, how));
        }
    }
    Ok(())
}
