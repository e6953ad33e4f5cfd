//! What is taken out of a relay, a disk, a listener or a node, so that a check can be seen to find it.

use std::collections::BTreeSet;

use landbridge_protocol::{
    name::SiteName,
    record::{Kind, Record},
    version::Version,
};
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
    /// A subscription that resumes leaves out the first that it has to tell.
    ResumeSkips,
    /// A listener misses something.
    Listener(Misses),
    /// A node, or what answers it, is careless.
    Node(Careless),
    /// Who operates the sites forgets a reload.
    Forgets(Forgets),
}

/// The reload that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgets {
    /// That of a relay whose certificate was renewed.
    Certificate,
    /// That of one of the relays that a site is taken from.
    Relay,
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
    /// Values are other ones.
    Values,
    /// Deadlines are not written.
    Deadlines,
    /// Every write is written as a life of its own.
    Births,
    /// The last record of each commit of several is not written.
    Last,
    /// What is repaired is put in place with another value.
    Repairs,
}

/// What a listener misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misses {
    /// One event in so many: [`EVENTS`].
    Events,
    /// Removals.
    Removals,
    /// That something could not be told, and that all is told anew.
    Gaps,
    /// What came first while it did not read.
    WhilePaused,
}

/// The listener that misses events misses each of this number.
pub const EVENTS: u32 = 9;

/// How a node, or what answers it, is careless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Careless {
    /// It is answered what it has read of the key first.
    ReadsOld,
    /// Conditions are not looked at.
    Unconditional,
    /// A removal whose answer did not come is taken for done.
    TakesForDone,
}

impl Mutation {
    /// All of them.
    pub fn all() -> Vec<Self> {
        use DiskLies as L;
        let lies =
            [L::Flush, L::Tombstones, L::Foreign, L::Clears, L::Forgotten, L::Values, L::Deadlines, L::Births, L::Last];
        let lies = lies.into_iter().chain([L::Repairs]);
        let misses = [Misses::Events, Misses::Removals, Misses::Gaps, Misses::WhilePaused];
        let listeners = misses.map(Mutation::Listener).into_iter();
        let forgets = [Forgets::Certificate, Forgets::Relay].map(Mutation::Forgets);
        let nodes = [Careless::ReadsOld, Careless::Unconditional, Careless::TakesForDone].map(Mutation::Node);
        let guards = Guard::ALL.iter().chain(Guard::WHOLE).map(|guard| Mutation::Without(*guard));
        let others = [Mutation::SameRun, Mutation::ResumeSkips];
        let harness = lies.map(Mutation::Disk).chain(listeners).chain(nodes).chain(forgets).chain(others);
        harness.chain(guards).collect()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        match self {
            Mutation::Without(guard) => format!("without-{guard:?}"),
            Mutation::Disk(lies) => format!("disk-{lies:?}"),
            Mutation::Listener(misses) => format!("listener-misses-{misses:?}"),
            Mutation::Node(careless) => format!("node-{careless:?}"),
            Mutation::Forgets(forgets) => format!("reload-forgets-{forgets:?}"),
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
    /// What is written instead of the commit, where that is something else, to a disk that has lost these.
    pub fn instead(self, commit: &Commit, own: SiteName, lost: &BTreeSet<Version>) -> Option<Commit> {
        let keeps = |record: &LogRecord| match (self, record) {
            (DiskLies::Tombstones, LogRecord::Record(record)) => record.kind != Kind::Tombstone,
            (DiskLies::Foreign, LogRecord::Record(record)) => record.version.origin.site == own,
            (DiskLies::Clears, LogRecord::Record(record)) => record.kind != Kind::Clear,
            (DiskLies::Forgotten, LogRecord::Forgotten { .. }) => false,
            _ => true,
        };
        let mut written = commit.clone();
        written.records.retain(|(_, record)| keeps(record));
        if self == DiskLies::Last && written.records.len() > 1 {
            written.records.pop();
        }
        for (_, record) in &mut written.records {
            if let LogRecord::Record(record) = record {
                self.change(record, lost.contains(&record.version));
            }
        }
        (written.records != commit.records).then_some(written)
    }

    fn change(self, record: &mut Record, was_lost: bool) {
        match self {
            DiskLies::Values | DiskLies::Repairs
                if !record.value.is_empty() && (was_lost || self == DiskLies::Values) =>
            {
                let mut value = record.value.to_vec();
                value.iter_mut().for_each(|byte| *byte ^= 1);
                record.value = value.into();
            }
            DiskLies::Deadlines => record.deadline = None,
            DiskLies::Births => record.birth = record.version,
            _ => {}
        }
    }
}
