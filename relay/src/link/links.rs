//! All links of a relay: started, reported on and stopped together.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        admin::{Drift, LinkReport},
        node::View,
    },
    name::{CacheName, SiteName},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    peer::Peer,
    receiving::{self, GuestBounds, Guests, Tenancies},
    sending,
    view::RelayView,
};
use crate::{
    certs::CertsError,
    clock::Clock,
    engine::link::{OfflinePolicy, SenderConfig},
    machine::Machine,
    metrics::Metrics,
    store::Store,
    transport::{Admitted, Dialler, Standing, close},
};

/// One peer, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOptions {
    /// Its site.
    pub site: SiteName,
    /// Where it is dialled: `host:port`.
    pub address: String,
    /// Whether its link begins offline.
    pub offline: bool,
    /// When its link is taken offline by itself; `None`: never.
    pub offline_policy: Option<OfflinePolicy>,
    /// Bytes a second that go to it at most; `None`: no limit.
    pub max_bytes_per_second: Option<u64>,
}

impl PeerOptions {
    /// How its link behaves, where all links behave so.
    pub(super) fn sender(&self, config: &SenderConfig) -> SenderConfig {
        let (offline_policy, max_bytes_per_second) = (self.offline_policy, self.max_bytes_per_second);
        SenderConfig { offline_policy, max_bytes_per_second, ..config.clone() }
    }
}

/// What links go by while they run.
#[derive(Debug, Clone)]
pub struct LinksChange {
    /// The peers.
    pub peers: Vec<PeerOptions>,
    /// Bounds and rhythms of each link.
    pub sender: SenderConfig,
    /// How long a dial may take, with its handshakes.
    pub connect_timeout: Duration,
    /// Whether what handshakes tell has changed.
    pub anew: bool,
}

/// What links are started with.
pub struct LinksOptions {
    /// This relay's site.
    pub site: SiteName,
    /// The peers.
    pub peers: Vec<PeerOptions>,
    /// What is replicated, and where it comes to.
    pub store: Store,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// What peers are dialled from.
    pub machine: Arc<dyn Machine>,
    /// What peers are dialled with: asked for at each dial, so that certificates can be changed while the relay runs.
    pub credentials: Arc<dyn Fn() -> Result<quinn::ClientConfig, CertsError> + Send + Sync>,
    /// Where the connections that are dialled stand.
    pub standing: Standing,
    /// Bounds and rhythms of each link.
    pub sender: SenderConfig,
    /// What each peer may take of this relay.
    pub guest_bounds: GuestBounds,
    /// How long a dial may take, with its handshakes.
    pub connect_timeout: Duration,
    /// Where is counted.
    pub metrics: Metrics,
}

impl fmt::Debug for LinksOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinksOptions").field("site", &self.site).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// What the tasks of all links share.
pub(super) struct Shared {
    pub(super) site: SiteName,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    machine: Arc<dyn Machine>,
    pub(super) credentials: Arc<dyn Fn() -> Result<quinn::ClientConfig, CertsError> + Send + Sync>,
    pub(super) standing: Standing,
    pub(super) config: SenderConfig,
    connect_timeout: RwLock<Duration>,
    pub(super) metrics: Metrics,
    pub(super) dialler: Dialler,
    pub(super) view: RelayView,
    pub(super) tenancies: Tenancies,
    pub(super) guests: Guests,
    pub(super) stop: CancellationToken,
    tasks: TaskTracker,
    peers: RwLock<BTreeMap<SiteName, Arc<Peer>>>,
}

impl Shared {
    /// How long a dial may take, with its handshakes.
    pub(super) fn connect_timeout(&self) -> Duration {
        *self.connect_timeout.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, site: SiteName) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&site).cloned()
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// A relay's links, both ways. Cheap to clone. To be ended by [`Links::shutdown`].
#[derive(Clone)]
pub struct Links(Arc<Shared>);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("site", &self.0.site).finish_non_exhaustive()
    }
}

impl Links {
    /// Starts a link to each peer. To be called on a tokio runtime.
    pub fn start(options: LinksOptions) -> Self {
        let LinksOptions { site, peers, store, clock, credentials, sender, .. } = options;
        let LinksOptions { standing, guest_bounds, connect_timeout, metrics, machine, .. } = options;
        let shared = Arc::new(Shared {
            site,
            store,
            clock,
            credentials,
            standing,
            config: sender.clone(),
            connect_timeout: RwLock::new(connect_timeout),
            metrics,
            dialler: Dialler::from(machine.clone()),
            machine,
            view: RelayView::new(site),
            tenancies: Tenancies::default(),
            guests: Guests::new(guest_bounds),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            peers: RwLock::default(),
        });
        let links = Self(shared);
        peers.into_iter().for_each(|peer| links.add(peer, &sender));
        links
    }

    fn add(&self, options: PeerOptions, sender: &SenderConfig) {
        let shared = &self.0;
        let (site, offline) = (options.site, options.offline);
        let peer = Arc::new(Peer::new(options, sender, shared.metrics.link(site), seed(&*shared.machine)));
        if offline {
            peer.set_offline(true, &shared.store, shared.clock.now());
        }
        shared.peers.write().unwrap_or_else(PoisonError::into_inner).insert(site, peer.clone());
        shared.tasks.spawn(sending::run(shared.clone(), peer));
    }

    /// Has other peers and behaves otherwise from now on, once the store goes by the same configuration. Those to new peers
    /// are dialled at once; to and from one that is a peer no more, all ends.
    pub fn reconfigure(&self, change: LinksChange) {
        let LinksChange { peers, sender, connect_timeout, anew } = change;
        let shared = &self.0;
        *shared.connect_timeout.write().unwrap_or_else(PoisonError::into_inner) = connect_timeout;
        let gone = |peer: &Arc<Peer>| !peers.iter().any(|options| options.site == peer.site);
        for peer in shared.peers().into_iter().filter(gone) {
            shared.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&peer.site);
            peer.remove();
        }
        for options in peers {
            match shared.peer(options.site) {
                Some(peer) => {
                    peer.configure(options, &sender, &shared.store, shared.clock.now());
                    if anew {
                        peer.begin_anew();
                    }
                    peer.tell_differences(&shared.store);
                }
                None => self.add(options, &sender),
            }
        }
    }

    /// Takes in the connection of a peer's link, until it ends.
    pub fn receive(&self, admitted: Admitted) {
        let shared = &self.0;
        let site = admitted.peer.site;
        match shared.peer(site) {
            Some(peer) => drop(shared.tasks.spawn(receiving::receive(shared.clone(), peer, admitted))),
            None => close(&admitted.connection, &unknown(site)),
        }
    }

    /// Stops the link to the peer, and takes nothing from it, until [`Links::bring_online`]. Nothing is dropped meanwhile.
    pub fn take_offline(&self, peer: SiteName) -> Result<LinkReport, Refusal> {
        self.set_offline(peer, true)
    }

    /// Undoes [`Links::take_offline`]; the links go on where they were.
    pub fn bring_online(&self, peer: SiteName) -> Result<LinkReport, Refusal> {
        self.set_offline(peer, false)
    }

    /// Every link, by peer. Not to be called while looking at the store ([`Store::view`]), as this does so too.
    pub fn reports(&self) -> Vec<LinkReport> {
        self.0.peers().iter().map(|peer| self.report(peer)).collect()
    }

    /// What drift checks have found between this relay and a peer, or all; `begin` begins one before.
    pub fn drift(
        &self,
        peer: Option<SiteName>,
        cache: Option<&CacheName>,
        begin: Option<bool>,
    ) -> Result<Drift, Refusal> {
        let peers = peer.map_or_else(|| Ok(self.0.peers()), |site| self.known(site).map(|peer| vec![peer]))?;
        if let Some(repair) = begin {
            for peer in &peers {
                peer.check_drift(cache.cloned(), repair, &self.0.store, self.0.clock.now());
            }
        }
        Ok(Drift { links: peers.iter().map(|peer| peer.drift(&self.0.view)).collect() })
    }

    /// Who streams with this relay both ways, now and as it changes.
    pub fn view(&self) -> watch::Receiver<View> {
        self.0.view.subscribe()
    }

    /// Ends all links and everything that runs for them. The store is to be shut down after.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.dialler.shutdown().await;
    }

    fn set_offline(&self, site: SiteName, offline: bool) -> Result<LinkReport, Refusal> {
        let peer = self.known(site)?;
        peer.set_offline(offline, &self.0.store, self.0.clock.now());
        tracing::info!(peer = %site, "link {}", if offline { "taken offline" } else { "brought online" });
        Ok(self.report(&peer))
    }

    fn known(&self, site: SiteName) -> Result<Arc<Peer>, Refusal> {
        self.0.peer(site).ok_or_else(|| {
            let peers = self.0.peers();
            let there: Vec<&str> = peers.iter().map(|peer| peer.site.as_str()).collect();
            let Refusal { message, .. } = unknown(site);
            Refusal::new(ErrorCode::UnknownPeer, format!("{message}; there is {}", there.join(", ")))
        })
    }

    fn report(&self, peer: &Peer) -> LinkReport {
        peer.report(&self.0.store, &self.0.view, &*self.0.clock)
    }
}

fn unknown(peer: SiteName) -> Refusal {
    Refusal::new(ErrorCode::UnknownPeer, format!("no peer {peer} is configured at this relay"))
}

/// Jitter must differ between relays that broke at the same time; where there is no randomness it is merely worse.
fn seed(machine: &dyn Machine) -> u64 {
    machine.random().unwrap_or(0)
}
