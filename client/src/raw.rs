//! A cache as bytes: one method per operation, each building its request and reading its answer.

use std::{num::NonZeroU32, time::Duration};

use bytes::Bytes;
use landbridge_protocol::{
    blob::Blob,
    frame::node::{self, Operation, Reply, Request},
    name::CacheName,
    record::Key,
    time::Millis,
    version::Version,
};

use crate::{
    call::Call,
    client::Client,
    entries::RawEntries,
    error::Error,
    key::AsKey,
    listener::Listen,
    value::{Conditional, Entry, Versioned},
};

/// Entries that one `put_all` request carries at most; more go as several.
const PUT_ALL_ENTRIES: usize = 512;
/// Bytes of keys and values that one `put_all` request carries, the last entry aside.
const PUT_ALL_BYTES: usize = 256 * 1024;
/// Keys that one `get_all` request names at most; more go as several.
const GET_ALL_KEYS: usize = 128;

/// A cache with keys and values of bytes. Cheap to clone. Every operation is done once, retried within its deadline and
/// cancel-safe: a dropped future leaves a write done or not done.
#[derive(Debug, Clone)]
pub struct RawCache {
    pub(crate) client: Client,
    pub(crate) name: CacheName,
    lifespan: Option<Millis>,
}

impl RawCache {
    pub(crate) fn new(client: Client, name: CacheName) -> Self {
        Self { client, name, lifespan: None }
    }

    /// The cache's name.
    pub fn name(&self) -> &CacheName {
        &self.name
    }

    /// The same cache, whose writes expire after this time. Without it the cache's own lifespan counts.
    pub fn with_lifespan(mut self, lifespan: Duration) -> Self {
        self.lifespan = Some(lifespan.into());
        self
    }

    /// Reads a value.
    pub async fn get(&self, key: &(impl AsKey + ?Sized)) -> Result<Option<Bytes>, Error> {
        Ok(self.get_versioned(key).await?.map(|entry| entry.value))
    }

    /// Reads a value with its version and deadline.
    pub async fn get_versioned(&self, key: &(impl AsKey + ?Sized)) -> Result<Option<Versioned<Bytes>>, Error> {
        let request = Request::Get(self.key_ref(key)?);
        match self.call(Call::Read(request)).await? {
            Reply::Entry(entry) => Ok(entry.map(Versioned::from)),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether there is an entry.
    pub async fn contains(&self, key: &(impl AsKey + ?Sized)) -> Result<bool, Error> {
        match self.call(Call::Read(Request::Contains(self.key_ref(key)?))).await? {
            Reply::Found(found) => Ok(found),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads several entries; those that are not there are left out.
    pub async fn get_all<'q, Q: AsKey + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Result<Vec<Entry<Key, Bytes>>, Error> {
        let keys = keys.into_iter().map(Q::as_key).collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GET_ALL_KEYS) {
            let request = Request::GetAll(node::GetAll { cache: self.name.clone(), keys: keys.to_vec() });
            match self.call(Call::Read(request)).await? {
                Reply::Entries(entries) => found.extend(entries.into_iter().map(Entry::from)),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(found)
    }

    /// Writes, whatever is there; gives the version written.
    pub async fn put(&self, key: &(impl AsKey + ?Sized), value: Bytes) -> Result<Version, Error> {
        let outcome = self.write(self.request(Operation::Put, key.as_key()?, value)).await?;
        outcome.version.ok_or(Error::UnexpectedAnswer("a put without a version"))
    }

    /// Writes where no entry is; else gives the one present.
    pub async fn put_if_absent(&self, key: &(impl AsKey + ?Sized), value: Bytes) -> Result<Conditional<Bytes>, Error> {
        self.conditional(self.request(Operation::PutIfAbsent, key.as_key()?, value)).await
    }

    /// Writes over an entry; where there is none, it fails with none present.
    pub async fn replace(&self, key: &(impl AsKey + ?Sized), value: Bytes) -> Result<Conditional<Bytes>, Error> {
        self.conditional(self.request(Operation::Replace, key.as_key()?, value)).await
    }

    /// Writes over the entry of that version; else gives the one present.
    pub async fn replace_if_version(
        &self,
        key: &(impl AsKey + ?Sized),
        expected: Version,
        value: Bytes,
    ) -> Result<Conditional<Bytes>, Error> {
        let request = self.request(Operation::ReplaceIfVersion, key.as_key()?, value);
        self.conditional(node::Write { expected: Some(expected), ..request }).await
    }

    /// Removes; gives the entry that was there.
    pub async fn remove(&self, key: &(impl AsKey + ?Sized)) -> Result<Option<Versioned<Bytes>>, Error> {
        let request = self.request(Operation::Remove, key.as_key()?, Bytes::new());
        let outcome = self.write(node::Write { return_previous: true, ..request }).await?;
        Ok(outcome.previous.map(Versioned::from))
    }

    /// Removes the entry of that version; else gives the one present.
    pub async fn remove_if_version(
        &self,
        key: &(impl AsKey + ?Sized),
        expected: Version,
    ) -> Result<Conditional<Bytes>, Error> {
        let request = self.request(Operation::RemoveIfVersion, key.as_key()?, Bytes::new());
        self.conditional(node::Write { expected: Some(expected), ..request }).await
    }

    /// Writes several entries, each by itself: an error may leave some written. Gives their versions, in order.
    pub async fn put_all(&self, entries: impl IntoIterator<Item = (Key, Bytes)>) -> Result<Vec<Version>, Error> {
        let mut versions = Vec::new();
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut bytes = 0;
            let mut some = Vec::new();
            while some.len() < PUT_ALL_ENTRIES
                && bytes < PUT_ALL_BYTES
                && let Some((key, value)) = entries.next()
            {
                bytes += key.as_bytes().len() + value.len();
                some.push((key, Blob(value)));
            }
            let (lifespan, token) = (self.lifespan, self.client.token(some.len()));
            let request = node::PutAll { cache: self.name.clone(), lifespan, token, retry: None, entries: some };
            let expected = request.entries.len();
            match self.call(Call::PutAll(request)).await? {
                Reply::WrittenAll(some) if some.len() == expected => versions.extend(some),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(versions)
    }

    /// All entries whose keys begin with `prefix`, in key order, fetched page by page as they are asked for. What
    /// changes meanwhile may or may not be seen; what does not change is seen once.
    pub fn entries(&self, prefix: impl Into<Bytes>) -> RawEntries {
        RawEntries::new(self.clone(), prefix.into(), RawEntries::PAGE, true)
    }

    /// As [`RawCache::entries`], without the values: they are empty.
    pub fn keys(&self, prefix: impl Into<Bytes>) -> RawEntries {
        RawEntries::new(self.clone(), prefix.into(), RawEntries::PAGE, false)
    }

    /// Number of entries at this site.
    pub async fn size(&self) -> Result<u64, Error> {
        match self.call(Call::Read(Request::Size(node::CacheRef { cache: self.name.clone() }))).await? {
            Reply::Size(size) => Ok(size),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes all entries, at all sites.
    pub async fn clear(&self) -> Result<(), Error> {
        let request = node::Clear { cache: self.name.clone(), token: self.client.token(1), retry: None };
        match self.call(Call::Clear(request)).await? {
            Reply::Written(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Listens to changes: `listen().snapshot().start().await`.
    pub fn listen(&self) -> Listen {
        Listen::new(self.clone())
    }

    /// A page of entries, and whether there are more.
    pub(crate) async fn page(
        &self,
        prefix: Bytes,
        after: Option<Key>,
        limit: NonZeroU32,
        values: bool,
    ) -> Result<node::Page, Error> {
        let list = node::List { cache: self.name.clone(), prefix, after, limit: limit.get(), values };
        match self.call(Call::Read(Request::List(list))).await? {
            Reply::Page(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    fn key_ref(&self, key: &(impl AsKey + ?Sized)) -> Result<node::KeyRef, Error> {
        Ok(node::KeyRef { cache: self.name.clone(), key: key.as_key()? })
    }

    fn request(&self, operation: Operation, key: Key, value: Bytes) -> node::Write {
        let write = node::Write::new(operation, self.name.clone(), key, self.client.token(1), value);
        node::Write { lifespan: self.lifespan, ..write }
    }

    async fn conditional(&self, write: node::Write) -> Result<Conditional<Bytes>, Error> {
        let outcome = self.write(write).await?;
        match (outcome.done, outcome.version) {
            (true, Some(version)) => Ok(Conditional::Done(version)),
            (true, None) => Err(Error::UnexpectedAnswer("a write without a version")),
            (false, _) => Ok(Conditional::Failed(outcome.previous.map(Versioned::from))),
        }
    }

    async fn write(&self, write: node::Write) -> Result<node::Outcome, Error> {
        match self.call(Call::Write(write)).await? {
            Reply::Written(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    async fn call(&self, call: Call) -> Result<Reply, Error> {
        self.client.shared.call(call).await
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::UnexpectedAnswer(match reply {
        Reply::Entry(_) => "an entry",
        Reply::Found(_) => "whether an entry is there",
        Reply::Entries(_) => "entries",
        Reply::Written(_) => "the outcome of a write",
        Reply::WrittenAll(_) => "the outcome of several writes",
        Reply::Size(_) => "a size",
        Reply::Page(_) => "a page",
        Reply::Pong => "a pong",
    })
}
