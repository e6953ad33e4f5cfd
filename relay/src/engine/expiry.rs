//! Expiry: a deadline that is past leaves a mark, at every site by itself.

use landbridge_protocol::{
    name::CacheName,
    record::{Key, Kind, Record},
    time::Timestamp,
};

use super::{
    command::{Answer, Decided},
    group::Group,
    header::Records,
    replica::Replica,
};

/// Marks that one [`super::command::Command::Housekeep`] writes.
pub(crate) const MAX_MARKS: usize = 1024;

impl Replica {
    /// When [`super::command::Command::Housekeep`] has something to do next; `None`: not before something else happens.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.core.ended {
            return None;
        }
        let serves_at = self.serves_at();
        [self.index.first_deadline(), self.core.sweep_at, serves_at].into_iter().flatten().min()
    }
}

impl Group<'_> {
    pub(crate) fn housekeep(&mut self, read: &dyn Records) -> Decided {
        let overdue = self.base.index.overdue(self.now, MAX_MARKS);
        let mut more = overdue.len() == MAX_MARKS;
        for (cache, key) in overdue {
            self.mark(cache, key, read);
        }
        self.latch_filled();
        self.close_ended();
        if self.core.sweep_at.is_some_and(|at| at <= self.now) {
            more |= self.sweep();
            self.force(read);
        }
        Ok(Answer::Housekept { more })
    }

    /// Same version and context, no value. It equals the entry in comparisons, and is the event that tells of the expiry.
    fn mark(&mut self, cache: CacheName, key: Key, read: &dyn Records) {
        let Some(slot) = self.slot(&cache, &key).filter(|slot| slot.is_overdue(self.now)) else { return };
        // Without it a later write may count as a conflict; the rest of what is owed to time goes on.
        let context = self.context_held(&slot, read).unwrap_or_default();
        let mark = Record::bare(cache, Some(key), Kind::Mark, slot.version);
        let mark = Record { birth: slot.birth, deadline: slot.deadline, context, ..mark };
        self.append_over(mark, Some(slot));
    }
}
