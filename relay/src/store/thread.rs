//! The writer's thread: takes what waits in the inbox, lets the writer step, tells the head, then answers.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{error::OpenError, writer::Writer};
use crate::{
    clock::Clock,
    engine::command::{Answer, Command, Decided, Published},
    metrics::Bound,
};

/// How long an idle writer sleeps at most; only so that a wall clock that was set forward is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// For each byte appended, compaction may read so many: dead space is then taken as fast as it is made.
const COMPACTION_PER_APPENDED: u64 = 2;

/// Commands that are decided one after the other with none in between, and where the end of each is told.
pub(super) struct Ordered {
    pub(super) commands: Vec<(Command, oneshot::Sender<Decided>)>,
    pub(super) _places: OwnedSemaphorePermit,
}

/// The sending side of the inbox; places bound it.
pub(super) struct Inbox(Mutex<Option<mpsc::Sender<Ordered>>>);

impl Inbox {
    /// Puts a command in; where the writer has ended, its answer's sender is dropped, which tells the caller.
    pub(super) fn send(&self, ordered: Ordered) {
        let inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(mpsc::SendError(ordered))) = inbox.as_ref().map(|inbox| inbox.send(ordered)) {
            drop(ordered);
        }
    }

    /// Lets the writer end once it has taken what is in.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A thread that runs, seen from outside.
pub(super) struct Started {
    pub(super) inbox: Inbox,
    pub(super) published: watch::Receiver<Published>,
    pub(super) bytes: watch::Receiver<(u64, u64)>,
    pub(super) ended: watch::Receiver<bool>,
}

/// Starts the thread. It ends when the inbox is closed, and when every [`super::Store`] is dropped.
pub(super) fn start(writer: Writer, clock: Arc<dyn Clock>) -> Result<Started, OpenError> {
    let first = {
        let replica = writer.replica.read().unwrap_or_else(PoisonError::into_inner);
        Published { head: replica.head(), seen: replica.seen().clone() }
    };
    let (inbox, commands) = mpsc::channel();
    let (publish, published) = watch::channel(first);
    let (tell_bytes, bytes) = watch::channel(writer.log_bytes());
    let (end, ended) = watch::channel(false);
    let alarm = Alarm(writer.poison.clone());
    let worker = Worker { writer, clock, commands, publish, tell_bytes };
    let spawned = thread::Builder::new().name("writer".into()).spawn(move || {
        let _alarm = alarm;
        worker.run();
        end.send_replace(true);
    });
    spawned.map_err(OpenError::Thread)?;
    Ok(Started { inbox: Inbox(Mutex::new(Some(inbox))), published, bytes, ended })
}

/// A writer that breaks poisons the store: the relay says so, and is not ready any more.
struct Alarm(Arc<OnceLock<String>>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.get_or_init(|| "the writer broke; its last words are in the log".into());
        }
    }
}

struct Worker {
    writer: Writer,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Ordered>,
    publish: watch::Sender<Published>,
    tell_bytes: watch::Sender<(u64, u64)>,
}

impl Worker {
    fn run(mut self) {
        let mut compacting = true;
        loop {
            let first = match self.commands.recv_timeout(self.wait(compacting)) {
                Ok(first) => Some(first),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let budget = if let Some(first) = first {
                let appended = self.group(first);
                appended.saturating_mul(COMPACTION_PER_APPENDED)
            } else {
                self.writer.limits.compaction_step_bytes
            };
            self.housekeep();
            compacting = budget > 0 && self.writer.compact(budget);
            let bytes = self.writer.log_bytes();
            self.tell_bytes.send_if_modified(|told| std::mem::replace(told, bytes) != bytes);
        }
        let head = self.publish.borrow().head;
        if let Err(error) = self.writer.close(head) {
            tracing::error!(%error, "the log was not closed in order; nothing that was answered is lost");
        }
    }

    /// How long to wait for a command: not at all while there is something to do without one.
    fn wait(&self, compacting: bool) -> Duration {
        if compacting {
            return Duration::ZERO;
        }
        let replica = self.writer.replica.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        replica.next_due().map_or(LONGEST_WAIT, |due| Duration::from(due.since(now)).min(LONGEST_WAIT))
    }

    /// Decides all that waits, as much as a group takes. Gives the bytes that were appended.
    fn group(&mut self, first: Ordered) -> u64 {
        let limits = self.writer.limits;
        let (mut commands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(ordered) = next.take() {
            for (command, answer) in ordered.commands {
                bytes += weight(&command);
                commands.push(command);
                answers.push(answer);
            }
            if commands.len() >= limits.max_group_commands || bytes >= limits.max_group_bytes {
                self.writer.metrics.bound_hit(Bound::Commit);
                break;
            }
            // Empty or closed: either way the group is complete; a closed inbox is noticed by the next wait.
            next = self.commands.try_recv().ok();
        }
        let stepped = self.writer.step(commands, self.clock.now());
        if let Some(published) = stepped.published {
            self.publish.send_replace(published);
        }
        for (answer, decided) in answers.into_iter().zip(stepped.decided) {
            // Who asked may have gone; the command stands all the same.
            drop(answer.send(decided));
        }
        stepped.appended_bytes
    }

    /// Does what is owed to time, as long as there is more of it at once.
    fn housekeep(&mut self) {
        loop {
            let now = self.clock.now();
            let due = self.writer.replica.read().unwrap_or_else(PoisonError::into_inner).next_due();
            if due.is_none_or(|due| due > now) || self.writer.poison.get().is_some() {
                return;
            }
            let mut stepped = self.writer.step(vec![Command::Housekeep], now);
            if let Some(published) = stepped.published {
                self.publish.send_replace(published);
            }
            match stepped.decided.pop() {
                Some(Ok(Answer::Housekept { more: true })) => {}
                Some(Err(refusal)) => {
                    tracing::error!(%refusal, "housekeeping failed");
                    return;
                }
                _ => return,
            }
        }
    }
}

/// Bytes that a command brings, about.
fn weight(command: &Command) -> usize {
    let records = |records: &[landbridge_protocol::record::Record]| records.iter().map(|r| r.value.len() + 160).sum();
    match command {
        Command::Write { write, .. } => write.value.len() + 160,
        Command::Apply { batch, .. } => records(&batch.records),
        Command::ReconcileChunk { chunk, .. } => records(&chunk.records),
        _ => 160,
    }
}
