//! Heartbeats: whether the wall clocks of the two sites are near enough, and what the peer has seen.

use landbridge_protocol::{
    frame::{SenderToReceiver, peer::Heartbeat},
    time::{Millis, Timestamp},
    vector::Vector,
};

use super::{Sender, SenderOutput, offset_ms, send};
use crate::engine::{command::Command, replica::Replica};

/// A sign of life. All own records of before `past` are sent.
pub(super) fn beat(now: Timestamp, past: Timestamp) -> SenderOutput {
    send(SenderToReceiver::Heartbeat(Heartbeat { wall: now, past, echo: Timestamp::ZERO, seen: Vector::new() }))
}

impl Sender {
    pub(super) fn skewed(&mut self, skew_ms: i64, now: Timestamp) {
        self.command(Command::Skewed { peer: self.peer, skew_ms });
        self.faulted(format!("the peer's wall clock is off by {skew_ms} ms; set the clocks of the sites right"), now);
    }

    /// A heartbeat's answer: the peer's clock is compared with the middle of the way there and back.
    pub(super) fn beat_answered(&mut self, heartbeat: &Heartbeat, replica: &Replica, now: Timestamp) {
        let Some(open) = self.open_stream() else { return };
        open.reported.join(&heartbeat.seen);
        let back = if heartbeat.echo == Timestamp::ZERO { Millis::ZERO } else { now.since(heartbeat.echo) };
        let skew = offset_ms(heartbeat.wall, now.before(Millis::new(back.get() / 2)));
        if skew.unsigned_abs() > replica.config().max_clock_skew.get() {
            self.skewed(skew, now);
        }
    }
}
