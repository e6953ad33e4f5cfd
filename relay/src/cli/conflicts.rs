//! The command `conflicts`: the conflict log, oldest first.

use landbridge_protocol::{
    frame::{
        FromAdmin, ToAdmin,
        admin::{ConflictRecord, ConflictReport, Report, Request},
    },
    name::CacheName,
};
use serde_json::{Value, json};

use super::{
    Exit, Failure, Target,
    admin::Operator,
    output::{self, base64_where_no_text, key_text, shown, table, text},
};

/// Conflicts that are asked for at once.
const PAGE: u32 = 256;

pub(super) async fn conflicts(to: &Target, cache: Option<CacheName>) -> Result<Exit, Failure> {
    let mut operator = Operator::connect(&to.profile()?).await?;
    let (mut after, mut rows) = (0, Vec::new());
    loop {
        let request = Request::Conflicts { cache: cache.clone(), after, limit: PAGE };
        let page = match operator.exchange(&ToAdmin::Request(request)).await? {
            FromAdmin::Report(Report::Conflicts(page)) => page,
            other => return Err(operator.unexpected(&other)),
        };
        for conflict in &page.conflicts {
            if to.json {
                output::json(&as_json(conflict))?;
            } else {
                rows.push(row(conflict));
            }
        }
        match page.more_after {
            Some(last) => after = last,
            None => break,
        }
    }
    operator.close().await;
    if !to.json {
        table(["AT", "CACHE", "KEY", "LOST", "TO", "BECAUSE", "FROM"], &rows);
    }
    Ok(Exit::Done)
}

fn row(conflict: &ConflictReport) -> [String; 7] {
    let side = |record: &ConflictRecord| {
        let node = record.node.as_ref().map(|node| format!(" by {node}")).unwrap_or_default();
        format!("{} {}{node}", record.kind, record.version)
    };
    [
        output::time(conflict.at),
        conflict.cache.to_string(),
        shown(conflict.key.as_bytes()),
        side(&conflict.loser),
        conflict.winner.as_ref().map_or("a removal".into(), side),
        conflict.because.clone(),
        conflict.peer.to_string(),
    ]
}

fn as_json(conflict: &ConflictReport) -> Value {
    let mut object = json!({
        "number": conflict.number, "at_ms": conflict.at.as_millis(), "cache": conflict.cache,
        "key": key_text(&conflict.key), "merge": conflict.merge, "because": conflict.because, "peer": conflict.peer,
        "winner": conflict.winner.as_ref().map(side_json), "loser": side_json(&conflict.loser),
    });
    base64_where_no_text(&mut object, [("key_base64", Some(conflict.key.as_bytes()))]);
    object
}

fn side_json(record: &ConflictRecord) -> Value {
    let context: serde_json::Map<String, Value> =
        record.context.iter().map(|(origin, clock)| (origin.clone(), json!(clock))).collect();
    let mut side = json!({
        "kind": record.kind, "version": record.version, "birth": record.birth, "node": record.node,
        "deadline_ms": record.deadline.map(|at| at.as_millis()), "context": context, "value_bytes": record.value_bytes,
    });
    side["value"] = json!(text(&record.value.0));
    base64_where_no_text(&mut side, [("value_base64", Some(&record.value.0[..]))]);
    side
}
