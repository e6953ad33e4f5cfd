//! Subscriptions against a log in memory, over a pipe that can be full.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use landbridge_protocol::{
    blob::Blob,
    error::Refusal,
    frame::{
        FrameCodec, RelayToNode,
        node::{Event, EventKind, Subscribe},
    },
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Kind, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use tokio::{
    io::{AsyncReadExt, DuplexStream},
    sync::watch,
};
use tokio_util::{codec::Decoder, sync::CancellationToken};

use super::*;
use crate::engine::command::Published;

const PATIENCE: Duration = Duration::from_secs(20);

/// Every record ever appended, and the newest of each key.
pub(super) struct Log {
    origin: Origin,
    /// Runs that ended badly, and their last sequences: those that wrote something.
    formers: Vec<(Origin, Sequence)>,
    messages: bool,
    records: Mutex<Vec<Record>>,
    published: watch::Sender<Published>,
    dropped: Mutex<Vector>,
}

pub(super) fn origin(run: u64) -> Origin {
    origin_of("site1", run)
}

pub(super) fn origin_of(site: &str, run: u64) -> Origin {
    Origin { site: SiteName::new(site).unwrap(), run: RunId(run) }
}

impl Log {
    pub(super) fn new() -> Arc<Self> {
        Self::of(origin(2))
    }

    pub(super) fn of(origin: Origin) -> Arc<Self> {
        Arc::new(Self::built(origin))
    }

    pub(super) fn of_messages() -> Arc<Self> {
        Arc::new(Self { messages: true, ..Self::built(origin(2)) })
    }

    fn built(origin: Origin) -> Self {
        let published = watch::Sender::new(Published { head: Sequence::ZERO, seen: Vector::new(), lacks: Vec::new() });
        let (records, dropped) = (Mutex::default(), Mutex::default());
        Self { origin, formers: Vec::new(), messages: false, records, published, dropped }
    }

    /// The same log in the next run, this one having been killed.
    pub(super) fn killed(&self, run: u64) -> Arc<Self> {
        let published = self.published.borrow().clone();
        let mut formers = self.formers.clone();
        if self.formers.last().map_or(Sequence::ZERO, |(_, end)| *end) < published.head {
            formers.push((self.origin, published.head));
        }
        Arc::new(Self {
            origin: Origin { run: RunId(run), ..self.origin },
            formers,
            messages: self.messages,
            records: Mutex::new(self.after(0)),
            published: watch::Sender::new(published),
            dropped: Mutex::new(self.dropped()),
        })
    }

    /// A write of this relay's own.
    pub(super) fn append(&self, key: &str, kind: Kind, value: &str) {
        let published = self.write(key, kind, value);
        self.published.send_replace(published);
    }

    /// What a commit does before it is told.
    fn write(&self, key: &str, kind: Kind, value: &str) -> Published {
        let mut seen = self.seen();
        let mut records = self.records.lock().unwrap();
        let greatest = records.iter().map(|record| record.version.clock).max();
        let clock = Clock::from_bits(greatest.unwrap_or_default().max(seen.greatest()).bits() + 1);
        let version = Version { clock, origin: self.origin };
        let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new(key.to_string()).unwrap());
        let value = Bytes::copy_from_slice(value.as_bytes());
        records.push(Record { value, ..Record::bare(cache, Some(key), kind, version) });
        seen.raise(self.origin, clock);
        let lacks = self.published.borrow().lacks.clone();
        Published { head: Sequence::new(records.len() as u64), seen, lacks }
    }

    /// What is held of the key is past its deadline from now on; where it is `marked`, a mark says so.
    pub(super) fn expire(&self, key: &str, marked: bool) {
        let mut records = self.records.lock().unwrap();
        let held =
            records.iter_mut().rfind(|record| record.key.as_ref().unwrap().as_bytes() == key.as_bytes()).unwrap();
        held.deadline = Some(Timestamp::ZERO);
        if marked {
            let mark = Record { kind: Kind::Mark, value: Bytes::new(), ..held.clone() };
            records.push(mark);
        }
        let head = Sequence::new(records.len() as u64);
        drop(records);
        self.published.send_modify(|published| published.head = head);
    }

    /// Of whose log the cache is lacked.
    pub(super) fn lack(&self, sites: &[&str]) {
        let cache = || CacheName::new("sessions").unwrap();
        let lacks = sites.iter().map(|site| (SiteName::new(site).unwrap(), cache())).collect();
        self.published.send_modify(|published| published.lacks = lacks);
    }

    /// Takes a record in where it is the newest of its key.
    pub(super) fn receive(&self, record: Record) {
        let held = self.newest().remove(record.key.as_ref().unwrap());
        if held.is_none_or(|(_, held)| held.version < record.version) {
            self.records.lock().unwrap().push(record);
            let head = Sequence::new(self.records.lock().unwrap().len() as u64);
            self.published.send_modify(|published| published.head = head);
        }
    }

    /// V grows.
    pub(super) fn learn(&self, vector: &Vector) {
        self.published.send_if_modified(|published| published.seen.join(vector));
    }

    pub(super) fn seen(&self) -> Vector {
        self.published.borrow().seen.clone()
    }

    /// G grows: of a store that is filled by those that let them go.
    pub(super) fn inherit(&self, dropped: &Vector) {
        self.dropped.lock().unwrap().join(dropped);
    }

    /// Lets a tombstone go.
    pub(super) fn drop_tombstone(&self, version: Version) {
        self.dropped.lock().unwrap().raise(version.origin, version.clock);
    }

    pub(super) fn newest(&self) -> BTreeMap<Key, (u64, Record)> {
        let records = self.records.lock().unwrap();
        records.iter().zip(1..).map(|(record, at)| (record.key.clone().unwrap(), (at, record.clone()))).collect()
    }

    /// All records after a position.
    pub(super) fn after(&self, position: usize) -> Vec<Record> {
        self.records.lock().unwrap()[position..].to_vec()
    }
}

impl Feed for Log {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn continues(&self, of: &Origin) -> bool {
        *of == self.origin
    }

    fn merge(&self, _: &CacheName) -> Merge {
        Merge::Latest
    }

    fn has_messages(&self, _: &CacheName) -> bool {
        self.messages
    }

    fn had(&self, of: &Origin, sequence: Sequence) -> bool {
        let former = self.formers.iter().find(|(run, _)| run == of);
        former.is_some_and(|(_, end)| sequence <= *end)
            || (*of == self.origin && sequence <= self.published.borrow().head)
    }

    fn former(&self) -> Option<(Origin, Sequence)> {
        self.formers.last().copied()
    }

    fn replicates(&self, _: &CacheName, site: SiteName) -> bool {
        site.as_str() != "stranger"
    }

    fn dropped(&self) -> Vector {
        self.dropped.lock().unwrap().clone()
    }

    fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    async fn read(&self, after: Sequence, _: usize) -> Result<Read, Refusal> {
        let records = self.records.lock().unwrap();
        let from = after.get() as usize;
        let head = self.published.borrow().head.get() as usize;
        let part = records.iter().zip(1..).take(head).skip(from).take(8);
        let part: Vec<_> = part.map(|(record, at)| (Sequence::new(at), record.clone())).collect();
        Ok(Read { through: part.last().map_or(after, |(at, _)| *at), records: part })
    }

    fn holds(&self, sequence: Sequence, record: &Record) -> Result<(), Sequence> {
        let let_go = record.kind == Kind::Tombstone && self.dropped.lock().unwrap().covers(&record.version);
        let held = !let_go && self.newest()[record.key.as_ref().unwrap()].0 == sequence.get();
        if held { Ok(()) } else { Err(Sequence::new(self.records.lock().unwrap().len() as u64)) }
    }

    async fn page(&self, _: &CacheName, after: Option<&Key>, _: usize) -> Result<SnapshotPage, Refusal> {
        let newest = self.newest();
        let mut live = newest
            .into_iter()
            .filter(|(key, (_, r))| r.kind == Kind::Live && !r.is_expired(self.now()) && Some(key) > after);
        let records: Vec<Record> = live.by_ref().take(2).map(|(_, (_, record))| record).collect();
        Ok(SnapshotPage { records, more: live.next().is_some() })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
}

pub(super) struct Subscriber {
    stream: DuplexStream,
    buffer: BytesMut,
    pub(super) stop: CancellationToken,
}

pub(super) fn subscribe(log: &Arc<Log>, from: Option<Bytes>, snapshot: bool) -> Subscriber {
    let (stream, theirs) = tokio::io::duplex(512);
    let (log, stop) = (log.clone(), CancellationToken::new());
    let asked = Subscribe { cache: CacheName::new("sessions").unwrap(), from: from.map(Blob), snapshot };
    let until = stop.clone();
    tokio::spawn(async move { serve(&*log, asked, 3, theirs, until, std::future::pending()).await });
    Subscriber { stream, buffer: BytesMut::new(), stop }
}

impl Subscriber {
    async fn hear(&mut self) -> RelayToNode {
        loop {
            if let Some(raw) = FrameCodec::new(1 << 20).decode(&mut self.buffer).unwrap() {
                assert_eq!(raw.request, 3);
                return RelayToNode::decode(&raw).unwrap();
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            assert!(read.expect("in time").unwrap() > 0, "the stream ended");
        }
    }

    /// What there is to be heard without waiting; `None`: the relay has nothing more to say for now.
    pub(super) async fn hear_at_once(&mut self) -> Option<RelayToNode> {
        for _ in 0..64 {
            if let Some(raw) = FrameCodec::new(1 << 20).decode(&mut self.buffer).unwrap() {
                return Some(RelayToNode::decode(&raw).unwrap());
            }
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.buffer) => assert!(read.unwrap() > 0, "the stream ended"),
                () = std::future::ready(()) => {}
            }
            tokio::task::yield_now().await;
        }
        None
    }

    pub(super) async fn begun(mut self) -> (Self, Bytes) {
        let RelayToNode::Subscribed(subscribed) = self.hear().await else { panic!() };
        (self, subscribed.token)
    }

    pub(super) async fn event(&mut self) -> Event {
        let RelayToNode::Event(event) = self.hear().await else { panic!() };
        event
    }

    /// Events up to one of that kind or key.
    pub(super) async fn until(&mut self, last: &str) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            events.push(shown(&self.event().await));
            if events.last().unwrap().starts_with(last) {
                return events;
            }
        }
    }
}

pub(super) fn shown(event: &Event) -> String {
    let key = event.key.as_ref().map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    format!("{:?} {}={}", event.kind, key.unwrap_or_default(), String::from_utf8_lossy(&event.value))
}

#[tokio::test]
async fn from_now_on_changes_are_told_and_nothing_from_before() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    log.append("b", Kind::Live, "2");
    assert_eq!(shown(&subscriber.event().await), "Created b=2");
    log.append("b", Kind::Tombstone, "");
    assert_eq!(shown(&subscriber.event().await), "Removed b=");
}

#[tokio::test]
async fn a_snapshot_comes_first_and_ends_and_its_middle_can_not_be_resumed_from() {
    let log = Log::new();
    for key in ["a", "b", "c"] {
        log.append(key, Kind::Live, "1");
    }
    log.append("b", Kind::Tombstone, "");
    let (mut subscriber, token) = subscribe(&log, None, true).begun().await;
    assert_eq!(subscriber.until("SnapshotEnd").await, ["Created a=1", "Created c=1", "SnapshotEnd ="]);
    let (mut again, _) = subscribe(&log, Some(token), false).begun().await;
    assert_eq!(again.event().await.kind, EventKind::Gap);
    assert_eq!(again.until("SnapshotEnd").await.len(), 3);
}

#[tokio::test]
async fn a_token_goes_on_after_its_event_with_what_is_still_so() {
    let log = Log::new();
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    log.append("a", Kind::Live, "1");
    let token = subscriber.event().await.token;
    subscriber.stop.cancel();
    log.append("a", Kind::Live, "2");
    log.append("b", Kind::Live, "1");
    log.append("a", Kind::Live, "3");
    let (mut again, _) = subscribe(&log, Some(token), true).begun().await;
    assert_eq!(again.until("Created a").await, ["Created b=1", "Created a=3"]);
}

#[tokio::test]
async fn bytes_that_are_no_token_get_a_refusal() {
    let mut bad = subscribe(&Log::new(), Some(Bytes::from_static(b"bad")), false);
    assert!(matches!(bad.hear().await, RelayToNode::Refused(_)));
}

#[tokio::test]
async fn the_last_event_that_there_is_speaks_for_itself() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    log.append("b", Kind::Live, "2");
    let token = landbridge_protocol::token::ResumeToken::from_bytes(&subscriber.event().await.token).unwrap();
    assert_eq!(token.seen, log.seen());
}

#[tokio::test]
async fn a_slow_subscriber_is_coalesced_and_hears_each_keys_last_change() {
    let log = Log::new();
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    for round in 0..500 {
        log.append("hot", Kind::Live, &format!("{round:0>100}"));
        // The pipe holds a few events; the subscription gets its turn and is stuck.
        tokio::task::yield_now().await;
    }
    log.append("last", Kind::Live, "");
    let events = subscriber.until("Created last").await;
    assert!(events.len() < 250, "{}", events.len());
    assert!(events.iter().any(|event| event.ends_with("499")), "the last change of a key is never left out");
}

#[tokio::test]
async fn a_subscriber_so_slow_that_removals_were_let_go_is_told_of_the_gap() {
    let log = Log::new();
    log.append("gone", Kind::Live, "1");
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    for round in 0..40 {
        log.append(&format!("k{round}"), Kind::Live, &format!("{round:0>100}"));
        tokio::task::yield_now().await;
    }
    log.append("gone", Kind::Tombstone, "");
    *log.dropped.lock().unwrap() = [(origin(2), Clock::from_bits(42))].into_iter().collect();
    log.append("last", Kind::Live, "");
    let before = subscriber.until("Gap").await;
    assert!(before.iter().all(|event| !event.starts_with("Removed")), "{before:?}");
    let snapshot = subscriber.until("SnapshotEnd").await;
    assert_eq!(snapshot.len(), 42, "all that lives, and the end: {snapshot:?}");
    assert!(snapshot.iter().all(|event| !event.contains("gone")), "{snapshot:?}");
    log.append("after", Kind::Live, "");
    assert_eq!(subscriber.until("Created after").await.len(), 1, "once told anew, it goes on as before");
}

#[tokio::test]
async fn what_was_superseded_by_a_commit_that_is_not_yet_told_is_not_spoken_for() {
    let log = Log::new();
    let (mut subscriber, _) = subscribe(&log, None, false).begun().await;
    log.write("a", Kind::Live, "1");
    let told = log.write("b", Kind::Live, "2");
    log.write("a", Kind::Live, "3");
    log.published.send_replace(told);
    assert_eq!(shown(&subscriber.event().await), "Created b=2");
    // That which superseded the first is superseded itself, so that nothing has been told of its key.
    log.write("b", Kind::Live, "4");
    log.append("a", Kind::Live, "5");
    let event = subscriber.event().await;
    assert_eq!(shown(&event), "Created b=4");
    let seen = landbridge_protocol::token::ResumeToken::from_bytes(&event.token).unwrap().seen;
    assert!(!seen.covers(&Version { clock: Clock::from_bits(1), origin: origin(2) }), "{seen:?}");
    assert_eq!(shown(&subscriber.event().await), "Created a=5");
}
