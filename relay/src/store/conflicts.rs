//! The conflict log: a ring of notes beside the commits, oldest first. It survives restarts, compaction does not know of
//! it, and it is written only when there is something to tell.
//!
//! A note is a MessagePack map: when, by which merge, from which peer, the lengths of the two values, and the records as a
//! record set, the loser first; of each value at most [`MAX_KEPT_VALUE`] bytes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    blob::{self, Blob},
    name::{CacheName, SiteName},
    record::{Merge, Record},
    record_set,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    log::{Log, LogError},
    reader::Reader,
};
use crate::engine::{conflicts::Conflict, header::ReadError};

/// Bytes of each value that are kept.
pub const MAX_KEPT_VALUE: usize = 64 * 1024;
/// Bytes after which a page of the conflict log ends.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// A conflict as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptConflict {
    /// Counts up; the oldest go first.
    pub number: u64,
    /// The conflict; of long values the beginning.
    pub conflict: Conflict,
    /// Bytes of the loser's whole value.
    pub loser_bytes: u64,
    /// Bytes of the winner's whole value.
    pub winner_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    at: Timestamp,
    merge: Merge,
    peer: SiteName,
    loser_bytes: u64,
    winner_bytes: u64,
    records: Blob,
}

/// Which notes there are: those from `first` to before `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConflictLog {
    first: u64,
    next: u64,
    max: u64,
}

impl ConflictLog {
    /// The one that a log has, held to `max` notes from now on.
    pub(super) fn open(reader: &Reader, max: u64) -> Result<Self, LogError> {
        let (first, next) = reader.log().notes()?.map_or((1, 1), |(first, last)| (first, last + 1));
        Ok(Self { first, next, max })
    }

    /// Takes these in, and lets go of the oldest beyond the bound. Gives what the log has to do for it.
    pub(super) fn keep(&mut self, conflicts: &[Conflict]) -> Notes {
        let numbers = self.next..;
        let kept: Vec<(u64, Bytes)> = numbers.zip(conflicts.iter().map(encode)).collect();
        self.next += kept.len() as u64;
        let from = self.first;
        self.first = from.max(self.next.saturating_sub(self.max));
        Notes { kept, gone: from..self.first }
    }
}

/// What changes in the conflict log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    kept: Vec<(u64, Bytes)>,
    gone: Range<u64>,
}

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many of the oldest go.
    pub(super) fn gone(&self) -> u64 {
        self.gone.end - self.gone.start
    }

    /// Durable with the next flush.
    pub(super) fn write(self, log: &mut dyn Log) -> Result<(), LogError> {
        self.kept.into_iter().try_for_each(|(number, note)| log.keep_note(number, note))?;
        self.gone.into_iter().try_for_each(|number| log.drop_note(number))
    }
}

/// Conflicts after a number, oldest first, at most `limit`; and after which number there may be more. It looks at about a
/// MiB of the log, of which there may be none of that cache.
pub(super) fn page(
    reader: &Reader,
    cache: Option<&CacheName>,
    after: u64,
    limit: usize,
) -> Result<(Vec<KeptConflict>, Option<u64>), ReadError> {
    let failed = |error: LogError| ReadError {
        sequence: landbridge_protocol::position::Sequence::ZERO,
        reason: error.to_string(),
    };
    let Some((first, last)) = reader.log().notes().map_err(failed)? else { return Ok((Vec::new(), None)) };
    let (mut found, mut bytes, limit) = (Vec::new(), 0, limit.max(1));
    for number in first.max(after.saturating_add(1))..=last {
        if found.len() >= limit || bytes >= MAX_PAGE_BYTES {
            return Ok((found, Some(number - 1)));
        }
        // One that the writer has let go of meanwhile.
        let Some(note) = reader.log().read_note(number).map_err(failed)? else { continue };
        bytes += note.len();
        let kept = decode(number, &note).map_err(|reason| failed(LogError::Corrupt(reason)))?;
        if cache.is_none_or(|cache| *cache == kept.conflict.loser.cache) {
            found.push(kept);
        }
    }
    Ok((found, None))
}

fn encode(conflict: &Conflict) -> Bytes {
    let value_bytes = |record: Option<&Record>| record.map_or(0, |record| record.value.len() as u64);
    let Conflict { at, merge, peer, winner, loser } = conflict;
    let records: Vec<Record> = std::iter::once(loser).chain(winner).map(shortened).collect();
    let mut set = BytesMut::new();
    record_set::encode(&records, &mut set).expect("two records fit, and writing to memory does not fail");
    let note = Note {
        at: *at,
        merge: *merge,
        peer: *peer,
        loser_bytes: value_bytes(Some(loser)),
        winner_bytes: value_bytes(winner.as_ref()),
        records: Blob(set.freeze()),
    };
    rmp_serde::to_vec_named(&note).expect("writing numbers and bytes to memory does not fail").into()
}

fn shortened(record: &Record) -> Record {
    Record { value: record.value.slice(..record.value.len().min(MAX_KEPT_VALUE)), ..record.clone() }
}

fn decode(number: u64, bytes: &Bytes) -> Result<KeptConflict, String> {
    let Note { at, merge, peer, loser_bytes, winner_bytes, records } =
        blob::decode(bytes).map_err(|error| format!("conflict {number}: {error}"))?;
    let records = record_set::decode(&records.0).map_err(|error| format!("conflict {number}: {error}"))?;
    let mut records = records.into_iter();
    let loser = records.next().ok_or_else(|| format!("conflict {number} has no record"))?;
    let conflict = Conflict { at, merge, peer, winner: records.next(), loser };
    Ok(KeptConflict { number, conflict, loser_bytes, winner_bytes })
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{
        name::NodeName,
        record::{Key, Kind},
        vector::Vector,
        version::{Clock, Origin, RunId, Version},
    };

    use super::*;
    use crate::store::{directory::Directory, memory_log::MemoryLog, sled_log::SledLog};

    fn conflict(number: u64, value: usize) -> Conflict {
        let site = |name| SiteName::new(name).unwrap();
        let record = |name, clock| {
            let version =
                Version { clock: Clock::from_bits(clock), origin: Origin { site: site(name), run: RunId(7) } };
            Record {
                cache: CacheName::new(if number.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
                key: Some(Key::new(number.to_string()).unwrap()),
                kind: Kind::Live,
                version,
                birth: version,
                deadline: None,
                max_idle: None,
                token: None,
                node: Some(NodeName::new("node11").unwrap()),
                context: Vector::new(),
                flags: 0,
                value: vec![b'v'; value].into(),
            }
        };
        let (winner, loser) = (Some(record("site1", 9)), record("site2", 5));
        let at = Timestamp::from_millis(number);
        Conflict { at, merge: Merge::Latest, peer: site("site2"), winner, loser }
    }

    fn open(log: &dyn Log) -> (Reader, ConflictLog) {
        let reader = Reader::new(log.reader());
        let ring = ConflictLog::open(&reader, 3).unwrap();
        (reader, ring)
    }

    /// How many went.
    fn keep(ring: &mut ConflictLog, log: &mut dyn Log, conflicts: &[Conflict]) -> u64 {
        let notes = ring.keep(conflicts);
        let gone = notes.gone();
        notes.write(log).unwrap();
        gone
    }

    fn numbers(reader: &Reader, cache: Option<&str>, after: u64, limit: usize) -> (Vec<u64>, Option<u64>) {
        let cache = cache.map(|name| CacheName::new(name).unwrap());
        let (found, more) = page(reader, cache.as_ref(), after, limit).unwrap();
        (found.iter().map(|kept| kept.number).collect(), more)
    }

    #[test]
    fn the_oldest_go_first_and_the_rest_survives_a_crash_and_a_restart() {
        let mut log = MemoryLog::new();
        let (_, mut ring) = open(&log);
        let conflicts: Vec<Conflict> = (1..=5).map(|number| conflict(number, 3)).collect();
        assert_eq!(keep(&mut ring, &mut log, &conflicts), 2);
        log.flush().unwrap();
        assert_eq!(keep(&mut ring, &mut log, &[conflict(6, 3)]), 1);
        // Of what was not flushed the new one survives, and that the oldest went does not.
        log.crash(0);
        let (reader, mut ring) = open(&log);
        assert_eq!(numbers(&reader, None, 0, 10), (vec![3, 4, 5, 6], None));
        assert_eq!(keep(&mut ring, &mut log, &[conflict(7, 3)]), 2);
        assert_eq!(numbers(&reader, None, 0, 2), (vec![5, 6], Some(6)));
        assert_eq!(numbers(&reader, None, 6, 2), (vec![7], None));
        assert_eq!(numbers(&reader, Some("odd"), 0, 10), (vec![5, 7], None));
        assert_eq!(page(&reader, None, 6, 1).unwrap().0[0].conflict, conflict(7, 3));
    }

    #[test]
    fn in_the_storage_engine_it_lies_beside_the_commits_and_of_long_values_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let sled = || SledLog::open(Directory::open(dir.path()).unwrap(), true).map_err(|(_, error)| error).unwrap();
        let mut log = sled();
        let (_, mut ring) = open(&log);
        keep(&mut ring, &mut log, &[conflict(1, MAX_KEPT_VALUE + 5)]);
        log.close(landbridge_protocol::position::Sequence::ZERO).unwrap();
        drop(log);
        let (reader, _) = open(&sled());
        let (found, more) = page(&reader, None, 0, 10).unwrap();
        assert_eq!((found.len(), more), (1, None));
        assert_eq!(found[0].conflict.loser.value.len(), MAX_KEPT_VALUE);
        assert_eq!(found[0].loser_bytes, MAX_KEPT_VALUE as u64 + 5);
    }
}
