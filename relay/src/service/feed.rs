//! The store, as subscriptions see it.

use bytes::Bytes;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::Subscribe,
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::Origin,
};
use quinn::SendStream;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::shelf::{MAX_LOOK, Stock};
use crate::{
    engine::{
        command::Published,
        guards::Guard,
        header::{LogRead, ReadError},
    },
    listener::{self, Feed, Read, SnapshotPage},
    session::Subscriptions,
    store::Store,
};

/// Entries that are looked up for one page of a snapshot.
const PAGE_ENTRIES: usize = 512;

impl Feed for Stock {
    fn origin(&self) -> Origin {
        self.store.view(|replica| replica.origin())
    }

    fn continues(&self, origin: &Origin) -> bool {
        self.store.view(|replica| replica.continues(origin))
    }

    fn had(&self, origin: &Origin, sequence: Sequence) -> bool {
        self.store.view(|replica| replica.had(origin, sequence))
    }

    fn former(&self) -> Option<(Origin, Sequence)> {
        self.store.view(|replica| replica.former())
    }

    fn replicates(&self, cache: &CacheName, site: SiteName) -> bool {
        self.store.view(|replica| replica.replicates(cache, &site))
    }

    fn merge(&self, cache: &CacheName) -> Merge {
        self.store.view(|replica| replica.merge(cache))
    }

    fn has_messages(&self, cache: &CacheName) -> bool {
        self.terms.borrow().caches.get(cache).is_some_and(|cache| cache.messages)
    }

    fn dropped(&self) -> Vector {
        self.store.view(|replica| replica.dropped().clone())
    }

    fn published(&self) -> watch::Receiver<Published> {
        self.store.published()
    }

    async fn read(&self, after: Sequence, max_bytes: usize) -> Result<Read, Refusal> {
        if self.store.is_near(after) {
            let LogRead { through, records, .. } = self.store.read_log(after, max_bytes).map_err(unreadable)?;
            return Ok(Read { through, records });
        }
        let read = self.store.apart(move |store: &Store| {
            let read = store.read_log(after, max_bytes)?;
            let records = read.records.into_iter().map(|(sequence, record)| (sequence, by_itself(record)));
            Ok(Read { through: read.through, records: records.collect() })
        });
        done(read).await?.map_err(unreadable)
    }

    fn holds(&self, sequence: Sequence, record: &Record) -> Result<(), Sequence> {
        self.store.view(|replica| {
            let ahead = sequence > replica.head() && !replica.config().guards.hold(Guard::ReadPublished);
            if ahead || replica.holds(sequence, record) { Ok(()) } else { Err(replica.head()) }
        })
    }

    async fn page(&self, cache: &CacheName, after: Option<&Key>, max_bytes: usize) -> Result<SnapshotPage, Refusal> {
        let (stock, cache, after) = (self.clone(), cache.clone(), after.cloned());
        done(self.store.apart(move |_| stock.snapshot_page(&cache, after, max_bytes))).await?
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Stock {
    fn snapshot_page(&self, cache: &CacheName, mut after: Option<Key>, most: usize) -> Result<SnapshotPage, Refusal> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        // Again where all that was found is gone by the time that it is read: a page without records ends a snapshot.
        loop {
            let now = self.clock.now();
            let bounds = (PAGE_ENTRIES, MAX_LOOK);
            let (found, on) = self.store.view(|replica| replica.entries(cache, b"", after.as_ref(), bounds, now));
            let more = found.len() == PAGE_ENTRIES || on.is_some();
            for (key, slot) in found {
                // What is not there any more was superseded since, and is told when the log is read.
                let record = self.store.record(slot.sequence).map_err(unreadable)?;
                after = Some(key);
                let Some(record) = record else { continue };
                bytes += record.value.len() + record.key.as_ref().map_or(0, |key| key.as_bytes().len());
                records.push(by_itself(record));
                if bytes >= most {
                    return Ok(SnapshotPage { records, more: true });
                }
            }
            if !more || !records.is_empty() {
                return Ok(SnapshotPage { records, more });
            }
            after = on.or(after);
        }
    }
}

impl Subscriptions for Stock {
    async fn serve(
        &self,
        subscribe: Subscribe,
        request: u64,
        send: SendStream,
        stop: CancellationToken,
        refused: impl Future<Output = Refusal> + Send,
    ) {
        listener::serve(self, subscribe, request, send, stop, refused).await;
    }
}

/// The record with a key and a value of its own. Those that were read from a commit keep all of it in memory, for as long as
/// a subscriber does not read: much, where it is far behind.
fn by_itself(record: Record) -> Record {
    let key = record.key.map(|key| Key::new(Bytes::copy_from_slice(key.as_bytes())).unwrap_or(key));
    Record { key, value: Bytes::copy_from_slice(&record.value), ..record }
}

async fn done<T>(reading: JoinHandle<T>) -> Result<T, Refusal> {
    reading.await.map_err(|error| Refusal::new(ErrorCode::Internal, format!("reading the store was cut off: {error}")))
}

fn unreadable(error: ReadError) -> Refusal {
    tracing::error!(%error, "a subscription can't be served");
    Refusal::new(ErrorCode::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{
        name::SiteName,
        record::Kind,
        version::{Clock, RunId, Version},
    };

    use super::*;

    #[test]
    fn a_record_by_itself_keeps_nothing_of_its_commit() {
        let commit = Bytes::from(vec![b'x'; 1 << 20]);
        let version = Version {
            clock: Clock::from_bits(1),
            origin: Origin { site: SiteName::new("site1").unwrap(), run: RunId(1) },
        };
        let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new(commit.slice(..8)).unwrap());
        let record = Record { value: commit.slice(8..100), ..Record::bare(cache, Some(key), Kind::Live, version) };
        let alone = by_itself(record.clone());
        assert_eq!(alone, record);
        drop(record);
        assert!(commit.is_unique(), "nobody else holds the commit");
    }
}
