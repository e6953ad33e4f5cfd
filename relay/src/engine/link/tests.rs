//! Two replicas, a sender between them, and a log in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_protocol::{
    frame::{SenderToReceiver, node, peer},
    name::{CacheName, NodeName, SiteName},
    position::Sequence,
    record::{ClientId, Key, Merge, Record, WriteToken},
    time::{Millis, Timestamp},
    version::RunId,
};

use super::{Backoff, LogRead, Sender, SenderConfig, SenderInput, SenderOutput};
use crate::engine::{
    command::{Answer, Command, Decided},
    guards::Guards,
    header::{Commit, LogRecord, ReadError, Records},
    replica::{CacheConfig, Replica, ReplicaConfig, Replicate},
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000);
pub(super) const DAY: Millis = Millis::from_secs(86_400);

#[derive(Default)]
pub(super) struct Log(BTreeMap<Sequence, Record>);

impl Records for Log {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        self.0.get(&sequence).cloned().ok_or(ReadError { sequence, reason: "not there".into() })
    }
}

pub(super) struct Relay {
    pub(super) replica: Replica,
    pub(super) log: Log,
    pub(super) commits: Vec<Commit>,
}

impl Relay {
    pub(super) fn new(site: &str, peer: &str, run: u64) -> Self {
        let cache =
            CacheConfig { merge: Merge::Latest, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
        let config = ReplicaConfig {
            site: SiteName::new(site).expect("a name"),
            peers: vec![SiteName::new(peer).expect("a name")],
            former_sites: Default::default(),
            caches: [(CacheName::new("c").expect("a name"), cache)].into(),
            max_clock_skew: Millis::from_secs(60),
            tombstone_min_age: Millis::ZERO,
            tombstone_max_age: Millis::from_secs(1_000),
            max_tombstones: 100,
            max_runs: 64,
            reconcile_keys: 64,
            forward_after: Millis::from_secs(2),
            fill_wait: Millis::ZERO,
            guards: Guards::all(),
        };
        Self { replica: Replica::new(config, RunId(run), NOW), log: Log::default(), commits: Vec::new() }
    }

    pub(super) fn step(&mut self, command: Command) -> Decided {
        self.step_at(NOW, command)
    }

    pub(super) fn step_at(&mut self, now: Timestamp, command: Command) -> Decided {
        let mut group = self.replica.begin(now);
        let decided = group.step(command, &self.log);
        let staged = group.finish();
        for (sequence, record) in staged.commit.iter().flat_map(|commit| &commit.records) {
            if let LogRecord::Record(record) = record {
                self.log.0.insert(*sequence, record.clone());
            }
        }
        self.commits.extend(staged.commit.clone());
        self.replica.publish(staged);
        decided
    }

    /// What a peer would have sent of `key`'s write, as this relay's own.
    pub(super) fn put(&mut self, number: u64) {
        self.write(node::Operation::Put, number);
    }

    pub(super) fn write(&mut self, operation: node::Operation, number: u64) {
        self.write_key(operation, number, vec![b'k', number as u8]);
    }

    pub(super) fn write_key(&mut self, operation: node::Operation, number: u64, key: Vec<u8>) {
        let cache = CacheName::new("c").expect("a name");
        let key = Key::new(key).expect("a key");
        let token = WriteToken { client: ClientId(1), number };
        let write = node::Write::new(operation, cache, key, token, Bytes::from_static(b"value"));
        self.step(Command::Write { node: NodeName::new("node11").expect("a name"), write }).expect("a put is taken");
    }
}

/// Carries out all that the sender asks for; returns the batches that went.
pub(super) fn pump(sender: &mut Sender, from: &mut Relay, to: &mut Relay) -> Vec<peer::Batch> {
    pump_at(sender, from, to, NOW)
}

pub(super) fn pump_at(sender: &mut Sender, from: &mut Relay, to: &mut Relay, now: Timestamp) -> Vec<peer::Batch> {
    pump_some_at(sender, from, to, usize::MAX, now)
}

/// As [`pump`], until so many batches went.
pub(super) fn pump_some(sender: &mut Sender, from: &mut Relay, to: &mut Relay, limit: usize) -> Vec<peer::Batch> {
    pump_some_at(sender, from, to, limit, NOW)
}

pub(super) fn pump_some_at(
    sender: &mut Sender,
    from: &mut Relay,
    to: &mut Relay,
    limit: usize,
    now: Timestamp,
) -> Vec<peer::Batch> {
    let mut batches = Vec::new();
    let (site, run) = (from.replica.site(), from.replica.origin().run);
    while batches.len() < limit
        && let Some(output) = sender.poll(&from.replica, now)
    {
        let input = match output {
            SenderOutput::Dial => SenderInput::Connected,
            SenderOutput::Command(command) => SenderInput::Decided(from.step(command.0)),
            SenderOutput::ReadLog { after, .. } => {
                let through = from.replica.head();
                let records = from.log.0.range(after.next()..).map(|(at, record)| (*at, record.clone())).collect();
                SenderInput::LogRead(LogRead { after, through, records })
            }
            SenderOutput::ReadRecords(at) => {
                SenderInput::RecordsRead(at.iter().map(|at| from.log.0.get(at).cloned()).collect())
            }
            SenderOutput::Hangup => continue,
            SenderOutput::Send(frame) => match *frame {
                SenderToReceiver::Hello(hello) => {
                    let introduced = Command::Introduced { peer: Box::new(hello.sender), incoming: true };
                    let Ok(Answer::Introduced { cursor, cursor_digest }) = to.step(introduced) else {
                        panic!("refused")
                    };
                    let receiver = to.replica.introduction(now, "test");
                    SenderInput::Welcome(Box::new(peer::Welcome { version: 1, receiver, cursor, cursor_digest }))
                }
                SenderToReceiver::Start(start) => {
                    to.step(Command::Started { peer: site, run, after: start.after }).expect("a start is taken");
                    continue;
                }
                SenderToReceiver::Batch(batch) => {
                    batches.push(batch.clone());
                    let applied = to.step(Command::Apply { peer: site, run, batch: Box::new(batch) });
                    let Ok(Answer::Applied(through)) = applied else { panic!("{applied:?}") };
                    SenderInput::Ack(peer::Ack { through })
                }
                _ => continue,
            },
        };
        sender.handle(input, &from.replica, now);
    }
    batches
}

#[test]
fn what_is_written_arrives_with_its_vector_and_an_idle_link_says_nothing_more() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let mut sender = Sender::new(b.replica.site(), SenderConfig::default(), 1);
    pump(&mut sender, &mut a, &mut b);
    if !a.replica.ready(NOW) {
        pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    }
    (1..=3).for_each(|number| a.put(number));
    let batches = pump(&mut sender, &mut a, &mut b);
    assert_eq!(batches.iter().map(|batch| batch.records.len()).sum::<usize>(), 3);
    assert!(b.replica.seen().includes(a.replica.seen()));
    assert_eq!(sender.report(&a.replica, NOW).lag_changes, 0);
    assert!(pump(&mut sender, &mut a, &mut b).is_empty());
}

#[test]
fn an_entry_that_expires_at_both_sites_leaves_neither_behind() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let mut sender = Sender::new(b.replica.site(), SenderConfig::default(), 1);
    pump(&mut sender, &mut a, &mut b);
    let key = Key::new(vec![b'k']).expect("a key");
    let (cache, token) = (CacheName::new("c").expect("a name"), WriteToken { client: ClientId(1), number: 1 });
    let mut write = node::Write::new(node::Operation::Put, cache, key, token, Bytes::from_static(b"value"));
    write.lifespan = Some(Millis::new(5));
    a.step(Command::Write { node: NodeName::new("node11").expect("a name"), write }).expect("a put is taken");
    pump(&mut sender, &mut a, &mut b);
    pump(&mut Sender::new(a.replica.site(), SenderConfig::default(), 2), &mut b, &mut a);
    let (head, later) = (a.replica.head(), NOW.after(Millis::new(10)));
    a.step_at(later, Command::Housekeep).expect("it is past its deadline");
    assert!(a.replica.head() > head, "a mark is committed");
    assert!(pump_at(&mut sender, &mut a, &mut b, later).is_empty(), "the peer makes its own");
    let report = sender.report(&a.replica, later.after(DAY));
    assert_eq!((report.lag_changes, report.lag), (0, Millis::ZERO));
}

#[test]
fn nothing_is_dialled_while_offline_and_the_link_goes_on_from_the_cursor() {
    let (mut a, mut b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let mut sender = Sender::new(b.replica.site(), SenderConfig::default(), 1);
    pump(&mut sender, &mut a, &mut b);
    sender.handle(SenderInput::TakeOffline, &a.replica, NOW);
    assert!(pump(&mut sender, &mut a, &mut b).is_empty());
    assert_eq!(sender.report(&a.replica, NOW).state, "offline");
    sender.handle(SenderInput::BringOnline, &a.replica, NOW);
    pump(&mut sender, &mut a, &mut b);
    assert_eq!(sender.report(&a.replica, NOW).state, "streaming");
}

#[test]
fn a_peer_that_shows_itself_is_dialled_at_once_but_not_in_a_storm() {
    let (a, b) = (Relay::new("site1", "site2", 1), Relay::new("site2", "site1", 2));
    let config = SenderConfig { backoff: Backoff { first: DAY, cap: DAY }, ..SenderConfig::default() };
    let mut sender = Sender::new(b.replica.site(), config, 1);
    let dials = |sender: &mut Sender, now| {
        let wanted = std::iter::from_fn(|| sender.poll(&a.replica, now));
        wanted.filter(|output| *output == SenderOutput::Dial).count()
    };
    let after = |ms| NOW.after(Millis::new(ms));
    let fails = |sender: &mut Sender, now| sender.handle(SenderInput::Failed("nobody".into()), &a.replica, now);
    let shows = |sender: &mut Sender, now| sender.handle(SenderInput::PeerIsThere, &a.replica, now);
    assert_eq!(dials(&mut sender, NOW), 1);
    shows(&mut sender, NOW);
    assert_eq!(dials(&mut sender, NOW), 0, "it is being dialled");
    fails(&mut sender, NOW);
    assert_eq!(dials(&mut sender, after(1)), 0, "it waits");
    shows(&mut sender, after(1));
    assert_eq!(dials(&mut sender, after(1)), 1);
    for ms in 2..1_000 {
        fails(&mut sender, after(ms));
        shows(&mut sender, after(ms));
        assert_eq!(dials(&mut sender, after(ms)), 0, "not again within a heartbeat");
    }
    shows(&mut sender, after(1_001));
    assert_eq!(dials(&mut sender, after(1_001)), 1);
    shows(&mut sender, after(2_001));
    assert_eq!(dials(&mut sender, after(2_001)), 1, "that dial was to a relay that was not there");
    sender.handle(SenderInput::TakeOffline, &a.replica, after(5_000));
    shows(&mut sender, after(5_000));
    assert_eq!(dials(&mut sender, after(5_000)), 0, "the admin's word stands");
}
