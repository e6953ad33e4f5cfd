//! How a client is set up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use landbridge_protocol::name::{NodeName, SiteName};
use quinn::Endpoint;

use crate::{
    chance::Chance,
    client::Client,
    error::ConnectError,
    identity::{Identity, IdentitySource},
    profile::Profile,
    route::Failover,
};

/// An operation gives up after this, unless the builder says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets up a [`Client`]; see [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `connect`"]
pub struct ClientBuilder {
    site: Option<String>,
    node: Option<String>,
    relay: Option<String>,
    identity: Option<IdentitySource>,
    others: Vec<(String, String)>,
    failover: Failover,
    member: bool,
    timeout: Duration,
    connect_timeout: Duration,
    endpoint: Option<Endpoint>,
    chance: Chance,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            site: None,
            node: None,
            relay: None,
            identity: None,
            others: Vec::new(),
            failover: Failover::default(),
            member: true,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout: DEFAULT_TIMEOUT,
            endpoint: None,
            chance: Chance::default(),
        }
    }

    /// All that a profile says: relay, site, node, certificates.
    pub fn profile(self, profile: Profile) -> Self {
        let Profile { relay, site, node, certificate, key, trust } = profile;
        self.site(site.as_str()).node(node.as_str()).relay(relay).identity_files(certificate, key, trust)
    }

    /// The site that the node is of.
    pub fn site(mut self, site: impl Into<String>) -> Self {
        self.site = Some(site.into());
        self
    }

    /// The node's name, unique in its site; its certificate must bear it.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// The address of the site's relay, `HOST:PORT`. It is resolved anew for every connection.
    pub fn relay(mut self, address: impl ToString) -> Self {
        self.relay = Some(address.to_string());
        self
    }

    /// Relays of other sites, to go to in this order while the home relay is away, and when to go.
    pub fn failover<S: Into<String>, A: ToString>(
        mut self,
        others: impl IntoIterator<Item = (S, A)>,
        policy: Failover,
    ) -> Self {
        self.others = others.into_iter().map(|(site, address)| (site.into(), address.to_string())).collect();
        self.failover = policy;
        self
    }

    /// Certificates and key.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(IdentitySource::Given(identity));
        self
    }

    /// PEM files of certificates and key. They are read anew for every connection, so renewed ones are taken up.
    pub fn identity_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        trust: impl Into<PathBuf>,
    ) -> Self {
        let (certificate, key, trust) = (certificate.into(), key.into(), trust.into());
        self.identity = Some(IdentitySource::Files { certificate, key, trust });
        self
    }

    /// Whether the node joins the site view (it does unless told otherwise). Commands don't, and fence nobody.
    pub fn member(mut self, member: bool) -> Self {
        self.member = member;
        self
    }

    /// How long each operation may take, with all its retries. 10 s unless told otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long [`ClientBuilder::connect`] tries. 10 s unless told otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Dials from this endpoint instead of from a socket of the client's own, and draws the client's random numbers from the
    /// seed instead of from the operating system: for simulations, in which a seed is to be one run.
    #[doc(hidden)]
    pub fn simulated(mut self, endpoint: Endpoint, seed: u64) -> Self {
        self.endpoint = Some(endpoint);
        self.chance = Chance::of(seed);
        self
    }

    /// Connects. Where no relay answers it goes on trying until the time is over; a refusal that won't change by itself
    /// ends it at once.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use landbridge_client::{Client, Failover};
    ///
    /// let client = Client::builder()
    ///     .site("site1")
    ///     .node("node11")
    ///     .relay("relay.site1.example:12232")
    ///     .failover([("site2", "relay.site2.example:12232")], Failover::default())
    ///     .identity_files("node11.pem", "node11.key", "ca.pem")
    ///     .connect()
    ///     .await?;
    /// println!("joined {}", client.site_view());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let site = SiteName::new(&self.site.ok_or(ConnectError::Missing("a site"))?)?;
        let node = NodeName::new(&self.node.ok_or(ConnectError::Missing("a node name"))?)?;
        let home = self.relay.ok_or(ConnectError::Missing("the address of a relay"))?;
        let identity = self.identity.ok_or(ConnectError::Missing("certificates"))?;
        identity.quic_config()?;
        let mut relays = vec![Relay { site, address: home.into() }];
        for (site, address) in self.others {
            relays.push(Relay { site: SiteName::new(&site)?, address: address.into() });
        }
        let settings = Settings {
            node,
            member: self.member,
            relays,
            failover: self.failover,
            identity,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            endpoint: self.endpoint,
            chance: self.chance,
        };
        Client::connect(settings).await
    }
}

/// A relay that may be dialled.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) site: SiteName,
    pub(crate) address: Arc<str>,
}

/// What the builder has checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) node: NodeName,
    pub(crate) member: bool,
    /// The home relay first.
    pub(crate) relays: Vec<Relay>,
    pub(crate) failover: Failover,
    pub(crate) identity: IdentitySource,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) chance: Chance,
}

impl Settings {
    pub(crate) fn home(&self) -> SiteName {
        self.relays[0].site
    }
}
