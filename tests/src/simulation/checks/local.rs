//! **Local**: no write waits for another site.
//!
//! A request that has no answer in its time must have had a reason at its own site: a relay that was down or whose disk
//! failed or was full, a bad way between node and relay, a clock that was wrong (that is everybody's, as a relay that is
//! ahead of the others stops), or a store that still waited to be filled. Links that are cut and peers that are down are
//! none. Exact for refusals and time-outs; how long an answer took below the time-out is not looked at.

use super::{Broken, Promise, ledger::Ledger};
use crate::simulation::{
    history::{Answer, Happening},
    nodes::OPERATION_TIMEOUT,
    plan::{Disk, Fault, Plan},
};

/// A store that is fresh waits so long for its peers, and the link of a node so long for a relay that is back.
const SLACK_MS: u64 = 16_000;

/// An empty store waits for peers that are down; no plan keeps one down for longer.
const FILL_WAIT_MS: u64 = 30_000;

/// Every request that was not answered.
pub(super) fn check(plan: &Plan, ledger: &Ledger<'_>) -> Result<(), Broken> {
    for exchange in &ledger.exchanges {
        let Answer::Unknown(why) = exchange.answer else { continue };
        let (from, to) = (ledger.at_ms(exchange.asked), ledger.at_ms(exchange.answered));
        let early = from < SLACK_MS;
        if early
            || waits_to_be_filled(ledger, exchange.site, from, to)
            || plan_excuses(plan, ledger, exchange.site, from, to)
        {
            continue;
        }
        let (node, site, what) = (exchange.node, exchange.site + 1, exchange.operation.what);
        let how = format!("node{node} at site{site}: {what:?} was not done, though nothing was wrong there: {why}");
        return Err(Broken::new(Promise::Local, how));
    }
    Ok(())
}

/// Whether its disk was wiped or replaced not long before: a peer that is down then is waited for, for a while.
fn waits_to_be_filled(ledger: &Ledger<'_>, site: usize, from: u64, to: u64) -> bool {
    ledger.history.iter().any(|entry| match entry.what {
        Happening::Starts { site: of, disk } if of == site && disk != Disk::Same => {
            entry.at_ms <= to && from <= entry.at_ms + FILL_WAIT_MS + SLACK_MS
        }
        _ => false,
    })
}

fn plan_excuses(plan: &Plan, ledger: &Ledger<'_>, site: usize, from: u64, to: u64) -> bool {
    let concerns = |fault: &Fault| match *fault {
        Fault::Kill { site: of, .. }
        | Fault::Restart { site: of, .. }
        | Fault::FlushFails { site: of, .. }
        | Fault::DiskFull { site: of, .. }
        | Fault::NodesWeather { site: of, .. } => of == site,
        Fault::Clock { .. } => true,
        Fault::Weather { .. } | Fault::Offline { .. } | Fault::Copy { .. } => false,
    };
    let slack = SLACK_MS + OPERATION_TIMEOUT.as_millis() as u64;
    let mut open: Vec<(Fault, u64)> = Vec::new();
    let touches = |began: u64, ended: u64| began <= to && from <= ended + slack;
    for entry in ledger.history {
        match &entry.what {
            Happening::Fault(fault) if concerns(fault) => open.push((*fault, entry.at_ms)),
            Happening::Over(fault) => {
                let Some(at) = open.iter().position(|(other, _)| other == fault) else { continue };
                let (_, began) = open.remove(at);
                if touches(began, entry.at_ms) {
                    return true;
                }
            }
            _ => {}
        }
    }
    open.iter().any(|(_, began)| touches(*began, u64::MAX / 2)) || plan.faults.is_empty() && from < SLACK_MS
}
