//! An event to all subscriptions of its cache: from the put to the last one's write.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use landbridge_protocol::frame::node::Subscribe;
use landbridge_relay::{
    clock::ManualClock, config::Limits, listener, metrics::Metrics, service::Stock, session::Terms,
};
use tokio::{
    io::AsyncWrite,
    sync::{Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bed::{NOW, cache, put},
    store::in_memory,
};

/// Takes in all that is written, and counts the writes.
struct Sink(Arc<Semaphore>);

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.add_permits(1);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("listener");
    for subscriptions in [1, 100, 1000] {
        group.throughput(Throughput::Elements(subscriptions));
        group.bench_function(BenchmarkId::new("an event to so many subscriptions", subscriptions), |b| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
            let store = in_memory();
            let terms = watch::Sender::new(Arc::new(Terms::new(&[], Limits::default(), &Metrics::new())));
            let stock = Stock::new(store.clone(), Arc::new(ManualClock::at(NOW)), terms.subscribe());
            let (writes, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
            let all_have_written = async || writes.acquire_many(subscriptions as u32).await.expect("open").forget();
            for request in 0..subscriptions {
                let (stock, stop, sink) = (stock.clone(), stop.clone(), Sink(writes.clone()));
                runtime.spawn(async move {
                    let subscribe = Subscribe { cache: cache(), snapshot: false, from: None };
                    listener::serve(&stock, subscribe, request, sink, stop, std::future::pending()).await;
                });
            }
            runtime.block_on(all_have_written());
            let mut number = 0;
            b.iter(|| {
                number += 1;
                runtime.block_on(async {
                    store.submit(put(number)).await.expect("a put is taken");
                    all_have_written().await;
                });
            });
            stop.cancel();
            runtime.block_on(store.shutdown());
        });
    }
    group.finish();
}
