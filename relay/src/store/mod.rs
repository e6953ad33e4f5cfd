//! The store: one log of commits, and the engine's index over it in memory.
//!
//! ```text
//!             submit                      one OS thread       another
//!  sessions ─────────►  inbox (bounded) ──►  Writer  ─ Order ─►  Scribe ──► Log (sled)
//!  links    ◄── answers, after publish ──       │  ◄─ durable ─
//!                                               ▼ publish
//!  sessions, links, listeners ── view ──►  Replica (index)       read_log, entry ──► LogReader
//! ```
//!
//! It knows nothing of the network, and nothing of sled passes its [`log`] interface.

pub mod backup;
pub mod blobs;
pub mod conflicts;
pub mod directory;
pub mod encoding;
pub mod error;
pub mod journal;
pub mod log;
pub mod memory_log;
pub mod options;
pub mod reader;
pub mod sled_log;
pub mod writer;

mod answering;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod compaction_tests;
#[cfg(test)]
mod flight_tests;
mod hold;
mod inspect;
mod ledger;
mod opening;
mod pending;
mod renew;
mod running;
mod scribe;
mod settling;
mod tail;
#[cfg(test)]
mod tests;
mod trees;
mod worker;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::Entry,
    name::CacheName,
    position::Sequence,
    record::{Key, Record},
};
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
};

pub use self::{
    backup::{Backup, RestoreError, restore},
    conflicts::KeptConflict,
    error::OpenError,
    inspect::{Inspected, inspect},
    options::{StoreLimits, StoreOptions},
};
use self::{
    hold::Hold,
    log::Log,
    reader::Reader,
    running::{Inbox, Ordered},
};
use crate::{
    clock::Clock,
    engine::{
        command::{Command, Decided, Published},
        guards::{Guard, Guards},
        header::{LogRead, ReadError, Records},
        replica::Replica,
    },
    machine::Workers,
    metrics::{Bound, Metrics},
};

/// How often a reader looks in the index again when compaction or a newer write has moved its record.
const READ_TRIES: u32 = 16;

/// A store that is open. Cheap to clone; the last thing to be done with it is [`Store::shutdown`].
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    replica: Arc<RwLock<Replica>>,
    poison: Arc<OnceLock<String>>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    inbox: Inbox,
    places: Arc<Semaphore>,
    max_places: usize,
    published: watch::Receiver<Published>,
    bytes: watch::Receiver<(u64, u64)>,
    ended: watch::Receiver<bool>,
    hold: Arc<Hold>,
    metrics: Metrics,
    workers: Workers,
    guards: Guards,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("head", &self.shared.published.borrow().head).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a directory: reads the whole log, and starts the writer. Blocks; tells progress on stderr when it
    /// takes longer than a second.
    pub fn open(
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        workers: Workers,
    ) -> Result<Self, OpenError> {
        let log = opening::open_directory(&options, clock.now())?;
        Self::open_with(Box::new(log), options, clock, metrics, workers)
    }

    /// Opens the store over a log, as [`Store::open`] does; the directory of the options is not looked at.
    pub fn open_with(
        log: Box<dyn Log>,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        workers: Workers,
    ) -> Result<Self, OpenError> {
        let guards = options.replica.guards;
        let (writer, scribe) =
            opening::open_writer(log, options.replica, options.run, options.limits, clock.now(), metrics)?;
        let (replica, poison, reader) = (writer.replica.clone(), writer.poison.clone(), writer.reader.clone());
        let hold = writer.hold.clone();
        let max_places = options.limits.max_inbox_commands;
        let places = Arc::new(Semaphore::new(max_places));
        let metrics = writer.metrics.clone();
        let running::Started { inbox, published, bytes, ended } =
            running::start(writer, scribe, clock.clone(), &workers)?;
        let shared = Shared {
            replica,
            poison,
            reader,
            clock,
            inbox,
            places,
            max_places,
            published,
            bytes,
            ended,
            hold,
            metrics,
            workers,
            guards,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Gives a command to the writer; its end comes when all that it amounts to is durable and published.
    pub async fn submit(&self, command: Command) -> Decided {
        self.place(command).await.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Takes a place in the inbox, waiting for one where it is full. Commands are decided in the order of their places, so
    /// that one who waits for the place only, and for the answers later, can have several on their way in order.
    pub async fn place(&self, command: Command) -> oneshot::Receiver<Decided> {
        let (answer, decided) = oneshot::channel();
        self.put_in(vec![(command, answer)]).await;
        decided
    }

    /// As [`Store::place`], for commands that are decided one after the other with none in between.
    pub async fn place_all(&self, commands: Vec<Command>) -> Vec<oneshot::Receiver<Decided>> {
        let (ordered, decided) = commands
            .into_iter()
            .map(|command| {
                let (answer, decided) = oneshot::channel();
                ((command, answer), decided)
            })
            .unzip();
        self.put_in(ordered).await;
        decided
    }

    async fn put_in(&self, commands: Vec<(Command, oneshot::Sender<Decided>)>) {
        let places = self.shared.places.clone();
        // More commands than the inbox has places take all of them.
        let count = u32::try_from(commands.len().min(self.shared.max_places)).unwrap_or(u32::MAX);
        let taken = match places.clone().try_acquire_many_owned(count) {
            Ok(taken) => Ok(taken),
            Err(_) => {
                self.shared.metrics.bound_hit(Bound::Inbox);
                places.acquire_many_owned(count).await
            }
        };
        // A semaphore of ours is never closed; a writer that has ended drops the answers' senders, which tells the caller.
        if let Ok(taken) = taken {
            self.shared.inbox.send(Ordered { commands, _places: taken });
        }
    }

    fn gone(&self) -> Refusal {
        match self.poisoned() {
            Some(reason) => writer::poisoned(&reason),
            None => Refusal::new(ErrorCode::ShuttingDown, "the relay is shutting down; try again when it is back"),
        }
    }

    /// Looks at the committed state.
    pub fn view<R>(&self, look: impl FnOnce(&Replica) -> R) -> R {
        look(&self.shared.replica.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entry of a key, value and all.
    pub fn entry(&self, cache: &CacheName, key: &Key) -> Result<Option<Entry>, Refusal> {
        let now = self.shared.clock.now();
        let mut last = None;
        for _ in 0..READ_TRIES {
            let Some(slot) = self.view(|replica| replica.live(cache, key, now)) else { return Ok(None) };
            match self.shared.reader.record(slot.sequence) {
                Ok(record) => {
                    let Record { version, deadline, value, .. } = record;
                    return Ok(Some(Entry { key: key.clone(), version, deadline, value }));
                }
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or_else(String::new, |error| error.to_string());
        Err(Refusal::new(ErrorCode::Internal, reason))
    }

    /// The record at a sequence; `None` where it has been superseded and is gone.
    pub fn record(&self, sequence: Sequence) -> Result<Option<Record>, ReadError> {
        match self.shared.reader.record(sequence) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                let commit = self.shared.reader.commit_at(sequence);
                if commit.is_ok_and(|(_, bytes)| encoding::decode(&bytes).is_ok()) { Ok(None) } else { Err(error) }
            }
        }
    }

    /// All records after `after` that the log has, as far as the published head, about `max_bytes` of them.
    pub fn read_log(&self, after: Sequence, max_bytes: usize) -> Result<LogRead, ReadError> {
        let head = match self.shared.guards.hold(Guard::ReadPublished) {
            true => self.shared.published.borrow().head,
            false => self.shared.reader.appended()?,
        };
        self.shared.reader.read(after, head, max_bytes)
    }

    /// Reads apart from the tasks, as that may take a while. To be called on a tokio runtime.
    pub fn apart<T: Send + 'static>(&self, read: impl FnOnce(&Store) -> T + Send + 'static) -> JoinHandle<T> {
        let store = self.clone();
        self.shared.workers.apart(move || read(&store))
    }

    /// Whether [`Store::read_log`] after there reads memory alone, and little of it: it need not be given to a thread that may
    /// wait.
    pub fn is_near(&self, after: Sequence) -> bool {
        self.shared.reader.tail().is_near(after)
    }

    /// The conflict log after a number, oldest first, of one cache or all, at most `limit`; and after
    /// which number there may be more.
    pub fn conflicts(
        &self,
        cache: Option<&CacheName>,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<KeptConflict>, Option<u64>), ReadError> {
        conflicts::page(&self.shared.reader, cache, after, limit)
    }

    /// Begins a backup of all that is published now. Compaction is held back until it is dropped.
    pub async fn backup(&self) -> Result<Backup, Refusal> {
        let mut ended = self.shared.ended.clone();
        let held = tokio::select! {
            biased;
            held = self.shared.hold.take() => held,
            _ = ended.wait_for(|ended| *ended) => return Err(self.gone()),
        };
        let (site, head) = self.view(|replica| (replica.origin().site, replica.head()));
        Ok(Backup::new(self.shared.reader.clone(), site, head, held))
    }

    /// What was published last; changes with every group, also with one that made nothing durable.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.shared.published.clone()
    }

    /// Why the store takes no more writes, where it doesn't.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.poison.get().cloned()
    }

    /// Bytes of the log that are held, and of what compaction may take, about.
    pub fn log_bytes(&self) -> (u64, u64) {
        *self.shared.bytes.borrow()
    }

    /// Ends the run in order: what was submitted before is decided, nothing after it. Returns when the log is closed.
    pub async fn shutdown(&self) {
        // Refused where the run has ended already, or the store is poisoned: the log is closed all the same.
        if let Err(refusal) = self.submit(Command::EndRun).await {
            tracing::debug!(%refusal, "the run had ended before");
        }
        self.shared.inbox.close();
        let mut ended = self.shared.ended.clone();
        // An error: the thread is gone, which is what is awaited.
        if ended.wait_for(|ended| *ended).await.is_err() {
            tracing::debug!("the writer's thread ended without closing the log");
        }
    }
}
