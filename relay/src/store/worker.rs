//! The worker: takes what waits in the inbox, has it decided in groups, publishes and answers. A state machine: it is told
//! what happened ([`Worker::take`]), does what is to do by then ([`Worker::work`]), and says how long it can wait for more.
//! Who runs it is in [`super::running`].
//!
//! ```text
//!  inbox ─► waiting ─► stage ─► flying (at most MAX_FLYING) ──────────────► publish ─► head, answers
//!                         │ Order                              ▲ Carried
//!                         └────────────► the scribe ───────────┘
//! ```

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Duration,
};

use landbridge_protocol::position::Sequence;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{
    answering::{Answering, Answers},
    running::Post,
    scribe::Order,
    writer::{Stepped, Writer},
};
use crate::{
    clock::Clock,
    engine::command::{Command, Decided, Published},
    metrics::Bound,
};

/// How long an idle writer sleeps at most; only so that a wall clock that was set forward is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// So long nothing must have come in before compaction takes more than keeps the log in bounds.
const IDLE_AFTER: Duration = Duration::from_millis(20);
/// For each byte appended, compaction may read so many: dead space is then taken as fast as it is made.
const COMPACTION_PER_APPENDED: u64 = 2;
/// Groups that are decided and not yet published: one that the disk takes, and one that waits for it.
const MAX_FLYING: usize = 2;
/// Housekeeping looks at all that is held, so it waits for a moment when no group is flying; after so many groups it
/// does not wait any more, and the groups do.
const HOUSEKEEP_AFTER_GROUPS: u32 = 16;

/// Commands that are decided one after the other with none in between, and where the end of each is told.
pub(super) struct Ordered {
    pub(super) commands: Vec<(Command, oneshot::Sender<Decided>)>,
    pub(super) _places: OwnedSemaphorePermit,
}

impl Ordered {
    fn is_decided_alone(&self) -> bool {
        self.commands.iter().any(|(command, _)| command.is_decided_alone())
    }
}

/// What the worker is told.
pub(super) enum Event {
    Ordered(Ordered),
    /// An order was carried out, or failed.
    Carried {
        what: Carried,
        took: Duration,
        end: Result<(), String>,
    },
    /// Nothing more comes in.
    Close,
}

/// What an order was.
#[derive(Clone, Copy)]
pub(super) enum Carried {
    Group,
    Rewrite(Sequence),
    Other,
}

impl Carried {
    pub(super) fn of(order: &Order) -> Self {
        match order {
            Order::Append { .. } | Order::Keep(_) => Carried::Group,
            Order::Rewrite { first, .. } => Carried::Rewrite(*first),
            Order::Settle | Order::Close { .. } => Carried::Other,
        }
    }
}

/// See the module.
pub(super) struct Worker {
    writer: Writer,
    clock: Arc<dyn Clock>,
    orders: Post<Order>,
    publish: watch::Sender<Published>,
    answering: Answering,
    tell_bytes: watch::Sender<(u64, u64)>,
    waiting: VecDeque<Ordered>,
    waiting_commands: usize,
    /// A group that is put together and can't be decided yet.
    next: Option<(Vec<Command>, Answers)>,
    /// Of the groups that are flying.
    answers: VecDeque<Answers>,
    /// Groups that were decided since housekeeping was due.
    groups_since_due: u32,
    /// Bytes that compaction may read while there is other work.
    owed_bytes: u64,
    /// Whether compaction may find more.
    compacting: bool,
    /// Whether nothing has come in for a while.
    idle: bool,
    open: bool,
}

impl Worker {
    /// One that has nothing to do yet.
    pub(super) fn new(
        writer: Writer,
        clock: Arc<dyn Clock>,
        orders: Post<Order>,
        publish: watch::Sender<Published>,
        tell_bytes: watch::Sender<(u64, u64)>,
    ) -> Self {
        Self {
            writer,
            clock,
            orders,
            publish,
            answering: Answering::start(),
            tell_bytes,
            waiting: VecDeque::new(),
            waiting_commands: 0,
            next: None,
            answers: VecDeque::new(),
            groups_since_due: 0,
            owed_bytes: 0,
            compacting: true,
            idle: true,
            open: true,
        }
    }

    /// Whether there is, or may come, something to do.
    pub(super) fn goes_on(&self) -> bool {
        self.open || self.is_busy()
    }

    /// Does all that is to do by now.
    pub(super) fn work(&mut self) {
        self.decide();
        self.compact();
        let bytes = self.writer.log_bytes();
        self.tell_bytes.send_if_modified(|told| std::mem::replace(told, bytes) != bytes);
    }

    /// Nothing has come in for as long as it could wait.
    pub(super) fn is_idle(&mut self) {
        self.idle = true;
    }

    /// Has the log closed; nothing comes after.
    pub(super) fn close(&mut self) {
        let head = self.publish.borrow().head;
        if self.writer.refusal().is_none() {
            self.order(Order::Close { head });
        }
    }

    fn is_busy(&self) -> bool {
        self.next.is_some() || !self.waiting.is_empty() || !self.answers.is_empty()
    }

    /// How long to wait for an event: not at all while there is something to do without one.
    pub(super) fn wait(&self) -> Duration {
        if self.writer.refusal().is_some() || !self.answers.is_empty() || !self.writer.rewriting.is_empty() {
            return LONGEST_WAIT;
        }
        let held = self.writer.hold.holds(self.writer.rewriting.is_empty());
        let compaction = match (self.compacting && !held, self.idle) {
            (true, true) => Duration::ZERO,
            (true, false) => IDLE_AFTER,
            (false, _) => LONGEST_WAIT,
        };
        let replica = self.writer.replica.read().unwrap_or_else(PoisonError::into_inner);
        let due = replica.next_due().map_or(LONGEST_WAIT, |due| Duration::from(due.since(self.clock.now())));
        due.min(compaction)
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Ordered(ordered) => {
                self.idle = false;
                self.waiting_commands += ordered.commands.len();
                self.waiting.push_back(ordered);
            }
            Event::Carried { end: Err(reason), .. } => {
                for stepped in self.writer.fail(reason) {
                    self.end(stepped);
                }
            }
            Event::Carried { what, took, end: Ok(()) } => match what {
                Carried::Group => {
                    self.writer.is_durable(took);
                    self.publish();
                }
                Carried::Rewrite(first) => self.writer.is_rewritten(first),
                Carried::Other => {}
            },
            Event::Close => self.open = false,
        }
    }

    /// Decides what waits, as far as that may be: a group at once where nothing is flying, and the one after it while it
    /// flies, once as many commands wait: deciding early must not make groups smaller.
    fn decide(&mut self) {
        let mut housekept = false;
        loop {
            if let Some(refusal) = self.writer.refusal() {
                return self.refuse_all(&refusal);
            }
            let flying = self.answers.len();
            let due = !housekept && self.is_due();
            if due && flying == 0 {
                housekept = true;
                self.groups_since_due = 0;
                self.stage(vec![Command::Housekeep], Vec::new());
                continue;
            }
            if due && self.groups_since_due >= HOUSEKEEP_AFTER_GROUPS {
                return;
            }
            if flying >= MAX_FLYING || (flying > 0 && self.next.is_none() && !self.as_many_wait()) {
                return;
            }
            let Some((commands, answers)) = self.next.take().or_else(|| self.group()) else { return };
            if self.writer.must_wait(&commands) {
                self.next = Some((commands, answers));
                return;
            }
            self.stage(commands, answers);
            self.groups_since_due += u32::from(due);
        }
    }

    fn as_many_wait(&self) -> bool {
        let enough = self.writer.newest_commands().min(self.writer.limits.max_group_commands);
        self.waiting_commands >= enough.max(1)
    }

    fn is_due(&self) -> bool {
        let due = self.writer.replica.read().unwrap_or_else(PoisonError::into_inner).next_due();
        due.is_some_and(|due| due <= self.clock.now())
    }

    /// All that waits, as much as a group takes.
    fn group(&mut self) -> Option<(Vec<Command>, Answers)> {
        let limits = self.writer.limits;
        let (mut commands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(ordered) = self.waiting.pop_front_if(|next| commands.is_empty() || !next.is_decided_alone()) {
            let alone = ordered.is_decided_alone();
            self.waiting_commands -= ordered.commands.len();
            for (command, answer) in ordered.commands {
                bytes += weight(&command);
                commands.push(command);
                answers.push(answer);
            }
            if alone {
                break;
            }
            if commands.len() >= limits.max_group_commands || bytes >= limits.max_group_bytes {
                self.writer.metrics.bound_hit(Bound::Commit);
                break;
            }
        }
        (!commands.is_empty()).then_some((commands, answers))
    }

    fn stage(&mut self, commands: Vec<Command>, answers: Answers) {
        let order = self.writer.stage(commands, self.clock.now());
        self.answers.push_back(answers);
        match order {
            Some(order) => self.order(order),
            None => self.publish(),
        }
    }

    fn order(&mut self, order: Order) {
        if self.orders.send(order).is_err() {
            for stepped in self.writer.fail("the log's end has ended".into()) {
                self.end(stepped);
            }
        }
    }

    /// Publishes the groups that are durable, in order: the head first, then the answers.
    fn publish(&mut self) {
        while let Some(stepped) = self.writer.publish() {
            self.owed_bytes += stepped.appended_bytes.saturating_mul(COMPACTION_PER_APPENDED);
            self.compacting |= stepped.appended_bytes > 0;
            self.end(stepped);
        }
    }

    fn end(&mut self, stepped: Stepped) {
        if let Some(published) = stepped.published {
            self.publish.send_replace(published);
        }
        let answers = self.answers.pop_front().unwrap_or_default();
        if let (true, Some(Err(refusal))) = (answers.is_empty(), stepped.decided.first()) {
            tracing::error!(%refusal, "housekeeping failed");
        }
        self.answering.tell(answers, stepped.decided);
    }

    fn refuse_all(&mut self, refusal: &landbridge_protocol::error::Refusal) {
        let waiting = self.waiting.drain(..).flat_map(|ordered| ordered.commands).map(|(_, answer)| answer);
        let next = self.next.take().into_iter().flat_map(|(_, answers)| answers);
        for answer in next.chain(waiting) {
            drop(answer.send(Err(refusal.clone())));
        }
        self.waiting_commands = 0;
    }

    /// Lets compaction go on: as far as what was appended allows, or by steps while nothing else is to do.
    fn compact(&mut self) {
        let idle = self.idle && !self.is_busy();
        if self.writer.hold.holds(self.writer.rewriting.is_empty()) {
            return;
        }
        if self.writer.refusal().is_some() || !self.compacting || !self.writer.rewriting.is_empty() {
            return;
        }
        let budget = if idle { self.writer.limits.compaction_step_bytes } else { self.owed_bytes };
        match self.writer.compact(budget, idle) {
            Ok(compacted) => {
                self.owed_bytes = self.owed_bytes.saturating_sub(compacted.read_bytes);
                let found_none = compacted.read_bytes == 0 && budget > 0;
                if found_none {
                    // It does not save for later what it has no use for now.
                    self.owed_bytes = 0;
                    self.compacting = !idle;
                }
                compacted.orders.into_iter().for_each(|order| self.order(order));
                if found_none && idle && self.writer.unsettled {
                    self.writer.unsettled = false;
                    self.order(Order::Settle);
                }
            }
            Err(reason) => self.writer.fail(reason).into_iter().for_each(|stepped| self.end(stepped)),
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
