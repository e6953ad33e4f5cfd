//! `landbridge watch`: an event a line.

use std::io::{Write, stdout};

use bytes::Bytes;
use landbridge_client::{Event, EventKind, Key, Token};
use landbridge_protocol::name::CacheName;
use serde_json::json;

use super::{
    Exit, Failure, Target,
    connect::failed,
    output::{base64_where_no_text, key_text, shown, text},
    signals::asked_to_end,
};

/// Prints events until Ctrl-C or SIGTERM, or until standard output is closed.
pub(super) async fn watch(
    to: &Target,
    name: &CacheName,
    snapshot: bool,
    from: Option<String>,
) -> Result<Exit, Failure> {
    let token = from.map(|text| text.parse::<Token>()).transpose();
    let token = token.map_err(|e| Failure::new(Exit::Usage, format!("--from: {e}")))?;
    let (client, cache) = to.cache(name).await?;
    let mut listen = cache.listen();
    if snapshot {
        listen = listen.snapshot();
    }
    if let Some(token) = token {
        listen = listen.from(token);
    }
    let mut listener = listen.start_raw().await.map_err(|e| failed(&e))?;
    loop {
        let event = tokio::select! {
            biased;
            ended = asked_to_end() => break ended?,
            event = listener.next() => event,
        };
        let Some(event) = event else { break };
        let line = line(&event.map_err(|e| failed(&e))?, name, to.json);
        let mut out = stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            break; // the reader has gone, as `head` does
        }
    }
    client.close().await;
    Ok(Exit::Done)
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Modified => "modified",
        EventKind::Removed => "removed",
        EventKind::Expired => "expired",
        EventKind::Cleared => "cleared",
        EventKind::Gap => "gap",
        EventKind::SnapshotEnd => "snapshot_end",
    }
}

fn line(event: &Event<Key, Bytes>, cache: &CacheName, as_json: bool) -> String {
    let node = event.node().map(|node| node.as_str());
    let site = event.site();
    if as_json {
        let (key, value) = (event.key().map(key_text), event.value().map(|bytes| text(bytes)));
        let mut object = json!({
            "kind": kind(event.kind()), "cache": cache, "key": key, "value": value,
            "version": event.version().map(|v| v.to_string()), "birth": event.birth().map(|v| v.to_string()), "site": site, "node": node,
            "token": event.token.as_ref().map(Token::to_string),
        });
        let key = event.key().map(Key::as_bytes);
        base64_where_no_text(&mut object, [("key_base64", key), ("value_base64", event.value().map(|v| &v[..]))]);
        return object.to_string();
    }
    let mut line = format!("{:<12}", kind(event.kind()));
    if let Some(key) = event.key() {
        line.push_str(&format!(" {}", shown(key.as_bytes())));
    }
    if let Some(value) = event.value() {
        line.push_str(&format!(" = {}", shown(value)));
    }
    if let Some(site) = site {
        line.push_str(&format!("  ({}{site})", node.map(|n| format!("{n} at ")).unwrap_or_default()));
    }
    line.trim_end().to_owned()
}
