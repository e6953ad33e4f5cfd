//! What the writes of clients came to, for their retries: a bounded window per client, rebuilt from the log.

use std::collections::{BTreeMap, VecDeque};

use landbridge_protocol::{
    record::{ClientId, Kind, Record, WriteToken},
    version::{Clock, Version},
};

/// Writes that are remembered per client.
pub(crate) const WINDOW_WRITES: usize = 128;
/// Clients that are remembered.
pub(crate) const WINDOW_CLIENTS: usize = 4096;
/// Bit of [`Record::flags`]: a live entry was there before the write.
pub(crate) const EXISTED: u16 = 1;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) version: Version,
    pub(crate) existed: bool,
}

#[derive(Debug, Clone, Default)]
struct Window {
    newest: Clock,
    /// The greatest number that was ever in it: mostly the next write's is greater, and need not be looked for.
    greatest: u64,
    /// The greatest clock of a write that was forgotten as there were too many.
    forgotten: Clock,
    writes: VecDeque<(u64, Told)>,
}

/// The windows of all clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    clients: BTreeMap<ClientId, Window>,
    /// By their newest write: the first is forgotten first.
    by_age: BTreeMap<(Clock, ClientId), ()>,
    /// Of what came up to here, the log may have had no more when this run began; or the client was forgotten.
    partial: Clock,
}

/// What a record says of the write that made it.
pub(crate) fn told_by(record: &Record) -> Option<(WriteToken, Told)> {
    let token = record.token.filter(|_| record.kind != Kind::Mark)?;
    Some((token, Told { version: record.version, existed: record.flags & EXISTED != 0 }))
}

impl Tokens {
    /// What the write came to, where that is remembered.
    pub(crate) fn told(&self, token: &WriteToken) -> Option<Told> {
        let window = self.clients.get(&token.client)?;
        window.writes.iter().rev().find(|(number, _)| *number == token.number).map(|(_, told)| *told)
    }

    /// A run begins; all that was heard of before it has a clock up to this one.
    pub(crate) fn begin(&mut self, clock: Clock) {
        self.partial = self.partial.max(clock);
    }

    /// Whether every write of the client after that clock that was heard of here is remembered.
    pub(crate) fn are_whole(&self, client: &ClientId, after: Clock) -> bool {
        let forgotten = self.clients.get(client).map_or(Clock::ZERO, |window| window.forgotten);
        after >= self.partial.max(forgotten)
    }

    pub(crate) fn note(&mut self, record: &Record) {
        if let Some((token, told)) = told_by(record) {
            self.insert(token, told);
        }
    }

    pub(crate) fn join(&mut self, told: BTreeMap<WriteToken, Told>) {
        for (token, told) in told {
            self.insert(token, told);
        }
    }

    fn insert(&mut self, token: WriteToken, told: Told) {
        let window = self.clients.entry(token.client).or_default();
        let mut known = window.writes.iter_mut().filter(|_| token.number <= window.greatest);
        if let Some(known) = known.find(|(number, _)| *number == token.number) {
            // The record of a write that was written anew: the first answer stands.
            known.1.version = known.1.version.min(told.version);
            return;
        }
        window.greatest = window.greatest.max(token.number);
        window.writes.push_back((token.number, told));
        if window.writes.len() > WINDOW_WRITES {
            let first = window.writes.pop_front();
            window.forgotten = first.map_or(window.forgotten, |(_, told)| window.forgotten.max(told.version.clock));
        }
        let before = window.newest;
        window.newest = before.max(told.version.clock);
        self.by_age.remove(&(before, token.client));
        self.by_age.insert((window.newest, token.client), ());
        if self.clients.len() > WINDOW_CLIENTS
            && let Some(((newest, client), ())) = self.by_age.pop_first()
        {
            self.partial = self.partial.max(newest);
            self.clients.remove(&client);
        }
    }
}
