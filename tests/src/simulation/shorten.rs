//! A run that breaks a promise, made shorter: faults, nodes, listeners, moves and operations are left out as long as what is
//! left breaks the same promise.

use super::{checks::Promise, judge, mutation::Mutation, plan::Plan};

/// The shortest plan that was found within so many runs.
pub fn shorten(plan: &Plan, promise: Promise, mutation: Option<Mutation>, runs: u32) -> Plan {
    let mut left = runs;
    let mut still_breaks = |candidate: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && judge(candidate, mutation).1.is_err_and(|broken| broken.promise == promise)
    };
    let mut plan = plan.clone();
    loop {
        let before = size(&plan);
        thin(&mut plan, &mut still_breaks, |plan| &mut plan.faults);
        thin(&mut plan, &mut still_breaks, |plan| &mut plan.listeners);
        for node in 0..plan.nodes.len() {
            thin(&mut plan, &mut still_breaks, |plan| &mut plan.nodes[node].operations);
        }
        for listener in 0..plan.listeners.len() {
            thin(&mut plan, &mut still_breaks, |plan| &mut plan.listeners[listener].moves);
            thin(&mut plan, &mut still_breaks, |plan| &mut plan.listeners[listener].pauses);
        }
        if size(&plan) == before || !still_breaks(&plan) {
            return plan;
        }
    }
}

/// What a run has in it.
fn size(plan: &Plan) -> usize {
    let operations: usize = plan.nodes.iter().map(|node| node.operations.len()).sum();
    let moves: usize = plan.listeners.iter().map(|listener| listener.moves.len() + listener.pauses.len()).sum();
    plan.faults.len() + plan.listeners.len() + operations + moves
}

/// Leaves out half of a list, a quarter, and so on down to single ones, wherever that can be.
fn thin<T: Clone>(
    plan: &mut Plan,
    still_breaks: &mut impl FnMut(&Plan) -> bool,
    list: impl Fn(&mut Plan) -> &mut Vec<T>,
) {
    let mut chunk = list(plan).len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < list(plan).len() {
            let mut candidate = plan.clone();
            let end = (at + chunk).min(list(&mut candidate).len());
            list(&mut candidate).drain(at..end);
            if still_breaks(&candidate) {
                *plan = candidate;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
}
