//! Whether the wall clocks of the two sites are near enough.

use landbridge_protocol::{
    frame::peer::Heartbeat,
    time::{Millis, Timestamp},
};

use super::{Sender, offset_ms};
use crate::engine::replica::Replica;

impl Sender {
    pub(super) fn skewed(&mut self, skew_ms: i64, now: Timestamp) {
        self.faulted(format!("the peer's wall clock is off by {skew_ms} ms; set the clocks of the sites right"), now);
    }

    /// A heartbeat's answer: the peer's clock is compared with the middle of the way there and back.
    pub(super) fn compare_clocks(&mut self, heartbeat: &Heartbeat, replica: &Replica, now: Timestamp) {
        if self.open_stream().is_none() {
            return;
        }
        let back = if heartbeat.echo == Timestamp::ZERO { Millis::ZERO } else { now.since(heartbeat.echo) };
        let skew = offset_ms(heartbeat.wall, now.before(Millis::new(back.get() / 2)));
        if skew.unsigned_abs() > replica.config().max_clock_skew.get() {
            self.skewed(skew, now);
        }
    }
}
