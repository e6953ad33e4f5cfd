//! What puts a link off: a failure, the other site's word, the policy, and its pace.

use bytes::BytesMut;
use landbridge_protocol::{frame::SenderToReceiver, time::Timestamp};

use super::{Sender, State};

impl Sender {
    /// Tries again after a while.
    pub(super) fn put_off(&mut self, reason: String, now: Timestamp) {
        self.hang_up();
        self.state = State::Waiting { until: self.outage.failed(&self.config.backoff, now), reason };
    }

    /// Refused for now, as where the peer was taken offline at the other end: its relay is there, and this is no outage to
    /// give up on.
    pub(super) fn put_off_by_peer(&mut self, reason: &str, now: Timestamp) {
        if !matches!(self.state, State::Offline { .. } | State::Waiting { .. } | State::Faulted { .. }) {
            self.put_off(reason.to_owned(), now);
            self.outage.answered();
        }
    }

    /// Where it has failed as often and as long as the policy has it, the link is taken offline.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        let (Some(policy), State::Waiting { reason, .. }) = (&self.config.offline_policy, &self.state) else { return };
        if let Some((failures, span)) = self.outage.over(policy, now) {
            let seconds = span.get() / 1000;
            let reason = format!(
                "taken offline by policy after {failures} failures in {seconds} s, the last: {reason}; bring it online \
                 when the peer is back"
            );
            self.state = State::Offline { reason };
        }
    }

    /// What goes out puts off what goes next, where the link has a limit. Small frames go all the same, and count.
    pub(super) fn pay_for(&mut self, frame: &SenderToReceiver, now: Timestamp) {
        if !self.pace.is_limited() {
            return;
        }
        let mut bytes = BytesMut::new();
        // One that can't be encoded is not sent: the shell ends the stream.
        if frame.encode(&mut bytes).is_ok() {
            self.pace.spend(bytes.len(), now);
        }
    }
}
