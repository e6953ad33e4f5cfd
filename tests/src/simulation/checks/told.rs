//! **Told**: each listener, through all its absences, in the end holds for true what all sites list; what it is told of a
//! key comes in order; what it was told was durable, and can be read when it arrives.
//!
//! The end is exact: what a listener holds is made of its events alone. The order is exact within a subscription: ranks of
//! one key don't go down, but after a gap. Readable: who asks the same relay for the key at once finds that version or one
//! that outranks it, or nothing where that was removed, cleared or past its deadline; let pass where the relay's disk was
//! replaced in between.

use std::collections::BTreeMap;

use landbridge_client::Change;
use landbridge_relay::engine::slot::Rank;

use super::{
    Broken, Promise,
    ledger::{Ledger, rank_of},
};
use crate::simulation::{
    history::Happening,
    plan::{CACHES, Plan},
    world::Run,
};

#[derive(Debug, Default)]
struct Subscription {
    site: usize,
    ranks: BTreeMap<Vec<u8>, Rank>,
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
                    Some(there) => rank_of(there) >= rank_of(record),
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
    change: &Change<landbridge_protocol::record::Key, bytes::Bytes>,
) -> Result<(), String> {
    let (key, version) = match change {
        Change::Created(written) | Change::Modified(written) => (&written.key, written.version),
        Change::Removed(ended) => (&ended.key, ended.version),
        Change::Gap => {
            subscription.ranks.clear();
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
    let (rank, key) = (rank_of(record), key.as_bytes().to_vec());
    subscription.told_at.insert(key.clone(), at);
    match subscription.ranks.insert(key, rank) {
        Some(former) if former > rank => Err(format!("is told {version} after {}", former.2)),
        _ => Ok(()),
    }
}

/// What each listener holds for true.
pub(super) fn check_end(plan: &Plan, run: &Run) -> Result<(), Broken> {
    let Some(Some(listings)) = run.end.listings.first() else { return Ok(()) };
    for (number, (listener, model)) in plan.listeners.iter().zip(&run.end.models).enumerate() {
        let listed = &listings[listener.cache];
        let keys = listed.keys().chain(model.keys());
        if let Some(key) = keys.into_iter().find(|key| listed.get(*key) != model.get(*key)) {
            let (listed, held) = (listed.get(key), model.get(key));
            let name = CACHES[listener.cache].0;
            let how = format!("listener{number} of {name} holds {held:?} of {key:?}, where {listed:?} is listed");
            return Err(Broken::new(Promise::Told, how));
        }
    }
    Ok(())
}
