//! Brings what the journal has into the storage engine, a generation at a time, in a thread of its own: nobody who writes
//! waits for the engine, but one whose generation is full before the one before it has arrived.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{blobs::Blobs, error::OpenError, log::LogError, pending::Pending, trees::Trees};

/// So much goes to the disk at once.
const SLICE_BYTES: usize = 128 << 10;
/// Between two slices; with them twenty megabytes a second, where nobody waits for it.
const PAUSE: Duration = Duration::from_millis(5);

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
    /// Whether anybody waits for what is under way.
    is_awaited: bool,
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
        (status.under_way, status.is_awaited) = (false, false);
        status.failed = status.failed.take().or(failed);
        drop(status);
        self.changed.notify_all();
    }

    /// Leaves the disk to those who write for a moment, unless somebody waits for what is under way.
    fn pause(&self) {
        let paused = self.changed.wait_timeout_while(self.status(), PAUSE, |status| !status.is_awaited);
        drop(paused.unwrap_or_else(PoisonError::into_inner));
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
            status.is_awaited = true;
            self.state.changed.notify_all();
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
        self.state.status().is_awaited = true;
        self.state.changed.notify_all();
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
        let end = settler.settle(generation, || state.pause());
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
    /// In slices, between which others have their turn at the disk (`pause`).
    fn settle(&mut self, generation: u64, pause: impl Fn()) -> Result<(), LogError> {
        let layer = self.pending.settling();
        let mut slice = 0;
        for change in layer.changes() {
            self.trees.apply(&change)?;
            slice += change.bytes.map_or(0, |bytes| bytes.len());
            if slice >= SLICE_BYTES {
                slice = 0;
                self.trees.write_out()?;
                pause();
            }
        }
        seal(&self.trees, &mut self.blobs, generation)?;
        self.pending.settled();
        Ok(())
    }
}

/// Makes durable what was brought in, and then, no sooner, that the journal up to `generation` is: what the engine says to
/// have is not brought in again after a crash.
pub(super) fn seal(trees: &Trees, blobs: &mut Blobs, generation: u64) -> Result<(), LogError> {
    trees.flush()?;
    blobs.settle().map_err(LogError::Io)?;
    trees.note_settled(generation)?;
    trees.flush()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            directory::Directory,
            journal::{Change, Part},
        },
        *,
    };

    #[test]
    fn the_engine_says_to_have_it_once_the_files_beside_its_own_are_durable_too() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let trees = Trees::open(&directory).unwrap();
        trees.note_settled(1).unwrap();
        let pending = Arc::<Pending>::default();
        pending.take(Change { part: Part::Commits, key: 1, bytes: Some(vec![7; 3 << 20].into()) });
        pending.turn();
        let settler = |blobs| Settler { trees: trees.clone(), pending: pending.clone(), blobs };
        let missing = Blobs::unwatched(dir.path().join("nowhere"));
        assert!(matches!(settler(missing).settle(2, || {}), Err(LogError::Io(_))));
        assert_eq!(trees.settled().unwrap(), Some(1), "a power cut may take the value's file");
        assert!(pending.settling().changes().next().is_some(), "it is read from here");

        let mut settler = settler(Blobs::of(directory.log().join("blobs")));
        settler.settle(2, || {}).unwrap();
        assert!(settler.blobs.count > 0, "a value of this size is what sled puts under blobs/");
        assert_eq!(trees.settled().unwrap(), Some(2));
        assert!(pending.settling().changes().next().is_none());
    }
}
