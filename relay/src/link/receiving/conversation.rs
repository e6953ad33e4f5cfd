//! One incoming stream, from the hello to its loss.

use std::sync::Arc;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        FrameError, RawFrame, ReceiverToSender, SenderToReceiver,
        peer::{Ack, DriftAsk, DriftRepaired, Heartbeat, Hello, Introduction, ReconcileAck, Welcome},
    },
    name::CacheName,
    position::Cursor,
    record::Kind,
    time::Timestamp,
    vector::Vector,
    version::RunId,
};

use super::{
    checks::{check_hello, check_skew},
    gone,
    tenancy::Tenancy,
};
use crate::{
    engine::{
        command::{Answer, Command, Decided},
        drift::DriftOrder,
        link::{SenderInput, offset_ms},
    },
    link::{
        drift::Checked,
        links::Shared,
        peer::{Peer, begin_anew, taken_offline},
        pipeline::Pipeline,
        view::Way,
    },
    metrics::Bound,
    transport::{FrameQueue, FrameReader},
};

/// One incoming stream.
pub(super) struct Conversation {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    queue: FrameQueue<ReceiverToSender>,
    commands: Pipeline<Note>,
    /// Of this relay's V, what the sender has been told on this stream.
    told: Vector,
    /// The sender's check of what is held here.
    checked: Checked,
    /// Whether a batch with a clear is under way: it looks at all that is held here, so that more is left unread until it is
    /// decided, and others have their turn.
    clearing: bool,
}

/// What a command was given for.
enum Note {
    Start,
    Batch,
    Chunk,
    Proposal,
    Heard,
    Begin,
    Repair(CacheName),
}

enum Happened {
    Decided(Note, Decided),
    Frame(Option<RawFrame>),
    Silent,
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>, peer: Arc<Peer>, queue: FrameQueue<ReceiverToSender>) -> Self {
        Self {
            shared,
            peer,
            queue,
            commands: Pipeline::new(),
            told: Vector::new(),
            checked: Checked::default(),
            clearing: false,
        }
    }

    /// Takes in what the sender brings until the stream ends. An error is what the sender is told at the end.
    pub(super) async fn run(mut self, frames: &mut FrameReader) -> Result<(), Refusal> {
        let (shared, peer) = (self.shared.clone(), self.peer.clone());
        let ended = async {
            tokio::select! {
                biased;
                reason = peer.ended(&shared) => Err(reason),
                () = peer.taken_offline() => Err(taken_offline()),
                greeted = self.greet(frames) => greeted,
            }
        };
        let Some((hello, version)) = ended.await? else { return Ok(()) };
        let tenancy = tokio::select! {
            biased;
            reason = peer.ended(&shared) => return Err(reason),
            tenancy = shared.tenancies.move_in(peer.site) => tenancy,
        };
        let Some(tenancy) = tenancy else { return Err(replaced()) };
        let ended = self.stay(frames, hello, version, &tenancy).await;
        shared.view.set(peer.site, Way::In, false);
        // Its place is taken before the next stream's introduction, as that one waits for the tenancy.
        drop(shared.store.place(Command::Lost { peer: peer.site, incoming: true }).await);
        drop(tenancy);
        ended
    }

    async fn stay(
        &mut self,
        frames: &mut FrameReader,
        hello: Hello,
        version: u16,
        tenancy: &Tenancy,
    ) -> Result<(), Refusal> {
        let (shared, peer) = (self.shared.clone(), self.peer.clone());
        let begun_anew = peer.begun_anew();
        tokio::select! {
            biased;
            reason = peer.ended(&shared) => Err(reason),
            () = begun_anew => Err(begin_anew()),
            () = tenancy.ended.cancelled() => Err(replaced()),
            () = peer.taken_offline() => Err(taken_offline()),
            ended = self.converse(frames, hello, version) => ended,
        }
    }

    /// The hello, and the protocol version that both speak; nothing where the stream ended before.
    async fn greet(&mut self, frames: &mut FrameReader) -> Result<Option<(Hello, u16)>, Refusal> {
        let Some(frame) = self.frame_in_time(frames).await? else { return Ok(None) };
        let SenderToReceiver::Hello(hello) = decode(&frame)? else {
            return Err(Refusal::new(ErrorCode::Malformed, "the first frame of a link is its hello"));
        };
        self.peer.refuse_offline()?;
        let own = self.introduction();
        let max_clock_skew = self.shared.store.view(|replica| replica.config().max_clock_skew);
        match check_hello(&hello, self.peer.site, &own, max_clock_skew) {
            Ok(version) => Ok(Some((hello, version))),
            Err(refusal) => {
                if refusal.code() == Some(ErrorCode::ClockSkew) {
                    self.skewed(offset_ms(hello.sender.wall, own.wall)).await;
                }
                Err(refusal)
            }
        }
    }

    /// From the introduction on.
    async fn converse(&mut self, frames: &mut FrameReader, hello: Hello, version: u16) -> Result<(), Refusal> {
        let run = hello.sender.run;
        let (cursor, cursor_digest) = self.introduce(hello.sender).await?;
        let receiver = self.introduction();
        self.told = receiver.seen.clone();
        self.answer(ReceiverToSender::Welcome(Welcome { version, receiver, cursor, cursor_digest }))?;
        let Some(frame) = self.frame_in_time(frames).await? else { return Ok(()) };
        let SenderToReceiver::Start(start) = decode(&frame)? else {
            return Err(Refusal::new(ErrorCode::Malformed, "the second frame of a link says where it starts"));
        };
        let peer = self.peer.site;
        self.submit(Note::Start, Command::Started { peer, run, after: start.after }).await;
        loop {
            match self.next(frames).await? {
                Happened::Decided(note, decided) => self.decided(&note, decided, run).await?,
                Happened::Frame(Some(frame)) => self.take(&frame, run).await?,
                Happened::Frame(None) => return Ok(()),
                Happened::Silent => return Err(Refusal::new(ErrorCode::Busy, "the link has gone silent")),
            }
        }
    }

    async fn next(&mut self, frames: &mut FrameReader) -> Result<Happened, Refusal> {
        let silence = self.shared.config.silence.into();
        let idle = self.commands.len() == 0;
        self.clearing &= !idle;
        let may_read = !self.clearing && self.commands.len() < self.shared.guests.bounds.commands;
        tokio::select! {
            biased;
            (note, decided) = self.commands.next() => Ok(Happened::Decided(note, decided)),
            frame = frames.next(), if may_read => Ok(Happened::Frame(self.unless_lost(frame)?)),
            () = tokio::time::sleep(silence), if idle => Ok(Happened::Silent),
        }
    }

    /// A frame of the handshake.
    async fn frame_in_time(&self, frames: &mut FrameReader) -> Result<Option<RawFrame>, Refusal> {
        let within = self.shared.config.silence.into();
        let frame = tokio::time::timeout(within, frames.next()).await;
        let late = |_| Refusal::new(ErrorCode::Busy, "the handshake took too long");
        self.unless_lost(frame.map_err(late)?)
    }

    /// A stream that broke has merely ended; nobody is there to be refused.
    fn unless_lost(&self, frame: Result<Option<RawFrame>, FrameError>) -> Result<Option<RawFrame>, Refusal> {
        match frame {
            Err(FrameError::Io(error)) => {
                tracing::info!(peer = %self.peer.site, %error, "incoming link lost");
                Ok(None)
            }
            Err(error) => {
                if matches!(error, FrameError::TooLarge { .. }) {
                    self.shared.metrics.bound_hit(Bound::FrameBytes);
                }
                Err(error.refusal())
            }
            Ok(frame) => Ok(frame),
        }
    }

    async fn introduce(&mut self, sender: Introduction) -> Result<(Option<Cursor>, u64), Refusal> {
        let introduced = Command::Introduced { peer: Box::new(sender), incoming: true };
        match self.shared.store.submit(introduced).await? {
            Answer::Introduced { cursor, cursor_digest } => {
                self.peer.tell_differences(&self.shared.store);
                Ok((cursor, cursor_digest))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Gives to the writer what the frame says.
    async fn take(&mut self, frame: &RawFrame, run: RunId) -> Result<(), Refusal> {
        let peer = self.peer.site;
        let (note, command) = match decode(frame)? {
            SenderToReceiver::Batch(batch) => {
                self.peer.metrics.received(batch.records.len(), frame.body.len());
                self.clearing |= batch.records.iter().any(|record| record.kind == Kind::Clear);
                (Note::Batch, Command::Apply { peer, run, batch: Box::new(batch) })
            }
            SenderToReceiver::Heartbeat(heartbeat) => (Note::Heard, self.beat(heartbeat, run).await?),
            SenderToReceiver::ReconcileBegin(begin) => (Note::Begin, Command::ReconcileBegin { peer, run, begin }),
            SenderToReceiver::ReconcileChunk(chunk) => {
                (Note::Chunk, Command::ReconcileChunk { peer, run, chunk: Box::new(chunk) })
            }
            SenderToReceiver::DropProposal(proposal) => (Note::Proposal, Command::DropProposed { peer, proposal }),
            SenderToReceiver::DriftRepair(repair) => {
                (Note::Repair(repair.cache.clone()), Command::RepairDrift { peer, run, repair: Box::new(repair) })
            }
            SenderToReceiver::DriftSums(sums) => {
                let unequal = self.checked.sums(peer, &sums, &self.shared.store);
                return self.answer(ReceiverToSender::DriftUnequal(unequal));
            }
            SenderToReceiver::DriftPart(part) => {
                let found = self.checked.part(peer, &part, &self.shared.store, self.shared.clock.now());
                return self.answer(ReceiverToSender::DriftFound(found));
            }
            SenderToReceiver::DriftEnd(end) => {
                self.checked.end(&end, &self.peer, self.shared.clock.now());
                self.peer.tell_drift();
                return Ok(());
            }
            SenderToReceiver::DriftAsk(DriftAsk { ask, cache, repair }) => {
                self.tell_link(SenderInput::CheckDrift(DriftOrder { asked: 0, ask, cache, repair }));
                return Ok(());
            }
            SenderToReceiver::Hello(_) | SenderToReceiver::Start(_) => {
                return Err(Refusal::new(
                    ErrorCode::Malformed,
                    "a handshake in the midst of a link; it begins a stream",
                ));
            }
        };
        self.submit(note, command).await;
        Ok(())
    }

    /// Answers a heartbeat at once; what it says comes to the writer after the batches before it.
    async fn beat(&mut self, heartbeat: Heartbeat, run: RunId) -> Result<Command, Refusal> {
        let (peer, now) = (self.peer.site, self.shared.clock.now());
        let bound = self.shared.store.view(|replica| replica.config().max_clock_skew);
        let skew_ms = match check_skew(peer, heartbeat.wall, now, bound) {
            Ok(skew_ms) => skew_ms,
            Err(refusal) => {
                self.skewed(offset_ms(heartbeat.wall, now)).await;
                return Err(refusal);
            }
        };
        let seen = self.shared.store.view(|replica| replica.seen().beyond(&self.told));
        self.told.join(&seen);
        let echo = Heartbeat { wall: now, past: Timestamp::ZERO, echo: heartbeat.wall, seen };
        self.answer(ReceiverToSender::Heartbeat(echo))?;
        Ok(Command::Heard { peer, run, past: heartbeat.past, skew_ms })
    }

    /// The clocks are too far apart: counted, and told to the writer, as nothing else of the link reaches it.
    async fn skewed(&self, skew_ms: i64) {
        self.shared.metrics.bound_hit(Bound::ClockSkew);
        drop(self.shared.store.place(Command::Skewed { peer: self.peer.site, skew_ms }).await);
    }

    /// Answers what has become durable.
    async fn decided(&mut self, note: &Note, decided: Decided, run: RunId) -> Result<(), Refusal> {
        let answer = decided.inspect_err(|_| {
            if matches!(note, Note::Batch) {
                self.peer.metrics.discarded();
            }
        })?;
        match (note, answer) {
            (Note::Start, Answer::Done) => {
                self.shared.view.set(self.peer.site, Way::In, true);
                self.tell_link(SenderInput::PeerIsThere);
            }
            (Note::Heard | Note::Begin, Answer::Done) => {}
            (Note::Batch, Answer::Applied(through)) => self.answer(ReceiverToSender::Ack(Ack { through }))?,
            (Note::Proposal, Answer::Drop(answer)) => self.answer(ReceiverToSender::DropAnswer(answer))?,
            (Note::Repair(cache), Answer::DriftRepaired { taken }) => {
                self.checked.repaired(cache, taken);
                if taken > 0 {
                    tracing::warn!(peer = %self.peer.site, %cache, "drift: {taken} records that were lacked here are held again");
                }
                self.answer(ReceiverToSender::DriftRepaired(DriftRepaired { taken }))?;
            }
            (Note::Chunk, Answer::ReconciledPart { rest }) => {
                let peer = self.peer.site;
                self.submit(Note::Chunk, Command::ReconcileChunk { peer, run, chunk: rest }).await;
            }
            (Note::Chunk, Answer::Reconciled { done }) => {
                self.answer(ReceiverToSender::ReconcileAck(ReconcileAck { done }))?;
                if done {
                    tracing::info!(peer = %self.peer.site, "reconciled: both links begin anew");
                    self.tell_link(SenderInput::Anew);
                }
            }
            (_, other) => return Err(unexpected(&other)),
        }
        Ok(())
    }

    /// Tells this relay's own link to the peer.
    fn tell_link(&self, input: SenderInput) {
        self.peer.handle(input, &self.shared.store, self.shared.clock.now());
        self.peer.changed.notify_one();
    }

    async fn submit(&mut self, note: Note, command: Command) {
        let decided = self.shared.store.place(command).await;
        self.commands.push(note, async move { decided.await.unwrap_or_else(|_| Err(gone())) });
    }

    fn answer(&self, answer: ReceiverToSender) -> Result<(), Refusal> {
        let unread = |_| Refusal::new(ErrorCode::Busy, "the sender takes in no answers");
        self.queue.try_send(0, answer).map_err(unread)
    }

    fn introduction(&self) -> Introduction {
        let now = self.shared.clock.now();
        self.shared.store.view(|replica| replica.introduction(now, &self.shared.config.software))
    }
}

fn decode(frame: &RawFrame) -> Result<SenderToReceiver, Refusal> {
    SenderToReceiver::decode(frame).map_err(|error| error.refusal())
}

fn replaced() -> Refusal {
    Refusal::new(ErrorCode::FormerRun, "a newer stream of the same link has taken over")
}

fn unexpected(answer: &Answer) -> Refusal {
    tracing::error!(?answer, "the writer's answer is not one to the command");
    Refusal::new(ErrorCode::Internal, "the writer's answer is not one to the command")
}
