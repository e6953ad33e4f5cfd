//! The newest commits in memory, as they were given to the log: links and listeners near the head read them here, and
//! what is decoded for one of them is there for all.
//!
//! A commit that compaction rewrites is another one in the log then. Here it stays as it was: with what was superseded
//! since, as readers find it in the log as well until compaction comes by.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::encoding::{self, DecodeError};
use crate::engine::header::Commit;

/// Bytes of commits that are kept, about; decoded they take as much again.
const TAIL_BYTES: usize = 4 << 20;
/// As much is read in a moment.
const NEAR_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Tail(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    /// In order, with no gap.
    commits: VecDeque<Arc<Encoded>>,
    bytes: usize,
}

struct Encoded {
    first: Sequence,
    last: Sequence,
    bytes: Bytes,
    decoded: OnceLock<Result<Arc<Commit>, DecodeError>>,
}

impl Tail {
    /// The next commit of the log, once it is published.
    pub(super) fn push(&self, first: Sequence, last: Sequence, bytes: Bytes) {
        let mut gone = Vec::new();
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += bytes.len();
        kept.commits.push_back(Arc::new(Encoded { first, last, bytes, decoded: OnceLock::new() }));
        while kept.bytes > TAIL_BYTES {
            let Some(oldest) = kept.commits.pop_front() else { break };
            kept.bytes -= oldest.bytes.len();
            gone.push(oldest);
        }
        drop(kept);
    }

    /// Whether the commits after `after` are all kept, and are so few that to read them keeps nobody waiting.
    pub(super) fn is_near(&self, after: Sequence) -> bool {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let at = kept.commits.partition_point(|commit| commit.last <= after);
        let goes_on = kept.commits.get(at).is_some_and(|next| next.first <= after.next());
        goes_on && kept.commits.range(at..).map(|commit| commit.bytes.len()).sum::<usize>() <= NEAR_BYTES
    }

    /// The commit that covers `sequence`, where it is kept.
    pub(super) fn commit(&self, sequence: Sequence) -> Option<Result<Arc<Commit>, DecodeError>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let at = kept.commits.partition_point(|commit| commit.last < sequence);
        let commit = kept.commits.get(at).filter(|commit| commit.first <= sequence)?.clone();
        drop(kept);
        Some(commit.decoded.get_or_init(|| encoding::decode(&commit.bytes).map(Arc::new)).clone())
    }
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{frame::node::Operation, position::Sequence};

    use super::{
        super::{
            memory_log::MemoryLog,
            tests::{now, store, write},
        },
        *,
    };
    use crate::clock::ManualClock;

    #[test]
    fn the_newest_are_kept_and_the_oldest_go() {
        let tail = Tail::default();
        let commit = |number| Bytes::from(vec![number; TAIL_BYTES / 4]);
        for number in 1..=6 {
            tail.push(Sequence::new(u64::from(number) * 10), Sequence::new(u64::from(number) * 10 + 9), commit(number));
        }
        let is_kept = |sequence| tail.commit(Sequence::new(sequence)).is_some();
        assert_eq!([29, 30, 55, 69, 70].map(is_kept), [false, true, true, true, false]);
        tail.push(Sequence::new(70), Sequence::new(70), Bytes::from(vec![0; TAIL_BYTES + 1]));
        assert!(!is_kept(60) && !is_kept(70), "one that is larger than all that is kept is not");
    }

    #[test]
    fn near_is_what_is_kept_and_little() {
        let tail = Tail::default();
        assert!(!tail.is_near(Sequence::ZERO), "nothing is kept");
        for (number, bytes) in [(10, 10), (11, NEAR_BYTES), (12, NEAR_BYTES - 1), (13, 1)] {
            tail.push(Sequence::new(number), Sequence::new(number), Bytes::from(vec![0; bytes]));
        }
        let is_near = |after| tail.is_near(Sequence::new(after));
        assert_eq!([8, 9, 10, 11, 12, 13].map(is_near), [false, false, false, true, true, false]);
    }

    #[tokio::test]
    async fn a_reader_near_the_head_needs_no_log_and_all_have_one_copy() {
        let log = MemoryLog::new();
        let store = store(log.clone(), Arc::new(ManualClock::at(now())));
        for number in 1..=3 {
            store.submit(write(Operation::Put, number, number.into(), vec![7; 100])).await.unwrap();
        }
        let before = store.read_log(Sequence::ZERO, 1 << 20).unwrap();
        for (first, _) in log.commits() {
            log.lose(first);
        }
        let after = store.read_log(Sequence::ZERO, 1 << 20).unwrap();
        assert_eq!((before.records.len(), &before), (3, &after));
        let place = |read: &crate::engine::header::LogRead| read.records[0].1.value.as_ptr();
        assert_eq!(place(&before), place(&after), "decoded once");
    }
}
