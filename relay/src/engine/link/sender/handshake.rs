//! The handshake: the hello, the welcome, and where the stream begins.

use landbridge_protocol::{
    frame::{
        SenderToReceiver, check_version,
        peer::{Hello, Start, Welcome},
    },
    time::Timestamp,
    vector::Vector,
};

use super::{Greeting, Sender, State, Streaming, offset_ms, send};
use crate::engine::{command::Command, link::stream::Stream, replica::Replica};

impl Sender {
    pub(super) fn greet(&mut self, replica: &Replica, now: Timestamp) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        let sender = replica.introduction(now, &self.config.software);
        let runs = sender.runs.clone();
        self.out.push_back(send(SenderToReceiver::Hello(Hello { sender, to: self.peer })));
        let generation = replica.generation();
        self.state = State::Handshaking(Greeting { since: now, generation, runs, welcome: None });
    }

    pub(super) fn welcomed(&mut self, welcome: Box<Welcome>, replica: &Replica, now: Timestamp) {
        let State::Handshaking(greeting) = &mut self.state else { return };
        if greeting.welcome.is_some() {
            return self.broke("the peer answered a hello twice".into(), now);
        }
        if let Err(refusal) = check_version(welcome.version) {
            return self.faulted(refusal.message, now);
        }
        let receiver = &welcome.receiver;
        self.spoken = Some((welcome.version, receiver.software.clone()));
        if receiver.site != self.peer {
            let reason = format!("{} answers in place of {}; check the peer's address", receiver.site, self.peer);
            return self.faulted(reason, now);
        }
        let skew = offset_ms(receiver.wall, now);
        if skew.unsigned_abs() > replica.config().max_clock_skew.get() {
            return self.skewed(skew, now);
        }
        self.outage.answered();
        let introduction = Box::new(receiver.clone());
        greeting.welcome = Some(welcome);
        self.command(Command::Introduced { peer: introduction, incoming: false });
    }

    /// Once the writer has published what the welcome said, the stream begins: what is sent goes by it.
    pub(super) fn finish_handshake(&mut self, replica: &Replica, now: Timestamp) {
        let State::Handshaking(greeting) = &mut self.state else { return };
        if greeting.since.after(self.config.silence) <= now {
            return self.broke("the peer does not answer the handshake".into(), now);
        }
        if self.owed > 0 {
            return;
        }
        let Some(welcome) = greeting.welcome.take() else { return };
        let generation = greeting.generation;
        if generation != replica.generation() {
            return self.anew(now);
        }
        let runs = std::mem::take(&mut greeting.runs);
        let stream = Stream::begin(&welcome, replica, self.config.window, runs, now);
        let after = stream.sent;
        self.lag.acknowledge(after.direct);
        self.lag.note(replica.head(), now);
        self.out.push_back(send(SenderToReceiver::Start(Start { after })));
        let (beat, acknowledged, reported, proposed, due) = (None, stream.passed(replica), Vector::new(), None, None);
        let open = Streaming { stream, generation, heard: now, beat, acknowledged, reported, proposed, due };
        self.state = State::Streaming(Box::new(open));
        self.drift.begun(self.config.drift_check_every, now);
    }
}
