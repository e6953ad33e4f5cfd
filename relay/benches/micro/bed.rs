//! A relay's state and its log in memory, filled, and the puts that the parts are given.

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_protocol::{
    frame::node::{Operation, Write},
    position::Sequence,
    record::{ClientId, Key, Record, WriteToken},
    time::Timestamp,
    version::RunId,
};
use landbridge_relay::engine::{
    command::{Command, Decided},
    group::Staged,
    header::{LogRead, LogRecord, ReadError, Records},
    replica::Replica,
};

pub(crate) use crate::common::{cache, config, node, site};

pub(crate) const KEYS: u64 = 100_000;
pub(crate) const VALUE_BYTES: usize = 256;
/// Records of a group, a commit and a batch.
pub(crate) const GROUP: u64 = 64;
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The key of the `number`-th put: in a scattered order.
pub(crate) fn key(number: u64) -> Key {
    let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
    Key::new(format!("key-{key:012}").into_bytes()).expect("a key")
}
pub(crate) fn write(number: u64) -> Write {
    let token = WriteToken { client: ClientId(1), number };
    let value = Bytes::from(vec![number as u8; VALUE_BYTES]);
    Write::new(Operation::Put, cache(), key(number), token, value)
}
pub(crate) fn put(number: u64) -> Command {
    Command::Write { node: node(), write: write(number) }
}

/// The records that a log has; those of superseded writes are let go with the commits that nobody reads any more.
#[derive(Default)]
pub(crate) struct Log(BTreeMap<Sequence, Record>);

impl Records for Log {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        self.0.get(&sequence).cloned().ok_or(ReadError { sequence, reason: "not there".into() })
    }
}

/// A relay without its threads.
pub(crate) struct Part {
    pub(crate) replica: Replica,
    pub(crate) log: Log,
    /// Puts so far.
    pub(crate) puts: u64,
}

impl Part {
    pub(crate) fn new(own: &str, peers: &[&str], run: u64) -> Self {
        Self { replica: Replica::new(config(own, peers), RunId(run), NOW), log: Log::default(), puts: 0 }
    }

    /// With an entry under each key, and no peer.
    pub(crate) fn filled() -> Self {
        let mut part = Self::new("site1", &[], 1);
        while part.puts < KEYS {
            let group = part.next_group(1000);
            let staged = part.stage(group).1;
            part.replica.publish(staged);
        }
        part
    }

    /// The next puts.
    pub(crate) fn next_group(&mut self, count: u64) -> Vec<Command> {
        self.puts += count;
        (self.puts - count..self.puts).map(put).collect()
    }

    /// Decides a group.
    pub(crate) fn stage(&self, commands: Vec<Command>) -> (Vec<Decided>, Staged) {
        let mut group = self.replica.begin(NOW);
        let decided = commands.into_iter().map(|command| group.step(command, &self.log)).collect();
        (decided, group.finish())
    }

    /// Decides a group, notes it in the log and publishes it.
    pub(crate) fn steps(&mut self, commands: Vec<Command>) -> Vec<Decided> {
        let (decided, staged) = self.stage(commands);
        for (sequence, record) in staged.commit.iter().flat_map(|commit| &commit.records) {
            if let LogRecord::Record(record) = record {
                self.log.0.insert(*sequence, record.clone());
            }
        }
        self.replica.publish(staged);
        decided
    }

    pub(crate) fn step(&mut self, command: Command) -> Decided {
        self.steps(vec![command]).pop().expect("one answer")
    }

    /// What a link reads: all after `after`.
    pub(crate) fn read(&self, after: Sequence) -> LogRead {
        let records = self.log.0.range(after.next()..).map(|(at, record)| (*at, record.clone())).collect();
        LogRead { after, through: self.replica.head(), records }
    }
}
