//! Opening: the log is read from its beginning to its end, and the index is what it says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use landbridge_protocol::{position::Sequence, time::Timestamp, version::RunId};

use super::{
    conflicts::ConflictLog,
    directory::Directory,
    encoding,
    error::OpenError,
    hold::Hold,
    ledger::{Ledger, Use},
    log::{Log, LogError, LogReader},
    options::{StoreLimits, StoreOptions},
    reader::Reader,
    scribe::Scribe,
    sled_log::SledLog,
    writer::Writer,
};
use crate::{
    clock::Stopwatch,
    engine::replica::{Replica, ReplicaConfig},
    metrics::Metrics,
};

/// The log of the directory that the options name. With `recover`, one that is damaged is set aside.
pub(super) fn open_directory(options: &StoreOptions, now: Timestamp) -> Result<SledLog, OpenError> {
    if !options.recover {
        return SledLog::open(Directory::open(&options.dir)?, options.fsync).map_err(|(_, error)| error);
    }
    let told = |damage: &OpenError, aside: &Path| {
        tracing::warn!(%damage, aside = %aside.display(), "the damaged log was set aside; the peers fill an empty one");
    };
    let (directory, without_format) = Directory::recover(&options.dir, now)?;
    if let Some((damage, aside)) = without_format {
        told(&damage, &aside);
    }
    let (directory, damage) = match SledLog::open(directory, options.fsync) {
        Ok(log) => match readable(&log, options) {
            Ok(()) => return Ok(log),
            Err(damage @ (OpenError::Damaged { .. } | OpenError::Log { .. })) => (log.into_directory(), damage),
            Err(other) => return Err(other),
        },
        Err((directory, damage @ (OpenError::Damaged { .. } | OpenError::Log { .. }))) => (directory, damage),
        Err((_, other)) => return Err(other),
    };
    let aside = directory.set_aside(now)?;
    told(&damage, &aside);
    SledLog::open(directory, options.fsync).map_err(|(_, error)| error)
}

/// Whether the whole log can be read.
fn readable(log: &SledLog, options: &StoreOptions) -> Result<(), OpenError> {
    let mut replica = Replica::new(options.replica.clone(), options.run, Timestamp::ZERO);
    let reading = log.reader();
    scan(reading.as_ref(), &mut replica, options.limits.progress_every)?;
    open_conflicts(&reading, &options.limits).map(|_| ())
}

fn open_conflicts(reading: &Arc<dyn LogReader>, limits: &StoreLimits) -> Result<ConflictLog, OpenError> {
    let opened = ConflictLog::open(&Reader::new(reading.clone()), limits.max_conflicts);
    opened.map_err(|error| unreadable(reading.as_ref(), error))
}

/// What an error of the log means to who opens it.
fn unreadable(log: &dyn LogReader, error: LogError) -> OpenError {
    let place = log.place().to_string();
    match error {
        LogError::Corrupt(problem) => OpenError::Damaged { file: place, problem },
        source => OpenError::Log { place, source },
    }
}

/// A writer and the scribe of its log: replayed, and with a new run begun.
pub(super) fn open_writer(
    mut log: Box<dyn Log>,
    config: ReplicaConfig,
    run: RunId,
    limits: StoreLimits,
    now: Timestamp,
    metrics: Metrics,
) -> Result<(Writer, Scribe), OpenError> {
    let reading = log.reader();
    let mut replica = Replica::new(config, run, now);
    let Scanned { commits, leftovers } = scan(reading.as_ref(), &mut replica, limits.progress_every)?;
    for first in leftovers {
        log.remove(first).map_err(|error| unreadable(reading.as_ref(), error))?;
    }
    drop(reading);
    let log = log.tidy(commits.values().map(|usage| usage.bytes).sum())?;
    let reading = log.reader();
    let ledger = account(&replica, commits);
    if replica.head() > Sequence::ZERO {
        replica.start(run, now);
    }
    let conflicts = open_conflicts(&reading, &limits)?;
    let writer = Writer {
        conflicts,
        hold: Arc::new(Hold::default()),
        replica: Arc::new(RwLock::new(replica)),
        poison: Arc::new(OnceLock::new()),
        reader: Reader::new(reading),
        ledger,
        limits,
        commits: metrics.store(),
        metrics,
        flying: VecDeque::new(),
        rewriting: BTreeSet::new(),
        unsettled: false,
    };
    Ok((writer, Scribe::new(log)))
}

struct Scanned {
    commits: BTreeMap<Sequence, Use>,
    /// Commits that a merge has taken into an earlier one, and a crash has left.
    leftovers: Vec<Sequence>,
}

fn scan(log: &dyn LogReader, replica: &mut Replica, progress_every: Duration) -> Result<Scanned, OpenError> {
    let place = log.place().to_string();
    let failed = |error: LogError| unreadable(log, error);
    let mut scanned = Scanned { commits: BTreeMap::new(), leftovers: Vec::new() };
    let (watch, mut said, mut records, mut at, mut last) =
        (Stopwatch::start(), progress_every, 0_u64, Sequence::ZERO, Sequence::ZERO);
    while let Some((first, bytes)) = log.following(at).map_err(failed)? {
        at = first;
        let damaged = |problem: String| OpenError::Damaged { file: format!("{place}, commit {first}"), problem };
        let commit = encoding::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        if commit.header.first != first {
            return Err(damaged(format!("it says that it is commit {}", commit.header.first)));
        }
        if first <= last {
            scanned.leftovers.push(first);
            continue;
        }
        if first != last.next() {
            return Err(damaged(format!("what lies between {last} and it is missing")));
        }
        last = commit.header.last;
        replica.replay(&commit.header, &commit.records).map_err(|error| damaged(error.to_string()))?;
        let count = commit.records.len() as u32;
        let (all, header) = (bytes.len() as u64, encoding::header_bytes(&bytes));
        scanned.commits.insert(first, Use { last, bytes: all, header, records: count, ..Use::default() });
        records += u64::from(count);
        if watch.elapsed() >= said {
            said = watch.elapsed() + progress_every;
            eprintln!("reading the log: {records} records, at sequence {last}");
        }
    }
    Ok(scanned)
}

/// Counts how much of each commit is held.
fn account(replica: &Replica, mut commits: BTreeMap<Sequence, Use>) -> Ledger {
    for sequence in replica.index.sequences() {
        if let Some((_, usage)) = commits.range_mut(..=sequence).next_back() {
            usage.live += 1;
        }
    }
    let mut ledger = Ledger::default();
    for (first, usage) in commits {
        ledger.put(first, usage);
    }
    ledger
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{
        frame::node::Operation,
        record::Key,
        version::{Clock, Origin, Version},
    };

    use super::{
        super::{
            memory_log::MemoryLog,
            tests::{config, now, write, writer},
        },
        *,
    };
    use crate::engine::header::LogRecord;

    /// `count` records, the birth and the version of each of a run of its own.
    fn log_of(count: u64) -> MemoryLog {
        let first = MemoryLog::new();
        writer(&first, 1).step(vec![write(Operation::Put, 1, 1, vec![1])], now());
        let at = first.commits()[0].0;
        let (_, bytes) = first.reader().following(Sequence::ZERO).unwrap().unwrap();
        let mut commit = encoding::decode(&bytes).unwrap();
        let Some((_, LogRecord::Record(record))) = commit.records.pop() else { panic!("a put") };
        let of = |run: u64| Version {
            clock: Clock::from_bits(run + 1),
            origin: Origin { run: RunId(run), ..record.version.origin },
        };
        let records = (0..count).map(|number| {
            let key = Some(Key::new(number.to_be_bytes().to_vec()).unwrap());
            let record = landbridge_protocol::record::Record {
                key,
                birth: of(2 * number),
                version: of(2 * number + 1),
                ..record.clone()
            };
            (Sequence::new(at.get() + number), LogRecord::Record(record))
        });
        commit.records = records.collect();
        commit.header.last = commit.records.last().unwrap().0;
        let mut log = MemoryLog::new();
        log.append(at, encoding::encode(&commit)).unwrap();
        log.flush().unwrap();
        log
    }

    #[test]
    fn with_recover_one_that_names_no_format_or_no_newest_commit_is_set_aside() {
        for (name, damaged) in [("FORMAT", &b"landbridge \xff"[..]), ("FORMAT", b"x"), ("newest", b"newest \xff")] {
            let dir = tempfile::tempdir().unwrap();
            let options = |recover| StoreOptions {
                dir: dir.path().to_owned(),
                fsync: false,
                recover,
                replica: config(),
                run: RunId(1),
                limits: StoreLimits::default(),
            };
            let mut log = open_directory(&options(false), now()).unwrap();
            log.append(Sequence::new(1), "one".into()).unwrap();
            log.close(Sequence::new(1)).unwrap();
            drop(log);
            std::fs::write(dir.path().join(name), damaged).unwrap();
            let error = open_directory(&options(false), now()).map(drop).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error}");
            let log = open_directory(&options(true), now()).unwrap();
            assert_eq!(log.reader().following(Sequence::ZERO).unwrap(), None, "{name}");
            let aside = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            let aside = aside.filter(|path| path.to_string_lossy().contains("damaged-")).collect::<Vec<_>>();
            assert!(aside.len() == 1 && aside[0].join("log/db").exists(), "{name}: {aside:?}");
        }
    }

    #[test]
    fn a_log_of_more_runs_than_can_be_told_apart_is_damaged() {
        let open = |count| {
            let log = Box::new(log_of(count));
            open_writer(log, config(), RunId(2), StoreLimits::default(), now(), Metrics::new()).map(drop)
        };
        open(32_767).unwrap();
        let error = open(32_768).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("65535 runs"), "{error}");
    }
}
