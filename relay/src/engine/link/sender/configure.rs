//! Other bounds and rhythms while the link runs.

use landbridge_protocol::time::Timestamp;

use super::{Sender, SenderConfig, State};
use crate::engine::link::pace::Pace;

impl Sender {
    /// From here on. A stream begins anew where its window has changed, which it keeps for all its life.
    pub(super) fn configure(&mut self, mut config: SenderConfig, now: Timestamp) {
        let widened = config.window != self.config.window;
        if config.max_bytes_per_second != self.config.max_bytes_per_second {
            self.pace = Pace::new(config.max_bytes_per_second);
            self.paced = None;
        }
        if config.drift_check_every != self.config.drift_check_every {
            self.drift.begun(config.drift_check_every, now);
        }
        config.batch_bytes = self.pace.batch_bytes(config.batch_bytes);
        self.config = config;
        if widened {
            self.anew(now);
        }
    }

    /// Dials anew, whatever it has: the peer is elsewhere.
    pub(super) fn moved(&mut self, now: Timestamp) {
        if !matches!(self.state, State::Offline { .. }) {
            self.hang_up();
            self.outage.healed();
            self.dial(now);
        }
    }
}
