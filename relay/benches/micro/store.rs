//! Commits, as bytes and through the store's threads on a log in memory; and what compaction does to one.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use landbridge_protocol::{position::Sequence, version::RunId};
use landbridge_relay::{
    clock::ManualClock,
    engine::header::{Commit, LogRecord},
    machine::Workers,
    metrics::Metrics,
    store::{Store, StoreLimits, StoreOptions, encoding, memory_log::MemoryLog},
};

use crate::bed::{GROUP, KEYS, NOW, Part, config, put};

/// A store on a log in memory.
pub(crate) fn in_memory() -> Store {
    let options = StoreOptions {
        dir: "memory".into(),
        fsync: true,
        recover: false,
        replica: config("site1", &[]),
        run: RunId(1),
        limits: StoreLimits { min_free_bytes: 0, ..StoreLimits::default() },
    };
    let (log, clock) = (Box::new(MemoryLog::new()), Arc::new(ManualClock::at(NOW)));
    let opened = Store::open_with(log, options, clock, Metrics::new(), Workers::Threads);
    opened.expect("the store opens")
}

pub(crate) fn all(c: &mut Criterion) {
    let mut part = Part::filled();
    let commands = part.next_group(GROUP);
    let commit = part.stage(commands).1.commit.expect("puts must become durable");
    let bytes = encoding::encode(&commit);
    let middle = Sequence::new(commit.header.first.get() + GROUP / 2);
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("encode a commit", |b| b.iter(|| encoding::encode(&commit)));
    group.bench_function("decode a commit", |b| b.iter(|| encoding::decode(&bytes).expect("as it was written")));
    compaction(&mut group, &mut part);
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode one record of a commit", |b| {
        b.iter(|| encoding::decode_one(&bytes, middle).expect("as it was written"));
    });
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("a group of puts through the writer and a log in memory", |b| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = in_memory();
        let mut at = 0;
        let mut groups = || {
            at += GROUP;
            (at - GROUP..at).map(|number| put(number % (4 * KEYS) + 1)).collect::<Vec<_>>()
        };
        b.iter_batched(
            &mut groups,
            |commands| {
                runtime.block_on(async {
                    for answer in store.place_all(commands).await {
                        answer.await.expect("the store answers").expect("the put is done");
                    }
                });
            },
            BatchSize::SmallInput,
        );
        runtime.block_on(store.shutdown());
    });
    group.finish();
}

/// What the writer does to a commit that is half dead: decode it, keep what is held, encode the rest.
fn compaction(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, part: &mut Part) {
    let commands = part.next_group(GROUP);
    let staged = part.stage(commands).1;
    let bytes = encoding::encode(staged.commit.as_ref().expect("puts must become durable"));
    part.replica.publish(staged);
    let again = (part.puts - GROUP..part.puts).step_by(2).map(put).collect();
    let staged = part.stage(again).1;
    part.replica.publish(staged);
    group.bench_function("rewrite a commit that is half dead", |b| {
        b.iter(|| {
            let Commit { header, mut records } = encoding::decode(&bytes).expect("as it was written");
            records.retain(|(at, record)| match record {
                LogRecord::Record(record) => part.replica.holds(*at, record),
                LogRecord::Forgotten { .. } => false,
            });
            assert_eq!(records.len() as u64, GROUP / 2);
            encoding::encode(&Commit { header, records })
        });
    });
}
