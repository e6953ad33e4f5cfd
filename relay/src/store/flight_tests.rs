//! Groups decided while others are in flight: what they see, who sees them, and what is left of them when the power goes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::Operation,
    position::Sequence,
    record::Key,
    version::RunId,
};
use proptest::prelude::*;

use super::{
    Store, StoreLimits, StoreOptions,
    error::OpenError,
    log::{Log, LogError, LogReader},
    memory_log::{Fault, MemoryLog},
    scribe::Order,
    tests::{Open, config, contents, now, write, writer},
};
use crate::{
    clock::ManualClock,
    engine::command::{Answer, Command},
    machine::Workers,
    metrics::Metrics,
};

type Model = BTreeMap<Key, Bytes>;

#[derive(Debug, Clone)]
enum Step {
    /// Decides a group on top of all before it.
    Decide(Vec<(Operation, u8, u16)>),
    /// The log carries out the oldest order.
    CarryOut,
    Compact,
    /// With this many orders carried out before, and where it is odd the next one half: appended, not flushed.
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation =
        prop_oneof![3 => Just(Operation::Put), 2 => Just(Operation::Remove), 2 => Just(Operation::PutIfAbsent)];
    let group = prop::collection::vec((operation, 0u8..8, 0u16..900), 1..6);
    let step = prop_oneof![
        8 => group.prop_map(Step::Decide),
        6 => Just(Step::CarryOut),
        2 => Just(Step::Compact),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..80)
}

/// A writer with orders that the log has not carried out, beside what must come of it.
struct Flight {
    log: MemoryLog,
    open: Open,
    orders: VecDeque<Order>,
    /// As published, and after each group in flight.
    states: VecDeque<Model>,
    number: u64,
}

impl Flight {
    fn decide(&mut self, group: &[(Operation, u8, u16)]) {
        let mut model = self.states.back().unwrap().clone();
        let mut commands = Vec::new();
        for (operation, key, length) in group {
            self.number += 1;
            let value = vec![self.number as u8; usize::from(*length)];
            commands.push(write(*operation, *key, self.number, value.clone()));
            let key = Key::new(vec![b'k', *key]).unwrap();
            match operation {
                Operation::Remove => drop(model.remove(&key)),
                Operation::PutIfAbsent => drop(model.entry(key).or_insert_with(|| value.into())),
                _ => drop(model.insert(key, value.into())),
            }
        }
        self.orders.extend(self.open.writer.stage(commands, now()));
        self.states.push_back(model);
        while self.open.writer.flying.front().is_some_and(|group| group.is_durable) {
            self.open.writer.publish().unwrap();
            self.states.pop_front();
        }
    }

    fn carry_out(&mut self) {
        let Some(order) = self.orders.pop_front() else { return };
        for stepped in self.open.carry_out(order) {
            assert!(stepped.decided.iter().all(Result::is_ok));
            self.states.pop_front();
        }
    }

    fn power_cut(&mut self, seed: u64) {
        for _ in 0..seed / 2 % 3 {
            self.carry_out();
        }
        if seed % 2 == 1
            && let Some(order) = self.orders.pop_front()
        {
            self.log.fail(Fault::Flush(0));
            for stepped in self.open.carry_out(order) {
                assert!(stepped.decided.iter().all(Result::is_err), "nothing in flight is answered as done");
            }
        }
        self.log.crash(seed);
        self.number += 1;
        self.open = writer(&self.log, self.number);
        self.orders.clear();
        let left = contents(&self.open);
        assert!(self.states.contains(&left), "a beginning of what was decided, all that was answered included");
        self.states = [left].into();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Readers see what is published alone, groups see all that was decided before them, and a power cut leaves a beginning.
    #[test]
    fn groups_in_flight_are_decided_in_order_and_lost_from_the_end(steps in steps()) {
        let log = MemoryLog::new();
        let open = writer(&log, 1);
        let mut flight = Flight { log, open, orders: VecDeque::new(), states: [Model::new()].into(), number: 1 };
        for step in steps {
            match step {
                Step::Decide(group) => flight.decide(&group),
                Step::CarryOut => flight.carry_out(),
                Step::Compact => flight.orders.extend(flight.open.writer.compact(1 << 20, true).unwrap().orders),
                Step::PowerCut(seed) => flight.power_cut(seed),
            }
            prop_assert_eq!(&contents(&flight.open), &flight.states[0]);
        }
        while !flight.orders.is_empty() {
            flight.carry_out();
        }
        prop_assert_eq!(&contents(&flight.open), &flight.states[0]);
        prop_assert_eq!(flight.states.len(), 1);
        let reopened = writer(&flight.log.snapshot(), 1_000_000);
        prop_assert_eq!(contents(&reopened), flight.states[0].clone());
    }
}

#[test]
fn a_retry_is_answered_by_the_group_in_flight_that_holds_the_first_try() {
    let mut open = writer(&MemoryLog::new(), 1);
    let put = write(Operation::Put, 1, 7, vec![1]);
    let mut again = put.clone();
    let Command::Write { write: retried, .. } = &mut again else { unreachable!() };
    retried.retry = Some(landbridge_protocol::version::Clock::ZERO);
    retried.return_previous = true;
    let orders = [vec![put], vec![again.clone()]].map(|group| open.writer.stage(group, now()));
    let [Some(first), None] = orders else { panic!("the retry writes nothing") };
    let stepped = open.carry_out(first);
    let outcomes: Vec<_> = stepped.into_iter().map(|stepped| stepped.decided[0].clone().unwrap()).collect();
    let [Answer::Written(one), Answer::Written(other)] = &outcomes[..] else { panic!("both are published") };
    assert_eq!((one.version, true), (other.version, other.done));
}

/// A log whose flushes wait until they are let through.
struct Gated {
    log: MemoryLog,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Log for Gated {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.log.append(first, bytes)
    }
    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.log.rewrite(first, bytes)
    }
    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.log.remove(first)
    }
    fn flush(&mut self) -> Result<(), LogError> {
        // A gate that is gone lets all through.
        self.gate.lock().unwrap().recv().unwrap_or_default();
        self.log.flush()
    }
    fn close(&mut self, head: Sequence) -> Result<(), LogError> {
        self.log.close(head)
    }
    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.log.keep_note(number, bytes)
    }
    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.log.drop_note(number)
    }
    fn tidy(self: Box<Self>, _: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(self)
    }
    fn reader(&self) -> Arc<dyn LogReader> {
        self.log.reader()
    }
}

fn gated(log: &MemoryLog) -> (Store, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel();
    let options = StoreOptions {
        dir: std::path::PathBuf::new(),
        fsync: true,
        recover: false,
        replica: config(),
        run: RunId(1),
        limits: StoreLimits { min_free_bytes: 0, max_group_commands: 2, ..StoreLimits::default() },
    };
    let gated = Gated { log: log.clone(), gate: Mutex::new(gate) };
    let clock = Arc::new(ManualClock::at(now()));
    (Store::open_with(Box::new(gated), options, clock, Metrics::new(), Workers::Threads).unwrap(), open)
}

#[tokio::test]
async fn full_groups_wait_for_the_disk_in_order_and_hold_as_many_as_they_may() {
    let log = MemoryLog::new();
    let (store, gate) = gated(&log);
    let mut answers = Vec::new();
    for group in 0..5_u64 {
        let commands = (1..=2).map(|n| write(Operation::Put, n as u8, group * 2 + n, vec![0; 10])).collect();
        answers.extend(store.place_all(commands).await);
    }
    for group in 0..5 {
        assert_eq!(store.view(|replica| replica.head().get()), group * 2, "nothing is seen before it is durable");
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "and nothing answered");
        gate.send(()).unwrap();
        for answer in answers.drain(..2) {
            answer.await.unwrap().unwrap();
        }
    }
    drop(gate);
    assert_eq!(log.calls().appends, 5);
    store.shutdown().await;
}

#[tokio::test]
async fn what_is_decided_on_top_of_a_commit_that_fails_is_refused_with_it() {
    let log = MemoryLog::new();
    let (store, gate) = gated(&log);
    let mut answers = Vec::new();
    for number in 1..=6_u64 {
        answers.push(store.place(write(Operation::PutIfAbsent, 1, number, vec![0; 10])).await);
    }
    log.fail(Fault::Flush(0));
    gate.send(()).unwrap();
    drop(gate);
    for answer in answers {
        let refused = answer.await.unwrap().unwrap_err();
        assert_eq!(Refusal::code(&refused), Some(ErrorCode::StorePoisoned), "not even that a key is there");
    }
    assert_eq!(log.calls().appends, 1, "the log is not touched again");
    assert_eq!(store.view(|replica| replica.head().get()), 0);
    store.shutdown().await;
    assert!(store.poisoned().is_some());
}

#[tokio::test]
async fn another_configuration_holds_from_one_command_to_the_next_whatever_is_in_flight() {
    let log = MemoryLog::new();
    let (store, gate) = gated(&log);
    let other = |change: fn(&mut crate::engine::replica::ReplicaConfig)| {
        let mut other = config();
        change(&mut other);
        Command::Reconfigure(Box::new(other))
    };
    let put = |number| write(Operation::Put, 1, number, vec![number as u8]);
    let commands = vec![put(1), put(2), other(|config| config.caches.clear()), put(3), other(|_| ()), put(4)];
    let mut answers = Vec::new();
    for command in commands {
        answers.push(store.place(command).await);
    }
    drop(gate);
    let mut done = Vec::new();
    for answer in answers {
        done.push(answer.await.unwrap().map_err(|refusal| refusal.code()).is_ok());
    }
    assert_eq!(done, [true, true, true, false, true, true]);
    store.shutdown().await;
}
