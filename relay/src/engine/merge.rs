//! Merging one record into what is held of its key: a join, whatever the order and repetition of deliveries.

use landbridge_protocol::{
    name::SiteName,
    record::{Kind, Merge, Record},
};

use super::{
    group::Group,
    guards::Guard,
    header::Records,
    slot::{Slot, rank},
};

impl Group<'_> {
    /// Merges a peer's record; tells whether it now is what is held.
    ///
    /// A live record that V covers is known or outgrown, and never merged; a covered tombstone only onto a lower live
    /// record, as what it has ended may have come by another way. A clear's floor only rises, so it is always merged.
    pub(crate) fn merge(&mut self, record: Record, from: &SiteName, read: &dyn Records) -> bool {
        self.note(&record);
        let Some(key) = &record.key else {
            let higher = self.clear_of(&record.cache).is_none_or(|clear| clear.version < record.version);
            if higher {
                self.meet_all(&record, from, read);
                self.append(record);
            }
            return higher;
        };
        let held = self.slot(&record.cache, key);
        let lacked = self.lacks(from, &record.cache) || self.lacks(&record.version.origin.site, &record.cache);
        let covered = self.core.seen.covers(&record.version) && !lacked;
        if self.is_below_floor(&record.cache, &record.version, &record.birth) {
            if !covered {
                self.meet_floor(&record, from, read);
            }
            self.note_lost(&record, held.as_ref());
            return false;
        }
        if covered && !self.takes_covered(record.kind, held.as_ref()) {
            self.note_lost(&record, held.as_ref());
            return false;
        }
        let merge = self.merge_of(&record.cache).unwrap_or(Merge::Latest);
        let coming = rank(merge, self.guards(), record.kind, record.version, record.birth);
        let higher = held.is_none_or(|held| held.rank(merge, self.guards()) < coming);
        if let Some(held) = &held {
            self.meet(held, &record, higher, from, read);
        }
        if higher {
            self.core.closed.remove(&record.version.origin);
            self.append_over(record, held);
        } else {
            self.note_lost(&record, held.as_ref());
        }
        higher
    }

    fn takes_covered(&self, kind: Kind, held: Option<&Slot>) -> bool {
        if kind == Kind::Tombstone {
            held.is_some_and(|held| held.kind == Kind::Live) || !self.guards().hold(Guard::TombstoneCovered)
        } else {
            !self.guards().hold(Guard::MergeCovered)
        }
    }
}
