//! A commit's bytes. All integers are big-endian.
//!
//! ```text
//!  0  u32   CRC-32 (IEEE) of all that follows
//!  4  u16   format of these bytes: 1
//!  6  u16   reserved: 0
//!  8  u64   first sequence       16  u64  last sequence
//! 24  u32   length of the header 28  u32  number of places   32  u32  number of chunks
//! 36  header                     MessagePack map of `CommitHeader`, fields by name
//!     places  u64 each           sequence; its top bit is set where the record is a `Forgotten`
//!     chunks  u32, u32 each      number of places, length in bytes
//!     chunk bytes, one after the other
//! ```
//!
//! A chunk is a record set of the protocol with a few records, so that reading one record does not decode the commit. A
//! `Forgotten` is kept as a record that has only cache and key; the top bit of its place tells it from a tombstone.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use landbridge_protocol::{
    position::Sequence,
    record::{Kind, Record},
    record_set,
    version::{Clock, Origin, RunId, Version},
};

use crate::engine::header::{Commit, CommitHeader, LogRecord};

/// The format of a commit's bytes that is written, and the newest that is read.
pub const COMMIT_FORMAT: u16 = 1;

const FIXED_BYTES: usize = 36;
const FORGOTTEN: u64 = 1 << 63;
const CHUNK_RECORDS: usize = 8;
const CHUNK_BYTES: usize = 64 * 1024;
/// Of a record besides key and value, with its share of its chunk's tables: what is set aside for it.
const RECORD_BYTES: usize = 128;

/// Bytes that are no commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("it is cut short")]
    Short,
    /// They are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// A newer program wrote them.
    #[error("it has format {0}, and this landbridge knows formats up to {COMMIT_FORMAT}")]
    Newer(u16),
    /// The header or a table of records is not what it should be.
    #[error("a table in it can't be read: {0}")]
    Table(String),
    /// Numbers in it contradict each other.
    #[error("it contradicts itself: {0}")]
    Inconsistent(&'static str),
}

/// The bytes of a commit.
pub fn encode(commit: &Commit) -> Bytes {
    let Commit { header, records } = commit;
    debug_assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "records are in order");
    debug_assert!(records.iter().all(|(sequence, _)| (header.first..=header.last).contains(sequence)));
    let header_bytes = rmp_serde::to_vec_named(header).expect("writing numbers and text to memory does not fail");
    let chunks: Vec<_> = chunks(records).collect();
    let tables = records.len() * 8 + chunks.len() * 8;
    let payload: usize = records.iter().map(|(_, record)| about_bytes(record)).sum();
    let mut out = BytesMut::with_capacity(FIXED_BYTES + header_bytes.len() + tables + payload);
    out.put_bytes(0, 4);
    out.put_u16(COMMIT_FORMAT);
    out.put_u16(0);
    out.put_u64(header.first.get());
    out.put_u64(header.last.get());
    for length in [header_bytes.len(), records.len(), chunks.len()] {
        out.put_u32(length32(length));
    }
    out.put_slice(&header_bytes);
    for (sequence, record) in records {
        let mark = if matches!(record, LogRecord::Forgotten { .. }) { FORGOTTEN } else { 0 };
        out.put_u64(sequence.get() | mark);
    }
    let table = out.len();
    out.put_bytes(0, chunks.len() * 8);
    for (number, chunk) in chunks.into_iter().enumerate() {
        let start = out.len();
        encode_chunk(chunk, &mut out);
        let length = length32(out.len() - start);
        let mut entry = &mut out[table + number * 8..];
        entry.put_u32(length32(chunk.len()));
        entry.put_u32(length);
    }
    let checksum = crc32fast::hash(&out[4..]);
    (&mut out[..4]).put_u32(checksum);
    out.freeze()
}

/// The commit of these bytes, all of it checked.
pub fn decode(bytes: &Bytes) -> Result<Commit, DecodeError> {
    let (layout, header) = checked(bytes)?;
    let mut records = Vec::with_capacity(layout.places());
    for chunk in &layout.chunks {
        layout.decode_chunk(bytes, chunk, &mut records)?;
    }
    let in_order = records.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let within = records.iter().all(|(sequence, _)| (layout.first..=layout.last).contains(sequence));
    if in_order && within { Ok(Commit { header, records }) } else { Err(DecodeError::Inconsistent("its sequences")) }
}

/// The header of these bytes; of the records, the checksum alone is checked.
pub fn decode_header(bytes: &Bytes) -> Result<CommitHeader, DecodeError> {
    checked(bytes).map(|(_, header)| header)
}

fn checked(bytes: &Bytes) -> Result<(Layout, CommitHeader), DecodeError> {
    let checksum = bytes.first_chunk::<4>().ok_or(DecodeError::Short)?;
    if crc32fast::hash(&bytes[4..]) != u32::from_be_bytes(*checksum) {
        return Err(DecodeError::Checksum);
    }
    let layout = Layout::read(bytes)?;
    let header: CommitHeader =
        rmp_serde::from_slice(&layout.header).map_err(|error| DecodeError::Table(error.to_string()))?;
    if (header.first, header.last) != (layout.first, layout.last) {
        return Err(DecodeError::Inconsistent("its header is of other sequences"));
    }
    Ok((layout, header))
}

/// The record at `sequence`; `None` where the commit has none there. Decodes that one alone; the checksum over the whole
/// commit was checked when the store opened, that of the value is checked now.
pub fn decode_one(bytes: &Bytes, sequence: Sequence) -> Result<Option<LogRecord>, DecodeError> {
    let layout = Layout::read(bytes)?;
    let Some(at) = layout.find(sequence) else { return Ok(None) };
    let chunk = layout.chunks.iter().find(|chunk| (chunk.from..chunk.from + chunk.count).contains(&at));
    let chunk = chunk.ok_or(DecodeError::Inconsistent("its chunks"))?;
    let record = record_set::decode_at(&bytes.slice(chunk.start..chunk.end), at - chunk.from);
    let record = record.map_err(|error| DecodeError::Table(error.to_string()))?;
    let record = record.ok_or(DecodeError::Inconsistent("a chunk has fewer records"))?;
    logged(layout.place(at), record).map(|(_, record)| Some(record))
}

/// First and last sequence of a commit, without decoding it.
pub fn range(bytes: &Bytes) -> Result<(Sequence, Sequence), DecodeError> {
    let layout = Layout::read(bytes)?;
    Ok((layout.first, layout.last))
}

struct Layout {
    first: Sequence,
    last: Sequence,
    header: Bytes,
    /// Eight bytes each.
    places: Bytes,
    chunks: Vec<Chunk>,
}

struct Chunk {
    // Of the places.
    from: usize,
    count: usize,
    // Of the commit's bytes.
    start: usize,
    end: usize,
}

impl Layout {
    fn read(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() < FIXED_BYTES {
            return Err(DecodeError::Short);
        }
        let mut rest = bytes.slice(4..);
        let format = rest.get_u16();
        if format != COMMIT_FORMAT {
            return Err(DecodeError::Newer(format));
        }
        rest.advance(2);
        let (first, last) = (Sequence::new(rest.get_u64()), Sequence::new(rest.get_u64()));
        let [header, places, chunks] = [rest.get_u32() as usize, rest.get_u32() as usize, rest.get_u32() as usize];
        if header.saturating_add((places.saturating_add(chunks)).saturating_mul(8)) > rest.len() {
            return Err(DecodeError::Short);
        }
        let header = rest.split_to(header);
        let (count_of_places, places) = (places, rest.split_to(places * 8));
        let sizes: Vec<(usize, usize)> =
            (0..chunks).map(|_| (rest.get_u32() as usize, rest.get_u32() as usize)).collect();
        let (mut from, mut start) = (0usize, bytes.len() - rest.len());
        let mut chunks = Vec::with_capacity(sizes.len());
        for (count, length) in sizes {
            let end = start.saturating_add(length);
            if end > bytes.len() || from.saturating_add(count) > count_of_places {
                return Err(DecodeError::Inconsistent("its chunks"));
            }
            chunks.push(Chunk { from, count, start, end });
            (from, start) = (from + count, end);
        }
        if from != count_of_places || start != bytes.len() || first > last {
            return Err(DecodeError::Inconsistent("its lengths"));
        }
        Ok(Self { first, last, header, places, chunks })
    }

    fn places(&self) -> usize {
        self.places.len() / 8
    }

    fn place(&self, at: usize) -> u64 {
        (&self.places[at * 8..]).get_u64()
    }

    /// Which place has the sequence.
    fn find(&self, sequence: Sequence) -> Option<usize> {
        let at = |at: usize| Sequence::new(self.place(at) & !FORGOTTEN);
        let (mut from, mut to) = (0, self.places());
        while from < to {
            let middle = from + (to - from) / 2;
            if at(middle) < sequence { from = middle + 1 } else { to = middle }
        }
        (from < self.places() && at(from) == sequence).then_some(from)
    }

    fn decode_chunk(
        &self,
        bytes: &Bytes,
        chunk: &Chunk,
        into: &mut Vec<(Sequence, LogRecord)>,
    ) -> Result<(), DecodeError> {
        let records = record_set::decode(&bytes.slice(chunk.start..chunk.end));
        let records = records.map_err(|error| DecodeError::Table(error.to_string()))?;
        if records.len() != chunk.count {
            return Err(DecodeError::Inconsistent("a chunk has another number of records"));
        }
        for (at, record) in (chunk.from..).zip(records) {
            into.push(logged(self.place(at), record)?);
        }
        Ok(())
    }
}

/// What a place holds, of which the record is written.
fn logged(place: u64, record: Record) -> Result<(Sequence, LogRecord), DecodeError> {
    let sequence = Sequence::new(place & !FORGOTTEN);
    if place & FORGOTTEN == 0 {
        return Ok((sequence, LogRecord::Record(record)));
    }
    let key = record.key.ok_or(DecodeError::Inconsistent("a forgotten record without a key"))?;
    Ok((sequence, LogRecord::Forgotten { cache: record.cache, key }))
}

fn chunks(records: &[(Sequence, LogRecord)]) -> impl Iterator<Item = &[(Sequence, LogRecord)]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let full = |(_, record): &(Sequence, LogRecord)| {
            bytes += match record {
                LogRecord::Record(record) => record.value.len(),
                LogRecord::Forgotten { .. } => 0,
            };
            bytes >= CHUNK_BYTES
        };
        let count = rest.iter().take(CHUNK_RECORDS).position(full).map_or(CHUNK_RECORDS, |at| at + 1).min(rest.len());
        let (chunk, later) = rest.split_at(count);
        rest = later;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Bytes that a record takes in a commit, about; seldom fewer than it does.
fn about_bytes(record: &LogRecord) -> usize {
    match record {
        LogRecord::Record(Record { key, value, .. }) => {
            RECORD_BYTES + key.as_ref().map_or(0, |key| key.as_bytes().len()) + value.len()
        }
        LogRecord::Forgotten { key, .. } => RECORD_BYTES + key.as_bytes().len(),
    }
}

/// Bytes of an encoded commit's header.
pub(super) fn header_bytes(commit: &[u8]) -> u64 {
    // Before its length: checksum, format, nothing, first and last sequence.
    const AT: usize = 24;
    let length = commit.get(AT..AT + 4).and_then(|length| length.try_into().ok()).map_or(0, u32::from_be_bytes);
    FIXED_BYTES as u64 + u64::from(length)
}

fn encode_chunk(chunk: &[(Sequence, LogRecord)], into: &mut BytesMut) {
    let stand_ins: Vec<Record> = chunk.iter().filter_map(|(_, record)| stand_in(record)).collect();
    let mut stand_ins = stand_ins.iter();
    let records = chunk.iter().map(|(_, record)| match record {
        LogRecord::Record(record) => record,
        LogRecord::Forgotten { .. } => stand_ins.next().expect("made above for just these"),
    });
    record_set::encode(records, into).expect("a chunk has few records, and writing to memory does not fail");
}

fn stand_in(record: &LogRecord) -> Option<Record> {
    let LogRecord::Forgotten { cache, key } = record else { return None };
    let site = landbridge_protocol::name::SiteName::new("none").expect("a good name");
    let none = Version { clock: Clock::ZERO, origin: Origin { site, run: RunId(0) } };
    Some(Record::bare(cache.clone(), Some(key.clone()), Kind::Tombstone, none))
}

fn length32(length: usize) -> u32 {
    u32::try_from(length).expect("a commit is bounded far below 4 GiB")
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
