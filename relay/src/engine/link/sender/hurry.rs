//! A peer whose own link comes in is there: its link need not wait to find that out.

use landbridge_protocol::time::Timestamp;

use super::{Sender, State};

impl Sender {
    /// Dials at once where it waits to, or where its dial is so old that it was to a relay that was not there. Not more often
    /// than heartbeats go: a peer that comes and goes costs no storm.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        let often = self.config.heartbeat_every;
        let waits = match self.state {
            State::Waiting { until, .. } | State::Faulted { until, .. } => until > now,
            State::Connecting { since } => since.after(often) <= now,
            State::Offline { .. } | State::Handshaking(_) | State::Streaming(_) | State::Reconciling(_) => false,
        };
        if waits && self.outage.hurry(often, now) {
            self.hang_up();
            self.dial(now);
        }
    }
}
