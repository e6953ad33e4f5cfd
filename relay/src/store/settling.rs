//! Brings what the journal has into the storage engine, a generation at a time, in a thread of its own: nobody who writes waits for the engine,
//! but one whose generation is full before the one before it has arrived.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use super::{blobs::Blobs, error::OpenError, log::LogError, pending::Pending, trees::Trees};

/// See the module. Dropping it waits for what is under way.
#[derive(Debug)]
pub(super) struct Settling {
    /// Numbers of generations.
    generations: Option<Sender<u64>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    status: Mutex<Status>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Status {
    under_way: bool,
    failed: Option<LogError>,
}

/// Who does it.
pub(super) struct Settler {
    pub(super) trees: Trees,
    pub(super) pending: Arc<Pending>,
    pub(super) blobs: Blobs,
}

impl State {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self, failed: Option<LogError>) {
        let mut status = self.status();
        status.under_way = false;
        status.failed = status.failed.take().or(failed);
        drop(status);
        self.changed.notify_all();
    }
}

impl Settling {
    pub(super) fn start(settler: Settler) -> Result<Self, OpenError> {
        let (generations, given) = mpsc::channel();
        let state = Arc::new(State::default());
        let told = state.clone();
        let thread = thread::Builder::new().name("settling".into()).spawn(move || run(settler, &given, &told));
        Ok(Self { generations: Some(generations), state, thread: Some(thread.map_err(OpenError::Thread)?) })
    }

    /// Has what is settling brought in, which is the journal up to `generation`. What was before must have arrived ([`Settling::arrived`]).
    pub(super) fn bring(&self, generation: u64) {
        self.state.status().under_way = true;
        let sent = self.generations.as_ref().map(|generations| generations.send(generation));
        if !matches!(sent, Some(Ok(()))) {
            self.state.is_done(Some(ended()));
        }
    }

    /// Waits until all that was to be brought in has arrived.
    pub(super) fn arrived(&self) -> Result<(), LogError> {
        let mut status = self.state.status();
        while status.under_way {
            status = self.state.changed.wait(status).unwrap_or_else(PoisonError::into_inner);
        }
        drop(status);
        self.goes_well()
    }

    /// Whether nothing has failed so far.
    pub(super) fn goes_well(&self) -> Result<(), LogError> {
        match &mut self.state.status().failed {
            None => Ok(()),
            Some(failed) => Err(std::mem::replace(failed, ended())),
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.generations = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("what brings the journal into the storage engine broke; the journal has it all");
        }
    }
}

fn ended() -> LogError {
    LogError::Corrupt("what brings the journal into the storage engine has ended".into())
}

fn run(mut settler: Settler, generations: &Receiver<u64>, state: &State) {
    let _alarm = Alarm(state);
    for generation in generations {
        let end = settler.settle(generation);
        let failed = end.is_err();
        state.is_done(end.err());
        if failed {
            return;
        }
    }
}

/// One who breaks tells so those who wait.
struct Alarm<'a>(&'a State);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_done(Some(LogError::Corrupt("the storage engine broke".into())));
        }
    }
}

impl Settler {
    fn settle(&mut self, generation: u64) -> Result<(), LogError> {
        let layer = self.pending.settling();
        for change in layer.changes() {
            self.trees.apply(&change)?;
        }
        self.trees.note_settled(generation)?;
        self.trees.flush()?;
        self.blobs.settle().map_err(LogError::Io)?;
        self.pending.settled();
        Ok(())
    }
}
