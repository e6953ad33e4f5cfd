//! Certificates while the relay runs: read anew by an operator's word and when the files have changed, and every connection
//! held to them.
//!
//! ```text
//!  an operator's word ──┐                        ┌─► listening endpoints: who connects from now on
//!  files have changed ──┴─► read ─► good        ┼─► links: who is dialled from now on
//!                                  │             └─► look: each connection is verified again ─► closed, or undisturbed
//!                              └─► anything bad: nothing changes, and the log says what
//!  each second ─► look: whose certificate has ended since
//! ```

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use landbridge_protocol::frame::admin::CertificateReport;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, interval, sleep_until},
};

use crate::{
    certs::{CertsError, Held, Next, Role, Wanted},
    clock::Clock,
    machine::Workers,
    metrics::Metrics,
    transport::Standing,
};

/// How often is looked whether a certificate has ended. What looks is cheap; the wall clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the log warns of what ends soon.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// Certificates that were read and found good.
pub(super) struct Prepared<'r> {
    renewal: &'r Renewal,
    next: Next,
    /// No others are read meanwhile.
    _turn: MutexGuard<'r, ()>,
}

impl Prepared<'_> {
    /// The files that are in use already and have something else in them.
    pub(super) fn changed(&self) -> &[PathBuf] {
        self.next.changed()
    }

    /// Puts them in force, here and for every connection; how many of these were closed by that.
    pub(super) async fn put_in_force(self) -> usize {
        let Self { renewal, next, _turn } = self;
        // Nobody else looks between the two, or what this closes would be counted there.
        let alone = renewal.looking.lock().await;
        let in_force = renewal.held.put_in_force(next);
        let closed = renewal.look_alone(&alone).await;
        drop(alone);
        let days_left = in_force.not_after().since(renewal.clock.now()).get() / 86_400_000;
        tracing::info!(days_left, closed, "certificates were reloaded");
        renewal.warn();
        closed
    }
}

/// Keeps certificates, and connections by them.
pub(super) struct Renewal {
    pub(super) held: Held,
    pub(super) standing: Standing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) workers: Workers,
    /// Held by whoever looks: a connection is closed and counted once.
    looking: Mutex<()>,
    /// Held by whoever changes what is in force.
    turn: Mutex<()>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({:?})", self.held)
    }
}

impl Renewal {
    /// Of connections that there will be.
    pub(super) fn new(held: Held, clock: Arc<dyn Clock>, metrics: Metrics, workers: Workers) -> Self {
        let (looking, turn) = (Mutex::default(), Mutex::default());
        Self { held, standing: Standing::default(), clock, metrics, workers, looking, turn }
    }

    /// Reads certificates, keys and trust anew, as they are wanted; nothing changes by that.
    pub(super) async fn read(&self, wanted: Wanted) -> Result<Prepared<'_>, CertsError> {
        let turn = self.turn.lock().await;
        let next = self.apart(|held| held.read(wanted)).await.and_then(|read| read)?;
        Ok(Prepared { renewal: self, next, _turn: turn })
    }

    async fn apart<T: Send + 'static>(&self, read: impl FnOnce(&Held) -> T + Send + 'static) -> Result<T, CertsError> {
        let held = self.held.clone();
        let read = self.workers.apart(move || read(&held)).await;
        read.map_err(|error| CertsError::Setup(format!("reading the files was cut off: {error}")))
    }

    /// The same by itself, where the files have changed.
    async fn read_if_changed(&self) {
        let turn = self.turn.lock().await;
        let read = self.apart(Held::read_if_changed).await.unwrap_or_else(|error| Some(Err(error)));
        match read {
            None => {}
            Some(Ok(next)) => {
                Prepared { renewal: self, next, _turn: turn }.put_in_force().await;
            }
            Some(Err(error)) => {
                let error = error.with_cause();
                tracing::error!("certificates were not reloaded, and the former stay in force: {error}");
            }
        }
    }

    /// When what ends, for the operator.
    pub(super) fn report(&self) -> Vec<CertificateReport> {
        let in_force = self.held.in_force();
        let own = in_force.wanted().site;
        let report = |certificate: &str, site, ends| CertificateReport { certificate: certificate.into(), site, ends };
        let mut reports = vec![report("own", own, in_force.not_after())];
        for (role, setting) in [(Role::Node, "trust_nodes"), (Role::Peer, "trust_peers"), (Role::Admin, "trust_admins")]
        {
            reports.push(report(setting, own, in_force.trust_ends(role)));
        }
        let configured = &in_force.wanted().peers;
        let peers = self.standing.peers().into_iter().filter(|(site, _)| configured.contains(site));
        reports.extend(peers.map(|(site, ends)| report("peer", site, ends)));
        reports
    }

    /// Closes the connections of those who would not be let in any more; how many.
    async fn look(&self) -> usize {
        let alone = self.looking.lock().await;
        self.look_alone(&alone).await
    }

    async fn look_alone(&self, _alone: &MutexGuard<'_, ()>) -> usize {
        let in_force = self.held.in_force();
        let ended = self.standing.look(in_force.authority(), self.clock.now()).await;
        for ended in &ended {
            let (role, because) = (ended.role, ended.refused.because);
            tracing::warn!(from = %ended.from, %role, %because, "connection closed: {}", ended.refused.refusal);
            self.metrics.ended_connection(role, because);
        }
        ended.len()
    }

    /// Says what needs somebody's attention before long.
    fn warn(&self) {
        for warning in self.held.in_force().warnings(self.clock.now()) {
            tracing::warn!("{warning}");
        }
    }
}

/// Follows time and files, for as long as it is polled.
pub(super) async fn follow(renewal: Arc<Renewal>) {
    let mut warnings = interval(WARN_EVERY);
    let mut looked = Instant::now();
    let mut read = Instant::now();
    loop {
        // Asked for each time: a reload may change it.
        let reading = renewal.held.in_force().reload_every().on().map(|every| read + every.into());
        tokio::select! {
            biased;
            _ = warnings.tick() => renewal.warn(),
            () = sleep_until(looked + LOOK_EVERY) => {
                renewal.look().await;
                looked = Instant::now();
            }
            () = sleep_until(reading.unwrap_or(looked + LOOK_EVERY)), if reading.is_some() => {
                renewal.read_if_changed().await;
                read = Instant::now();
            }
        }
    }
}
