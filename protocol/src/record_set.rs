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
use serde::Deserialize;

use crate::{
    blob::{self, Blob},
    bounded,
    frame::MAX_BATCH_RECORDS,
    name::{CacheName, NodeName},
    pack,
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
    /// More records than go together.
    #[error("{0} records, where at most {MAX_BATCH_RECORDS} go together")]
    TooMany(u32),
    /// They end before the record.
    #[error("cut short")]
    Short,
    /// Bytes after the last record.
    #[error("bytes after the last record")]
    Trailing,
}

#[derive(Deserialize)]
struct Tables {
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_TABLE>")]
    origins: Vec<Origin>,
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_TABLE>")]
    caches: Vec<CacheName>,
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_TABLE>")]
    nodes: Vec<NodeName>,
}

/// A record as it is read; [`Naming::row`] writes it.
#[derive(Deserialize)]
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
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CONTEXT>")]
    context: Vec<(u16, Clock)>,
    checksum: u32,
    flags: u16,
    value: Blob,
}

/// Names that a table has at most: the last place that could be counted stays free, as a node's is one more on the wire.
const MAX_TABLE: usize = u16::MAX as usize;
const ROW_FIELDS: u16 = 16;
/// Bytes of a row besides its key, value and context, at most.
const ROW_BYTES: usize = 96;
/// A table's beginning is looked through, the rest is found by hash: mostly there is none.
const NEAR: usize = 8;

/// Gives each distinct thing a place in its table.
struct Places<T> {
    /// Of what lies beyond [`NEAR`].
    of: HashMap<T, u16>,
    table: Vec<T>,
    /// Where the thing asked for last is: neighbours in a log mostly share their cache, origin and node.
    last: u16,
}

impl<T: std::hash::Hash + Eq + Clone> Places<T> {
    fn new() -> Self {
        Self { of: HashMap::new(), table: Vec::new(), last: 0 }
    }

    fn place(&mut self, thing: &T) -> Result<u16, rmp_serde::encode::Error> {
        if self.table.get(usize::from(self.last)) == Some(thing) {
            return Ok(self.last);
        }
        let near = self.table.iter().take(NEAR).position(|known| known == thing).map(|at| at as u16);
        let far = || self.of.get(thing).copied().filter(|_| self.table.len() > NEAR);
        self.last = match near.or_else(far) {
            Some(at) => at,
            None => {
                let at = u16::try_from(self.table.len()).ok().filter(|at| usize::from(*at) < MAX_TABLE);
                let at = at.ok_or_else(|| too_many("names"))?;
                if self.table.len() >= NEAR {
                    self.of.insert(thing.clone(), at);
                }
                self.table.push(thing.clone());
                at
            }
        };
        Ok(self.last)
    }
}

fn too_many(what: &str) -> rmp_serde::encode::Error {
    rmp_serde::encode::Error::Syntax(format!("more {what} than one set of records can count"))
}

/// The tables under construction. Every name is placed before the first row is written, as the tables go first.
struct Naming {
    origins: Places<Origin>,
    caches: Places<CacheName>,
    nodes: Places<NodeName>,
}

impl Naming {
    fn of(records: &[&Record]) -> Result<Self, rmp_serde::encode::Error> {
        let mut naming = Self { origins: Places::new(), caches: Places::new(), nodes: Places::new() };
        for r in records {
            r.context.iter().try_for_each(|(origin, _)| naming.origins.place(&origin).map(drop))?;
            naming.caches.place(&r.cache)?;
            naming.origins.place(&r.version.origin)?;
            naming.origins.place(&r.birth.origin)?;
            r.node.as_ref().map(|node| naming.nodes.place(node)).transpose()?;
        }
        Ok(naming)
    }

    /// Writes the row of `r`.
    fn row(&mut self, r: &Record, into: &mut BytesMut) -> Result<(), rmp_serde::encode::Error> {
        pack::array(ROW_FIELDS, into);
        pack::uint(self.caches.place(&r.cache)?.into(), into);
        pack::bytes(r.key.as_ref().map_or(&[], Key::as_bytes), into);
        pack::uint(r.kind as u64, into);
        pack::uint(r.version.clock.bits(), into);
        pack::uint(self.origins.place(&r.version.origin)?.into(), into);
        pack::uint(r.birth.clock.bits(), into);
        pack::uint(self.origins.place(&r.birth.origin)?.into(), into);
        pack::uint(r.deadline.map_or(0, Timestamp::as_millis), into);
        pack::uint(r.max_idle.map_or(0, Millis::get), into);
        pack::uint(r.token.map_or(0, |token| token.client.0), into);
        pack::uint(r.token.map_or(0, |token| token.number), into);
        let node = r.node.as_ref().map(|node| self.nodes.place(node)).transpose()?;
        pack::uint(node.map_or(0, |at| u64::from(at) + 1), into);
        pack::array(u16::try_from(r.context.len()).map_err(|_| too_many("origins"))?, into);
        for (origin, clock) in r.context.iter() {
            pack::array(2, into);
            pack::uint(self.origins.place(&origin)?.into(), into);
            pack::uint(clock.bits(), into);
        }
        pack::uint(r.checksum().into(), into);
        pack::uint(r.flags.into(), into);
        pack::bytes(&r.value, into);
        Ok(())
    }
}

/// Appends `records` to `into`: [`MAX_BATCH_RECORDS`] at most.
pub fn encode<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    into: &mut BytesMut,
) -> Result<(), rmp_serde::encode::Error> {
    let records: Vec<&Record> = records.into_iter().collect();
    let count = u32::try_from(records.len()).ok().filter(|_| records.len() <= MAX_BATCH_RECORDS);
    let count = count.ok_or_else(|| too_many("records"))?;
    let mut naming = Naming::of(&records)?;
    let tables = (&naming.origins.table, &naming.caches.table, &naming.nodes.table);
    rmp_serde::encode::write(&mut into.writer(), &tables)?;
    pack::uint(count.into(), into);
    into.reserve(records.iter().map(|record| row_bytes(record)).sum());
    records.into_iter().try_for_each(|record| naming.row(record, into))
}

/// The bytes of a record's row, at most.
fn row_bytes(record: &Record) -> usize {
    let key = record.key.as_ref().map_or(0, |key| key.as_bytes().len());
    ROW_BYTES + key + record.value.len() + record.context.len() * 13
}

/// Reads what [`encode`] wrote; nothing may follow it. Keys and values share the memory of `bytes`.
pub fn decode(bytes: &Bytes) -> Result<Vec<Record>, RecordSetError> {
    blob::scoped(bytes, || {
        let mut from = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
        let tables = Tables::deserialize(&mut from)?;
        let count = u32::deserialize(&mut from)?;
        if count as usize > MAX_BATCH_RECORDS {
            return Err(RecordSetError::TooMany(count));
        }
        // a record has at least sixteen bytes: no count can make us set aside more than what has arrived
        let mut records = Vec::with_capacity((count as usize).min(bytes.len() / 16));
        for number in 0..count as usize {
            records.push(record(Row::deserialize(&mut from)?, &tables, number)?);
        }
        if blob::at_end(&mut from) { Ok(records) } else { Err(RecordSetError::Trailing) }
    })
}

/// The record at a place of what [`encode`] wrote, from 0; `None` where it has fewer. Those before it are passed over, and
/// nothing but the one is looked at. Key and value share the memory of `bytes`.
pub fn decode_at(bytes: &Bytes, at: usize) -> Result<Option<Record>, RecordSetError> {
    let mut rest = pack::skip(bytes).ok_or(RecordSetError::Short)?;
    let tables: Tables = rmp_serde::from_slice(&bytes[..bytes.len() - rest.len()])?;
    let mut next = || -> Result<&[u8], RecordSetError> {
        let after = pack::skip(rest).ok_or(RecordSetError::Short)?;
        let (thing, after) = rest.split_at(rest.len() - after.len());
        rest = after;
        Ok(thing)
    };
    let count: u32 = rmp_serde::from_slice(next()?)?;
    if at >= count as usize {
        return Ok(None);
    }
    for _ in 0..at {
        next()?;
    }
    let row = next()?;
    let row = blob::scoped(bytes, || Row::deserialize(&mut rmp_serde::Deserializer::from_read_ref(row)))?;
    record(row, &tables, at).map(Some)
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
