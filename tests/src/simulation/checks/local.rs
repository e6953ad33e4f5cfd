//! **Local**: no write waits for another site.
//!
//! A request that has no answer in its time must have had a reason at its own site: a relay that was down or whose disk
//! failed or was full, a bad way between node and relay, a clock that was wrong (that is everybody's, as a relay that is
//! ahead of the others stops), a store that still waited to be filled, its nodes' certificate that had ended, or that it was
//! decommissioned. Links that are cut, peers that are down and reloads are none. Exact for refusals and time-outs; how long an answer took below the time-out is not looked at.

use super::{
    Broken, Promise,
    ledger::{Ledger, SKEW_MS},
};
use crate::simulation::{
    history::{Answer, Happening},
    nodes::OPERATION_TIMEOUT,
    plan::{Disk, Fault, Holder, Plan, idle_timeout_ms},
};

/// A store that is fresh waits so long for its peers, and the link of a node so long for a relay that is back.
const SLACK_MS: u64 = 16_000;

/// An empty store waits for peers that are down; no plan of a short run keeps one down for longer.
const FILL_WAIT_MS: u64 = 30_000;
/// Nor a plan of hours.
const FILL_WAIT_OF_HOURS_MS: u64 = 10_800_000;

/// Every request that was not answered.
pub(super) fn check(plan: &Plan, ledger: &Ledger<'_>) -> Result<(), Broken> {
    for exchange in &ledger.exchanges {
        let Answer::Unknown(why) = exchange.answer else { continue };
        let (from, to) = (ledger.at_ms(exchange.asked), ledger.at_ms(exchange.answered));
        let early = from < SLACK_MS;
        if early
            || waits_to_be_filled(plan, ledger, exchange.site, from, to)
            || plan_excuses(plan, ledger, exchange.site, from, to)
            || is_out(plan, ledger, exchange.site, from, to)
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
fn waits_to_be_filled(plan: &Plan, ledger: &Ledger<'_>, site: usize, from: u64, to: u64) -> bool {
    let fill_wait = if plan.hours { FILL_WAIT_OF_HOURS_MS } else { FILL_WAIT_MS };
    ledger.history.iter().any(|entry| match entry.what {
        Happening::Starts { site: of, disk } if of == site && disk != Disk::Same => {
            entry.at_ms <= to && from <= entry.at_ms + fill_wait + SLACK_MS
        }
        _ => false,
    })
}

/// Whether it is the last site, and that is decommissioned, or to be, or not long there.
fn is_out(plan: &Plan, ledger: &Ledger<'_>, site: usize, from: u64, to: u64) -> bool {
    if site + 1 != plan.sites {
        return false;
    }
    let mut since = plan.guest_is_out.then_some(0);
    for entry in ledger.history {
        match &entry.what {
            // One that is ordered while the site is on its way in begins once that is there.
            Happening::Fault(Fault::Leave { .. }) | Happening::Left { .. } => since = since.or(Some(entry.at_ms)),
            Happening::Over(Fault::Join { .. }) => {
                let until = entry.at_ms + SLACK_MS + FILL_WAIT_MS;
                if since.take().is_some_and(|since| since <= to && from <= until) {
                    return true;
                }
            }
            _ => {}
        }
    }
    since.is_some_and(|since| since <= to)
}

fn plan_excuses(plan: &Plan, ledger: &Ledger<'_>, site: usize, from: u64, to: u64) -> bool {
    let concerns = |fault: &Fault| match *fault {
        Fault::Kill { site: of, .. }
        | Fault::Restart { site: of, .. }
        | Fault::FlushFails { site: of, .. }
        | Fault::DiskFull { site: of, .. }
        | Fault::Loses { site: of, .. }
        | Fault::CertificateEnds { site: of, whose: Holder::Nodes, .. }
        | Fault::NodesWeather { site: of, .. } => of == site,
        Fault::Clock { .. } => true,
        Fault::Weather { .. } | Fault::Isolate { .. } | Fault::Offline { .. } | Fault::Copy { .. } => false,
        // A relay's ends its links; and no reload is a reason.
        Fault::CertificateEnds { .. } | Fault::Join { .. } | Fault::Leave { .. } => false,
    };
    // With a renewed certificate a node waits until its former session has ended.
    let slack = SLACK_MS + OPERATION_TIMEOUT.as_millis() as u64 + idle_timeout_ms(plan.hours);
    let mut open: Vec<(Fault, u64)> = Vec::new();
    let touches = |began: u64, ended: u64| began <= to && from <= ended + slack;
    for entry in ledger.history {
        match &entry.what {
            Happening::Fault(fault) if concerns(fault) => {
                // By a clock that is ahead a certificate ends earlier.
                let early = if matches!(fault, Fault::CertificateEnds { .. }) { SKEW_MS } else { 0 };
                open.push((*fault, entry.at_ms.saturating_sub(early)));
            }
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
