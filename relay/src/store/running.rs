//! Who runs the worker and the scribe: two threads in production; in simulation two tasks, so that virtual time and one
//! seed rule them. What they do is the same.
//!
//! ```text
//!  inbox ─ Event ─► worker ─ Order ─► scribe ─ Carried ─► worker
//! ```

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::JoinHandle,
};

pub(super) use super::worker::Ordered;
use super::{
    error::OpenError,
    scribe::{Order, Scribe},
    worker::{Carried, Event, Worker},
    writer::Writer,
};
use crate::{
    clock::{Clock, Stopwatch},
    engine::command::Published,
    machine::Workers,
};

/// The sending end of a channel to a thread or a task. Places bound what is in the inbox, and [`super::worker`] what is
/// ordered.
pub(super) enum Post<T> {
    ToThread(mpsc::Sender<T>),
    ToTask(UnboundedSender<T>),
}

impl<T> Post<T> {
    /// Gives it back where nobody takes it any more.
    pub(super) fn send(&self, what: T) -> Result<(), T> {
        match self {
            Post::ToThread(post) => post.send(what).map_err(|mpsc::SendError(what)| what),
            Post::ToTask(post) => post.send(what).map_err(|refused| refused.0),
        }
    }
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        match self {
            Post::ToThread(post) => Post::ToThread(post.clone()),
            Post::ToTask(post) => Post::ToTask(post.clone()),
        }
    }
}

/// The sending side of the inbox; places bound it.
pub(super) struct Inbox(Mutex<Option<Post<Event>>>);

impl Inbox {
    /// Puts a command in; where the writer has ended, its answer's sender is dropped, which tells the caller.
    pub(super) fn send(&self, ordered: Ordered) {
        let inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(event)) = inbox.as_ref().map(|inbox| inbox.send(Event::Ordered(ordered))) {
            drop(event);
        }
    }

    /// Lets the writer end once it has taken what is in.
    pub(super) fn close(&self) {
        let inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // An error: it has ended already.
        drop(inbox.map(|inbox| inbox.send(Event::Close)));
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

/// A worker that runs, seen from outside.
pub(super) struct Started {
    pub(super) inbox: Inbox,
    pub(super) published: watch::Receiver<Published>,
    pub(super) bytes: watch::Receiver<(u64, u64)>,
    pub(super) ended: watch::Receiver<bool>,
}

/// Starts both. They end when the inbox is closed, and when every [`super::Store`] is dropped.
pub(super) fn start(
    writer: Writer,
    scribe: Scribe,
    clock: Arc<dyn Clock>,
    workers: &Workers,
) -> Result<Started, OpenError> {
    let first = writer.replica.read().unwrap_or_else(PoisonError::into_inner).published();
    let (publish, published) = watch::channel(first);
    let (tell_bytes, bytes) = watch::channel(writer.log_bytes());
    let (end, ended) = watch::channel(false);
    let poison = writer.poison.clone();
    let worker = |orders| Worker::new(writer, clock, orders, publish, tell_bytes);
    let inbox = match workers {
        Workers::Threads => {
            let ((inbox, events), (orders, carry)) = (mpsc::channel(), mpsc::channel());
            let inbox = Post::ToThread(inbox);
            let alarms = [(); 2].map(|()| Alarm { poison: poison.clone(), events: inbox.clone() });
            start_threads(worker(Post::ToThread(orders)), events, scribe, carry, &inbox, alarms, end)?;
            inbox
        }
        Workers::Tasks { flush_takes } => {
            let ((inbox, events), (orders, carry)) = (unbounded_channel(), unbounded_channel());
            let inbox = Post::ToTask(inbox);
            let [alarm, log_alarm] = [(); 2].map(|()| Alarm { poison: poison.clone(), events: inbox.clone() });
            let (carried, flush_takes) = (inbox.clone(), flush_takes.clone());
            let log = tokio::spawn(async move {
                let _alarm = log_alarm;
                carry_out_as_task(scribe, carry, &carried, &*flush_takes).await;
            });
            let worker = worker(Post::ToTask(orders));
            tokio::spawn(async move {
                let _alarm = alarm;
                run_as_task(worker, events, log).await;
                end.send_replace(true);
            });
            inbox
        }
    };
    Ok(Started { inbox: Inbox(Mutex::new(Some(inbox))), published, bytes, ended })
}

fn start_threads(
    worker: Worker,
    events: mpsc::Receiver<Event>,
    scribe: Scribe,
    carry: mpsc::Receiver<Order>,
    inbox: &Post<Event>,
    [alarm, log_alarm]: [Alarm; 2],
    end: watch::Sender<bool>,
) -> Result<(), OpenError> {
    let carried = inbox.clone();
    let log = thread::Builder::new().name("log".into()).spawn(move || {
        let _alarm = log_alarm;
        carry_out_all(scribe, &carry, &carried);
    });
    let log = log.map_err(OpenError::Thread)?;
    let spawned = thread::Builder::new().name("writer".into()).spawn(move || {
        let _alarm = alarm;
        run(worker, &events);
        // The log's thread ends with the orders' sender; one that broke has told so by its alarm.
        drop(log.join());
        end.send_replace(true);
    });
    spawned.map(drop).map_err(OpenError::Thread)
}

fn run(mut worker: Worker, events: &mpsc::Receiver<Event>) {
    while worker.goes_on() {
        match events.recv_timeout(worker.wait()) {
            Ok(event) => worker.take(event),
            Err(mpsc::RecvTimeoutError::Timeout) => worker.is_idle(),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        while let Ok(event) = events.try_recv() {
            worker.take(event);
        }
        worker.work();
    }
    worker.close();
}

async fn run_as_task(mut worker: Worker, mut events: UnboundedReceiver<Event>, log: JoinHandle<()>) {
    while worker.goes_on() {
        match tokio::time::timeout(worker.wait(), events.recv()).await {
            Ok(Some(event)) => worker.take(event),
            Err(_) => worker.is_idle(),
            Ok(None) => break,
        }
        while let Ok(event) = events.try_recv() {
            worker.take(event);
        }
        worker.work();
    }
    worker.close();
    drop(worker);
    // As with the threads.
    drop(log.await);
}

fn carry_out_all(mut scribe: Scribe, orders: &mpsc::Receiver<Order>, events: &Post<Event>) {
    for order in orders {
        let (what, watch) = (Carried::of(&order), Stopwatch::start());
        let end = scribe.carry_out(order);
        tell(&mut scribe, events, what, watch.elapsed(), end);
    }
}

/// The same, with time between what is written and its flush.
async fn carry_out_as_task(
    mut scribe: Scribe,
    mut orders: UnboundedReceiver<Order>,
    events: &Post<Event>,
    flush_takes: &(dyn Fn() -> Duration + Send + Sync),
) {
    while let Some(order) = orders.recv().await {
        let what = Carried::of(&order);
        let took = flush_takes();
        let end = match scribe.write(order) {
            Ok(Some(left)) => {
                tokio::time::sleep(took).await;
                scribe.settle(left)
            }
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        tell(&mut scribe, events, what, took, end);
    }
}

fn tell(scribe: &mut Scribe, events: &Post<Event>, what: Carried, took: Duration, end: Result<(), String>) {
    // Where the writer has ended nobody waits for it.
    drop(events.send(Event::Carried { what, took, end }));
    if let Err(error) = scribe.tidy() {
        drop(events.send(Event::Carried { what: Carried::Other, took, end: Err(error) }));
    }
}

/// One who breaks poisons the store: the relay says so, and is not ready any more.
struct Alarm {
    poison: Arc<OnceLock<String>>,
    events: Post<Event>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = self.poison.get_or_init(|| "the writer broke; its last words are in the log".into());
            // The writer, if it is not the one that broke, is told, as it may wait for what never comes.
            let end = Err(reason.clone());
            drop(self.events.send(Event::Carried { what: Carried::Other, took: Duration::ZERO, end }));
        }
    }
}
