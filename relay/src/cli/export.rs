//! The commands `export` and `import`: a cache as JSON lines, an entry a line, on standard output and input.

use std::{
    collections::HashSet,
    io::{BufRead, Read, stdin},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use landbridge_client::{Conditional, Entry, Error, Key, RawCache};
use landbridge_protocol::{frame::MAX_ENTRY_BYTES, name::CacheName, time::Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Exit, Failure, Target,
    connect::failed,
    output::{self, base64_where_no_text, key_text, text},
};
use crate::clock::{Clock, SystemClock};

/// Entries that are written at once.
const AT_ONCE: usize = 64;
/// Bytes of the values that are written at once, about.
const AT_ONCE_BYTES: usize = 1024 * 1024;
/// Bytes of a line: an entry of the greatest size, as text, every byte of it escaped (`\u0000`), and room for the rest.
const MAX_LINE_BYTES: u64 = 6 * MAX_ENTRY_BYTES as u64 + (1 << 20);

pub(super) async fn export(to: &Target, name: &CacheName) -> Result<Exit, Failure> {
    let (client, cache) = to.cache(name).await?;
    let mut entries = cache.entries(Bytes::new());
    while let Some(entry) = entries.next().await {
        output::json(&line(&entry.map_err(|e| failed(&e))?))?;
    }
    client.close().await;
    Ok(Exit::Done)
}

fn line(entry: &Entry<Key, Bytes>) -> Value {
    let mut object = json!({
        "key": key_text(&entry.key), "value": text(&entry.value), "version": entry.version.to_string(),
        "deadline_ms": entry.deadline.map(|at| at.as_millis()),
    });
    let (key, value) = (Some(entry.key.as_bytes()), Some(&entry.value[..]));
    base64_where_no_text(&mut object, [("key_base64", key), ("value_base64", value)]);
    object
}

/// What of a line is imported. The version is of the past: an entry that is imported is a new write.
#[derive(Debug, Deserialize)]
struct Line {
    key: String,
    key_base64: Option<String>,
    value: String,
    value_base64: Option<String>,
    deadline_ms: Option<u64>,
}

#[derive(Debug, PartialEq)]
struct Imported {
    key: Key,
    value: Bytes,
    deadline: Option<Timestamp>,
}

fn parse(line: &[u8]) -> Result<Imported, String> {
    let Line { key, key_base64, value, value_base64, deadline_ms } =
        serde_json::from_slice(line).map_err(|error| no_entry(&error))?;
    let bytes = |name: &str, text: String, base64: Option<String>| match base64 {
        Some(base64) => STANDARD.decode(base64).map_err(|error| format!("{name}_base64: {error}")),
        None => Ok(text.into_bytes()),
    };
    let key = Key::new(bytes("key", key, key_base64)?).map_err(|error| error.to_string())?;
    let value = bytes("value", value, value_base64)?.into();
    Ok(Imported { key, value, deadline: deadline_ms.map(Timestamp::from_millis) })
}

/// Without serde's own line number, which is 1 for each.
fn no_entry(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("it is no entry as `export` prints them: {what}, at column {}", error.column())
}

/// A line, its end left out; `None` after the last one.
fn next_line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    let read = from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read as u64 == MAX_LINE_BYTES => Err(format!("it is longer than {MAX_LINE_BYTES} bytes")),
        Some(last) => {
            line.push(last);
            Ok(Some(line))
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    written: u64,
    present: u64,
    expired: u64,
}

pub(super) async fn import(to: &Target, name: &CacheName, if_absent: bool) -> Result<Exit, Failure> {
    let (client, cache) = to.cache(name).await?;
    let mut counts = Counts::default();
    let end = import_all(&cache, &mut stdin().lock(), if_absent, &mut counts).await;
    client.close().await;
    let Counts { written, present, expired } = counts;
    if to.json {
        output::json(&json!({"cache": name, "written": written, "present": present, "expired": expired}))?;
    } else {
        eprintln!("landbridge: {written} written, {present} left as they are, {expired} expired and left out");
    }
    end.map(|()| Exit::Done)
}

async fn import_all(
    cache: &RawCache,
    from: &mut impl BufRead,
    if_absent: bool,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let (mut number, mut bytes) = (0_u64, 0);
    let (mut some, mut keys) = (Vec::new(), HashSet::new());
    loop {
        number += 1;
        let wrong = |text: String| {
            Failure::new(
                Exit::Usage,
                format!("line {number}: {text}; what is before it was imported: mend it, and import the whole again"),
            )
        };
        let read = next_line(from).and_then(|line| line.map(|line| parse(&line)).transpose());
        let entry = match read {
            Ok(entry) => entry,
            Err(text) => {
                write(cache, some, if_absent, counts).await?;
                return Err(wrong(text));
            }
        };
        // Of a key that comes twice the later line is to win.
        let is_full = some.len() >= AT_ONCE || bytes >= AT_ONCE_BYTES;
        if is_full || entry.as_ref().is_none_or(|entry| keys.contains(&entry.key)) {
            write(cache, std::mem::take(&mut some), if_absent, counts).await?;
            (keys, bytes) = (HashSet::new(), 0);
        }
        let Some(entry) = entry else { return Ok(()) };
        bytes += entry.value.len();
        keys.insert(entry.key.clone());
        some.push(entry);
    }
}

async fn write(cache: &RawCache, some: Vec<Imported>, if_absent: bool, counts: &mut Counts) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut writes = JoinSet::new();
    for Imported { key, value, deadline } in some {
        let mut cache = cache.clone();
        if let Some(deadline) = deadline {
            if deadline <= now {
                counts.expired += 1;
                continue;
            }
            cache = cache.with_lifespan(Duration::from(deadline.since(now)));
        }
        writes.spawn(async move {
            match if_absent {
                true => Ok(matches!(cache.put_if_absent(&key, value).await?, Conditional::Done(_))),
                false => cache.put(&key, value).await.map(|_| true),
            }
        });
    }
    while let Some(written) = writes.join_next().await {
        let written: Result<bool, Error> = written.map_err(|e| Failure::because(Exit::Failed, &e))?;
        match written.map_err(|e| failed(&e))? {
            true => counts.written += 1,
            false => counts.present += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::version::{Clock, Origin, RunId, Version};

    use super::*;

    #[test]
    fn what_is_exported_is_imported_whatever_its_bytes() {
        let site = landbridge_protocol::name::SiteName::new("site1").unwrap();
        let version = Version { clock: Clock::from_bits(7), origin: Origin { site, run: RunId(1) } };
        for (key, value, deadline) in [
            (&b"alice"[..], &b"two\nlines \"quoted\""[..], None),
            (&[0xff, 0, b'\n'], &[0xfe, 1, 2], Some(Timestamp::from_millis(1_700_000_000_000))),
            (b"empty", b"", None),
        ] {
            let key = Key::new(key.to_vec()).unwrap();
            let value = Bytes::from_static(value);
            let entry = Entry { key: key.clone(), value: value.clone(), version, deadline };
            let text = line(&entry).to_string();
            assert!(!text.contains('\n'), "an entry a line");
            assert_eq!(parse(text.as_bytes()), Ok(Imported { key, value, deadline }));
        }
    }

    #[test]
    fn what_is_no_entry_is_said() {
        assert!(parse(b"{}").unwrap_err().contains("key"));
        let said = parse(b"not an entry").unwrap_err();
        assert!(said.contains("no entry") && said.contains("at column 2") && !said.contains("line 1"), "{said}");
        assert!(
            parse(b"{\"key\": \"k\", \"value\": \"\", \"value_base64\": \"*\"}").unwrap_err().contains("value_base64")
        );
        assert!(parse(b"{\"key\": \"\", \"value\": \"v\"}").is_err(), "a key is not empty");
    }

    #[test]
    fn lines_end_where_they_end_and_one_without_end_is_refused() {
        let mut from = &b"one\n\nlast"[..];
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut from).unwrap()).collect();
        assert_eq!(lines, [&b"one"[..], b"", b"last"]);
        let mut endless = std::io::BufReader::new(std::io::repeat(b'x'));
        assert!(next_line(&mut endless).unwrap_err().contains("longer"));
    }
}
