//! The load: workers that each do one request after the other, and what they count.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use landbridge_client::{Client, Error, Key, RawCache};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::{BenchArgs, Workload, pace::Pace};
use crate::cli::{Exit, Failure, connect};

/// Entries of one request that fills, and requests of that kind under way.
const FILL_BATCH: u64 = 500;
const FILL_IN_FLIGHT: u64 = 16;
/// How often another site is asked what it holds, and how long that may stay the same.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const STANDSTILL: Duration = Duration::from_secs(30);
/// A listener that has heard nothing for so long at the end has heard all there was, though not of every put.
const SILENCE: Duration = Duration::from_secs(5);

/// From when until when it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) begin: Instant,
    pub(super) end: Instant,
}

impl Span {
    /// A warm-up from now on, then what is measured.
    pub(super) fn from_now(args: &BenchArgs) -> Self {
        let begin = Instant::now() + Duration::from_secs(u64::from(args.warmup));
        Self { begin, end: begin + Duration::from_secs(u64::from(args.seconds)) }
    }

    fn has(&self, at: Instant) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// In which quarter of it a moment is; nothing for one outside.
    fn quarter(&self, at: Instant) -> Option<usize> {
        let of = |span: Duration| span.as_nanos() * 4 / (self.end - self.begin).as_nanos().max(1);
        self.has(at).then(|| of(at - self.begin) as usize)
    }
}

/// What was done and how long it took.
#[derive(Debug)]
pub(super) struct Counts {
    /// Operations.
    pub(super) operations: u64,
    /// Operations that failed, and why the first one did.
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Where events are heard: see [`Hearing`].
    pub(super) hearing: Option<Hearing>,
    /// Nanoseconds a request.
    pub(super) latencies: Histogram<u64>,
}

/// What is known of events besides.
#[derive(Debug)]
pub(super) struct Hearing {
    /// The puts whose events were to be heard.
    pub(super) puts: u64,
    /// Events that did not come to a listener, as another put of the key came first.
    pub(super) coalesced: u64,
    /// Nanoseconds until an event came, by the quarter of the time in which its put began.
    pub(super) quarters: [Histogram<u64>; 4],
}

/// None yet.
fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are within what it takes")
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.record(latency.as_nanos() as u64).expect("it grows as need be");
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { operations: 0, errors: 0, first_error: None, hearing: None, latencies: histogram() }
    }

    fn done(&mut self, operations: u64, latency: Duration) {
        self.operations += operations;
        record(&mut self.latencies, latency);
    }

    fn failed(&mut self, operations: u64, error: &Error) {
        self.errors += operations;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.add(other.latencies).expect("both have the same bounds");
    }
}

/// See the module.
pub(super) struct Load {
    args: BenchArgs,
    sessions: Vec<(Client, RawCache)>,
    /// What the stamps in values count from.
    epoch: Instant,
}

impl Load {
    pub(super) fn new(args: &BenchArgs, sessions: Vec<(Client, RawCache)>, epoch: Instant) -> Self {
        Self { args: args.clone(), sessions, epoch }
    }

    /// Puts an entry under every key.
    pub(super) async fn fill(&self) -> Result<(), Failure> {
        let (_, cache) = &self.sessions[0];
        let keys = u64::from(self.args.keys);
        let mut tasks = JoinSet::new();
        for lane in 0..FILL_IN_FLIGHT {
            let (cache, bytes) = (cache.clone(), self.args.value_bytes as usize);
            tasks.spawn(async move {
                for first in (lane * FILL_BATCH..keys).step_by((FILL_BATCH * FILL_IN_FLIGHT) as usize) {
                    let batch = (first..keys.min(first + FILL_BATCH)).map(|n| (key(n), value(0, n, bytes)));
                    cache.put_all(batch).await?;
                }
                Ok::<_, Error>(())
            });
        }
        all(tasks).await
    }

    /// Waits until another site holds as many entries as were put.
    pub(super) async fn until_filled(&self, there: &RawCache) -> Result<(), Failure> {
        let (keys, mut held, mut last) = (u64::from(self.args.keys), 0, Instant::now());
        loop {
            let size = there.size().await.map_err(|e| connect::failed(&e))?;
            if size >= keys {
                return Ok(());
            }
            if size != held {
                (held, last) = (size, Instant::now());
            }
            if last.elapsed() > STANDSTILL {
                let text = format!("the last site holds {size} of {keys} entries, and no more come");
                return Err(Failure::new(Exit::Failed, text));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes every key away again.
    pub(super) async fn remove_all(&self) -> Result<(), Failure> {
        let (_, cache) = &self.sessions[0];
        let (keys, lanes) = (u64::from(self.args.keys), 64);
        let mut tasks = JoinSet::new();
        for lane in 0..lanes {
            let cache = cache.clone();
            tasks.spawn(async move {
                for number in (lane..keys).step_by(lanes as usize) {
                    cache.remove(&key(number)).await?;
                }
                Ok::<_, Error>(())
            });
        }
        all(tasks).await
    }

    /// Runs the workload; what is done within the span counts.
    pub(super) async fn run(&self, span: Span) -> Counts {
        // Each grant is a request.
        let interval = self.args.rate.map(|rate| Duration::from_secs(u64::from(self.args.batch)) / rate);
        let pace = Pace::start(interval, span.end);
        let done = std::sync::Arc::new(AtomicU64::new(0));
        let _progress = AbortOnDropHandle::new(tokio::spawn(progress(done.clone(), span)));
        let mut workers = JoinSet::new();
        for number in 0..self.args.in_flight {
            let worker = Worker {
                args: self.args.clone(),
                cache: self.sessions[number as usize % self.sessions.len()].1.clone(),
                epoch: self.epoch,
                random: mix(u64::from(number) + 1),
                counts: Counts::new(),
            };
            workers.spawn(worker.work(pace.clone(), span, done.clone()));
        }
        let mut counts = Counts::new();
        while let Some(worker) = workers.join_next().await {
            match worker {
                Ok(worker) => counts.add(worker),
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            }
        }
        counts
    }

    /// Begins to hear the events of the puts, in a subscription of each cache that is given.
    pub(super) async fn listen(&self, caches: impl IntoIterator<Item = RawCache>) -> Result<Heard, Failure> {
        let (told, events) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for cache in caches {
            let mut listener = cache.listen().start_raw().await.map_err(|e| connect::failed(&e))?;
            let (epoch, told) = (self.epoch, told.clone());
            let task = tokio::spawn(async move {
                while let Some(event) = listener.next().await {
                    let now = Instant::now();
                    let stamp = event.map(|event| event.value().and_then(|value| stamp(value, epoch)));
                    let stamp = stamp.transpose();
                    if let Some(stamp) = stamp
                        && told.send((stamp, now)).is_err()
                    {
                        break;
                    }
                }
            });
            tasks.push(AbortOnDropHandle::new(task));
        }
        Ok(Heard { events, tasks })
    }

    /// Ends the sessions, all at once: each waits until its relay knows.
    pub(super) async fn close(self) {
        let mut closing = JoinSet::new();
        for (client, _) in self.sessions {
            closing.spawn(async move { client.close().await });
        }
        closing.join_all().await;
    }
}

/// The events that are heard: when each put should have begun, and when its event came.
pub(super) struct Heard {
    events: tokio::sync::mpsc::UnboundedReceiver<(Result<Instant, Error>, Instant)>,
    /// One a subscription.
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Heard {
    /// Waits for the last events, and counts them in place of the puts.
    pub(super) async fn end(mut self, puts: Counts, span: Span) -> Result<Counts, Failure> {
        let mut counts = Counts { errors: puts.errors, first_error: puts.first_error, ..Counts::new() };
        let mut quarters = [histogram(), histogram(), histogram(), histogram()];
        let (mut heard, expected) = (0, puts.operations * self.tasks.len() as u64);
        while heard < expected
            && let Ok(Some((stamp, at))) = tokio::time::timeout(SILENCE, self.events.recv()).await
        {
            let stamp = stamp.map_err(|e| connect::failed(&e))?;
            if let Some(quarter) = span.quarter(stamp) {
                heard += 1;
                record(&mut counts.latencies, at.duration_since(stamp));
                record(&mut quarters[quarter], at.duration_since(stamp));
            }
            counts.operations += u64::from(span.has(at));
        }
        counts.hearing = Some(Hearing { puts: puts.operations, coalesced: expected.saturating_sub(heard), quarters });
        Ok(counts)
    }
}

struct Worker {
    args: BenchArgs,
    cache: RawCache,
    epoch: Instant,
    random: u64,
    counts: Counts,
}

impl Worker {
    async fn work(mut self, pace: Pace, span: Span, done: std::sync::Arc<AtomicU64>) -> Counts {
        let batch = u64::from(self.args.batch);
        while let Some(begin) = pace.next(span.end).await {
            let put = match self.args.workload {
                Workload::Put | Workload::Event => true,
                Workload::Get => false,
                Workload::Mixed => self.next().is_multiple_of(2),
            };
            let ended = if put { self.put(begin).await } else { self.get().await };
            let now = Instant::now();
            done.fetch_add(batch, Ordering::Relaxed);
            // Of puts whose events are heard, those count that begin within the span: their events are waited for.
            let counts = match self.args.workload {
                Workload::Event => span.has(begin),
                _ => span.has(now),
            };
            match ended {
                _ if !counts => {}
                Ok(()) => self.counts.done(batch, now.saturating_duration_since(begin)),
                Err(error) => self.counts.failed(batch, &error),
            }
        }
        self.counts
    }

    async fn put(&mut self, begin: Instant) -> Result<(), Error> {
        let (stamp, bytes) = (begin.saturating_duration_since(self.epoch).as_nanos() as u64, self.args.value_bytes);
        if self.args.batch == 1 {
            let number = self.number();
            return self.cache.put(&key(number), value(stamp, number, bytes as usize)).await.map(drop);
        }
        let entries: Vec<_> = (0..self.args.batch)
            .map(|_| self.number())
            .map(|number| (key(number), value(stamp, number, bytes as usize)))
            .collect();
        self.cache.put_all(entries).await.map(drop)
    }

    async fn get(&mut self) -> Result<(), Error> {
        let missing =
            |found: bool| if found { Ok(()) } else { Err(Error::UnexpectedAnswer("no entry where one was put")) };
        if self.args.batch == 1 {
            let number = self.number();
            return missing(self.cache.get(&key(number)).await?.is_some());
        }
        let keys: Vec<Key> = (0..self.args.batch).map(|_| key(self.number())).collect();
        // One that is named twice is found twice.
        missing(self.cache.get_all(&keys).await?.len() == keys.len())
    }

    /// Of a random key.
    fn number(&mut self) -> u64 {
        self.next() % u64::from(self.args.keys)
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.random)
    }
}

/// A line a second on a terminal.
async fn progress(done: std::sync::Arc<AtomicU64>, span: Span) {
    if !stderr().is_terminal() {
        return;
    }
    let (mut last, mut every) = (0, tokio::time::interval(Duration::from_secs(1)));
    every.tick().await;
    while Instant::now() < span.end {
        every.tick().await;
        let now = done.load(Ordering::Relaxed);
        let left = span.end.saturating_duration_since(Instant::now()).as_secs();
        let part = if Instant::now() < span.begin { "warming up" } else { "measuring" };
        eprint!("\r{part}: {:>9} operations/s, {left:>3} s left ", now - last);
        // A terminal that can't be written to is no reason to end.
        drop(stderr().flush());
        last = now;
    }
    eprint!("\r{:60}\r", "");
}

async fn all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Failure> {
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(ended) => ended.map_err(|e| connect::failed(&e))?,
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
    Ok(())
}

fn key(number: u64) -> Key {
    Key::new(format!("bench-{number:010}").into_bytes()).expect("sixteen bytes are a key")
}

/// Nanoseconds since the epoch, then bytes that don't repeat.
fn value(stamp: u64, number: u64, bytes: usize) -> Bytes {
    let mut value = Vec::with_capacity(bytes + 8);
    value.extend(stamp.to_be_bytes());
    let mut word = stamp ^ number;
    while value.len() < bytes {
        word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
        value.extend(mix(word).to_be_bytes());
    }
    value.truncate(bytes);
    value.into()
}

/// When the put of a value should have begun; nothing for one that filled.
fn stamp(value: &[u8], epoch: Instant) -> Option<Instant> {
    let stamp = u64::from_be_bytes(*value.first_chunk()?);
    (stamp > 0).then(|| epoch + Duration::from_nanos(stamp))
}

/// Splitmix64's finish.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_size_and_says_when_it_was_put() {
        let epoch = Instant::now();
        for bytes in [8, 9, 256, 1000] {
            let value = value(12_345, 7, bytes);
            assert_eq!(value.len(), bytes);
            assert_eq!(stamp(&value, epoch), Some(epoch + Duration::from_nanos(12_345)));
        }
        assert_eq!(stamp(&value(0, 7, 64), epoch), None, "it was there before");
        assert_ne!(value(1, 7, 64)[8..], value(1, 8, 64)[8..]);
    }

    #[test]
    fn a_span_has_four_quarters_and_nothing_besides() {
        let begin = Instant::now();
        let span = Span { begin, end: begin + Duration::from_secs(4) };
        let quarter = |ms| span.quarter(begin + Duration::from_millis(ms));
        assert_eq!([0, 999, 1000, 3999, 4000].map(quarter), [Some(0), Some(0), Some(1), Some(3), None]);
    }
}
