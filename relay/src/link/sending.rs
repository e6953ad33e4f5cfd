//! The task of a link: carries out what the engine's sender wants, and tells it what happens.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use landbridge_protocol::{
    error::Refusal,
    frame::{FrameError, RawFrame, ReceiverToSender, SenderToReceiver},
    position::Sequence,
    time::Timestamp,
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    dial::{Counted, Dialled, Open, ended, open},
    links::Shared,
    peer::Peer,
    pipeline::Pipeline,
    receiving::gone,
    view::Way,
};
use crate::{
    engine::{
        command::{Command, Decided, Published},
        link::{DriftAnswer, SenderInput, SenderOutput, State},
    },
    store::Store,
    transport::{QueueClosed, close_in_order},
};

/// A deadline that has passed and changed nothing is not looked at again sooner than this.
const MIN_WAIT: Duration = Duration::from_millis(5);

type Dialling = Pin<Box<dyn Future<Output = Result<Open, SenderInput>> + Send>>;

/// Runs the link until the relay stops.
pub(super) async fn run(shared: Arc<Shared>, peer: Arc<Peer>) {
    let published = shared.store.published();
    let mut link = Sending {
        shared,
        peer,
        published,
        commands: Pipeline::new(),
        dialling: None,
        open: None,
        reading: None,
        live: None,
        stuck_since: None,
        told: "",
        told_reason: String::new(),
        checked: None,
    };
    loop {
        link.carry_out().await;
        link.tell_state();
        link.tell_drift();
        match link.next().await {
            Happened::Stop => break,
            happened => link.take_in(happened),
        }
    }
    let open = link.open.take().map(|open| open.dialled);
    for dialled in open.into_iter().chain(link.live.take()) {
        close_in_order(&dialled.connection);
    }
    link.shared.view.set(link.peer.site, Way::Out, false);
}

struct Sending {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    published: watch::Receiver<Published>,
    commands: Pipeline<()>,
    dialling: Option<Dialling>,
    open: Option<Open>,
    reading: Option<JoinHandle<SenderInput>>,
    /// The connection of the last stream.
    live: Option<Dialled>,
    /// Since when the stream takes no frame.
    stuck_since: Option<Timestamp>,
    /// The state that was told last.
    told: &'static str,
    /// What was last said to be wrong, since the link last streamed.
    told_reason: String,
    /// When the drift check was done whose end was told last.
    checked: Option<Timestamp>,
}

enum Happened {
    Stop,
    /// Something that the sender is to be polled for.
    Changed,
    Decided(Decided),
    Dialled(Result<Open, SenderInput>),
    Frame(Result<Option<RawFrame>, FrameError>),
    Read(SenderInput),
    /// The stream takes no more frames; why, where the other end does not tell it.
    Unwritten(Option<Refusal>),
    Stuck,
}

impl Sending {
    /// Does all that the sender wants, until it wants nothing more or a frame has no room.
    async fn carry_out(&mut self) {
        loop {
            if self.must_wait_for_room() {
                return;
            }
            let now = self.shared.clock.now();
            let Some(output) = self.peer.poll(&self.shared.store, now) else { return };
            match output {
                SenderOutput::Dial => {
                    self.dialling = Some(Box::pin(open(self.shared.clone(), self.peer.clone(), self.live.take())));
                }
                SenderOutput::Send(frame) => self.send(*frame),
                SenderOutput::ReadLog { after, max_bytes } if self.shared.store.is_near(after) => {
                    let read = read_log(&self.shared.store, after, max_bytes);
                    self.peer.handle(read, &self.shared.store, self.shared.clock.now());
                }
                SenderOutput::ReadLog { after, max_bytes } => self.read(move |store| read_log(store, after, max_bytes)),
                SenderOutput::ReadRecords(sequences) => self.read(move |store| read_records(store, &sequences)),
                SenderOutput::Command(command) => self.submit(command.0).await,
                SenderOutput::Hangup => self.hang_up(),
            }
        }
    }

    /// A frame is polled when it can go. A sender that has left its stream is polled without, as it sends none.
    fn must_wait_for_room(&mut self) -> bool {
        let streams = self
            .peer
            .state(|state| matches!(state, State::Handshaking(_) | State::Streaming(_) | State::Reconciling(_)));
        let full = streams && self.open.as_ref().is_some_and(|open| !open.queue.has_room());
        if full {
            self.stuck_since.get_or_insert(self.shared.clock.now());
        } else {
            self.stuck_since = None;
        }
        full
    }

    fn send(&mut self, frame: SenderToReceiver) {
        let Some(open) = &self.open else { return };
        let counted = Counted { frame, metrics: self.peer.metrics.clone() };
        if open.queue.try_send(0, counted).is_err() {
            tracing::debug!(peer = %self.peer.site, "a frame for a stream that has ended");
        }
    }

    async fn submit(&mut self, command: Command) {
        let decided = self.shared.store.place(command).await;
        self.commands.push((), async move { decided.await.unwrap_or_else(|_| Err(gone())) });
    }

    fn read(&mut self, read: impl FnOnce(&Store) -> SenderInput + Send + 'static) {
        self.reading = Some(self.shared.store.apart(read));
    }

    /// Nothing that is under way for the stream reaches the sender any more, but the writer's answers. The connection is
    /// kept for a stream that begins anew at once.
    fn hang_up(&mut self) {
        self.dialling = None;
        self.reading = None;
        let Some(open) = self.open.take() else { return };
        if self.peer.state(|state| matches!(state, State::Connecting { .. })) {
            self.live = Some(open.dialled);
        } else {
            close_in_order(&open.dialled.connection);
        }
    }

    async fn next(&mut self) -> Happened {
        let stuck = self.stuck_since.is_some();
        let silence = self.shared.config.silence;
        let deadline = match self.stuck_since {
            Some(since) => Some(since.after(silence)),
            None => self.peer.deadline(),
        };
        let now = self.shared.clock.now();
        let wait = deadline.map(|deadline| Duration::from(deadline.since(now)).max(MIN_WAIT));
        let Self { shared, peer, published, commands, dialling, open, reading, .. } = self;
        let (frames, queue, writing) = match open {
            Some(open) => (Some(&mut open.frames), Some(&open.queue), open.writing.as_mut()),
            None => (None, None, None),
        };
        tokio::select! {
            biased;
            _ = peer.ended(shared) => Happened::Stop,
            ((), decided) = commands.next() => Happened::Decided(decided),
            () = peer.changed.notified() => Happened::Changed,
            dialled = of(dialling.as_mut()) => Happened::Dialled(dialled),
            // A task that broke is told by the other end, as the stream breaks with it.
            refusal = of(writing) => Happened::Unwritten(refusal.unwrap_or_default()),
            frame = of(frames.map(|frames| frames.next())) => Happened::Frame(frame),
            read = of(reading.as_mut()) => {
                Happened::Read(read.unwrap_or_else(|error| SenderInput::ReadFailed(error.to_string())))
            }
            room = of(queue.filter(|_| stuck).map(|queue| queue.room())) => match room {
                Ok(_) => Happened::Changed,
                Err(QueueClosed) => Happened::Stuck,
            },
            changed = published.changed() => if changed.is_ok() { Happened::Changed } else { Happened::Stop },
            () = of(wait.map(tokio::time::sleep)) => if stuck { Happened::Stuck } else { Happened::Changed },
        }
    }

    fn take_in(&mut self, happened: Happened) {
        let input = match happened {
            Happened::Stop | Happened::Changed => return,
            Happened::Decided(decided) => SenderInput::Decided(decided),
            Happened::Dialled(dialled) => {
                self.dialling = None;
                match dialled {
                    Ok(open) => {
                        self.open = Some(open);
                        SenderInput::Connected
                    }
                    Err(input) => input,
                }
            }
            Happened::Frame(frame) => self.input_of(frame),
            Happened::Read(read) => {
                self.reading = None;
                read
            }
            Happened::Unwritten(refusal) => {
                if let Some(open) = &mut self.open {
                    open.writing = None;
                }
                match refusal {
                    Some(refusal) => SenderInput::Refused(refusal),
                    None => return,
                }
            }
            Happened::Stuck => SenderInput::Lost("the peer takes nothing in".into()),
        };
        self.peer.handle(input, &self.shared.store, self.shared.clock.now());
    }

    fn input_of(&self, frame: Result<Option<RawFrame>, FrameError>) -> SenderInput {
        let lost = |otherwise: String| match &self.open {
            Some(open) => ended(&open.dialled.connection, otherwise),
            None => SenderInput::Lost(otherwise),
        };
        let raw = match frame {
            Ok(Some(raw)) => raw,
            Ok(None) => return lost("the peer ended the stream".into()),
            Err(error) => return lost(error.to_string()),
        };
        match ReceiverToSender::decode(&raw) {
            Ok(ReceiverToSender::Welcome(welcome)) => SenderInput::Welcome(Box::new(welcome)),
            Ok(ReceiverToSender::Ack(ack)) => SenderInput::Ack(ack),
            Ok(ReceiverToSender::Heartbeat(heartbeat)) => SenderInput::Heartbeat(heartbeat),
            Ok(ReceiverToSender::ReconcileAck(ack)) => SenderInput::ReconcileAck { done: ack.done },
            Ok(ReceiverToSender::DropAnswer(answer)) => SenderInput::DropAnswer(answer),
            Ok(ReceiverToSender::DriftUnequal(unequal)) => SenderInput::Drift(DriftAnswer::Unequal(unequal)),
            Ok(ReceiverToSender::DriftFound(found)) => SenderInput::Drift(DriftAnswer::Found(found)),
            Ok(ReceiverToSender::DriftRepaired(repaired)) => SenderInput::Drift(DriftAnswer::Repaired(repaired)),
            Ok(ReceiverToSender::Refused(refusal)) => SenderInput::Refused(refusal),
            Err(error) => SenderInput::Lost(error.to_string()),
        }
    }

    fn tell_drift(&mut self) {
        let checked = self.peer.with_sender(|sender| sender.drift_report().checked);
        if std::mem::replace(&mut self.checked, checked) != checked {
            self.peer.tell_drift();
        }
    }

    /// Tells the relay view and the log where the link is, when that has changed.
    fn tell_state(&mut self) {
        let peer = self.peer.site;
        let (name, reason) = self.peer.state(|state| match state {
            State::Offline { reason } => ("offline", reason.clone()),
            State::Waiting { reason, .. } => ("waiting", reason.clone()),
            State::Connecting { .. } => ("connecting", String::new()),
            State::Handshaking(_) => ("handshaking", String::new()),
            State::Streaming(_) => ("streaming", String::new()),
            State::Reconciling(_) => ("reconciling", String::new()),
            State::Faulted { reason, .. } => ("faulted", reason.clone()),
        });
        if self.told == name {
            return;
        }
        self.told = name;
        self.peer.follow();
        self.shared.view.set(peer, Way::Out, matches!(name, "streaming" | "reconciling"));
        match name {
            // Said once, however often it is tried again in vain.
            "faulted" if reason != self.told_reason => {
                tracing::error!(%peer, "link faulted: {reason}");
                self.told_reason = reason;
            }
            "waiting" if reason != self.told_reason => {
                tracing::warn!(%peer, "link {name}: {reason}");
                self.told_reason = reason;
            }
            "faulted" | "waiting" => tracing::debug!(%peer, "link {name}: {reason}"),
            "offline" => tracing::warn!(%peer, "link offline: {reason}"),
            "connecting" | "handshaking" => tracing::debug!(%peer, "link {name}"),
            _ => {
                tracing::info!(%peer, "link {name}");
                self.told_reason.clear();
            }
        }
    }
}

/// What it comes to, where there is one; for ever pending where there is none.
async fn of<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn read_log(store: &Store, after: Sequence, max_bytes: usize) -> SenderInput {
    match store.read_log(after, max_bytes) {
        Ok(read) => SenderInput::LogRead(read),
        Err(error) => SenderInput::ReadFailed(error.to_string()),
    }
}

fn read_records(store: &Store, sequences: &[Sequence]) -> SenderInput {
    let read: Result<Vec<_>, _> = sequences.iter().map(|sequence| store.record(*sequence)).collect();
    match read {
        Ok(records) => SenderInput::RecordsRead(records),
        Err(error) => SenderInput::ReadFailed(error.to_string()),
    }
}
