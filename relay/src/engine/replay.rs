//! What a log says, commit by commit, becomes the committed state again.

use landbridge_protocol::{
    name::CacheName,
    position::Sequence,
    record::{Key, Merge, Record},
};

use super::{
    header::{CommitHeader, LogRecord},
    index::TooManyOrigins,
    replica::Replica,
    slot::{Slot, is_below},
};

impl Replica {
    /// Takes in a commit of the log, at start, in log order. Takes one that it has taken already. After an error it is of
    /// no use.
    pub fn replay(&mut self, header: &CommitHeader, records: &[(Sequence, LogRecord)]) -> Result<(), TooManyOrigins> {
        for (name, merge) in &header.caches {
            if !self.config.caches.contains_key(name) {
                self.index.open(name, *merge);
            }
        }
        for (sequence, record) in records {
            match record {
                LogRecord::Record(record) => self.replay_record(*sequence, record)?,
                LogRecord::Forgotten { cache, key } => self.forget_until(cache, key, *sequence),
            }
        }
        self.core.outdone = self.core.outdone.max(header.outdone);
        // A commit that was merged into an older one's place may be read after a newer one: cumulative means greatest.
        if header.last < self.core.head {
            self.note_contexts(records);
            return Ok(());
        }
        self.core.head = header.last;
        self.core.clock = self.core.clock.max(header.clock);
        self.core.seen = header.seen.clone();
        self.core.dropped = header.dropped.clone();
        self.core.cursors = header.cursors.iter().cloned().collect();
        self.core.runs = header.runs.clone();
        self.core.filled = header.filled || self.config.peers.is_empty();
        self.note_contexts(records);
        Ok(())
    }

    fn replay_record(&mut self, sequence: Sequence, record: &Record) -> Result<(), TooManyOrigins> {
        self.tokens.note(record);
        if self.index.cache(&record.cache).is_none() {
            self.index.open(&record.cache, Merge::Latest);
        }
        // Every link and listener of this run begins at or behind the present head, so that where a replayed record
        // stands from before that does not matter: see `stands_from` in `group.rs`.
        let slot = Slot::of(record, sequence, sequence);
        let cache = self.index.cache(&record.cache).expect("opened above");
        let clear = cache.clear();
        let Some(key) = &record.key else {
            if clear.is_none_or(|clear| clear.sequence <= sequence) {
                self.index.clear(&record.cache, slot);
            }
            return Ok(());
        };
        let below = clear.is_some_and(|clear| is_below(cache.merge(), &clear.version, &record.version, &record.birth));
        let newer = self.index.slot(&record.cache, key).is_none_or(|held| held.sequence <= sequence);
        if newer && !below {
            if !self.index.has_room_for(record) {
                return Err(TooManyOrigins);
            }
            self.index.insert(&record.cache, key, &slot);
        }
        Ok(())
    }

    fn forget_until(&mut self, cache: &CacheName, key: &Key, sequence: Sequence) {
        if self.index.slot(cache, key).is_some_and(|held| held.sequence < sequence) {
            self.index.remove(cache, key);
        }
    }
}
