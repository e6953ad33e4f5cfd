//! The link, as `status` and the metrics tell it.

use landbridge_protocol::time::{Millis, Timestamp};

use super::{Sender, State};
use crate::engine::{link::SenderReport, replica::Replica};

impl Sender {
    /// What the log has since; less what the peer needs not be sent, as where the marks of expired entries are all that is new:
    /// nothing of that goes, and nothing is acknowledged.
    pub(super) fn note_lag(&mut self, replica: &Replica, now: Timestamp) {
        self.lag.note(replica.head(), now);
        let State::Streaming(open) = &self.state else { return };
        let stream = &open.stream;
        let nothing_flies = self.out.is_empty() && stream.window.is_empty() && stream.reading.is_none();
        if nothing_flies && stream.is_caught_up(replica) {
            self.lag.acknowledge(replica.head());
        }
    }

    /// The link for `status`.
    pub fn report(&self, replica: &Replica, now: Timestamp) -> SenderReport {
        let (state, detail) = match &self.state {
            State::Offline { reason } => ("offline", reason.clone()),
            State::Waiting { until, reason } => {
                let wait = format!("tries again in {} ms", until.since(now).get());
                ("waiting", if reason.is_empty() { wait } else { format!("{reason}; {wait}") })
            }
            State::Connecting { .. } => ("connecting", String::new()),
            State::Handshaking(_) => ("handshaking", String::new()),
            State::Streaming(open) if open.stream.read < open.stream.whole_from => {
                ("transferring", self.at_its_pace(format!("{} of {}", open.stream.read, open.stream.whole_from)))
            }
            State::Streaming(_) if replica.held_back(&self.peer) => {
                ("streaming", "waits for the peer's reconcile".into())
            }
            State::Streaming(_) => ("streaming", self.at_its_pace(String::new())),
            State::Reconciling(open) => {
                ("reconciling", self.at_its_pace(format!("{} records sent", open.transfer.records)))
            }
            State::Faulted { reason, .. } => ("faulted", reason.clone()),
        };
        let in_flight = if let State::Streaming(open) = &self.state { open.stream.window.len() } else { 0 };
        let lag_changes = self.lag.changes(replica.head());
        let lag = if lag_changes == 0 { Millis::ZERO } else { self.lag.age(now) };
        SenderReport { state, detail, lag_changes, lag, in_flight, spoken: self.spoken.clone() }
    }

    /// What is told of the progress, and whether a limit holds it up.
    fn at_its_pace(&self, progress: String) -> String {
        match (self.paced, self.config.max_bytes_per_second) {
            (Some(_), Some(limit)) if progress.is_empty() => format!("held to {limit} bytes a second"),
            (Some(_), Some(limit)) => format!("{progress}, held to {limit} bytes a second"),
            _ => progress,
        }
    }
}
