//! What a node's write comes to.

use bytes::Bytes;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::{Entry, Operation, Outcome, Write},
    name::{CacheName, NodeName},
    record::{Kind, Record, WriteToken},
    vector::Vector,
    version::{Clock, Version},
};

use super::{
    command::{Answer, Decided},
    fill::is_ready,
    group::Group,
    guards::Guard,
    header::Records,
    replica::CacheConfig,
    slot::Slot,
    tokens::{EXISTED, Told, told_by},
};

/// Whether a write goes on.
enum Verdict {
    /// It does.
    Do,
    /// Its condition does not hold.
    Refrain,
}

impl Group<'_> {
    pub(crate) fn write(&mut self, node: NodeName, write: Write, read: &dyn Records) -> Decided {
        let config = self.served(&write.cache)?.clone();
        check_bounds(&write, &config)?;
        let slot = self.slot(&write.cache, &write.key);
        if let Some(clock) = write.retry
            && let Some(told) = self.retried(&write.cache, &write.token, slot, clock, read)?
        {
            return Ok(answer_again(told));
        }
        let live = slot.filter(|slot| slot.is_live(self.now));
        let verdict = verdict(&write, live.as_ref())?;
        let told_anyway = matches!(verdict, Verdict::Refrain);
        let previous = match live {
            Some(slot) if write.return_previous || told_anyway => Some(self.entry(&slot, read)?),
            _ => None,
        };
        let existed = live.is_some();
        if told_anyway {
            return Ok(Answer::Written(Outcome { done: false, version: None, existed, previous }));
        }
        let context = self.context_over(slot.as_ref(), read)?;
        let version = self.issue()?;
        let record = Record { context, ..self.record_of(write, node, &config, live, version) };
        self.append_over(record, slot);
        self.core.filled = true;
        Ok(Answer::Written(Outcome { done: true, version: Some(version), existed, previous }))
    }

    fn record_of(
        &self,
        write: Write,
        node: NodeName,
        config: &CacheConfig,
        live: Option<Slot>,
        version: Version,
    ) -> Record {
        let removes = is_removal(write.operation);
        let keeps_birth = if removes { Guard::TombstoneBirth } else { Guard::FreshBirth };
        let life = live.filter(|_| self.guards().hold(keeps_birth));
        let lifespan = write.lifespan.or(config.lifespan).filter(|_| !removes);
        Record {
            cache: write.cache,
            key: Some(write.key),
            kind: if removes { Kind::Tombstone } else { Kind::Live },
            version,
            birth: life.map_or(version, |slot| slot.birth),
            deadline: lifespan.map(|span| self.now.after(span)),
            max_idle: None,
            token: Some(write.token),
            node: Some(node),
            context: Vector::new(),
            flags: if live.is_some() { EXISTED } else { 0 },
            value: if removes { Bytes::new() } else { write.value },
        }
    }

    pub(crate) fn clear(
        &mut self,
        node: NodeName,
        cache: CacheName,
        token: WriteToken,
        retry: Option<Clock>,
        read: &dyn Records,
    ) -> Decided {
        self.served(&cache)?;
        if let Some(clock) = retry {
            let told = match (self.told(&token), self.clear_of(&cache)) {
                (Some(told), _) => Some(told),
                (None, Some(slot)) => self.told_by_slot(&token, slot, clock, read)?,
                (None, None) => None,
            };
            if let Some(told) = told {
                return Ok(answer_again(told));
            }
        }
        let held = self.range(&cache, None, None);
        let existed = held.iter().any(|(_, slot)| slot.is_live(self.now));
        let context = self.context_of_clear(held.into_iter().map(|(_, slot)| slot));
        let version = self.issue()?;
        self.append(Record {
            cache: cache.clone(),
            key: None,
            kind: Kind::Clear,
            version,
            birth: version,
            deadline: None,
            max_idle: None,
            token: Some(token),
            node: Some(node),
            context,
            flags: if existed { EXISTED } else { 0 },
            value: Bytes::new(),
        });
        self.emptied(&cache);
        self.core.filled = true;
        Ok(Answer::Written(Outcome { done: true, version: Some(version), existed, previous: None }))
    }

    /// The configuration of a cache that nodes may write to now.
    fn served(&self, cache: &CacheName) -> Result<&CacheConfig, Refusal> {
        let unknown = || Refusal::new(ErrorCode::UnknownCache, format!("no cache {cache} is configured at this relay"));
        let config = self.base.config.caches.get(cache).ok_or_else(unknown)?;
        if !is_ready(&self.base.config, &self.core, self.now) {
            return Err(Refusal::new(ErrorCode::NotReady, "the relay is filling from its peers; try again shortly"));
        }
        Ok(config)
    }

    /// What the first try of a write came to; `None`: it came to nothing, and is decided anew.
    fn retried(
        &self,
        cache: &CacheName,
        token: &WriteToken,
        slot: Option<Slot>,
        first_try: Clock,
        read: &dyn Records,
    ) -> Result<Option<Told>, Refusal> {
        if let Some(told) = self.told(token) {
            return Ok(Some(told));
        }
        if let Some(slot) = slot.filter(|slot| slot.version.clock > first_try) {
            return self.told_by_slot(token, slot, first_try, read);
        }
        // What the first try wrote may have been dropped or cleared since, or outdone by what is older.
        let undone = slot.is_none() && self.nothing_shows(cache) > first_try;
        let outdone = self.core.outdone > first_try && !self.base.tokens.are_whole(&token.client, first_try);
        if undone || outdone { Err(unknown_outcome()) } else { Ok(None) }
    }

    fn told_by_slot(
        &self,
        token: &WriteToken,
        slot: Slot,
        first_try: Clock,
        read: &dyn Records,
    ) -> Result<Option<Told>, Refusal> {
        if slot.version.clock <= first_try {
            return Ok(None);
        }
        match told_by(&self.record(slot.sequence, read)?) {
            Some((its, told)) if its == *token => Ok(Some(told)),
            _ => Err(unknown_outcome()),
        }
    }

    fn entry(&self, slot: &Slot, read: &dyn Records) -> Result<Entry, Refusal> {
        let record = self.record(slot.sequence, read)?;
        let missing = || Refusal::new(ErrorCode::Internal, "a record of an entry has no key");
        let key = record.key.ok_or_else(missing)?;
        Ok(Entry { key, version: record.version, deadline: record.deadline, value: record.value })
    }
}

fn unknown_outcome() -> Refusal {
    Refusal::new(
        ErrorCode::OutcomeUnknown,
        "the write may or may not have been done: its trace has been overwritten; read the entry",
    )
}

fn answer_again(told: Told) -> Answer {
    Answer::Written(Outcome { done: true, version: Some(told.version), existed: told.existed, previous: None })
}

fn is_removal(operation: Operation) -> bool {
    matches!(operation, Operation::Remove | Operation::RemoveIfVersion)
}

fn check_bounds(write: &Write, config: &CacheConfig) -> Result<(), Refusal> {
    let bad = |why: &str| Err(Refusal::new(ErrorCode::BadArgument, why.to_owned()));
    if write.max_idle.is_some() {
        return bad("max-idle is not in this version");
    }
    if write.lifespan.is_some_and(|span| span.get() == 0) {
        return bad("a lifespan is at least a millisecond");
    }
    let bytes = write.value.len();
    if !is_removal(write.operation) && bytes > config.max_entry_bytes as usize {
        let why = format!("a value of {bytes} bytes; cache {} takes {}", write.cache, config.max_entry_bytes);
        return Err(Refusal::new(ErrorCode::EntryTooLarge, why));
    }
    Ok(())
}

fn verdict(write: &Write, live: Option<&Slot>) -> Result<Verdict, Refusal> {
    let expected = || {
        let missing = || Refusal::new(ErrorCode::BadArgument, "this operation needs the version that it expects");
        write.expected.ok_or_else(missing)
    };
    let done = match write.operation {
        Operation::Put | Operation::Remove => true,
        Operation::PutIfAbsent => live.is_none(),
        Operation::Replace => live.is_some(),
        Operation::ReplaceIfVersion | Operation::RemoveIfVersion => {
            let expected = expected()?;
            live.is_some_and(|live| live.version == expected)
        }
    };
    Ok(if done { Verdict::Do } else { Verdict::Refrain })
}
