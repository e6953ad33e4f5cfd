//! What is read of the log becomes batches.

use landbridge_protocol::{
    frame::peer::Batch,
    record::{Kind, Record},
    time::Timestamp,
};

use super::{
    LogRead, SenderConfig, SenderOutput,
    stream::{Reading, Stream},
};
use crate::engine::replica::Replica;

impl Stream {
    /// The read of the log that is wanted next.
    pub(super) fn wants(&mut self, config: &SenderConfig, replica: &Replica, now: Timestamp) -> Option<SenderOutput> {
        if self.reading.is_some() || !self.window.has_room() {
            return None;
        }
        self.release(replica);
        let (reading, after) = match self.first_due(replica, now) {
            Some(due) => (Reading::Withheld, due.previous()),
            None if self.read < replica.head() => (Reading::Onward, self.read),
            None => return None,
        };
        self.reading = Some(reading);
        Some(SenderOutput::ReadLog { after, max_bytes: config.batch_bytes })
    }

    /// Makes a batch of what was read; `None`: there is nothing to say.
    pub(super) fn batch_of(
        &mut self,
        read: LogRead,
        config: &SenderConfig,
        replica: &Replica,
        now: Timestamp,
    ) -> Option<Batch> {
        let records = match self.reading.take()? {
            Reading::Onward if read.after == self.read => self.onward(read, config, replica, now),
            Reading::Withheld => self.pass_on(&read, config, replica, now),
            Reading::Onward | Reading::Lacked => Vec::new(),
        };
        self.batch(records, replica)
    }

    fn onward(&mut self, read: LogRead, config: &SenderConfig, replica: &Replica, now: Timestamp) -> Vec<Record> {
        let mut records = Vec::new();
        for (sequence, record) in read.records {
            if records.len() >= config.batch_records || self.is_full() {
                self.read = sequence.previous();
                return records;
            }
            if self.takes(sequence, &record, replica, now) {
                records.push(record);
            }
        }
        self.read = read.through;
        records
    }

    /// Sends what was withheld long enough; where no more may be withheld, a batch of it.
    fn pass_on(&mut self, read: &LogRead, config: &SenderConfig, replica: &Replica, now: Timestamp) -> Vec<Record> {
        let mut records = Vec::new();
        self.release(replica);
        let full = self.is_full();
        for (sequence, record) in &read.records {
            if records.len() >= config.batch_records {
                break;
            }
            let Some(withheld) = self.withheld.get(sequence) else { continue };
            if full || self.is_due(withheld.stands_from, replica, now) {
                self.pass_on_withheld(*sequence);
                records.push(record.clone());
            }
        }
        records
    }

    /// A batch of these records and what may be said with them; `None` where that is nothing new.
    pub(super) fn batch(&mut self, records: Vec<Record>, replica: &Replica) -> Option<Batch> {
        self.release(replica);
        self.advance_claim(replica);
        let vector = self.news(replica);
        let caught_up = self.is_caught_up(replica);
        let present = replica.present_runs();
        let runs: Vec<_> = present.iter().filter(|run| !self.said_runs.contains(run)).copied().collect();
        let news = !records.is_empty() || !vector.is_empty() || !runs.is_empty() || (caught_up && !self.said_caught_up);
        if !news {
            return None;
        }
        let through = self.through(replica);
        let after = std::mem::replace(&mut self.sent, through);
        self.said.join(&vector);
        self.said_runs = present;
        self.said_caught_up = caught_up;
        self.window.sent(through);
        Some(Batch { after, through, vector, caught_up, runs, records })
    }
}

/// When a record was written, for the age of what is not acknowledged.
pub(super) fn written_at(record: &Record) -> Option<Timestamp> {
    (record.kind != Kind::Mark).then(|| record.version.clock.wall())
}
