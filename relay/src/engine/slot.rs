//! What the index holds of a key: enough to decide and merge by; the rest is in the log.

use landbridge_protocol::{
    name::SiteName,
    position::Sequence,
    record::{Kind, Merge, Record},
    time::Timestamp,
    version::{Origin, RunId, Version},
};

use super::{
    context::Parties,
    guards::{Guard, Guards},
};

/// What a relay holds of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Where the record lies in the log.
    pub sequence: Sequence,
    /// What it says.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Its birth.
    pub birth: Version,
    /// When it expires, or has expired.
    pub deadline: Option<Timestamp>,
    /// Bytes of its value.
    pub value_bytes: u32,
    /// Checksum of its value.
    pub checksum: u32,
    /// The oldest position that it stands for: its own, or that of what it superseded here and a peer may lack.
    pub stands_from: Sequence,
    /// How its context is found.
    pub parties: Parties,
}

impl Slot {
    /// The slot of a record that lies at `sequence`.
    pub fn of(record: &Record, sequence: Sequence, stands_from: Sequence) -> Self {
        Self {
            sequence,
            kind: record.kind,
            version: record.version,
            birth: record.birth,
            deadline: record.deadline,
            checksum: record.checksum(),
            value_bytes: u32::try_from(record.value.len()).unwrap_or(u32::MAX),
            stands_from,
            parties: if record.context.is_empty() { Parties::NONE } else { Parties::LOGGED },
        }
    }

    /// Whether it is an entry that can be read now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.kind == Kind::Live && self.deadline.is_none_or(|deadline| deadline > now)
    }

    /// Whether the deadline of an entry is past and no mark says so yet.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.kind == Kind::Live && !self.is_live(now)
    }

    /// Whether the record was written at `site`.
    pub fn is_of(&self, site: &SiteName) -> bool {
        self.version.origin.site == *site
    }

    /// Its rank among records of the key.
    pub fn rank(&self, merge: Merge, guards: Guards) -> Rank {
        rank(merge, guards, self.kind, self.version, self.birth)
    }
}

/// What records of one key are ordered by. A mark has its entry's.
pub type Rank = (Option<Version>, bool, Version);

/// `latest`: the version. `remove_wins`: birth, then removed over live, then version.
pub fn rank(merge: Merge, guards: Guards, kind: Kind, version: Version, birth: Version) -> Rank {
    let version = if guards.hold(Guard::OriginDecides) { version } else { of_no_origin(version) };
    match merge {
        Merge::Latest => (None, false, version),
        Merge::RemoveWins if !guards.hold(Guard::OrderVersion) => (Some(birth), false, version),
        Merge::RemoveWins => {
            let removed = kind == Kind::Tombstone || (kind == Kind::Mark && !guards.hold(Guard::MarkRemoved));
            (Some(birth), removed, version)
        }
    }
}

fn of_no_origin(version: Version) -> Version {
    let site = SiteName::new("any").expect("a name for a site");
    Version { origin: Origin { site, run: RunId(0) }, ..version }
}

/// Whether a record lies below a clear's floor: by version under `latest`, by birth under `remove_wins`.
pub fn is_below(merge: Merge, floor: &Version, version: &Version, birth: &Version) -> bool {
    match merge {
        Merge::Latest => version < floor,
        Merge::RemoveWins => birth < floor,
    }
}
