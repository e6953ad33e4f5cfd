//! Batches: made of the log by the sender, written as a frame, read, and decided by the receiver.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use landbridge_protocol::{
    frame::{FrameCodec, MAX_FRAME_BYTES, SenderToReceiver, peer},
    version::RunId,
};
use landbridge_relay::engine::{
    command::{Answer, Command},
    link::{Sender, SenderConfig, SenderInput, SenderOutput},
};
use tokio_util::codec::Decoder;

use crate::bed::{GROUP, NOW, Part, site};

/// A sender and its receiver, and how long each took for what.
struct Link {
    from: Part,
    to: Part,
    sender: Sender,
    build: Duration,
    write: Duration,
    read: Duration,
    apply: Duration,
}

impl Link {
    fn new() -> Self {
        let (from, to) = (Part::new("site1", &["site2"], 1), Part::new("site2", &["site1"], 2));
        let sender = Sender::new(site("site2"), SenderConfig::default(), 1);
        let none = Duration::ZERO;
        let mut link = Self { from, to, sender, build: none, write: none, read: none, apply: none };
        link.pump();
        // The other direction shakes hands once: until then the first store waits to be filled.
        let mut back = Link {
            sender: Sender::new(site("site1"), SenderConfig::default(), 2),
            from: std::mem::replace(&mut link.to, Part::new("site2", &[], 2)),
            to: std::mem::replace(&mut link.from, Part::new("site1", &[], 1)),
            ..link
        };
        back.pump();
        Self { from: back.to, to: back.from, sender: Sender::new(site("site2"), SenderConfig::default(), 3), ..back }
    }

    /// Carries out what the sender asks for until it asks no more.
    fn pump(&mut self) {
        let run: RunId = self.from.replica.origin().run;
        loop {
            let begun = Instant::now();
            let polled = self.sender.poll(&self.from.replica, NOW);
            self.build += begun.elapsed();
            let input = match polled {
                None => return,
                Some(SenderOutput::Dial) => SenderInput::Connected,
                Some(SenderOutput::Command(command)) => SenderInput::Decided(self.from.step(command.0)),
                Some(SenderOutput::ReadLog { after, .. }) => SenderInput::LogRead(self.from.read(after)),
                Some(SenderOutput::ReadRecords(_)) => panic!("nothing is reconciled or transferred"),
                Some(SenderOutput::Hangup) => continue,
                Some(SenderOutput::Send(frame)) => match self.deliver(*frame, run) {
                    Some(input) => input,
                    None => continue,
                },
            };
            let begun = Instant::now();
            self.sender.handle(input, &self.from.replica, NOW);
            self.build += begun.elapsed();
        }
    }

    fn deliver(&mut self, frame: SenderToReceiver, run: RunId) -> Option<SenderInput> {
        let peer = self.from.replica.site();
        match frame {
            SenderToReceiver::Hello(hello) => {
                let introduced = Command::Introduced { peer: Box::new(hello.sender), incoming: true };
                let Ok(Answer::Introduced { cursor, cursor_digest }) = self.to.step(introduced) else {
                    panic!("an introduction is taken")
                };
                let receiver = self.to.replica.introduction(NOW, "bench");
                Some(SenderInput::Welcome(Box::new(peer::Welcome { version: 1, receiver, cursor, cursor_digest })))
            }
            SenderToReceiver::Start(start) => {
                self.to.step(Command::Started { peer, run, after: start.after }).expect("a start is taken");
                None
            }
            SenderToReceiver::Batch(batch) => {
                let begun = Instant::now();
                let mut bytes = BytesMut::new();
                SenderToReceiver::Batch(batch).encode(&mut bytes).expect("it fits");
                self.write += begun.elapsed();
                let begun = Instant::now();
                let raw = FrameCodec::new(MAX_FRAME_BYTES).decode(&mut bytes).expect("a frame").expect("a whole one");
                let frame = SenderToReceiver::decode(&raw).expect("a batch");
                self.read += begun.elapsed();
                let SenderToReceiver::Batch(batch) = frame else { panic!("a batch") };
                let begun = Instant::now();
                let applied = self.to.stage(vec![Command::Apply { peer, run, batch: Box::new(batch) }]);
                self.apply += begun.elapsed();
                let (decided, staged) = applied;
                self.to.replica.publish(staged);
                let Some(Ok(Answer::Applied(through))) = decided.into_iter().next() else { panic!("a batch is taken") };
                Some(SenderInput::Ack(peer::Ack { through }))
            }
            _ => None,
        }
    }
}

pub(crate) fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("link");
    group.throughput(Throughput::Elements(GROUP));
    type Part = fn(&Link) -> Duration;
    let parts: [(&str, Part); 4] = [
        ("build a batch of what was read", |link| link.build),
        ("write a batch as a frame", |link| link.write),
        ("read a batch from its frame", |link| link.read),
        ("decide and merge a batch", |link| link.apply),
    ];
    for (name, part) in parts {
        let mut link = Link::new();
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    let commands = link.from.next_group(GROUP);
                    for decided in link.from.steps(commands) {
                        decided.expect("a put is taken");
                    }
                    let before = part(&link);
                    let head = link.from.replica.head();
                    link.pump();
                    assert!(link.to.replica.head() >= head, "all of it went over");
                    took += part(&link) - before;
                }
                took
            });
        });
    }
    group.finish();
}
