//! What is taken out of a relay, or put into its disk, so that a check can be seen to find it.

use landbridge_protocol::{name::SiteName, record::Kind};
use landbridge_relay::engine::{
    guards::{Guard, Guards},
    header::{Commit, LogRecord},
};

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A rule of the relay does not hold.
    Without(Guard),
    /// The disk does not do what it says.
    Disk(DiskLies),
    /// Each run of a store has the same number: an origin is kept after a lost tail.
    SameRun,
    /// A subscription that resumes goes on one further than its token says.
    ResumeSkips,
}

/// How a disk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskLies {
    /// It says that it has flushed and has not: acknowledged before it is durable.
    Flush,
    /// Removals are not written.
    Tombstones,
    /// What peers sent is not written, though their cursor is.
    Foreign,
    /// Clears are not written.
    Clears,
    /// What a reconcile dropped is not noted.
    Forgotten,
}

impl Mutation {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let lies = [DiskLies::Flush, DiskLies::Tombstones, DiskLies::Foreign, DiskLies::Clears, DiskLies::Forgotten];
        let guards = Guard::ALL.iter().chain(Guard::WHOLE).map(|guard| Mutation::Without(*guard));
        let others = [Mutation::SameRun, Mutation::ResumeSkips];
        lies.into_iter().map(Mutation::Disk).chain(others).chain(guards).collect()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        match self {
            Mutation::Without(guard) => format!("without-{guard:?}"),
            Mutation::Disk(lies) => format!("disk-{lies:?}"),
            other => format!("{other:?}"),
        }
        .to_lowercase()
    }

    /// The rules that hold.
    pub fn guards(self) -> Guards {
        match self {
            Mutation::Without(guard) => Guards::without(guard),
            _ => Guards::all(),
        }
    }

    /// How the disk lies.
    pub fn disk(self) -> Option<DiskLies> {
        match self {
            Mutation::Disk(lies) => Some(lies),
            _ => None,
        }
    }
}

impl DiskLies {
    /// What is written instead of the commit, where that is something else.
    pub fn instead(self, commit: &Commit, own: SiteName) -> Option<Commit> {
        let keeps = |record: &LogRecord| match (self, record) {
            (DiskLies::Tombstones, LogRecord::Record(record)) => record.kind != Kind::Tombstone,
            (DiskLies::Foreign, LogRecord::Record(record)) => record.version.origin.site == own,
            (DiskLies::Clears, LogRecord::Record(record)) => record.kind != Kind::Clear,
            (DiskLies::Forgotten, LogRecord::Forgotten { .. }) => false,
            _ => true,
        };
        let mut written = commit.clone();
        written.records.retain(|(_, record)| keeps(record));
        (written.records.len() < commit.records.len()).then_some(written)
    }
}
