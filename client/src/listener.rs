//! Listeners: a subscription that outlives connections, as a stream of events.
//!
//! A task of its own subscribes, passes events on through a short queue, and subscribes anew after the last event passed
//! on when the session is lost. It reads no further than the queue has room: QUIC's flow control then holds the relay
//! back, for this subscription alone, and the relay coalesces.

use std::{
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use landbridge_protocol::{
    blob::Blob,
    error::Refusal,
    frame::{
        NodeToRelay, RelayToNode,
        node::{EventKind, Subscribe},
    },
    name::CacheName,
    record::Key,
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    backoff::Backoff,
    call::{live, passes_soon},
    client::Shared,
    error::{Error, LinkError},
    event::{Change, Event, Token},
    key::CacheKey,
    raw::RawCache,
    session::{Session, frames},
};

/// Events that were read and not yet taken.
const QUEUE: usize = 64;

type Item<K, V> = Result<Event<K, V>, Error>;

/// Sets up a listener; see [`crate::Cache::listen`].
#[derive(Debug)]
#[must_use = "nothing is heard before `start`"]
pub struct Listen<K = Key, V = Bytes> {
    cache: RawCache,
    from: Option<Token>,
    snapshot: bool,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Listen<K, V> {
    /// The entries of the moment come first, as `Created` events, then `SnapshotEnd`. Ignored with a token that can be
    /// resumed from.
    pub fn snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    /// Resumes after the event that carried this token. Where that can't be, a `Gap` and a snapshot come first.
    pub fn from(mut self, token: Token) -> Self {
        self.from = Some(token);
        self
    }

    async fn subscribe(self) -> Result<RawListener, Error> {
        let shared = Arc::clone(&self.cache.client.shared);
        let (timeout, link) = (shared.timeout, shared.link.clone());
        let (events, queue) = mpsc::channel(QUEUE);
        let (began, begun) = oneshot::channel();
        let place =
            Place { in_snapshot: self.snapshot && self.from.is_none(), token: self.from, snapshot: self.snapshot };
        let task = Task { cache: self.cache.name, place, shared, events, began: Some(began) };
        let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
        let token = match tokio::time::timeout(timeout, begun).await {
            Ok(Ok(begun)) => begun?,
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => {
                let cause = match &*link.borrow() {
                    crate::session::Link::Down(cause) => cause.clone(),
                    _ => None,
                };
                return Err(Error::TimedOut { after: timeout, sent: false, cause });
            }
        };
        Ok(RawListener { queue, token, _task: task })
    }
}

impl Listen {
    pub(crate) fn new(cache: RawCache) -> Self {
        Self { cache, from: None, snapshot: false, types: PhantomData }
    }

    pub(crate) fn typed<K, V>(self) -> Listen<K, V> {
        Listen { cache: self.cache, from: self.from, snapshot: self.snapshot, types: PhantomData }
    }

    /// Subscribes. What changes after this has returned is heard.
    pub async fn start_raw(self) -> Result<RawListener, Error> {
        self.subscribe().await
    }
}

impl<K: CacheKey, V: DeserializeOwned> Listen<K, V> {
    /// Subscribes. What changes after this has returned is heard.
    pub async fn start(self) -> Result<Listener<K, V>, Error> {
        Ok(Listener { raw: self.subscribe().await?, types: PhantomData })
    }
}

/// Events as bytes. The subscription ends when it is dropped; the stream ends after an error.
#[derive(Debug)]
pub struct RawListener {
    queue: mpsc::Receiver<Item<Key, Bytes>>,
    token: Option<Token>,
    _task: AbortOnDropHandle<()>,
}

impl RawListener {
    /// The next event; cancel-safe.
    pub async fn next(&mut self) -> Option<Item<Key, Bytes>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Resumes after what was taken so far; `None` inside a snapshot.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }
}

impl Stream for RawListener {
    type Item = Item<Key, Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.queue.poll_recv(cx);
        if let Poll::Ready(Some(Ok(event))) = &next {
            self.token.clone_from(&event.token);
        }
        next
    }
}

/// Events with types. One that is not of the types is an error in its place, and the stream goes on.
#[derive(Debug)]
pub struct Listener<K, V> {
    raw: RawListener,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: CacheKey, V: DeserializeOwned> Listener<K, V> {
    /// The next event; cancel-safe.
    pub async fn next(&mut self) -> Option<Item<K, V>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Resumes after what was taken so far; `None` inside a snapshot.
    pub fn token(&self) -> Option<&Token> {
        self.raw.token()
    }
}

impl<K: CacheKey, V: DeserializeOwned> Stream for Listener<K, V> {
    type Item = Item<K, V>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.raw).poll_next(cx).map(|next| next.map(|event| event.and_then(Event::typed)))
    }
}

/// Where the subscription stands, for the next time that it begins.
#[derive(Debug)]
struct Place {
    /// After the last event passed on. While in a snapshot it stays where the snapshot began: a cut one begins anew. After
    /// a gap it is the gap's, from which there is no going on but by another.
    token: Option<Token>,
    /// Whether a snapshot is asked for where there is no token.
    snapshot: bool,
    in_snapshot: bool,
}

impl Place {
    fn subscribe(&self, cache: &CacheName) -> Subscribe {
        let from = self.token.as_ref().map(|token| Blob(token.0.clone()));
        Subscribe { cache: cache.clone(), snapshot: self.snapshot && from.is_none(), from }
    }

    /// The subscription stands; `token` is its beginning.
    fn subscribed(&mut self, token: Bytes) {
        if !self.in_snapshot {
            self.token = Some(Token(token));
        }
    }

    /// Moves past an event; gives the token that it is passed on with.
    fn told(&mut self, kind: EventKind, token: Bytes) -> Option<Token> {
        match kind {
            EventKind::Gap => {
                self.in_snapshot = true;
                // What was heard before is void from here on, whichever relay is asked next: this token says so.
                self.token = Some(Token(token.clone()));
            }
            EventKind::SnapshotEnd => self.in_snapshot = false,
            _ => {}
        }
        if self.in_snapshot {
            return None;
        }
        self.token = Some(Token(token));
        self.token.clone()
    }
}

struct Task {
    cache: CacheName,
    place: Place,
    shared: Arc<Shared>,
    events: mpsc::Sender<Item<Key, Bytes>>,
    began: Option<oneshot::Sender<Result<Option<Token>, Error>>>,
}

/// Why a subscription on one session ended.
enum End {
    Refused(Refusal),
    Lost,
    /// Nobody listens any more.
    Dropped,
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        tracing::debug!(%error, "subscription lost");
        error.refusal().map_or(Self::Lost, Self::Refused)
    }
}

impl Task {
    async fn run(mut self) {
        let mut link = self.shared.link.clone();
        let mut backoff = Backoff::new(self.shared.chance.next());
        let mut lost = None;
        let error = loop {
            let session = match live(&mut link, lost).await {
                Ok(session) => session,
                Err(error) => break error,
            };
            match self.follow(&session, &mut backoff).await {
                End::Dropped => return,
                End::Refused(refusal) if passes_soon(&refusal) => tokio::time::sleep(backoff.next()).await,
                End::Refused(refusal) => break refusal.into(),
                // A stream may end without its session: then the same one serves again, after a pause.
                End::Lost if session.is_open() => tokio::time::sleep(backoff.next()).await,
                End::Lost => lost = Some(session.number),
            }
        };
        match self.began.take() {
            Some(began) => drop(began.send(Err(error))),
            None => drop(self.events.send(Err(error)).await),
        }
    }

    /// Subscribes on this session and passes events on until it ends.
    async fn follow(&mut self, session: &Session, backoff: &mut Backoff) -> End {
        let mut stream = match self.begin(session).await {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        loop {
            let event = match stream.next().await {
                Ok(RelayToNode::Event(event)) => event,
                Ok(RelayToNode::Refused(refusal)) => return End::Refused(refusal),
                Ok(_) => return End::Lost,
                Err(error) => return error.into(),
            };
            backoff.reset();
            let token = self.place.told(event.kind, event.token.clone());
            let Some(event) = Event::from_wire(event, token) else { return End::Lost };
            if self.events.send(Ok(event)).await.is_err() {
                return End::Dropped;
            }
        }
    }

    async fn begin(&mut self, session: &Session) -> Result<frames::Stream, End> {
        let mut stream = session.open().await?;
        stream.send(1, &NodeToRelay::Subscribe(self.place.subscribe(&self.cache))).await?;
        let token = match stream.next().await? {
            RelayToNode::Subscribed(subscribed) => subscribed.token,
            RelayToNode::Refused(refusal) => return Err(End::Refused(refusal)),
            _ => return Err(End::Lost),
        };
        let first = self.began.take();
        let again = first.is_none() && self.place.in_snapshot && self.place.token.is_none();
        self.place.subscribed(token);
        match first {
            Some(began) => {
                let token = if self.place.in_snapshot { None } else { self.place.token.clone() };
                if began.send(Ok(token)).is_err() {
                    return Err(End::Dropped);
                }
            }
            // A cut snapshot begins anew; what was told of it may be gone by now. With a token, the relay says so itself.
            None if again => {
                let gap = Event { change: Change::Gap, token: None };
                self.events.send(Ok(gap)).await.map_err(|_| End::Dropped)?;
            }
            None => {}
        }
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(token: Option<&'static [u8]>, snapshot: bool) -> Place {
        let token = token.map(|bytes| Token(Bytes::from_static(bytes)));
        Place { in_snapshot: snapshot && token.is_none(), token, snapshot }
    }

    fn resumes_from(place: &Place) -> (Option<Bytes>, bool) {
        let subscribe = place.subscribe(&CacheName::new("sessions").unwrap());
        (subscribe.from.map(|blob| blob.0), subscribe.snapshot)
    }

    #[test]
    fn resumes_after_the_last_event() {
        let mut place = place(None, false);
        place.subscribed(Bytes::from_static(b"0"));
        assert_eq!(resumes_from(&place), (Some(Bytes::from_static(b"0")), false));
        assert!(place.told(EventKind::Created, Bytes::from_static(b"1")).is_some());
        assert_eq!(resumes_from(&place), (Some(Bytes::from_static(b"1")), false));
    }

    #[test]
    fn a_cut_snapshot_begins_anew() {
        let mut place = place(None, true);
        place.subscribed(Bytes::from_static(b"0"));
        assert_eq!(place.told(EventKind::Created, Bytes::from_static(b"1")), None);
        assert_eq!(resumes_from(&place), (None, true));
        assert!(place.told(EventKind::SnapshotEnd, Bytes::from_static(b"2")).is_some());
        assert_eq!(resumes_from(&place), (Some(Bytes::from_static(b"2")), false));
    }

    #[test]
    fn a_gap_that_was_cut_is_met_again_at_any_relay() {
        let mut place = place(Some(b"old"), true);
        assert_eq!(place.told(EventKind::Gap, Bytes::from_static(b"nowhere")), None);
        assert_eq!(place.told(EventKind::Created, Bytes::from_static(b"2")), None);
        assert_eq!(resumes_from(&place), (Some(Bytes::from_static(b"nowhere")), false));
    }
}
