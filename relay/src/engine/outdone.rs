//! Which retries what is held can't answer.
//!
//! A retry that the window of its client does not know is decided by what is held of its key: something that is not newer
//! than the first try shows that the first try wrote nothing, as it would have been newer. That holds where each record
//! has outdone older ones only. It does not where a removal outdoes a refresh that is newer by its clock (`remove_wins`),
//! where a clear takes an entry that is newer but of an older life, and where a reconcile takes away, or puts back what is
//! older. The greatest clock that was outdone so is kept in the headers: after a restart, when the windows know only what
//! the log still has, a retry of a try before it is answered `OutcomeUnknown`.

use landbridge_protocol::{
    name::CacheName,
    record::{Key, Record},
    version::{Clock, Origin},
};

use super::{group::Group, slot::Slot, tokens::told_by};

impl Group<'_> {
    /// The clock up to which it shows, where nothing is held of a key, that there may have been something.
    pub(crate) fn nothing_shows(&self, cache: &CacheName) -> Clock {
        let cleared = self.clear_of(cache).map_or(Clock::ZERO, |clear| clear.version.clock);
        self.core.dropped.greatest().max(cleared)
    }

    fn shown(&self, cache: &CacheName, held: Option<&Slot>) -> Clock {
        held.map_or_else(|| self.nothing_shows(cache), |slot| slot.version.clock)
    }

    /// A record comes in place of what is held of its key.
    pub(crate) fn note_outdone_by(&mut self, record: &Record, held: Option<&Slot>) {
        if record.version.origin == (Origin { site: self.base.config.site, run: self.core.run }) {
            return; // newer than all that was ever heard of
        }
        let shown = self.shown(&record.cache, held);
        if shown > record.version.clock {
            self.note_outdone(shown);
        }
    }

    /// A record was not taken, and will not be in the log.
    pub(crate) fn note_lost(&mut self, record: &Record, held: Option<&Slot>) {
        let clock = record.version.clock;
        if told_by(record).is_some() && clock > self.shown(&record.cache, held) {
            self.note_outdone(clock);
        }
    }

    /// What is held of a key goes, and nothing comes in its place.
    pub(crate) fn note_forgotten(&mut self, cache: &CacheName, key: &Key) {
        let Some(slot) = self.slot(cache, key) else { return };
        if slot.version.clock > self.nothing_shows(cache) {
            self.note_outdone(slot.version.clock);
        }
    }

    pub(crate) fn note_outdone(&mut self, clock: Clock) {
        if clock > self.core.outdone {
            self.core.outdone = clock;
            self.durable = true;
        }
    }
}
