//! The store against a map, through restarts, torn tails, compaction and faults.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use landbridge_protocol::{
    error::ErrorCode,
    frame::node::{Operation, Write},
    name::{CacheName, NodeName, SiteName},
    position::Sequence,
    record::{ClientId, Key, Merge, WriteToken},
    time::{Millis, Timestamp},
    version::RunId,
};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{
    Store, StoreLimits, StoreOptions,
    error::OpenError,
    log::{Log, LogError, LogReader},
    memory_log::{Fault, MemoryLog},
    opening,
    scribe::{Order, Scribe},
    writer::{Stepped, Writer},
};
use crate::{
    clock::{Clock, ManualClock},
    engine::{
        command::{Command, Decided},
        guards::Guards,
        header::Records,
        replica::{CacheConfig, ReplicaConfig, Replicate},
    },
    machine::Workers,
    metrics::Metrics,
};

pub(crate) fn config() -> ReplicaConfig {
    let cache = |merge| CacheConfig { merge, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
    ReplicaConfig {
        site: SiteName::new("site1").unwrap(),
        peers: Vec::new(),
        former_sites: Default::default(),
        caches: [("sessions", Merge::RemoveWins), ("work", Merge::Latest)]
            .map(|(name, merge)| (CacheName::new(name).unwrap(), cache(merge)))
            .into(),
        max_clock_skew: Millis::from_secs(60),
        tombstone_min_age: Millis::ZERO,
        tombstone_max_age: Millis::from_secs(86_400),
        max_tombstones: 1000,
        max_runs: 64,
        reconcile_keys: 64,
        forward_after: Millis::from_secs(2),
        fill_wait: Millis::from_secs(30),
        guards: Guards::all(),
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// A writer and its scribe, one step at a time.
pub(super) struct Open {
    pub(super) writer: Writer,
    scribe: Scribe,
}

impl std::ops::Deref for Open {
    type Target = Writer;
    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl Open {
    /// Decides the commands, makes them durable and publishes them: nothing is in flight before and after.
    pub(super) fn step(&mut self, commands: Vec<Command>, now: Timestamp) -> Stepped {
        let count = commands.len();
        if let Some(refusal) = self.writer.refusal() {
            return Stepped { decided: vec![Err(refusal); count], published: None, appended_bytes: 0 };
        }
        match self.writer.stage(commands, now) {
            Some(order) => self.carry_out(order).pop().expect("the one that was staged"),
            None => self.writer.publish().expect("nothing has to be durable"),
        }
    }

    /// Carries an order out, and publishes what that makes durable; after a failure, what all in flight come to.
    pub(super) fn carry_out(&mut self, order: Order) -> Vec<Stepped> {
        let (rewritten, appends) = match &order {
            Order::Rewrite { first, .. } => (Some(*first), false),
            order => (None, matches!(order, Order::Append { .. } | Order::Keep(_))),
        };
        if let Err(reason) = self.scribe.carry_out(order).and_then(|()| self.scribe.tidy()) {
            return self.writer.fail(reason);
        }
        if let Some(first) = rewritten {
            self.writer.is_rewritten(first);
        }
        if appends {
            self.writer.is_durable(Duration::ZERO);
        }
        std::iter::from_fn(|| self.writer.publish()).collect()
    }

    /// One go of compaction as when idle; tells whether there may be more.
    pub(super) fn compact(&mut self, budget: u64) -> bool {
        let compacted = self.writer.compact(budget, true).unwrap();
        let more = compacted.read_bytes >= budget;
        for order in compacted.orders {
            self.carry_out(order);
        }
        if std::mem::take(&mut self.writer.unsettled) {
            self.carry_out(Order::Settle);
        }
        more
    }
}

pub(super) fn writer(log: &MemoryLog, run: u64) -> Open {
    let limits = StoreLimits { min_free_bytes: 1000, ..StoreLimits::default() };
    open(log, config(), run, limits, now())
}

pub(super) fn open(log: &MemoryLog, config: ReplicaConfig, run: u64, limits: StoreLimits, now: Timestamp) -> Open {
    let opened = opening::open_writer(Box::new(log.clone()), config, RunId(run), limits, now, Metrics::new());
    let (writer, scribe) = opened.unwrap();
    Open { writer, scribe }
}

pub(super) fn write(operation: Operation, key: u8, number: u64, value: Vec<u8>) -> Command {
    let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new(vec![b'k', key]).unwrap());
    let write = Write::new(operation, cache, key, WriteToken { client: ClientId(1), number }, value.into());
    Command::Write { node: NodeName::new("node11").unwrap(), write }
}

pub(super) fn contents(writer: &Writer) -> BTreeMap<Key, Bytes> {
    let cache = CacheName::new("sessions").unwrap();
    let found = writer.replica.read().unwrap().entries(&cache, b"", None, (usize::MAX, usize::MAX), now()).0;
    found.into_iter().map(|(key, slot)| (key, writer.reader.record(slot.sequence).unwrap().value)).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u16),
    Remove(u8),
    Compact,
    Housekeep,
    Restart,
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0u8..12, 0u16..2000).prop_map(|(key, length)| Step::Put(key, length)),
        6 => (0u8..12).prop_map(Step::Remove),
        2 => Just(Step::Compact),
        2 => Just(Step::Housekeep),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What was answered is there after any restart; what was removed is not; compaction changes nothing of it.
    #[test]
    fn the_store_is_a_map_that_survives(steps in steps()) {
        let mut log = MemoryLog::new();
        let mut open = writer(&log, 1);
        let mut model: BTreeMap<Key, Bytes> = BTreeMap::new();
        for (number, step) in (2_u64..).zip(steps) {
            match step {
                Step::Put(key, length) => {
                    let value = vec![number as u8; usize::from(length)];
                    let stepped = open.step(vec![write(Operation::Put, key, number, value.clone())], now());
                    prop_assert!(stepped.decided[0].is_ok());
                    model.insert(Key::new(vec![b'k', key]).unwrap(), value.into());
                }
                Step::Remove(key) => {
                    let stepped = open.step(vec![write(Operation::Remove, key, number, Vec::new())], now());
                    prop_assert!(stepped.decided[0].is_ok());
                    model.remove(&Key::new(vec![b'k', key]).unwrap());
                }
                Step::Compact => while open.compact(1 << 20) {},
                Step::Housekeep => { open.step(vec![Command::Housekeep], now()); }
                Step::Restart => {
                    log = log.snapshot();
                    open = writer(&log, number);
                }
                Step::Crash(seed) => {
                    drop(open);
                    log.crash(seed);
                    open = writer(&log, number);
                }
            }
            prop_assert_eq!(&contents(&open), &model);
        }
        while open.compact(1 << 20) {}
        let reopened = writer(&log.snapshot(), 1000);
        prop_assert_eq!(contents(&reopened), model);
    }
}

#[test]
fn a_failed_commit_poisons_and_answers_nothing() {
    let log = MemoryLog::new();
    let mut open = writer(&log, 1);
    assert!(open.step(vec![write(Operation::Put, 1, 1, vec![1])], now()).decided[0].is_ok());
    log.fail(Fault::Flush(0));
    let refused = |decided: &Decided| decided.as_ref().err().and_then(landbridge_protocol::error::Refusal::code);
    let stepped = open.step(vec![write(Operation::Put, 1, 2, vec![2]), write(Operation::Put, 2, 3, vec![3])], now());
    assert!(stepped.decided.iter().all(|d| refused(d) == Some(ErrorCode::StorePoisoned)));
    assert!(stepped.published.is_none());
    let later = open.step(vec![write(Operation::Put, 3, 4, vec![4])], now());
    assert_eq!(refused(&later.decided[0]), Some(ErrorCode::StorePoisoned));
    assert_eq!(contents(&open).len(), 1, "readers see committed state only");
}

#[test]
fn a_full_disk_refuses_puts_and_takes_removals() {
    let log = MemoryLog::new();
    let mut open = writer(&log, 1);
    open.step(vec![write(Operation::Put, 1, 1, vec![1])], now());
    log.set_free_bytes(999);
    let stepped = open.step(vec![write(Operation::Put, 2, 2, vec![2]), write(Operation::Remove, 1, 3, vec![])], now());
    let code = stepped.decided[0].as_ref().err().and_then(landbridge_protocol::error::Refusal::code);
    assert_eq!(code, Some(ErrorCode::DiskFull));
    assert!(stepped.decided[1].is_ok());
    assert!(contents(&open).is_empty());
    log.set_free_bytes(1001);
    assert!(open.step(vec![write(Operation::Put, 2, 4, vec![2])], now()).decided[0].is_ok());
}

#[test]
fn compaction_keeps_the_log_in_bounds_and_every_cursor_valid() {
    let log = MemoryLog::new();
    let mut open = writer(&log, 1);
    for number in 1..=5000_u64 {
        open.step(vec![write(Operation::Put, (number % 20) as u8, number, vec![7; 100])], now());
        open.compact(4096);
    }
    while open.compact(1 << 20) {}
    let bytes: usize = log.commits().iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < 64 * 1024, "5000 writes of 20 keys leave {bytes} bytes");
    let head = open.replica.read().unwrap().head();
    assert_eq!(head.get(), 5000, "sequences never change");
    let read = open.reader.read(landbridge_protocol::position::Sequence::new(2500), head, usize::MAX).unwrap();
    assert_eq!(read.through, head);
    assert_eq!(contents(&open).len(), 20);
}

#[test]
fn an_idle_store_writes_nothing() {
    let log = MemoryLog::new();
    let mut open = writer(&log, 1);
    open.step(vec![write(Operation::Put, 1, 1, vec![1]), write(Operation::Remove, 1, 2, vec![])], now());
    open.step(vec![Command::Housekeep], now());
    while open.compact(1 << 20) {}
    let before = log.calls();
    for _ in 0..100 {
        open.step(vec![Command::Housekeep], now());
        open.compact(1 << 20);
    }
    assert_eq!(log.calls(), before);
}

pub(super) fn store(log: impl Log + 'static, clock: Arc<dyn Clock>) -> Store {
    store_on(Workers::Threads, log, clock)
}

fn store_on(workers: Workers, log: impl Log + 'static, clock: Arc<dyn Clock>) -> Store {
    let options = StoreOptions {
        dir: "nowhere".into(),
        fsync: true,
        recover: false,
        replica: config(),
        run: RunId(1),
        limits: StoreLimits { min_free_bytes: 0, ..StoreLimits::default() },
    };
    Store::open_with(Box::new(log), options, clock, Metrics::new(), workers).unwrap()
}

#[tokio::test]
async fn tasks_in_place_of_threads_answer_when_the_flush_is_over_and_not_before() {
    let tasks = |flush_takes: Duration| Workers::Tasks { flush_takes: Arc::new(move || flush_takes) };
    let clock = Arc::new(ManualClock::at(now()));
    let log = MemoryLog::new();
    let waits = store_on(tasks(Duration::from_secs(86_400)), log.clone(), clock.clone());
    let mut answer = waits.place(write(Operation::Put, 1, 1, vec![1])).await;
    until_written(&log).await;
    assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty, "it may be lost");
    assert_eq!(waits.view(|replica| replica.head()), Sequence::ZERO, "nobody sees it");

    let log = MemoryLog::new();
    let store = store_on(tasks(Duration::ZERO), log.clone(), clock);
    store.submit(write(Operation::Put, 1, 1, vec![1])).await.unwrap();
    log.crash(1);
    assert_eq!(writer(&log, 2).writer.replica.read().unwrap().head(), Sequence::new(1));
    store.shutdown().await;
}

/// Tasks take turns, so that few are enough for one that has something to do.
async fn until_written(log: &MemoryLog) {
    for _ in 0..1000 {
        if log.calls().appends > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing is written");
}

#[tokio::test]
async fn answers_come_in_any_number_and_shutdown_ends_the_run_in_order() {
    let log = MemoryLog::new();
    let store = store(log.clone(), Arc::new(ManualClock::at(now())));
    let mut answers = Vec::new();
    for number in 1..=300_u64 {
        answers.push(store.place(write(Operation::Put, (number % 50) as u8, number, vec![1; 50])).await);
    }
    for answer in answers {
        assert!(answer.await.unwrap().is_ok());
    }
    assert_eq!(store.view(|replica| replica.head().get()), 300);
    let key = Key::new(vec![b'k', 3]).unwrap();
    let entry = store.entry(&CacheName::new("sessions").unwrap(), &key).unwrap().unwrap();
    assert_eq!(entry.value.len(), 50);
    store.shutdown().await;
    let after = store.submit(write(Operation::Put, 1, 301, vec![])).await;
    assert_eq!(after.unwrap_err().code(), Some(ErrorCode::ShuttingDown));
    let reopened = writer(&log, 2);
    let runs = reopened.replica.read().unwrap().runs().to_vec();
    assert_eq!(runs.iter().map(|run| run.ended_in_order).collect::<Vec<_>>(), [true, false]);
}

/// An engine that panics at the next flush, as sled may where its files were changed under it.
struct Panicking(MemoryLog);

impl Log for Panicking {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.0.append(first, bytes)
    }

    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.0.rewrite(first, bytes)
    }

    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.0.remove(first)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        panic!("the engine breaks");
    }

    fn close(&mut self, head: Sequence) -> Result<(), LogError> {
        self.0.close(head)
    }

    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.0.keep_note(number, bytes)
    }

    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.0.drop_note(number)
    }

    fn tidy(self: Box<Self>, _: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(self)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.0.reader()
    }
}

#[tokio::test]
async fn an_engine_that_panics_poisons_the_store_and_the_process_goes_on() {
    let store = store(Panicking(MemoryLog::new()), Arc::new(ManualClock::at(now())));
    let decided = store.place(write(Operation::Put, 1, 1, vec![1])).await;
    assert!(!matches!(decided.await, Ok(Ok(_))), "what may be lost is not acknowledged");
    // Waits for the thread's end; the panic is noticed in the course of that.
    store.shutdown().await;
    let refused = store.submit(write(Operation::Put, 1, 2, vec![2])).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::StorePoisoned));
    assert!(store.poisoned().is_some());
}

/// A clock that breaks once it is told to, and the writer with it.
struct BrokenClock(std::sync::atomic::AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(std::sync::atomic::Ordering::Relaxed), "the clock breaks");
        now()
    }
}

#[tokio::test]
async fn a_writer_that_breaks_leaves_a_poisoned_store() {
    let clock = Arc::new(BrokenClock(false.into()));
    let store = store(MemoryLog::new(), clock.clone());
    store.submit(write(Operation::Put, 1, 1, vec![1])).await.unwrap();
    clock.0.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(store.submit(write(Operation::Put, 1, 2, vec![2])).await.is_err());
    store.shutdown().await;
    assert!(store.poisoned().is_some(), "it must not pass for healthy");
    let refused = store.submit(write(Operation::Put, 1, 3, vec![3])).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::StorePoisoned));
}
