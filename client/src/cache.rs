//! A cache with types: serde above, [`RawCache`] below.

use std::{borrow::Borrow, marker::PhantomData, time::Duration};

use bytes::Bytes;
use landbridge_protocol::{name::CacheName, version::Version};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    entries::Entries,
    error::Error,
    key::{AsKey, CacheKey},
    listener::Listen,
    raw::RawCache,
    value::{self, Conditional, Entry, Versioned},
};

/// Tries of an update before it gives up.
const UPDATE_TRIES: u32 = 32;

/// A cache with keys `K` and values `V`. Cheap to clone. Every operation is done once, retried within its deadline and
/// cancel-safe: a dropped future leaves a write done or not done.
///
/// Keys are taken by what `K` borrows to, as in a `HashMap`: a `Cache<String, _>` takes `&str`.
#[derive(Debug)]
pub struct Cache<K, V> {
    raw: RawCache,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), types: PhantomData }
    }
}

/// What [`Cache::update`] shall make of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update<V> {
    /// Write this value.
    Put(V),
    /// Remove the entry, if there is one.
    Remove,
    /// Leave all as it is.
    Keep,
}

impl<K: CacheKey, V: Serialize + DeserializeOwned> Cache<K, V> {
    pub(crate) fn new(raw: RawCache) -> Self {
        Self { raw, types: PhantomData }
    }

    /// The cache's name.
    pub fn name(&self) -> &CacheName {
        self.raw.name()
    }

    /// The same cache as bytes.
    pub fn raw(&self) -> &RawCache {
        &self.raw
    }

    /// The same cache, whose writes expire after this time. Without it the cache's own lifespan counts.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(tokens: Cache<String, String>) -> Result<(), Error> {
    /// let tokens = tokens.with_lifespan(std::time::Duration::from_secs(300));
    /// tokens.put("reset-password-1", &"alice".to_owned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_lifespan(self, lifespan: Duration) -> Self {
        Self::new(self.raw.with_lifespan(lifespan))
    }

    /// Reads a value.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// if let Some(user) = sessions.get("s-1").await? {
    ///     println!("{user} is logged in");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.get(key).await?.map(value::decode).transpose()
    }

    /// Reads a value with its version and deadline.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// if let Some(entry) = sessions.get_versioned("s-1").await? {
    ///     println!("written at {} by version {}", entry.version.origin.site, entry.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_versioned<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<Option<Versioned<V>>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.get_versioned(key).await?.map(typed).transpose()
    }

    /// Whether there is an entry.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let logged_in = sessions.contains("s-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contains<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.contains(key).await
    }

    /// Reads several entries; those that are not there are left out.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// for entry in sessions.get_all(["s-1", "s-2"]).await? {
    ///     println!("{}: {}", entry.key, entry.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_all<'q, Q: AsKey + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Result<Vec<Entry<K, V>>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.get_all(keys).await?.into_iter().map(Entry::typed).collect()
    }

    /// Writes, whatever is there; gives the version written.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let version = sessions.put("s-1", &"alice".to_owned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put<Q: AsKey + ?Sized>(&self, key: &Q, value: &V) -> Result<Version, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.put(key, value::encode(value)?).await
    }

    /// Writes where no entry is; else gives the one present.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(tokens: Cache<String, String>) -> Result<(), Error> {
    /// match tokens.put_if_absent("used-1", &"node11".to_owned()).await? {
    ///     Conditional::Done(_) => println!("the token was not used before"),
    ///     Conditional::Failed(Some(first)) => println!("already used at {}", first.value),
    ///     Conditional::Failed(None) => unreachable!("it failed because of an entry"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_if_absent<Q: AsKey + ?Sized>(&self, key: &Q, value: &V) -> Result<Conditional<V>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.put_if_absent(key, value::encode(value)?).await?.try_map(value::decode)
    }

    /// Writes over an entry; where there is none, it fails with none present.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let refreshed = sessions.replace("s-1", &"alice".to_owned()).await?.is_done();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn replace<Q: AsKey + ?Sized>(&self, key: &Q, value: &V) -> Result<Conditional<V>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.replace(key, value::encode(value)?).await?.try_map(value::decode)
    }

    /// Writes over the entry of that version; else gives the one present.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, u64>) -> Result<(), Error> {
    /// if let Some(entry) = sessions.get_versioned("s-1").await? {
    ///     sessions.replace_if_version("s-1", entry.version, &(entry.value + 1)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn replace_if_version<Q: AsKey + ?Sized>(
        &self,
        key: &Q,
        expected: Version,
        value: &V,
    ) -> Result<Conditional<V>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.replace_if_version(key, expected, value::encode(value)?).await?.try_map(value::decode)
    }

    /// Removes; gives the entry that was there.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let was_logged_in = sessions.remove("s-1").await?.is_some();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<Option<Versioned<V>>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.remove(key).await?.map(typed).transpose()
    }

    /// Removes the entry of that version; else gives the one present.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>, seen: Version) -> Result<(), Error> {
    /// let removed = sessions.remove_if_version("s-1", seen).await?.is_done();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_if_version<Q: AsKey + ?Sized>(
        &self,
        key: &Q,
        expected: Version,
    ) -> Result<Conditional<V>, Error>
    where
        K: Borrow<Q>,
    {
        self.raw.remove_if_version(key, expected).await?.try_map(value::decode)
    }

    /// Writes several entries, each by itself: an error may leave some written. Gives their versions, in order.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// sessions.put_all([("s-1", &"alice".to_owned()), ("s-2", &"bob".to_owned())]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_all<'e, Q: AsKey + ?Sized + 'e>(
        &self,
        entries: impl IntoIterator<Item = (&'e Q, &'e V)>,
    ) -> Result<Vec<Version>, Error>
    where
        K: Borrow<Q>,
        V: 'e,
    {
        let encode = |(key, value): (&Q, &V)| Ok::<_, Error>((key.as_key()?, value::encode(value)?));
        let entries = entries.into_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        self.raw.put_all(entries).await
    }

    /// Reads, changes and writes an entry, anew for as long as somebody else changes it in between, up to a bound: then
    /// [`Error::Contended`]. Gives what stands afterwards. `change` is handed the value present.
    ///
    /// The condition is decided at this site: a write at another site that is still on its way is not seen (in `atomic =
    /// "site"` caches).
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(logins: Cache<String, u64>) -> Result<(), Error> {
    /// let count = logins.update("alice", |count| Update::Put(count.unwrap_or(0) + 1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update<Q: AsKey + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Update<V>,
    ) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        let mut present = self.raw.get_versioned(key).await?;
        for _ in 0..UPDATE_TRIES {
            let value = present.as_ref().map(|entry| value::decode(&entry.value)).transpose()?;
            let (outcome, wanted) = match (change(value), &present) {
                (Update::Keep, _) | (Update::Remove, None) => {
                    return present.map(|entry| value::decode(entry.value)).transpose();
                }
                (Update::Remove, Some(entry)) => (self.raw.remove_if_version(key, entry.version).await?, None),
                (Update::Put(value), _) => {
                    let bytes = value::encode(&value)?;
                    (self.put_over(key, present.as_ref(), bytes).await?, Some(value))
                }
            };
            match outcome {
                Conditional::Done(_) => return Ok(wanted),
                Conditional::Failed(other) => present = other,
            }
        }
        Err(Error::Contended { tries: UPDATE_TRIES })
    }

    /// All entries, in key order, fetched page by page as they are asked for. What changes meanwhile may or may not be
    /// seen; what does not change is seen once.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let mut entries = sessions.entries();
    /// while let Some(entry) = entries.next().await {
    ///     println!("{}", entry?.key);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn entries(&self) -> Entries<K, V> {
        Entries::new(self.raw.entries(Bytes::new()))
    }

    /// Number of entries at this site.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// println!("{} sessions", sessions.size().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn size(&self) -> Result<u64, Error> {
        self.raw.size().await
    }

    /// Removes all entries, at all sites.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// sessions.clear().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<(), Error> {
        self.raw.clear().await
    }

    /// Listens to changes, whatever site they are made at.
    ///
    /// ```no_run
    /// # use landbridge_client::*;
    /// # async fn run(sessions: Cache<String, String>) -> Result<(), Error> {
    /// let mut changes = sessions.listen().snapshot().start().await?;
    /// while let Some(event) = changes.next().await {
    ///     match event?.change {
    ///         Change::Created(entry) => println!("{} logged in", entry.value),
    ///         Change::Removed(entry) => println!("session {} was logged out", entry.key),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(&self) -> Listen<K, V> {
        self.raw.listen().typed()
    }

    async fn put_over<Q: AsKey + ?Sized>(
        &self,
        key: &Q,
        present: Option<&Versioned<Bytes>>,
        bytes: Bytes,
    ) -> Result<Conditional<Bytes>, Error> {
        match present {
            Some(entry) => self.raw.replace_if_version(key, entry.version, bytes).await,
            None => self.raw.put_if_absent(key, bytes).await,
        }
    }
}

fn typed<V: DeserializeOwned>(entry: Versioned<Bytes>) -> Result<Versioned<V>, Error> {
    entry.try_map(value::decode)
}
