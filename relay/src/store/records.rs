//! Records on disk: a chunk of them, with each name and origin once.
//!
//! ```text
//! u32 BE      length of the table
//! table       MessagePack: [origins, caches, nodes, rows], see `Table` and `Row`, arrays by position
//! bytes       for each row its key, then its value
//! ```
//!
//! Decoded keys and values share the chunk's memory. The CRC-32 of each value is in its row and checked.

use bytes::Bytes;
use landbridge_protocol::{
    name::{CacheName, NodeName},
    record::{Key, Kind, Record, WriteToken},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, Version},
};
use serde::{Deserialize, Serialize};

use super::encoding::DecodeError;

#[derive(Default, Serialize, Deserialize)]
struct Table {
    origins: Vec<Origin>,
    caches: Vec<CacheName>,
    nodes: Vec<NodeName>,
    rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    cache: u16,
    // 0 for none: keys are never empty.
    key_bytes: u32,
    kind: u8,
    version: (Clock, u16),
    birth: (Clock, u16),
    deadline: Option<Timestamp>,
    max_idle: Option<Millis>,
    token: Option<WriteToken>,
    node: Option<u16>,
    context: Vec<(u16, Clock)>,
    flags: u16,
    value_bytes: u32,
    checksum: u32,
}

/// The chunk of these records.
///
/// # Panics
/// With more distinct names than 65 536: a chunk has fewer records.
pub(super) fn encode<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<u8> {
    let mut table = Table::default();
    let mut raw = Vec::new();
    for record in records {
        let key = record.key.as_ref().map_or(&[][..], Key::as_bytes);
        let context = record.context.iter().map(|(origin, clock)| (place(&mut table.origins, &origin), clock)).collect();
        let row = Row {
            cache: place(&mut table.caches, &record.cache),
            key_bytes: u32::try_from(key.len()).expect("a key has at most MAX_KEY bytes"),
            kind: record.kind as u8,
            version: (record.version.clock, place(&mut table.origins, &record.version.origin)),
            birth: (record.birth.clock, place(&mut table.origins, &record.birth.origin)),
            deadline: record.deadline,
            max_idle: record.max_idle,
            token: record.token,
            node: record.node.as_ref().map(|node| place(&mut table.nodes, node)),
            context,
            flags: record.flags,
            value_bytes: u32::try_from(record.value.len()).expect("a frame's length bounds the value"),
            checksum: record.checksum(),
        };
        table.rows.push(row);
        raw.extend_from_slice(key);
        raw.extend_from_slice(&record.value);
    }
    let table = rmp_serde::to_vec(&table).expect("writing numbers and text to memory does not fail");
    let length = u32::try_from(table.len()).expect("a chunk's bounds bound its table");
    let mut chunk = Vec::with_capacity(4 + table.len() + raw.len());
    chunk.extend_from_slice(&length.to_be_bytes());
    chunk.extend_from_slice(&table);
    chunk.extend_from_slice(&raw);
    chunk
}

/// The records of a chunk.
pub(super) fn decode(chunk: &Bytes) -> Result<Vec<Record>, DecodeError> {
    let length = chunk.first_chunk::<4>().ok_or(DecodeError::Short)?;
    let length = u32::from_be_bytes(*length) as usize;
    let table = chunk.get(4..4usize.saturating_add(length)).ok_or(DecodeError::Short)?;
    let table: Table = rmp_serde::from_slice(table).map_err(|error| DecodeError::Table(error.to_string()))?;
    let mut raw = chunk.slice(4 + length..);
    let records = table.rows.iter().map(|row| record(&table, row, &mut raw)).collect::<Result<Vec<_>, _>>()?;
    if raw.is_empty() { Ok(records) } else { Err(DecodeError::Inconsistent("bytes that belong to no record")) }
}

fn record(table: &Table, row: &Row, raw: &mut Bytes) -> Result<Record, DecodeError> {
    let version = |(clock, origin): (Clock, u16)| Ok(Version { clock, origin: *at(&table.origins, origin)? });
    let key = take(raw, row.key_bytes)?;
    let key = if key.is_empty() { None } else { Some(Key::new(key).map_err(|_| DecodeError::Inconsistent("a key"))?) };
    let value = take(raw, row.value_bytes)?;
    if crc32fast::hash(&value) != row.checksum {
        return Err(DecodeError::Checksum);
    }
    let context = row.context.iter().map(|(origin, clock)| Ok((*at(&table.origins, *origin)?, *clock)));
    Ok(Record {
        cache: at(&table.caches, row.cache)?.clone(),
        key,
        kind: Kind::from_number(row.kind).ok_or(DecodeError::Inconsistent("a record's kind"))?,
        version: version(row.version)?,
        birth: version(row.birth)?,
        deadline: row.deadline,
        max_idle: row.max_idle,
        token: row.token,
        node: row.node.map(|node| at(&table.nodes, node).cloned()).transpose()?,
        context: context.collect::<Result<Vector, DecodeError>>()?,
        flags: row.flags,
        value,
    })
}

fn take(raw: &mut Bytes, count: u32) -> Result<Bytes, DecodeError> {
    if count as usize > raw.len() { Err(DecodeError::Short) } else { Ok(raw.split_to(count as usize)) }
}

fn at<T>(list: &[T], index: u16) -> Result<&T, DecodeError> {
    list.get(usize::from(index)).ok_or(DecodeError::Inconsistent("an index into a table"))
}

// Chunks are short and their names few: searching from the end finds the usual one at once.
fn place<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) -> u16 {
    let found = list.iter().rposition(|known| known == item).unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    });
    u16::try_from(found).expect("a chunk has fewer than 65 536 names")
}
