//! All entries of a cache, a page at a time: the next page is fetched when the last one was taken, and never before.

use std::{
    collections::VecDeque,
    future::poll_fn,
    marker::PhantomData,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use landbridge_protocol::{frame::node, record::Key};
use serde::de::DeserializeOwned;

use crate::{error::Error, key::CacheKey, raw::RawCache, value::Entry};

type Page = Pin<Box<dyn Future<Output = Result<node::Page, Error>> + Send>>;

/// Entries as bytes; see [`RawCache::entries`]. It ends after an error.
pub struct RawEntries {
    cache: RawCache,
    prefix: Bytes,
    limit: NonZeroU32,
    values: bool,
    state: State,
}

/// ```text
///            ┌── taken, more ──┐
///            ▼                 │
/// Begin ─▶ Fetching ──────▶ Page ── taken, no more ──▶ End
///            └──── error ──────────────────────────────▲
/// ```
enum State {
    Fetching(Page),
    Page { entries: VecDeque<node::Entry>, next: Option<Option<Key>> },
    End,
}

impl std::fmt::Debug for RawEntries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawEntries").field("cache", &self.cache.name).field("prefix", &self.prefix).finish()
    }
}

impl RawEntries {
    /// Entries in a page, unless [`RawEntries::page`] says otherwise.
    pub(crate) const PAGE: NonZeroU32 = NonZeroU32::new(256).expect("256 is not zero");

    pub(crate) fn new(cache: RawCache, prefix: Bytes, limit: NonZeroU32, values: bool) -> Self {
        let state = State::Page { entries: VecDeque::new(), next: Some(None) };
        Self { cache, prefix, limit, values, state }
    }

    /// Fetches so many entries at a time; a relay may send fewer.
    pub fn page(mut self, entries: NonZeroU32) -> Self {
        self.limit = entries;
        self
    }

    /// The next entry; cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Entry<Key, Bytes>, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn fetch(&self, after: Option<Key>) -> Page {
        let (cache, prefix, limit, values) = (self.cache.clone(), self.prefix.clone(), self.limit, self.values);
        Box::pin(async move { cache.page(prefix, after, limit, values).await })
    }
}

impl Stream for RawEntries {
    type Item = Result<Entry<Key, Bytes>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next_state = match &mut self.state {
                State::Fetching(page) => match ready!(page.as_mut().poll(cx)) {
                    Ok(node::Page { entries, more }) => {
                        let next = entries.last().filter(|_| more).map(|last| Some(last.key.clone()));
                        State::Page { entries: entries.into(), next }
                    }
                    Err(error) => {
                        self.state = State::End;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Page { entries, next } => match (entries.pop_front(), next.take()) {
                    (Some(entry), after) => {
                        *next = after;
                        return Poll::Ready(Some(Ok(entry.into())));
                    }
                    (None, Some(after)) => State::Fetching(self.fetch(after)),
                    (None, None) => State::End,
                },
                State::End => return Poll::Ready(None),
            };
            self.state = next_state;
        }
    }
}

/// Entries with types; see [`crate::Cache::entries`]. An entry that is not of the types is an error in its place.
#[derive(Debug)]
pub struct Entries<K, V> {
    raw: RawEntries,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: CacheKey, V: DeserializeOwned> Entries<K, V> {
    pub(crate) fn new(raw: RawEntries) -> Self {
        Self { raw, types: PhantomData }
    }

    /// The next entry; cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Entry<K, V>, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<K: CacheKey, V: DeserializeOwned> Stream for Entries<K, V> {
    type Item = Result<Entry<K, V>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.raw).poll_next(cx).map(|next| next.map(|entry| entry.and_then(Entry::typed)))
    }
}
