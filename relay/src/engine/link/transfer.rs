//! A reconcile going out: all that is held, in key order, V taken before the scan. One chunk flies at a time.

use landbridge_protocol::{
    frame::{
        SenderToReceiver,
        peer::{Place, ReconcileBegin, ReconcileChunk},
    },
    name::SiteName,
    position::Sequence,
    record::Record,
};

use super::{SenderConfig, SenderOutput};
use crate::engine::replica::Replica;

/// How far a reconcile is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    /// All through here is acknowledged, or flies.
    place: Option<Place>,
    step: Step,
    pub(super) records: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Scan,
    /// Reading what a scan found; the chunk goes through here.
    Read(Option<Place>),
    /// Waiting for the receiver's word on a chunk.
    Fly,
}

impl Transfer {
    /// Begins: V and G are taken before anything is scanned.
    pub(super) fn begin(replica: &Replica) -> (Self, SenderToReceiver) {
        let (seen, dropped) = (replica.seen().clone(), replica.dropped().clone());
        let begin = ReconcileBegin { seen, dropped, head: replica.head() };
        (Self { place: None, step: Step::Scan, records: 0 }, SenderToReceiver::ReconcileBegin(begin))
    }

    /// The read of the next chunk's records, when it is time for it.
    pub(super) fn wants(&mut self, peer: &SiteName, config: &SenderConfig, replica: &Replica) -> Option<SenderOutput> {
        if self.step != Step::Scan {
            return None;
        }
        let limit = config.batch_records.max(1);
        let mut found = replica.scan(peer, self.place.as_ref(), limit);
        let full = found.len() >= limit;
        let mut bytes = 0usize;
        let fits = found.iter().take_while(|(place, slot)| {
            let key = place.key.as_ref().map_or(0, |key| key.as_bytes().len());
            bytes = bytes.saturating_add(slot.value_bytes as usize + key);
            bytes <= config.batch_bytes
        });
        let fitting = fits.count().max(1);
        let cut = found.len() > fitting;
        found.truncate(fitting);
        let through = (full || cut).then(|| found.last().map(|(place, _)| place.clone())).flatten();
        self.step = Step::Read(through);
        let sequences: Vec<Sequence> = found.iter().map(|(_, slot)| slot.sequence).collect();
        Some(SenderOutput::ReadRecords(sequences))
    }

    /// The chunk of what was read. A record that has moved meanwhile: the range is scanned once more.
    pub(super) fn chunk(&mut self, read: Vec<Option<Record>>) -> Option<SenderToReceiver> {
        let Step::Read(through) = &self.step else { return None };
        let through = through.clone();
        let Some(records) = read.into_iter().collect::<Option<Vec<Record>>>() else {
            self.step = Step::Scan;
            return None;
        };
        self.records += records.len() as u64;
        let after = std::mem::replace(&mut self.place, through.clone());
        self.step = Step::Fly;
        Some(SenderToReceiver::ReconcileChunk(ReconcileChunk { after, through, records }))
    }

    /// The receiver has taken the chunk.
    pub(super) fn taken(&mut self) {
        self.step = Step::Scan;
    }
}
