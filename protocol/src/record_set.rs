//! Records as bytes, on disk and in batches alike: tables of the origins, caches and nodes once, then each record as a
//! positional MessagePack array that names them by their place in the tables. So an origin costs a record two bytes.
//!
//! ```text
//! [ [origins] [caches] [nodes] ] count record record …
//! record = [cache key kind version.clock version.origin birth.clock birth.origin deadline max_idle
//!           token.client token.number node context checksum flags value]
//! ```
//!
//! A deadline or max-idle of 0 is none; node 0 is none, 1 the first of the table; a token number of 0 with client 0 is
//! none. Values are not copied: they share the memory that they were read into.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    blob::{self, Blob},
    name::{CacheName, NodeName},
    record::{ClientId, Key, Kind, MAX_CONTEXT, Record, WriteToken},
    time::{Millis, Timestamp},
    version::{Clock, Origin, Version},
};

/// Bytes that are no records.
#[derive(Debug, thiserror::Error)]
pub enum RecordSetError {
    /// Not the arrays that they must be.
    #[error("not a set of records: {0}")]
    Shape(#[from] rmp_serde::decode::Error),
    /// A place in a table that it does not have.
    #[error("record {record} names {table} {place}, the table has {len}")]
    Table {
        /// Which record, from 0.
        record: usize,
        /// Which table.
        table: &'static str,
        /// The place named.
        place: u16,
        /// Its length.
        len: usize,
    },
    /// A value whose checksum is another.
    #[error("the value of record {record} has checksum {found:08x}, its record says {said:08x}")]
    Checksum {
        /// Which record, from 0.
        record: usize,
        /// Of the value.
        found: u32,
        /// In the record.
        said: u32,
    },
    /// A record that contradicts itself.
    #[error("record {record} is no record: {problem}")]
    Contradiction {
        /// Which record, from 0.
        record: usize,
        /// Why.
        problem: &'static str,
    },
    /// Bytes after the last record.
    #[error("bytes after the last record")]
    Trailing,
}

#[derive(Serialize, Deserialize, Default)]
struct Tables {
    origins: Vec<Origin>,
    caches: Vec<CacheName>,
    nodes: Vec<NodeName>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    cache: u16,
    key: Blob,
    kind: Kind,
    clock: Clock,
    origin: u16,
    birth_clock: Clock,
    birth_origin: u16,
    deadline: u64,
    max_idle: u64,
    client: u64,
    number: u64,
    node: u16,
    context: Vec<(u16, Clock)>,
    checksum: u32,
    flags: u16,
    value: Blob,
}

/// Gives each distinct thing a place in its table.
struct Places<'a, T> {
    of: HashMap<&'a T, u16>,
    table: Vec<T>,
}

impl<'a, T: std::hash::Hash + Eq + Clone> Places<'a, T> {
    fn new() -> Self {
        Self { of: HashMap::new(), table: Vec::new() }
    }

    fn place(&mut self, thing: &'a T) -> Result<u16, rmp_serde::encode::Error> {
        if let Some(at) = self.of.get(thing) {
            return Ok(*at);
        }
        let at = u16::try_from(self.table.len())
            .map_err(|_| rmp_serde::encode::Error::Syntax("more than 65535 names in one set of records".into()))?;
        self.table.push(thing.clone());
        self.of.insert(thing, at);
        Ok(at)
    }
}

/// Appends `records` to `into`.
pub fn encode<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    into: &mut BytesMut,
) -> Result<(), rmp_serde::encode::Error> {
    let (mut origins, mut caches, mut nodes) = (Places::new(), Places::new(), Places::new());
    let contexts: Vec<(&Record, Vec<(Origin, Clock)>)> =
        records.into_iter().map(|r| (r, r.context.iter().collect())).collect();
    let mut rows = Vec::with_capacity(contexts.len());
    for (r, context) in &contexts {
        let context = context
            .iter()
            .map(|(o, c)| Ok((origins.place(o)?, *c)))
            .collect::<Result<_, rmp_serde::encode::Error>>()?;
        rows.push(Row {
            cache: caches.place(&r.cache)?,
            key: Blob(r.key.clone().map(Key::into_bytes).unwrap_or_default()),
            kind: r.kind,
            clock: r.version.clock,
            origin: origins.place(&r.version.origin)?,
            birth_clock: r.birth.clock,
            birth_origin: origins.place(&r.birth.origin)?,
            deadline: r.deadline.map_or(0, Timestamp::as_millis),
            max_idle: r.max_idle.map_or(0, Millis::get),
            client: r.token.map_or(0, |t| t.client.0),
            number: r.token.map_or(0, |t| t.number),
            node: r.node.as_ref().map_or(Ok(0), |n| nodes.place(n).map(|at| at.saturating_add(1)))?,
            context,
            checksum: r.checksum(),
            flags: r.flags,
            value: Blob(r.value.clone()),
        });
    }
    let tables = Tables { origins: origins.table, caches: caches.table, nodes: nodes.table };
    let mut writer = into.writer();
    rmp_serde::encode::write(&mut writer, &tables)?;
    let count = u32::try_from(rows.len())
        .map_err(|_| rmp_serde::encode::Error::Syntax("more records than a set can count".into()))?;
    rmp_serde::encode::write(&mut writer, &count)?;
    rows.iter().try_for_each(|row| rmp_serde::encode::write(&mut writer, row))
}

/// Reads what [`encode`] wrote; nothing may follow it. Keys and values share the memory of `bytes`.
pub fn decode(bytes: &Bytes) -> Result<Vec<Record>, RecordSetError> {
    blob::scoped(bytes, || {
        let mut from = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
        let tables = Tables::deserialize(&mut from)?;
        let count = u32::deserialize(&mut from)?;
        // a record has at least sixteen bytes: no count can make us set more aside than what has arrived
        let mut records = Vec::with_capacity((count as usize).min(bytes.len() / 16));
        for number in 0..count as usize {
            records.push(record(Row::deserialize(&mut from)?, &tables, number)?);
        }
        if blob::at_end(&mut from) { Ok(records) } else { Err(RecordSetError::Trailing) }
    })
}

fn record(row: Row, tables: &Tables, number: usize) -> Result<Record, RecordSetError> {
    fn lookup<T: Clone>(record: usize, table: &'static str, things: &[T], place: u16) -> Result<T, RecordSetError> {
        things.get(usize::from(place)).cloned().ok_or(RecordSetError::Table { record, table, place, len: things.len() })
    }
    let contradiction = |problem| RecordSetError::Contradiction { record: number, problem };
    let origin = |place| lookup(number, "origin", &tables.origins, place);
    let key = match row.kind {
        Kind::Clear if row.key.0.is_empty() => None,
        Kind::Clear => return Err(contradiction("a clear with a key")),
        _ => Some(Key::new(row.key.0).map_err(|_| contradiction("a key of no bytes, or of too many"))?),
    };
    if row.kind != Kind::Live && !row.value.0.is_empty() {
        return Err(contradiction("a value that belongs to no entry"));
    }
    if row.context.len() > MAX_CONTEXT {
        return Err(contradiction("a context of too many origins"));
    }
    let found = crc32fast::hash(&row.value.0);
    if found != row.checksum {
        return Err(RecordSetError::Checksum { record: number, found, said: row.checksum });
    }
    let token = WriteToken { client: ClientId(row.client), number: row.number };
    Ok(Record {
        cache: lookup(number, "cache", &tables.caches, row.cache)?,
        key,
        kind: row.kind,
        version: Version { clock: row.clock, origin: origin(row.origin)? },
        birth: Version { clock: row.birth_clock, origin: origin(row.birth_origin)? },
        deadline: (row.deadline > 0).then(|| Timestamp::from_millis(row.deadline)),
        max_idle: (row.max_idle > 0).then(|| Millis::new(row.max_idle)),
        token: (row.client > 0 || row.number > 0).then_some(token),
        node: row.node.checked_sub(1).map(|at| lookup(number, "node", &tables.nodes, at)).transpose()?,
        context: row.context.into_iter().map(|(o, c)| Ok((origin(o)?, c))).collect::<Result<_, RecordSetError>>()?,
        flags: row.flags,
        value: row.value.0,
    })
}
