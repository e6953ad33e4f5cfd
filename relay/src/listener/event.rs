//! What a record tells a subscriber.

use bytes::Bytes;
use landbridge_protocol::{
    frame::node::{Event, EventKind},
    record::{Kind, Merge, Record},
};

/// Bit of [`Record::flags`]: where the record was written, a live entry was there before.
pub(super) const OVER_A_LIVE_ENTRY: u16 = 1;

/// The kind of event that a record makes.
///
/// Whether a value is new or another one is what the origin saw when it wrote: a record of a life that began earlier, or one
/// written over a live entry, is a modification, at every site alike. A subscriber from whom the life's first record was
/// coalesced away therefore hears of a key first by `Modified`. A removal is told also where nothing was there: at another
/// site something may have been.
pub(super) fn kind_of(record: &Record) -> EventKind {
    let modifies = record.flags & OVER_A_LIVE_ENTRY != 0 || record.birth != record.version;
    match record.kind {
        Kind::Live if modifies => EventKind::Modified,
        Kind::Live => EventKind::Created,
        Kind::Tombstone => EventKind::Removed,
        Kind::Mark => EventKind::Expired,
        Kind::Clear => EventKind::Cleared,
    }
}

/// The event of a record, in a cache merged that way.
pub(super) fn told(record: Record, kind: EventKind, merge: Merge, token: Bytes) -> Event {
    let live = record.kind == Kind::Live;
    // A clear ends lives by what `is_below` compares with its floor.
    let birth = (live && merge == Merge::RemoveWins && record.birth != record.version).then_some(record.birth);
    let value = if live { record.value } else { Bytes::new() };
    let Record { key, version, node, deadline, .. } = record;
    Event { kind, key, version: Some(version), birth, node, deadline, token, value }
}

/// An event about the subscription itself.
pub(super) fn bare(kind: EventKind, token: Bytes) -> Event {
    Event { kind, key: None, version: None, birth: None, node: None, deadline: None, token, value: Bytes::new() }
}
