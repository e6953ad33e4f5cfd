//! Reading records of the log: for outcomes, for nodes' reads, for links and listeners.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use landbridge_protocol::{position::Sequence, record::Record};

use super::{encoding, log::LogReader, tail::Tail};
use crate::engine::header::{Commit, LogRead, LogRecord, ReadError, Records};

/// Records in one [`LogRead`] at most.
pub const MAX_READ_RECORDS: usize = 4096;

/// The log, decoded. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    log: Arc<dyn LogReader>,
    tail: Arc<Tail>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.log.place())
    }
}

impl Reader {
    pub(super) fn new(log: Arc<dyn LogReader>) -> Self {
        Self { log, tail: Arc::new(Tail::default()) }
    }

    /// The newest commits, which are read here and not in the log.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// All records after `after` through `head`, as many as fit in `max_bytes` of values and keys, at least one.
    pub(super) fn read(&self, after: Sequence, head: Sequence, max_bytes: usize) -> Result<LogRead, ReadError> {
        let mut read = LogRead { after, through: after, records: Vec::new() };
        let mut bytes = 0;
        while read.through < head {
            let next = read.through.next();
            let commit = self.decoded(next)?;
            if commit.header.last < next {
                return Err(ReadError { sequence: next, reason: "the log has a gap there".into() });
            }
            let from = commit.records.partition_point(|(sequence, _)| *sequence <= read.through);
            for (sequence, record) in &commit.records[from..] {
                let LogRecord::Record(record) = record else { continue };
                if *sequence > head {
                    continue;
                }
                bytes += record.value.len() + record.key.as_ref().map_or(0, |key| key.as_bytes().len());
                if bytes > max_bytes && !read.records.is_empty() {
                    return Ok(read);
                }
                read.through = *sequence;
                read.records.push((*sequence, record.clone()));
                if bytes >= max_bytes || read.records.len() >= MAX_READ_RECORDS {
                    return Ok(read);
                }
            }
            read.through = commit.header.last.min(head);
        }
        Ok(read)
    }

    /// The commit that covers `sequence`, all of it.
    fn decoded(&self, sequence: Sequence) -> Result<Arc<Commit>, ReadError> {
        let failed = |error: encoding::DecodeError| ReadError { sequence, reason: error.to_string() };
        match self.tail.commit(sequence) {
            Some(commit) => commit.map_err(failed),
            None => {
                let (_, bytes) = self.commit_at(sequence)?;
                encoding::decode(&bytes).map(Arc::new).map_err(failed)
            }
        }
    }

    /// The last sequence that was appended, durable or not.
    pub(super) fn appended(&self) -> Result<Sequence, ReadError> {
        let (first, commit) = self.commit_at(Sequence::new(u64::MAX))?;
        let failed = |error: encoding::DecodeError| ReadError { sequence: first, reason: error.to_string() };
        encoding::range(&commit).map(|(_, last)| last).map_err(failed)
    }

    /// Bytes that the log's storage has left; `None` where it can't tell.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.log.free_bytes()
    }

    pub(super) fn log(&self) -> &dyn LogReader {
        &*self.log
    }

    /// The commit that covers `sequence`, and its first one.
    pub(super) fn commit_at(&self, sequence: Sequence) -> Result<(Sequence, Bytes), ReadError> {
        let failed = |reason: String| ReadError { sequence, reason };
        let found = self.log.covering(sequence).map_err(|error| failed(error.to_string()))?;
        found.ok_or_else(|| failed("the log has nothing there".into()))
    }
}

impl Records for Reader {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        let (_, commit) = self.commit_at(sequence)?;
        match encoding::decode_one(&commit, sequence) {
            Ok(Some(LogRecord::Record(record))) => Ok(record),
            Ok(_) => Err(ReadError { sequence, reason: "it is not there any more".into() }),
            Err(error) => Err(ReadError { sequence, reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landbridge_protocol::{frame::node::Operation, position::Sequence};

    use super::super::{
        memory_log::MemoryLog,
        tests::{now, store, write},
    };
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_read_is_no_larger_than_it_may_be_but_for_one_large_record() {
        let store = store(MemoryLog::new(), Arc::new(ManualClock::at(now())));
        for (number, bytes) in [(1, 600), (2, 600), (3, 100), (4, 5_000), (5, 100)] {
            store.submit(write(Operation::Put, number, number.into(), vec![0; bytes])).await.unwrap();
        }
        let (mut after, mut sizes) = (Sequence::ZERO, Vec::new());
        loop {
            let read = store.read_log(after, 1_000).unwrap();
            if read.records.is_empty() {
                break;
            }
            after = read.through;
            sizes.push(read.records.iter().map(|(_, record)| record.value.len()).collect::<Vec<_>>());
        }
        assert_eq!(sizes, [vec![600], vec![600, 100], vec![5_000], vec![100]]);
    }
}
