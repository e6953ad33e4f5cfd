//! The store's durable puts beside a bare loop of sled insert, flush and fdatasync of the same bytes, in one run.
//!
//! `cargo bench -p landbridge --bench store` prints, for 1, 16, 64 and 256 puts a commit, medians of rounds that take turns,
//! as the disk's speed drifts. `-- --rounds N --commits N` change the size, `--only N` takes just one of the four.
//!
//! The store takes groups of just so many puts, three of them on their way at any time, as sessions do that don't wait for
//! one answer before they ask again; that each commit has just so many puts is asserted. What the store gives its log
//! meanwhile is recorded: every append, every rewrite and removal of compaction, every flush. Then the bare loop gives
//! sled, as it comes, as many bytes under the same keys in the same order, and makes them durable as often, those included
//! that sled puts beside its file. `ratio` is the bare loop's time over the store's. `file only` is the same with a loop that
//! leaves the files beside to the page cache, so that a power cut may take what it wrote; `log alone` with the store's log
//! and no store before it; `commits only` with a bare loop that has none of compaction's work to do.

mod common;

use std::{
    collections::VecDeque,
    fs::File,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_protocol::{
    frame::node::{Operation, Write},
    position::Sequence,
    record::{ClientId, Key, WriteToken},
    version::RunId,
};
use landbridge_relay::{
    clock::SystemClock,
    engine::command::{Command, Decided},
    machine::Workers,
    metrics::Metrics,
    store::{
        Store, StoreLimits, StoreOptions,
        blobs::Blobs,
        directory::Directory,
        error::OpenError,
        log::{Log, LogError, LogReader},
        sled_log::SledLog,
    },
};

use common::{cache, config, node};

const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;
/// Groups on their way.
const GROUPS_IN_FLIGHT: usize = 3;

/// What the store gave its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Append(Sequence, usize),
    Rewrite(Sequence, usize),
    Remove(Sequence),
    Flush,
}

/// The log without a writer: what of the store's time is the log's.
fn replay_log(log: &mut SledLog, given: &[Given]) -> Duration {
    let bytes = |given: &Given| match given {
        Given::Append(first, bytes) | Given::Rewrite(first, bytes) => Bytes::from(value(first.get(), *bytes)),
        Given::Remove(_) | Given::Flush => Bytes::new(),
    };
    let values: Vec<Bytes> = given.iter().map(bytes).collect();
    let begun = Instant::now();
    for (given, value) in given.iter().zip(values) {
        let done = match given {
            Given::Append(first, _) => log.append(*first, value),
            Given::Rewrite(first, _) => log.rewrite(*first, value),
            Given::Remove(first) => log.remove(*first),
            Given::Flush => log.flush(),
        };
        done.expect("the log takes it");
    }
    begun.elapsed()
}

/// A log that notes what it is given.
struct Recording {
    log: SledLog,
    given: Arc<Mutex<Vec<Given>>>,
}

impl Recording {
    fn note(&self, given: Given) {
        self.given.lock().expect("nobody broke").push(given);
    }
}

impl Log for Recording {
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.note(Given::Append(first, bytes.len()));
        self.log.append(first, bytes)
    }
    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError> {
        self.note(Given::Rewrite(first, bytes.len()));
        self.log.rewrite(first, bytes)
    }
    fn remove(&mut self, first: Sequence) -> Result<(), LogError> {
        self.note(Given::Remove(first));
        self.log.remove(first)
    }
    fn flush(&mut self) -> Result<(), LogError> {
        self.note(Given::Flush);
        self.log.flush()
    }
    fn close(&mut self, head: Sequence) -> Result<(), LogError> {
        self.log.close(head)
    }
    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError> {
        self.log.keep_note(number, bytes)
    }
    fn drop_note(&mut self, number: u64) -> Result<(), LogError> {
        self.log.drop_note(number)
    }
    fn tidy(self: Box<Self>, _: u64) -> Result<Box<dyn Log>, OpenError> {
        Ok(self)
    }
    fn reader(&self) -> Arc<dyn LogReader> {
        self.log.reader()
    }
}

fn options(dir: &Path, run: u64, group: usize) -> StoreOptions {
    StoreOptions {
        dir: dir.to_owned(),
        fsync: true,
        recover: false,
        replica: config("site1", &[]),
        run: RunId(run),
        limits: StoreLimits { min_free_bytes: 0, max_group_commands: group, ..StoreLimits::default() },
    }
}

fn open(dir: &Path, run: u64, group: usize, given: &Arc<Mutex<Vec<Given>>>) -> Store {
    let directory = Directory::open(dir).expect("the directory opens");
    let log = SledLog::open(directory, true).map_err(|(_, error)| error).expect("the log opens");
    let log = Box::new(Recording { log, given: given.clone() });
    let opened =
        Store::open_with(log, options(dir, run, group), Arc::new(SystemClock), Metrics::new(), Workers::Threads);
    opened.expect("the store opens")
}

/// The `number`-th put: keys in a scattered order, values that don't repeat.
fn put(number: u64) -> Command {
    let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
    let key = Key::new(format!("key-{key:012}").into_bytes()).expect("a key");
    let token = WriteToken { client: ClientId(1), number };
    let write = Write::new(Operation::Put, cache(), key, token, value(number, VALUE_BYTES).into());
    Command::Write { node: node(), write }
}

fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![0_u8; bytes];
    value.chunks_mut(8).enumerate().for_each(|(at, chunk)| {
        let word = number.wrapping_mul(at as u64 + 0x2545_F491_4F6C_DD1D).to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    });
    value
}

async fn answered(answers: Vec<tokio::sync::oneshot::Receiver<Decided>>) {
    for answer in answers {
        answer.await.expect("the store answers").expect("the put is done");
    }
}

/// Puts in groups, some of them on their way at any time. Gives the time that they took.
async fn store_round(store: &Store, first: u64, commits: u64, group: u64) -> Duration {
    let groups: Vec<Vec<Command>> =
        (0..commits).map(|at| (0..group).map(|n| put(first + at * group + n)).collect()).collect();
    let mut flying = VecDeque::new();
    let begun = Instant::now();
    for group in groups {
        if flying.len() == GROUPS_IN_FLIGHT
            && let Some(oldest) = flying.pop_front()
        {
            answered(oldest).await;
        }
        flying.push_back(store.place_all(group).await);
    }
    for group in flying {
        answered(group).await;
    }
    begun.elapsed()
}

/// sled alone, as it comes, and what it was given.
struct Bare {
    db: sled::Db,
    tree: sled::Tree,
    file: File,
    /// What it writes beside its file; `None`: that is left to the page cache, and not durable.
    blobs: Option<Blobs>,
}

impl Bare {
    fn open(dir: &Path, all: bool) -> Self {
        let db = sled::Config::new().path(dir).flush_every_ms(None).open().expect("sled opens");
        let tree = db.open_tree("commits").expect("a tree");
        let file = File::open(dir.join("db")).expect("sled's file");
        Self { db, tree, file, blobs: all.then(|| Blobs::of(dir.join("blobs"))) }
    }

    /// Does what the store's log was given, with other bytes. Gives the time.
    fn replay(&mut self, given: &[Given]) -> Duration {
        let values: Vec<Vec<u8>> = given
            .iter()
            .map(|given| match given {
                Given::Append(first, bytes) | Given::Rewrite(first, bytes) => value(first.get(), *bytes),
                Given::Remove(_) | Given::Flush => Vec::new(),
            })
            .collect();
        let key = |first: &Sequence| first.get().to_be_bytes();
        let begun = Instant::now();
        for (given, value) in given.iter().zip(values) {
            match given {
                Given::Append(first, _) | Given::Rewrite(first, _) => {
                    self.tree.insert(key(first), value).expect("insert");
                }
                Given::Remove(first) => {
                    self.tree.remove(key(first)).expect("remove");
                }
                Given::Flush => {
                    self.db.flush().expect("flush");
                    self.file.sync_data().expect("fdatasync");
                    self.blobs.iter_mut().for_each(|blobs| blobs.settle().expect("fsync"));
                }
            }
        }
        begun.elapsed()
    }
}

fn is_commit(given: &Given) -> bool {
    matches!(given, Given::Append(..) | Given::Flush)
}

fn argument(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).map_or(default, |text| text.parse().expect("a number"))
}

/// Processor time of this process's threads so far, in seconds, by what they are for: the writer's, the log's, and all others.
fn processor() -> [f64; 3] {
    let mut by_use = [0.0; 3];
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let at = match read("comm").trim() {
            "writer" => 0,
            "log" => 1,
            _ => 2,
        };
        let nanoseconds = read("schedstat").split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
        by_use[at] += nanoseconds.unwrap_or_default() / 1e9;
    }
    by_use
}

/// One row of the table, gathered.
#[derive(Default)]
struct Row {
    ratios: Vec<f64>,
    alone: Vec<f64>,
    file_only: Vec<f64>,
    log: Vec<f64>,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    written: Vec<f64>,
    processor: [f64; 3],
    bare_processor: f64,
    puts: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (rounds, commits) = (argument("--rounds", 7), argument("--commits", 300));
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk that is to be measured");
    let given = Arc::new(Mutex::new(Vec::new()));
    let take = || std::mem::take(&mut *given.lock().expect("nobody broke"));
    let bare = |name: &str, all| Bare::open(&dir.path().join(name), all);
    let (mut bare, mut file_only, mut alone) = (bare("bare", true), bare("file", false), bare("alone", true));
    let directory = Directory::open(&dir.path().join("log")).expect("the directory opens");
    let mut log = SledLog::open(directory, true).map_err(|(_, error)| error).expect("the log opens");
    // The store first gets all keys, so that every put overwrites as in service, and so many puts more that compaction is
    // at work as it will be ever after; the bare loops get the same.
    let store = open(&dir.path().join("store"), 1, 1000, &given);
    let mut at = 3 * KEYS;
    store_round(&store, 0, at / 1000, 1000).await;
    store.shutdown().await;
    drop(store);
    let begun = take();
    bare.replay(&begun);
    file_only.replay(&begun);
    replay_log(&mut log, &begun);
    println!("medians of {rounds} rounds of {commits} commits; microseconds are of processor time, for each put");
    println!(
        "{:>11} {:>12} {:>12} {:>7} {:>10} {:>10} {:>13} {:>15} {:>10} {:>7} {:>8} {:>7}",
        "puts/commit",
        "store puts/s",
        "bare puts/s",
        "ratio",
        "file only",
        "log alone",
        "commits only",
        "bytes/appended",
        "writer us",
        "log us",
        "rest us",
        "bare us"
    );
    let only = argument("--only", 0);
    for group in [1, 16, 64, 256].into_iter().filter(|group| only == 0 || only == *group) {
        let store = open(&dir.path().join("store"), 1 + group, group as usize, &given);
        let mut row = Row::default();
        for round in 0..=rounds {
            take();
            let begun = processor();
            let ours = store_round(&store, at, commits, group).await.as_secs_f64();
            let between = processor();
            let given = take();
            let appends = given.iter().filter(|given| matches!(given, Given::Append(..))).count();
            assert_eq!(appends as u64, commits, "each commit has {group} puts");
            let theirs = bare.replay(&given).as_secs_f64();
            let bare_processor = processor().iter().sum::<f64>() - between.iter().sum::<f64>();
            let commits_only: Vec<Given> = given.iter().copied().filter(is_commit).collect();
            let alone = alone.replay(&commits_only).as_secs_f64();
            let file_only = file_only.replay(&given).as_secs_f64();
            let log_alone = replay_log(&mut log, &given).as_secs_f64();
            at += commits * group;
            if round > 0 {
                row.take(
                    &given,
                    (commits * group) as f64,
                    [ours, theirs, file_only, alone, log_alone],
                    [0, 1, 2].map(|at| between[at] - begun[at]),
                );
                row.bare_processor += bare_processor;
            }
        }
        row.print(group);
        store.shutdown().await;
        let rest = take();
        bare.replay(&rest);
        file_only.replay(&rest);
        replay_log(&mut log, &rest);
    }
}

impl Row {
    fn take(
        &mut self,
        given: &[Given],
        puts: f64,
        [ours, theirs, file_only, alone, log_alone]: [f64; 5],
        processor: [f64; 3],
    ) {
        let bytes = |appends: bool| -> usize {
            given
                .iter()
                .map(|given| match given {
                    Given::Append(_, bytes) => *bytes,
                    Given::Rewrite(_, bytes) if !appends => *bytes,
                    _ => 0,
                })
                .sum()
        };
        self.ratios.push(theirs / ours);
        self.alone.push(alone / ours);
        self.file_only.push(file_only / ours);
        self.log.push(log_alone / ours);
        self.ours.push(puts / ours);
        self.theirs.push(puts / theirs);
        self.written.push(bytes(false) as f64 / bytes(true) as f64);
        (0..3).for_each(|at| self.processor[at] += processor[at]);
        self.puts += puts;
    }

    fn print(self, group: u64) {
        let us = |seconds: f64| seconds * 1e6 / self.puts;
        println!(
            "{group:>11} {:>12.0} {:>12.0} {:>7.2} {:>10.2} {:>10.2} {:>13.2} {:>15.2} {:>10.2} {:>7.2} {:>8.2} {:>7.2}",
            median(self.ours),
            median(self.theirs),
            median(self.ratios),
            median(self.file_only),
            median(self.log),
            median(self.alone),
            median(self.written),
            us(self.processor[0]),
            us(self.processor[1]),
            us(self.processor[2]),
            us(self.bare_processor)
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
