//! The client: a handle on the task that keeps a session alive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use landbridge_protocol::{
    frame::node::View,
    name::{CacheName, NodeName, SiteName},
    record::{ClientId, WriteToken},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    builder::{ClientBuilder, Settings},
    cache::Cache,
    chance::Chance,
    error::{ConnectError, Error},
    key::{AsKey, CacheKey},
    owner,
    raw::RawCache,
    session::{
        Link,
        driver::{self, Driver},
    },
};

/// A node's connection to its site's relay. Cheap to clone, safe to share; the connection ends with the last clone, cache
/// and listener of it, or by [`Client::close`].
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What clones, caches and listeners share. Dropping the last of them ends the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: watch::Receiver<Link>,
    site_view: watch::Receiver<View>,
    relay_view: watch::Receiver<View>,
    pub(crate) timeout: Duration,
    node: NodeName,
    site: SiteName,
    id: ClientId,
    pub(crate) chance: Chance,
    writes: AtomicU64,
    closing: CancellationToken,
    _guard: DropGuard,
}

impl Client {
    /// Begins to set up a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let patience = settings.connect_timeout;
        let (timeout, node, site) = (settings.timeout, settings.node.clone(), settings.home());
        let chance = settings.chance.clone();
        let closing = CancellationToken::new();
        let (driver, views) = Driver::new(settings, closing.clone())?;
        let guard = closing.clone().drop_guard();
        tokio::spawn(driver.run());
        let mut link = views.link.clone();
        driver::first_session(&mut link, patience).await?;
        let shared = Shared {
            link,
            site_view: views.site,
            relay_view: views.relay,
            timeout,
            node,
            site,
            id: ClientId(chance.next()),
            chance,
            writes: AtomicU64::new(1),
            closing,
            _guard: guard,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A cache with keys and values of these types. Values are written by serde as MessagePack with field names.
    ///
    /// ```no_run
    /// # async fn run(client: landbridge_client::Client) -> Result<(), landbridge_client::Error> {
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Session {
    ///     user: String,
    /// }
    /// let sessions = client.cache::<String, Session>("sessions")?;
    /// sessions.put("s-1", &Session { user: "alice".into() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cache<K, V>(&self, name: &str) -> Result<Cache<K, V>, Error>
    where
        K: CacheKey,
        V: Serialize + DeserializeOwned,
    {
        self.raw(name).map(Cache::new)
    }

    /// A cache with keys and values of bytes that nothing interprets.
    pub fn raw(&self, name: &str) -> Result<RawCache, Error> {
        Ok(RawCache::new(self.clone(), CacheName::new(name)?))
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        &self.shared.node
    }

    /// The site that the node is of.
    pub fn site(&self) -> SiteName {
        self.shared.site
    }

    /// The site whose relay the client is connected to now; `None` while it is not.
    pub fn connected_to(&self) -> Option<SiteName> {
        match &*self.shared.link.borrow() {
            Link::Up(session) => Some(session.site()),
            Link::Down(_) | Link::Ended(_) => None,
        }
    }

    /// The nodes connected to the relay, in the order in which they joined, as last heard.
    pub fn site_view(&self) -> View {
        self.shared.site_view.borrow().clone()
    }

    /// The sites whose links stream both ways, as last heard.
    pub fn relay_view(&self) -> View {
        self.shared.relay_view.borrow().clone()
    }

    /// The site view and its changes.
    ///
    /// ```no_run
    /// # async fn run(client: landbridge_client::Client) {
    /// let mut views = client.site_views();
    /// while views.changed().await.is_ok() {
    ///     println!("Received new site view: {}", *views.borrow_and_update());
    /// }
    /// # }
    /// ```
    pub fn site_views(&self) -> watch::Receiver<View> {
        self.shared.site_view.clone()
    }

    /// The relay view and its changes.
    pub fn relay_views(&self) -> watch::Receiver<View> {
        self.shared.relay_view.clone()
    }

    /// The member of the site view that owns the key: the same at every node of the site that has the same view. `None`
    /// while the view is empty.
    ///
    /// It is the member with the greatest `splitmix64(fnv1a64(member ++ 0xff ++ key))`, so that a node that goes moves
    /// its own keys only.
    ///
    /// ```no_run
    /// # fn run(client: landbridge_client::Client) -> Result<(), landbridge_client::Error> {
    /// if client.owner("s-1")?.as_deref() == Some(client.node().as_str()) {
    ///     println!("this node's");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn owner(&self, key: &(impl AsKey + ?Sized)) -> Result<Option<String>, Error> {
        let key = key.as_key()?;
        Ok(owner::owner(&self.shared.site_view.borrow().members, key.as_bytes()).map(str::to_owned))
    }

    /// Ends the connection, so that the node leaves the site view at once, and waits until the relay was told. What is
    /// under way fails with [`Error::Closed`]. A program that simply ends is noticed only by its silence.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let mut link = self.shared.link.clone();
        while link.changed().await.is_ok() {}
    }

    /// Tokens for this many writes: the number of the first.
    pub(crate) fn token(&self, writes: usize) -> WriteToken {
        WriteToken { client: self.shared.id, number: self.shared.writes.fetch_add(writes as u64, Ordering::Relaxed) }
    }
}
