//! **Durable**, **Gone is gone**, **Convergent**.
//!
//! *Durable.* Exact at the answer: the record of an acknowledged write was on its site's disk before. In the end: the key
//! has that record or one that outranks it, or nothing, where that or one that outranks it was removed, cleared or past its
//! deadline. The order is the merge's own, birth and all, of records as they were on disk, so that this is exact for
//! `remove_wins`, too. Let pass: what [`Ledger::was_destroyed`] says was destroyed.
//!
//! *Gone is gone.* No site lists in the end what is outranked by a removal that was on its disk. Of an acknowledged removal
//! the key has, in the end, nothing, or what outranks the tombstone: exact, and the same for clears and their floors. What is
//! let pass is the same, and for both what [`Ledger::may_outlive`] says.
//!
//! *Convergent.* In calm with all links up, each site's clients list the same: key, value, version, deadline. Exact. Drift
//! checks find nothing, in calm and before, but where a disk has lost something; that is repaired in calm.

use landbridge_protocol::{
    record::{Kind, Record},
    version::Version,
};
use landbridge_relay::engine::slot::is_below;

use super::{
    Broken, Promise,
    ledger::{Exchange, Ledger, merge_of, rank_of},
};
use crate::simulation::{
    history::{Answer, Happening},
    plan::{CACHES, Plan},
    world::{Listing, Run},
};

/// An answer tells of what is durable.
pub(super) fn check(ledger: &Ledger<'_>, _run: &Run) -> Result<(), Broken> {
    for exchange in &ledger.exchanges {
        match exchange.answer {
            Answer::Written(versions) => {
                for version in versions {
                    written(ledger, exchange, version)?;
                }
            }
            Answer::Gone if ledger.left_by(exchange).is_none() => {
                let how = format!("{} was answered, and no record of it was on disk", asked(exchange));
                return Err(Broken::new(Promise::Durable, how));
            }
            _ => {}
        }
    }
    Ok(())
}

fn written(ledger: &Ledger<'_>, exchange: &Exchange<'_>, version: &Version) -> Result<(), Broken> {
    let before = &ledger.history[..exchange.answered];
    let durable = before.iter().find_map(|entry| match &entry.what {
        Happening::Durable { site, record, .. } if *site == exchange.site && record.version == *version => Some(record),
        _ => None,
    });
    match durable {
        Some(record) if record.value == *exchange.value && record.kind == Kind::Live => Ok(()),
        Some(record) => {
            let how = format!("{} was answered with {version}, which is {record:?}", asked(exchange));
            Err(Broken::new(Promise::Durable, how))
        }
        None => {
            let how = format!("{} was answered with {version}, which was not on disk", asked(exchange));
            Err(Broken::new(Promise::Durable, how))
        }
    }
}

fn asked(exchange: &Exchange<'_>) -> String {
    let (node, site) = (exchange.node, exchange.site + 1);
    format!(
        "node{node} at site{site}: {:?} {} k{}",
        exchange.operation.what, CACHES[exchange.operation.cache].0, exchange.operation.key
    )
}

/// All sites list the same.
pub(super) fn check_convergence(plan: &Plan, run: &Run) -> Result<(), Broken> {
    let broken = |how: String| Err(Broken::new(Promise::Convergent, how));
    let drift = run.history.iter().find_map(|entry| match &entry.what {
        Happening::Drift { how, .. } => Some(format!("{how}, at {} ms", entry.at_ms)),
        _ => None,
    });
    if let Some(drift) = drift.filter(|_| !plan.loses()) {
        return broken(format!("a drift check finds what is none: {drift}"));
    }
    if let Some((site, _)) = run.end.listed().find(|(_, listing)| listing.is_none()) {
        return broken(format!("site{} can't be listed; {}", site + 1, run.end.links.join("; ")));
    }
    let Some(first) = run.end.first() else { return broken("there is no site".into()) };
    for (site, other) in run.end.listed().skip(1) {
        for (cache, (one, other)) in first.iter().zip(other.into_iter().flatten()).enumerate() {
            let keys = one.keys().chain(other.keys());
            if let Some(key) = keys.into_iter().find(|key| one.get(*key) != other.get(*key)) {
                let (here, there) = (one.get(key), other.get(key));
                let links = run.end.links.join("; ");
                let name = CACHES[cache].0;
                return broken(format!(
                    "{name} {key:?} is {here:?} at site1 and {there:?} at site{}; {links}",
                    site + 1
                ));
            }
        }
    }
    if let Some(found) = run.end.drift.first() {
        return broken(format!("a drift check finds: {found}"));
    }
    if run.end.links.is_empty() { Ok(()) } else { broken(run.end.links.join("; ")) }
}

/// Nothing is listed that was gone at that site.
pub(super) fn check_gone(ledger: &Ledger<'_>, run: &Run) -> Result<(), Broken> {
    let listed = run.end.listed().filter_map(|(site, listing)| Some((site, listing?)));
    let entries = listed.flat_map(|(site, listing)| listing.iter().flatten().map(move |entry| (site, entry)));
    for (site, (key, (version, ..))) in entries {
        let Some(there) = ledger.record(version) else { continue };
        if let Some(removal) = ledger.has_returned(site, there, ledger.history.len()) {
            let how = format!("site{} lists {key:?} {version}, which was removed there by {removal}", site + 1);
            return Err(Broken::new(Promise::GoneIsGone, how));
        }
    }
    Ok(())
}

/// Nothing is lost, and nothing has returned.
pub(super) fn check_end(ledger: &Ledger<'_>, run: &Run) -> Result<(), Broken> {
    let Some(listings) = run.end.first() else { return Ok(()) };
    for (exchange, record) in ledger.acknowledged() {
        let listing = &listings[exchange.operation.cache];
        let broken = match (record.kind, &record.key) {
            (Kind::Clear, _) => survivor(ledger, record, listing),
            (kind, Some(key)) => {
                let found = listing.get(key).map(|(version, ..)| version);
                outcome(ledger, kind, record, found, run.lasted_ms)
            }
            _ => None,
        };
        let found = record.key.as_ref().and_then(|key| listing.get(key)).and_then(|(found, ..)| ledger.record(found));
        let concurrent = found.is_some_and(|found| ledger.may_outlive(found, record));
        if let Some(broken) = broken.filter(|_| !concurrent && !ledger.was_destroyed(record)) {
            let Broken { promise, how } = broken;
            return Err(Broken::new(promise, format!("{}: {how}", asked(exchange))));
        }
    }
    Ok(())
}

fn survivor(ledger: &Ledger<'_>, clear: &Record, listing: &Listing) -> Option<Broken> {
    let merge = merge_of(&clear.cache);
    let below = |version: &Version| {
        let record = ledger.record(version);
        record.is_some_and(|record| is_below(merge, &clear.version, &record.version, &record.birth))
    };
    let (key, (version, ..)) = listing.iter().find(|(_, (version, ..))| below(version))?;
    Some(Broken::new(Promise::GoneIsGone, format!("{key:?} {version} is below the floor {}", clear.version)))
}

fn outcome(ledger: &Ledger<'_>, kind: Kind, record: &Record, found: Option<&Version>, at_ms: u64) -> Option<Broken> {
    let promise = if kind == Kind::Tombstone { Promise::GoneIsGone } else { Promise::Durable };
    let Some(found) = found else {
        let fine = kind == Kind::Tombstone || ledger.may_be_gone(record, at_ms);
        return (!fine).then(|| Broken::new(promise, format!("{} is gone, and nobody removed it", record.version)));
    };
    match ledger.record(found) {
        None => Some(Broken::new(promise, format!("there is {found}, which was on no disk"))),
        Some(there) if rank_of(there) < rank_of(record) => {
            Some(Broken::new(promise, format!("{} is outranked by {found}, which is older", record.version)))
        }
        Some(_) => None,
    }
}
