//! `landbridge drift`: whether this site and the others hold the same, and what is to be done where they don't.

use std::time::Duration;

use landbridge_protocol::{
    frame::{
        FromAdmin, ToAdmin,
        admin::{Drift, DriftRecord, DriftSide, LinkDrift, Report, Request},
    },
    name::{CacheName, SiteName},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Exit, Failure, Target,
    admin::Operator,
    output::{self, base64_where_no_text, key_text, say, shown, table},
};

/// How often the relay is asked whether the check is done.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long a check is waited for.
const MAX_WAIT: Duration = Duration::from_secs(3600);

pub(super) async fn drift(
    to: &Target,
    peer: Option<SiteName>,
    cache: Option<CacheName>,
    repair: bool,
) -> Result<Exit, Failure> {
    let profile = to.profile()?;
    let mut operator = Operator::connect(&profile).await?;
    let request = |begin| Request::Drift { peer, cache: cache.clone(), repair, begin };
    let begun = ask(&mut operator, request(true)).await?;
    let deadline = Instant::now() + MAX_WAIT;
    let found = loop {
        let found = ask(&mut operator, request(false)).await?;
        if found.links.iter().all(|link| is_done(link, &begun)) {
            break found;
        }
        if Instant::now() > deadline {
            let text =
                format!("the check was not done within {MAX_WAIT:?}; it goes on at the relay, and `status` tells");
            return Err(Failure::new(Exit::Failed, text));
        }
        sleep(ASK_EVERY).await;
    };
    operator.close().await;
    let mut exit = Exit::Done;
    for link in &found.links {
        let complete = [&link.why_not, &link.why_not_here].iter().all(|why| why.is_none());
        let sides = [(link.peer, &link.there), (profile.site, &link.here)];
        let lacked = sides.iter().flat_map(|(_, side)| &side.caches).any(|of| of.found > of.repaired);
        if lacked || !complete || sides.iter().any(|(_, side)| is_unchecked(side, cache.as_ref())) {
            exit = Exit::Failed;
        }
        if to.json {
            output::json(&as_json(link, &sides))?;
        }
    }
    if !to.json {
        tell(&found, profile.site, cache.as_ref(), repair);
    }
    Ok(exit)
}

async fn ask(operator: &mut Operator, request: Request) -> Result<Drift, Failure> {
    match operator.exchange(&ToAdmin::Request(request)).await? {
        FromAdmin::Report(Report::Drift(drift)) => Ok(drift),
        other => Err(operator.unexpected(&other)),
    }
}

/// Whether both ways are checked, or can't be.
fn is_done(link: &LinkDrift, begun: &Drift) -> bool {
    let asked = begun.links.iter().find(|before| before.peer == link.peer).map_or(link.asked, |before| before.asked);
    let there = link.why_not.is_some() || link.there.asked >= asked;
    there && (link.why_not_here.is_some() || link.here.asked >= asked)
}

/// Whether each cache was left out, or the one that was asked for: nothing was compared, so that nothing is known. One among others
/// that were compared may be left out for good, as it does not replicate between the two.
fn is_unchecked(side: &DriftSide, only: Option<&CacheName>) -> bool {
    let mut asked = side.caches.iter().filter(|of| only.is_none_or(|only| of.cache == *only)).peekable();
    asked.peek().is_some() && asked.all(|of| of.left_out.is_some())
}

fn tell(found: &Drift, own: SiteName, only: Option<&CacheName>, repair: bool) {
    let mut rows = Vec::new();
    let mut words = Vec::new();
    for link in &found.links {
        for (site, side, why_not) in [(link.peer, &link.there, &link.why_not), (own, &link.here, &link.why_not_here)] {
            let other = if site == own { link.peer } else { own };
            if let Some(why) = why_not {
                words.push(format!("what {site} lacks of what {other} holds could not be checked: {why}"));
                continue;
            }
            rows.extend(side.records.iter().map(|record| row(site, record)));
            words.extend(summary(site, other, side, only, repair));
        }
    }
    if !rows.is_empty() {
        table(["LACKED BY", "CACHE", "KEY", "HELD", "VERSION", "HOLDS"], &rows);
        say!("");
    }
    words.iter().for_each(|line| say!("{line}"));
}

fn row(site: SiteName, record: &DriftRecord) -> [String; 6] {
    let holds = record.held.as_ref().map_or_else(|| record.holds.clone(), |held| format!("{} {held}", record.holds));
    [
        site.to_string(),
        record.cache.to_string(),
        record.key.as_ref().map_or("(all)".into(), |key| shown(key.as_bytes())),
        record.kind.clone(),
        record.version.clone(),
        holds,
    ]
}

fn summary(site: SiteName, other: SiteName, side: &DriftSide, only: Option<&CacheName>, repair: bool) -> Vec<String> {
    let mut words = Vec::new();
    let found: u64 = side.caches.iter().map(|of| of.found).sum();
    if is_unchecked(side, only) {
        words.push(format!("what {site} lacks of what {other} holds is not known: nothing was compared"));
    } else if found == 0 {
        words.push(format!("{site} lacks nothing of what {other} holds"));
    }
    for of in side.caches.iter().filter(|of| of.found > 0) {
        let taken = if repair { format!("; {} of them it holds again", of.repaired) } else { String::new() };
        words.push(format!("{site} lacks {} records of {} that {other} holds{taken}", of.found, of.cache));
    }
    if found > side.records.len() as u64 {
        words.push(format!("{site}: the list has {} of {found} records", side.records.len()));
    }
    for of in &side.caches {
        words.extend(of.left_out.iter().map(|why| format!("{site}: {} is left out: {why}", of.cache)));
    }
    words
}

fn as_json(link: &LinkDrift, sides: &[(SiteName, &DriftSide)]) -> Value {
    let of = |(site, side): &(SiteName, &DriftSide), why_not: &Option<String>| {
        let records: Vec<Value> = side.records.iter().map(record_json).collect();
        json!({
            "site": site, "not_checked_because": why_not, "checked_ms": side.checked.map(|at| at.as_millis()),
            "caches": side.caches, "records": records,
        })
    };
    json!({ "peer": link.peer, "lacked_by": [of(&sides[0], &link.why_not), of(&sides[1], &link.why_not_here)] })
}

fn record_json(record: &DriftRecord) -> Value {
    let mut object = json!({
        "cache": record.cache, "key": record.key.as_ref().map(key_text), "kind": record.kind,
        "version": record.version, "holds": record.holds, "held": record.held,
    });
    base64_where_no_text(&mut object, [("key_base64", record.key.as_ref().map(|key| key.as_bytes()))]);
    object
}
