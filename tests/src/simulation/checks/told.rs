//! **Told**: each listener, through all its absences, in the end holds for true what all sites list; what it is told of a
//! key comes in order; what it was told was durable, and can be read when it arrives.
//!
//! The end is exact: what a listener holds is made of its events alone; let pass for one that moves between sites is what it was
//! told and what was lost with the only disk that had it (a limit that the README names), and who is at a site that is out. The order is exact within a subscription: ranks of
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
    ledger::{Ledger, cache_of, place_of, rank_of},
};
use crate::simulation::{
    history::Happening,
    plan::{CACHES, Listener, Plan, Planned},
    world::Run,
};

#[derive(Debug, Default)]
struct Subscription {
    site: usize,
    told: BTreeMap<Vec<u8>, Arc<Record>>,
}

/// Order, durability and what can be read.
pub(super) fn check_history(ledger: &Ledger<'_>) -> Result<(), Broken> {
    let mut subscriptions: BTreeMap<usize, Subscription> = BTreeMap::new();
    for (at, entry) in ledger.history.iter().enumerate() {
        match &entry.what {
            Happening::Subscribed { listener, site, .. } => {
                let subscription = Subscription { site: *site, ..Subscription::default() };
                subscriptions.insert(*listener, subscription);
            }
            Happening::Told { listener, change } => {
                let Some(subscription) = subscriptions.get_mut(listener) else { continue };
                told(ledger, subscription, at, change).map_err(|how| {
                    let site = subscription.site + 1;
                    Broken::new(Promise::Told, format!("listener{listener} at site{site}: {how}"))
                })?;
            }
            Happening::Found { listener, site, told, key, found } => {
                // What is told was sent after it was durable there, and may have been long on its way.
                let from = ledger.history[..at].iter().rposition(|entry| match &entry.what {
                    Happening::Durable { site: of, record, .. } => of == site && record.version == *told,
                    _ => false,
                });
                let from = from.unwrap_or(at);
                let Some(record) = ledger.record(told) else { continue };
                let there = found.and_then(|found| ledger.record(&found));
                let fine = match there {
                    Some(there) => rank_of(there) >= rank_of(record) || ledger.may_outlive(there, record),
                    None => found.is_none() && ledger.may_be_gone(record, entry.at_ms),
                };
                let excused = |place| ledger.was_replaced(*site, from, at) || ledger.was_lost(&place, at);
                if !fine && !place_of(record).is_some_and(excused) {
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
    match subscription.told.insert(key, record.clone()) {
        Some(former) if rank_of(&former) > rank_of(record) && !ledger.may_outlive(record, &former) => {
            Err(format!("is told {version} after {}", former.version))
        }
        _ => Ok(()),
    }
}

/// Whether the last that a listener was told of a key, or a clear that it was told, was destroyed with the only disk that had it;
/// a snapshot tells what is gone by leaving it out.
fn was_told_lost(ledger: &Ledger<'_>, number: usize, (cache, key): (usize, &Key)) -> bool {
    let told = ledger.history.iter().filter_map(|entry| match &entry.what {
        Happening::Told { listener, change } if *listener == number => Some(change),
        _ => None,
    });
    let lost = |version: &Version| ledger.record(version).is_some_and(|record| ledger.was_destroyed(record));
    let (mut last, mut is_left_out) = (None, false);
    for change in told {
        match change {
            Change::Created(written) | Change::Modified(written) if written.key == *key => last = Some(written.version),
            Change::Removed(ended) | Change::Expired(ended) if ended.key == *key => last = Some(ended.version),
            Change::Cleared { floor, .. } if lost(floor) => return true,
            Change::Gap => last = None,
            Change::SnapshotEnd => is_left_out = last.is_none(),
            _ => {}
        }
    }
    match last {
        Some(version) => lost(&version),
        None => is_left_out && ledger.was_end_destroyed(&(cache_of(cache), key.clone())),
    }
}

/// What each listener holds for true.
pub(super) fn check_end(plan: &Plan, ledger: &Ledger<'_>, run: &Run) -> Result<(), Broken> {
    let Some(listings) = run.end.first() else { return Ok(()) };
    let there = |(_, (listener, _)): &(usize, (&Listener, _))| run.end.members[listener.last_site()];
    for (number, (listener, model)) in plan.listeners.iter().zip(&run.end.models).enumerate().filter(there) {
        let listed = &listings[listener.cache];
        let keys = listed.keys().chain(model.keys());
        let moves = listener.moves.iter().any(|Planned { what, .. }| what.to != listener.site);
        // What a disk had lost may be gone for good, and who was told it before is not told that. And who was told a snapshot
        // without it, and moved, has a token that speaks for it all the same.
        let was_lost = |key: &Key| {
            let place = (cache_of(listener.cache), key.clone());
            ledger.was_lost(&place, ledger.history.len())
        };
        let excused = |key: &Key| {
            let lost = was_lost(key);
            let gone = lost && !listed.contains_key(key);
            let untold = lost && moves && !model.contains_key(key);
            untold || ((moves || gone) && was_told_lost(ledger, number, (listener.cache, key)))
        };
        let wrong = |key: &Key| listed.get(key) != model.get(key) && !excused(key);
        if let Some(key) = keys.into_iter().find(|key| wrong(key)) {
            let (listed, held) = (listed.get(key), model.get(key));
            let name = CACHES[listener.cache].0;
            let how = format!("listener{number} of {name} holds {held:?} of {key:?}, where {listed:?} is listed");
            return Err(Broken::new(Promise::Told, how));
        }
    }
    Ok(())
}
