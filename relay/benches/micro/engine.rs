//! Groups decided on an index of 100 000 keys, published into it, and looked up.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput};

use crate::bed::{GROUP, KEYS, NOW, Part, cache, key};

pub(crate) fn all(c: &mut Criterion) {
    let mut part = Part::filled();
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(GROUP));
    group.bench_function("decide a group of puts", |b| {
        let commands: Vec<_> = (0..GROUP).map(crate::bed::put).collect();
        b.iter_batched(|| commands.clone(), |commands| part.stage(commands), BatchSize::SmallInput);
    });
    group.bench_function("publish a group into the index", |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let commands = part.next_group(GROUP);
                    let staged = part.stage(commands).1;
                    let begun = Instant::now();
                    black_box(part.replica.publish(staged));
                    begun.elapsed()
                })
                .sum::<Duration>()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("look a key up in the index", |b| {
        let (cache, keys): (_, Vec<_>) = (cache(), (0..KEYS).step_by(7).map(key).collect());
        let mut keys = keys.iter().cycle();
        b.iter(|| part.replica.live(&cache, keys.next().expect("it goes round"), NOW));
    });
    group.finish();
}
