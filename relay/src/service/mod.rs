//! A relay as a whole: its parts, put together, started and ended in order.
//!
//! ```text
//!  start:  sockets bound ─► HTTP answers (not ready) ─► store opened ─► door open, links dial ─► ready once filled
//!  end:    not ready ─► door closed ─► sessions drained, links ended ─► store's last commit ─► sockets closed
//! ```
//!
//! The parts know each other by what they need: here is what stands behind those traits (a `Stock` behind a
//! session's shelf and a subscription's feed, the report behind an operator's commands). Nothing is decided here that
//! could be decided there.

mod entrance;
mod error;
mod feed;
mod readiness;
mod reload;
mod renewal;
mod report;
mod restore;
mod run;
mod settings;
mod shelf;
mod sockets;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use landbridge_protocol::{
    error::Refusal,
    frame::{ALPN_PEER, admin::Reloaded},
    version::RunId,
};
use quinn::Endpoint;
use tokio::{
    sync::{Mutex, Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    entrance::Entrance, readiness::Readiness, reload::Reloading, renewal::Renewal, report::Reporter, sockets::Sockets,
};
pub use self::{
    error::StartError,
    restore::{BACKUP_FILE, RestoreFailed, restore},
    run::{RunError, RunOptions, run},
    shelf::Stock,
    sockets::LocalAddrs,
};
use crate::{
    admin::Operated,
    certs::{Held, Now, Wanted},
    clock::{Clock, SystemClock},
    config::RelayConfig,
    engine::guards::Guards,
    http::{self, HttpBounds, Pages},
    link::{GuestBounds, Links, LinksOptions},
    machine::{Machine, ThisMachine, Workers},
    metrics::{Bound, Metrics},
    session::{Roster, Server, Terms},
    store::{Store, StoreOptions, log::Log},
    transport::{self, AcceptLimits},
};

/// How often histograms are put together where nobody reads them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What is not in the configuration.
pub struct ServiceOptions {
    /// The file that the configuration was read from, which a reload reads anew.
    pub file: Option<PathBuf>,
    /// Set a damaged log aside and start without it.
    pub recover: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where is counted.
    pub metrics: Metrics,
    /// What it runs on.
    pub machine: Arc<dyn Machine>,
    /// Instead of the log in the configuration's directory.
    pub log: Option<Box<dyn Log>>,
    /// Whether HTTP is served.
    pub http: bool,
    /// The rules that hold.
    pub guards: Guards,
}

impl ServiceOptions {
    /// As in production.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            file: None,
            recover: false,
            clock: Arc::new(SystemClock),
            metrics,
            machine: Arc::new(ThisMachine),
            log: None,
            http: true,
            guards: Guards::all(),
        }
    }
}

impl fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceOptions {{ recover: {} }}", self.recover)
    }
}

/// A relay that runs. Ended by [`Service::shutdown`]; when it is merely dropped, its tasks stop where they are, as at a
/// crash.
pub struct Service {
    addresses: LocalAddrs,
    readiness: watch::Receiver<Readiness>,
    tell: watch::Sender<Readiness>,
    reporter: Arc<Reporter>,
    links: Links,
    metrics: Metrics,
    endpoints: Vec<Endpoint>,
    door: CancellationToken,
    inside: TaskTracker,
    leave: CancellationToken,
    behind: TaskTracker,
    end: CancellationToken,
    /// Stops all tasks with the service, also where nobody shuts it down.
    _stops: [DropGuard; 3],
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts a relay. It serves when this returns, though perhaps is not [ready](Service::ready) yet.
    pub async fn start(config: RelayConfig, options: ServiceOptions) -> Result<Self, StartError> {
        let ServiceOptions { file, recover, clock, metrics, machine, log, http, guards } = options;
        let config = Arc::new(config);
        let told_by = clock.clone();
        let held = Held::load(Wanted::of(&config), Now::new(move || told_by.now()))?;
        let Sockets { endpoints, http, addresses } = Sockets::bind(&config, &held, &*machine, http)?;
        let renewal = Renewal::new(held.clone(), clock.clone(), metrics.clone(), machine.workers());
        let renewal = Arc::new(renewal);
        let terms = watch::Sender::new(Arc::new(Terms::new(&config.caches, config.limits.clone(), &metrics)));

        let (door, leave, end) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let stops = [&door, &leave, &end].map(|token| token.clone().drop_guard());
        let (inside, behind) = (TaskTracker::new(), TaskTracker::new());
        let reporter = Arc::new(OnceLock::<Arc<Reporter>>::new());
        let page = reporter.clone();
        let pages = Pages::new(metrics.clone(), move || page.get().map(|reporter| reporter.status()));
        if let Some(http) = http {
            behind.spawn(serve_http(http, pages, HttpBounds::from(&config.limits), end.clone()));
        }
        behind.spawn(keep_up(metrics.clone(), end.clone()));

        let started = Instant::now();
        let options = store_options(&config, recover, guards, &*machine)?;
        let store = open(options, log, clock.clone(), metrics.clone(), machine.workers()).await?;
        let stock = Stock::new(store.clone(), clock.clone(), terms.subscribe());
        let (tell, readiness) = watch::channel(Readiness::Recovering);
        behind.spawn(until(end.clone(), readiness::follow(stock.clone(), tell.clone())));
        let links = Links::start(link_options(&config, &renewal, store.clone(), machine));
        behind.spawn(end_links(links.clone(), end.clone()));
        let roster = Roster::new(config.limits.max_sessions, config.limits.max_sessions_per_certificate);
        let reloading = Reloading {
            file,
            config: watch::Sender::new(config.clone()),
            store,
            clock: clock.clone(),
            metrics: metrics.clone(),
            terms,
            renewal: renewal.clone(),
            links: links.clone(),
            turn: Mutex::default(),
        };
        let server = sessions(&reloading, stock.clone(), roster.clone());
        let made = Arc::new(Reporter {
            reloading,
            stock,
            roster,
            links: links.clone(),
            readiness: readiness.clone(),
            started,
        });
        let made = reporter.get_or_init(|| made).clone();
        let entrance = Arc::new(Entrance {
            site: config.site,
            held,
            clock: clock.clone(),
            metrics: metrics.clone(),
            sessions: Arc::new(server),
            reporter: made.clone(),
            links: links.clone(),
            operators: Arc::new(Semaphore::new(config.limits.max_operators)),
            tasks: inside.clone(),
            stop: leave.clone(),
        });
        for endpoint in &endpoints {
            let limits = AcceptLimits::from_limits(&config.limits);
            let standing = renewal.standing.clone();
            behind.spawn(transport::serve(endpoint.clone(), entrance.clone(), standing, limits, door.clone()));
        }
        behind.spawn(until(end.clone(), renewal::follow(renewal)));
        let _stops = stops;
        let reporter = made;
        Ok(Self {
            addresses,
            readiness,
            tell,
            reporter,
            links,
            metrics,
            endpoints,
            door,
            inside,
            leave,
            behind,
            end,
            _stops,
        })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> LocalAddrs {
        self.addresses
    }

    /// Resolves when it serves reads and writes. A fresh store is first filled by the peers.
    pub async fn ready(&self) {
        let mut readiness = self.readiness.clone();
        // Whoever tells lives as long as this.
        let _ready = readiness.wait_for(|now| *now == Readiness::Ready).await;
    }

    /// As `landbridge status` has it.
    pub fn status(&self) -> landbridge_protocol::frame::admin::Status {
        self.reporter.status()
    }

    /// Its links, for who operates it in the same process.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Reads the configuration's file anew and takes over what it changes, or refuses all of it.
    pub async fn reload(&self) -> Result<Reloaded, Refusal> {
        self.reporter.reloading.reload(None).await
    }

    /// The configuration that holds.
    pub fn config(&self) -> Arc<RelayConfig> {
        self.reporter.config()
    }

    /// Ends it in order: nobody new is let in, what is under way is answered, the log is closed. Whether all of that was
    /// done by `deadline` from now; what was not is cut off, and no answered write is lost either way.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        let deadline = Instant::now() + deadline;
        self.tell.send_replace(Readiness::Draining);
        self.door.cancel();
        self.leave.cancel();
        self.inside.close();
        let drained = timeout_at(deadline, async {
            self.inside.wait().await;
            self.links.shutdown().await;
        });
        let drained = drained.await.is_ok();
        if !drained {
            self.metrics.bound_hit(Bound::DrainTimeout);
            tracing::warn!("what was under way was not done by the deadline, and is cut off");
        }
        for endpoint in &self.endpoints {
            endpoint.close(0u32.into(), b"");
        }
        // The log is closed also where time is up: that is what makes the next start a quick one.
        self.reporter.stock.store.shutdown().await;
        let closed = timeout_at(deadline, async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
            self.end.cancel();
            self.behind.close();
            self.behind.wait().await;
        });
        drained & closed.await.is_ok()
    }
}

fn store_options(
    config: &RelayConfig,
    recover: bool,
    guards: Guards,
    machine: &dyn Machine,
) -> Result<StoreOptions, StartError> {
    let run = RunId(machine.random().map_err(StartError::Random)?);
    let mut options = settings::store(config, recover, run);
    options.replica.guards = guards;
    Ok(options)
}

async fn open(
    options: StoreOptions,
    log: Option<Box<dyn Log>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    workers: Workers,
) -> Result<Store, StartError> {
    tracing::info!(dir = %options.dir.display(), "opens the store");
    let runs_on = workers.clone();
    let opening = workers.apart(move || match log {
        Some(log) => Store::open_with(log, options, clock, metrics, runs_on),
        None => Store::open(options, clock, metrics, runs_on),
    });
    let store = opening.await??;
    let (live, dead) = store.log_bytes();
    tracing::info!(head = %store.view(|replica| replica.head().get()), live, dead, "the store is open");
    // A relay that does not start serves nobody; this one is mended by a reload.
    for strange in store.view(|replica| replica.strange()) {
        tracing::warn!("{strange}; then `landbridge reload`. Until then peers that know it take nothing from here");
    }
    Ok(store)
}

fn link_options(config: &RelayConfig, renewal: &Renewal, store: Store, machine: Arc<dyn Machine>) -> LinksOptions {
    let held = renewal.held.clone();
    LinksOptions {
        site: config.site,
        peers: settings::peers(config),
        store,
        clock: renewal.clock.clone(),
        machine,
        credentials: Arc::new(move || held.in_force().client(ALPN_PEER)),
        standing: renewal.standing.clone(),
        sender: settings::sender(config),
        guest_bounds: GuestBounds::from(&config.limits),
        connect_timeout: config.replication.connect_timeout.into(),
        metrics: renewal.metrics.clone(),
    }
}

fn sessions(reloading: &Reloading, stock: Stock, roster: Roster) -> Server<Stock, Stock> {
    let site = reloading.config.borrow().site;
    Server {
        site,
        roster,
        shelf: Arc::new(stock.clone()),
        terms: reloading.terms.subscribe(),
        metrics: reloading.metrics.clone(),
        relay_view: reloading.links.view(),
        subscriptions: stock,
        clock: reloading.clock.clone(),
    }
}

async fn serve_http(listener: http::HttpListener, pages: Pages, bounds: HttpBounds, end: CancellationToken) {
    if let Err(error) = http::serve(listener, pages, bounds, end.cancelled_owned()).await {
        tracing::error!(%error, "HTTP is not served any more");
    }
}

async fn keep_up(metrics: Metrics, end: CancellationToken) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            _ = ticks.tick() => metrics.upkeep(),
        }
    }
}

/// Where nobody ends them in order before.
async fn end_links(links: Links, end: CancellationToken) {
    end.cancelled().await;
    links.shutdown().await;
}

async fn until(end: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = end.cancelled() => (),
        () = task => (),
    }
}
