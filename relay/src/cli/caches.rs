//! The commands on entries: put, get, remove, size, ls, clear.

use std::io::{Read, Write, stdin, stdout};

use bytes::Bytes;
use landbridge_client::{Conditional, Key};
use landbridge_protocol::name::CacheName;
use serde_json::json;

use super::{
    Exit, Failure, Target,
    connect::failed,
    duration::Lifespan,
    output::say,
    output::{self, base64_where_no_text, key_text, shown, text},
};

fn key(text: &str) -> Result<Key, Failure> {
    Key::new(text.as_bytes().to_vec()).map_err(|e| Failure::because(Exit::Usage, &e))
}

/// Not found: said on stderr, so that standard output holds values only.
fn not_found(cache: &CacheName, key: &str) -> Exit {
    eprintln!("landbridge: no entry {key:?} in cache {cache}");
    Exit::Failed
}

pub(super) async fn put(
    to: &Target,
    name: &CacheName,
    key_arg: &str,
    value: &str,
    lifespan: Option<Lifespan>,
    if_absent: bool,
) -> Result<Exit, Failure> {
    let key = key(key_arg)?;
    let value = match value {
        "-" => {
            let mut bytes = Vec::new();
            let read = stdin().lock().read_to_end(&mut bytes);
            read.map_err(|e| Failure::new(Exit::Usage, format!("cannot read standard input: {e}")))?;
            Bytes::from(bytes)
        }
        text => Bytes::copy_from_slice(text.as_bytes()),
    };
    let (client, mut cache) = to.cache(name).await?;
    if let Some(Lifespan(lifespan)) = lifespan {
        cache = cache.with_lifespan(lifespan);
    }
    let written = if if_absent {
        cache.put_if_absent(&key, value).await.map_err(|e| failed(&e))?
    } else {
        Conditional::Done(cache.put(&key, value).await.map_err(|e| failed(&e))?)
    };
    client.close().await;
    match written {
        Conditional::Done(version) if to.json => {
            output::json(&json!({"cache": name, "key": key_arg, "version": version.to_string(), "done": true}))?;
            Ok(Exit::Done)
        }
        Conditional::Done(version) => {
            say!("{version}");
            Ok(Exit::Done)
        }
        Conditional::Failed(present) => {
            let version = present.map(|p| p.version.to_string());
            if to.json {
                output::json(&json!({"cache": name, "key": key_arg, "version": version, "done": false}))?;
            } else {
                eprintln!("landbridge: there is an entry {key_arg:?} in cache {name}; nothing was written");
            }
            Ok(Exit::Failed)
        }
    }
}

pub(super) async fn get(to: &Target, name: &CacheName, key_arg: &str) -> Result<Exit, Failure> {
    let key = key(key_arg)?;
    let (client, cache) = to.cache(name).await?;
    let found = cache.get_versioned(&key).await.map_err(|e| failed(&e))?;
    client.close().await;
    let Some(entry) = found else { return Ok(not_found(name, key_arg)) };
    if to.json {
        let mut object = json!({
            "cache": name, "key": key_arg, "value": text(&entry.value), "version": entry.version.to_string(),
            "site": entry.version.origin.site, "deadline_ms": entry.deadline.map(|d| d.as_millis()),
        });
        base64_where_no_text(&mut object, [("value_base64", Some(&entry.value[..]))]);
        output::json(&object)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout().lock();
    let written = out.write_all(&entry.value).and_then(|()| out.flush());
    written.map_err(|e| Failure::new(Exit::Failed, format!("cannot write the value: {e}")))?;
    Ok(Exit::Done)
}

pub(super) async fn remove(to: &Target, name: &CacheName, key_arg: &str) -> Result<Exit, Failure> {
    let key = key(key_arg)?;
    let (client, cache) = to.cache(name).await?;
    let gone = cache.remove(&key).await.map_err(|e| failed(&e))?;
    client.close().await;
    if to.json {
        output::json(&json!({"cache": name, "key": key_arg, "removed": gone.is_some()}))?;
    }
    if gone.is_some() { Ok(Exit::Done) } else { Ok(not_found(name, key_arg)) }
}

pub(super) async fn size(to: &Target, name: &CacheName) -> Result<Exit, Failure> {
    let (client, cache) = to.cache(name).await?;
    let entries = cache.size().await.map_err(|e| failed(&e))?;
    client.close().await;
    if to.json {
        output::json(&json!({"cache": name, "entries": entries}))?;
    } else {
        say!("{entries}");
    }
    Ok(Exit::Done)
}

pub(super) async fn ls(to: &Target, name: &CacheName, prefix: &str, limit: usize) -> Result<Exit, Failure> {
    let (client, cache) = to.cache(name).await?;
    let mut keys = cache.keys(Bytes::copy_from_slice(prefix.as_bytes()));
    let mut printed = 0;
    let mut more = false;
    while let Some(entry) = keys.next().await {
        let entry = entry.map_err(|e| failed(&e))?;
        more = printed == limit;
        if more {
            break;
        }
        printed += 1;
        if to.json {
            let deadline = entry.deadline.map(|d| d.as_millis());
            let mut object = json!({
                "key": key_text(&entry.key), "version": entry.version.to_string(), "deadline_ms": deadline,
            });
            base64_where_no_text(&mut object, [("key_base64", Some(entry.key.as_bytes()))]);
            output::json(&object)?;
        } else {
            say!("{}", shown(entry.key.as_bytes()));
        }
    }
    client.close().await;
    if more {
        eprintln!("landbridge: there are more; --limit N lists more than {limit}");
    }
    Ok(Exit::Done)
}

pub(super) async fn clear(to: &Target, name: &CacheName) -> Result<Exit, Failure> {
    let (client, cache) = to.cache(name).await?;
    cache.clear().await.map_err(|e| failed(&e))?;
    client.close().await;
    if to.json {
        output::json(&json!({"cache": name, "cleared": true}))?;
    }
    Ok(Exit::Done)
}
