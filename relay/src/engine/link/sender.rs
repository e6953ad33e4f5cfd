//! The states of a link and what moves it between them.

mod clocks;
mod configure;
mod drift;
mod giving_up;
mod handshake;
mod hurry;
mod report;

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        SenderToReceiver,
        peer::{Ack, Welcome},
    },
    name::SiteName,
    position::Through,
    time::Timestamp,
    vector::Vector,
    version::Origin,
};

use self::drift::Drift;
pub use self::drift::DriftAnswer;
use super::{
    CommandToWriter, SenderConfig, SenderInput, SenderOutput, batch::written_at, offset_ms, pace::Pace, stream::Stream,
    transfer::Transfer,
};
use crate::engine::{command::Command, guards::Guard, outage::Outage, replica::Replica, window::Lag};

/// Where a link is.
///
/// ```text
///             BringOnline              Dial              Connected               Welcome, published
///  Offline ───────────────> Waiting ────────> Connecting ─────────> Handshaking ────────────────────> Streaming
///     ^                      ^    ^               │                      │                             │    ^
///     │ TakeOffline          │    └── lost ───────┴──────────────────────┴─────────────────────────────┤    │
///  (any state)               │                                                       peer lacks our G  v    │
///                         Faulted <── clocks apart, refused for good                             Reconciling│
///                        (tries again, capped)                                                         │    │
///                                                        Connecting <── done: a handshake anew ────────┘    │
///                                                             └───────────────> Handshaking ────────────────┘
/// ```
///
/// Streaming is reported as *transferring* until it has read what the log held at the handshake.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum State {
    /// Taken offline; nothing is dropped meanwhile.
    Offline {
        /// Whose word it was.
        reason: String,
    },
    /// Tries again then.
    Waiting {
        /// When.
        until: Timestamp,
        /// What broke it; empty at the start.
        reason: String,
    },
    /// The shell dials.
    Connecting {
        /// Since when.
        since: Timestamp,
    },
    /// The hello is sent; then the welcome is with the writer.
    Handshaking(Greeting),
    /// Batches go.
    Streaming(Box<Streaming>),
    /// The peer lacks what was dropped here and is told all that is held.
    Reconciling(Box<Reconciling>),
    /// Something must be mended by a person; tried again now and then, as that may have happened.
    Faulted {
        /// When.
        until: Timestamp,
        /// What is wrong.
        reason: String,
    },
}

/// A handshake under way.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Greeting {
    since: Timestamp,
    /// Of the configuration that the hello told.
    generation: u64,
    runs: Vec<Origin>,
    welcome: Option<Box<Welcome>>,
}

/// An open stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Streaming {
    stream: Stream,
    generation: u64,
    heard: Timestamp,
    beat: Option<Timestamp>,
    acknowledged: Option<Through>,
    /// Of the peer's V, what the store is still to be told.
    reported: Vector,
    proposed: Option<u64>,
    /// When a withheld record is to be passed on.
    due: Option<Timestamp>,
}

/// A reconcile on an open stream.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Reconciling {
    streaming: Streaming,
    transfer: Transfer,
}

/// The sending end of the link to one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sender {
    peer: SiteName,
    config: SenderConfig,
    state: State,
    outage: Outage,
    pace: Pace,
    /// What is sent next waits until then.
    paced: Option<Timestamp>,
    lag: Lag,
    /// Commands that the writer has not answered.
    owed: u32,
    /// The protocol version and the software of the last welcome.
    spoken: Option<(u16, String)>,
    drift: Drift,
    out: VecDeque<SenderOutput>,
}

/// Of what decides what is sent: not when the peer was last heard.
impl Hash for Streaming {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.stream, self.generation, self.acknowledged, &self.reported, self.proposed, self.beat.is_some())
            .hash(state);
    }
}

/// Of what decides what is sent: not of failures so far, nor of what the lag is told by.
impl Hash for Sender {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.peer, &self.state, self.owed, &self.drift).hash(state);
    }
}

impl Sender {
    /// A link that is dialled at once. `seed` decides its jitter.
    pub fn new(peer: SiteName, mut config: SenderConfig, seed: u64) -> Self {
        let state = State::Waiting { until: Timestamp::ZERO, reason: String::new() };
        let pace = Pace::new(config.max_bytes_per_second);
        config.batch_bytes = pace.batch_bytes(config.batch_bytes);
        let (outage, lag, drift, out) = (Outage::new(seed), Lag::default(), Drift::default(), VecDeque::new());
        Self { peer, config, state, outage, pace, paced: None, lag, owed: 0, spoken: None, drift, out }
    }

    /// The peer's site.
    pub fn peer(&self) -> SiteName {
        self.peer
    }

    /// Where the link is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes in what happened. What no longer fits the state is of a former stream, and passed over.
    pub fn handle(&mut self, input: SenderInput, replica: &Replica, now: Timestamp) {
        let elsewhere =
            matches!(input, SenderInput::LogRead(_) | SenderInput::RecordsRead(_) | SenderInput::PeerIsThere);
        if !matches!(input, SenderInput::Decided(_))
            && !elsewhere
            && let Some(open) = self.open_stream()
        {
            open.heard = now;
        }
        match input {
            SenderInput::Connected => self.greet(replica, now),
            SenderInput::Failed(reason) | SenderInput::Lost(reason) | SenderInput::ReadFailed(reason) => {
                self.broke(reason, now);
            }
            SenderInput::Refused(refusal) => self.refused(&refusal, now),
            SenderInput::Welcome(welcome) => self.welcomed(welcome, replica, now),
            SenderInput::Ack(ack) => self.acknowledged(ack, now),
            SenderInput::Heartbeat(heartbeat) => self.beat_answered(&heartbeat, replica, now),
            SenderInput::ReconcileAck { done } => self.reconciled(done, now),
            SenderInput::Drift(answer) => self.drift_answered(answer, now),
            SenderInput::CheckDrift(order) => self.check_drift(order),
            SenderInput::DropAnswer(answer) => {
                if self.open_stream().is_some() {
                    self.command(Command::DropAnswered { peer: self.peer, answer });
                }
            }
            SenderInput::LogRead(read) => {
                if let State::Streaming(open) = &mut self.state
                    && open.generation == replica.generation()
                {
                    if let Some(written) = read.records.iter().find_map(|(_, record)| written_at(record)) {
                        self.lag.is_as_old_as(written);
                    }
                    let batch = open.stream.batch_of(read, &self.config, replica, now);
                    self.out.extend(batch.map(|batch| send(SenderToReceiver::Batch(batch))));
                }
            }
            SenderInput::RecordsRead(records) => {
                if let State::Reconciling(open) = &mut self.state
                    && open.streaming.generation == replica.generation()
                {
                    self.out.extend(open.transfer.chunk(records).map(send));
                } else {
                    self.drift_read(records, replica);
                }
            }
            SenderInput::Decided(decided) => {
                self.owed = self.owed.saturating_sub(1);
                if let Err(refusal) = decided {
                    self.refused(&refusal, now);
                }
            }
            SenderInput::Anew => self.anew(now),
            SenderInput::PeerIsThere => self.hurry(now),
            SenderInput::Moved => self.moved(now),
            SenderInput::Configured(config) => self.configure(*config, now),
            SenderInput::TakeOffline => {
                self.hang_up();
                self.state = State::Offline { reason: "taken offline by the admin".into() };
            }
            SenderInput::BringOnline => {
                if matches!(self.state, State::Offline { .. }) {
                    self.outage.healed();
                    self.state = State::Waiting { until: now, reason: String::new() };
                }
            }
        }
    }

    /// What is to be done next; call until `None`, after each input, whenever the committed state has changed, and when
    /// [`Sender::deadline`] has passed.
    pub fn poll(&mut self, replica: &Replica, now: Timestamp) -> Option<SenderOutput> {
        self.note_lag(replica, now);
        if self.out.is_empty() {
            self.advance(replica, now);
        }
        let next = self.out.pop_front();
        if let Some(SenderOutput::Send(frame)) = &next {
            self.pay_for(frame, now);
        }
        next
    }

    /// When to poll again at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Offline { .. } => None,
            State::Waiting { until, .. } | State::Faulted { until, .. } => Some(*until),
            State::Connecting { since } => Some(since.after(self.config.silence)),
            State::Handshaking(greeting) => Some(greeting.since.after(self.config.silence)),
            State::Streaming(open) => Some(self.beat_deadline(open)),
            State::Reconciling(open) => Some(self.beat_deadline(&open.streaming)),
        }
    }

    fn beat_deadline(&self, open: &Streaming) -> Timestamp {
        let beat = open.beat.map_or(Timestamp::ZERO, |last| last.after(self.config.heartbeat_every));
        let earliest = beat.min(open.heard.after(self.config.silence));
        [open.due, self.paced, self.drift.deadline()].into_iter().flatten().fold(earliest, Timestamp::min)
    }

    fn open_stream(&mut self) -> Option<&mut Streaming> {
        match &mut self.state {
            State::Streaming(open) => Some(open),
            State::Reconciling(open) => Some(&mut open.streaming),
            _ => None,
        }
    }

    fn command(&mut self, command: Command) {
        self.owed += 1;
        self.out.push_back(SenderOutput::Command(Box::new(CommandToWriter(command))));
    }

    /// Leaves the stream, whatever was still to be sent on it.
    fn hang_up(&mut self) {
        self.drift.interrupted();
        self.out.retain(|output| matches!(output, SenderOutput::Command(_)));
        match self.state {
            State::Handshaking(_) | State::Streaming(_) | State::Reconciling(_) => {
                self.out.push_back(SenderOutput::Hangup);
                self.command(Command::Lost { peer: self.peer, incoming: false });
            }
            State::Connecting { .. } => self.out.push_back(SenderOutput::Hangup),
            State::Offline { .. } | State::Waiting { .. } | State::Faulted { .. } => {}
        }
    }

    fn broke(&mut self, reason: String, now: Timestamp) {
        if matches!(self.state, State::Offline { .. } | State::Waiting { .. } | State::Faulted { .. }) {
            return;
        }
        self.put_off(reason, now);
        self.give_up(now);
    }

    fn faulted(&mut self, reason: String, now: Timestamp) {
        if matches!(self.state, State::Offline { .. }) {
            return;
        }
        self.hang_up();
        self.state = State::Faulted { until: self.outage.failed(&self.config.backoff, now), reason };
        self.outage.answered();
    }

    fn refused(&mut self, refusal: &Refusal, now: Timestamp) {
        let clocks = refusal.code() == Some(ErrorCode::ClockSkew);
        match refusal.code() {
            Some(ErrorCode::HandshakeAnew) if self.open_stream().is_some() => self.anew(now),
            _ if clocks || !refusal.retryable => self.faulted(refusal.message.clone(), now),
            _ => self.put_off_by_peer(&refusal.message, now),
        }
    }

    /// Begins again with a handshake, at once: nothing has failed.
    fn anew(&mut self, now: Timestamp) {
        if matches!(self.state, State::Handshaking(_) | State::Streaming(_) | State::Reconciling(_)) {
            self.hang_up();
            self.dial(now);
        }
    }

    fn dial(&mut self, now: Timestamp) {
        self.state = State::Connecting { since: now };
        self.out.push_back(SenderOutput::Dial);
    }

    fn acknowledged(&mut self, ack: Ack, now: Timestamp) {
        let State::Streaming(open) = &mut self.state else { return };
        if !open.stream.window.acknowledged(ack.through) {
            return self.broke("the peer acknowledged what was not sent".into(), now);
        }
        open.acknowledged = Some(ack.through);
        self.lag.acknowledge(ack.through.direct);
        self.outage.healed();
    }

    fn reconciled(&mut self, done: bool, now: Timestamp) {
        let State::Reconciling(open) = &mut self.state else { return };
        if done {
            self.anew(now);
        } else {
            open.transfer.taken();
        }
    }

    fn advance(&mut self, replica: &Replica, now: Timestamp) {
        match &self.state {
            State::Offline { .. } => {}
            State::Waiting { until, .. } | State::Faulted { until, .. } => {
                if *until <= now {
                    self.dial(now);
                }
            }
            State::Connecting { since } => {
                if since.after(self.config.silence) <= now {
                    self.broke("the peer can't be reached".into(), now);
                }
            }
            State::Handshaking(_) => self.finish_handshake(replica, now),
            State::Streaming(_) | State::Reconciling(_) => self.advance_stream(replica, now),
        }
    }

    fn advance_stream(&mut self, replica: &Replica, now: Timestamp) {
        let (peer, owed, config) = (self.peer, self.owed, &self.config);
        let Some(open) = (match &mut self.state {
            State::Streaming(open) => Some(open.as_mut()),
            State::Reconciling(open) => Some(&mut open.streaming),
            _ => None,
        }) else {
            return;
        };
        if open.heard.after(config.silence) <= now {
            return self.broke("the peer has gone silent".into(), now);
        }
        let (run, former) = (open.stream.peer_run, open.generation != replica.generation());
        if former || replica.report(&peer).is_none_or(|report| report.run != Some(run)) {
            return self.anew(now);
        }
        open.stream.claim.note(replica.head(), replica.seen(), now);
        if owed == 0
            && let Some(through) = open.acknowledged.take()
        {
            return self.command(Command::Acknowledged { peer, run, through });
        }
        if owed == 0 && !open.reported.is_empty() {
            let seen = std::mem::take(&mut open.reported);
            return self.command(Command::Reported { peer, run, seen });
        }
        if let Some(proposal) = replica.proposal(&peer).filter(|proposal| open.proposed != Some(proposal.round)) {
            open.proposed = Some(proposal.round);
            self.out.push_back(send(SenderToReceiver::DropProposal(proposal)));
        }
        if open.beat.is_none_or(|last| last.after(config.heartbeat_every) <= now) {
            open.beat = Some(now);
            let own_sent =
                open.stream.read >= replica.head() && !replica.held_back(&peer) && !replica.must_reconcile(&peer);
            let past = if own_sent { now } else { Timestamp::ZERO };
            self.out.push_back(clocks::beat(now, past));
        }
        self.advance_content(replica, now);
        self.advance_drift(replica, now);
    }

    /// Batches, or the reconcile that comes first.
    fn advance_content(&mut self, replica: &Replica, now: Timestamp) {
        self.paced = self.pace.until(now);
        if self.paced.is_some() {
            return;
        }
        match &mut self.state {
            State::Reconciling(open) => self.out.extend(open.transfer.wants(&self.peer, &self.config, replica)),
            State::Streaming(open) if replica.must_reconcile(&self.peer) => {
                let mutual = replica.site() < self.peer && replica.config().guards.hold(Guard::NoMutual);
                let idle = open.stream.window.is_empty() && open.stream.reading.is_none();
                if idle && (mutual || !replica.held_back(&self.peer)) {
                    let (transfer, begin) = Transfer::begin(replica);
                    self.out.push_back(send(begin));
                    let streaming = (**open).clone();
                    self.state = State::Reconciling(Box::new(Reconciling { streaming, transfer }));
                }
            }
            State::Streaming(open) if !replica.held_back(&self.peer) => {
                open.due = open.stream.next_due(replica, now).filter(|due| *due > now);
                if let Some(read) = open.stream.wants(&self.config, replica, now) {
                    self.out.push_back(read);
                } else if open.stream.reading.is_none() && open.stream.window.has_room() {
                    let batch = open.stream.batch(Vec::new(), replica);
                    self.out.extend(batch.map(|batch| send(SenderToReceiver::Batch(batch))));
                }
            }
            _ => {}
        }
    }
}

fn send(frame: SenderToReceiver) -> SenderOutput {
    SenderOutput::Send(Box::new(frame))
}
