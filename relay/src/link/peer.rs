//! One peer, as both directions and the reports share it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::admin::LinkReport,
    name::SiteName,
    time::Timestamp,
};
use tokio::sync::{Notify, watch};

use super::view::RelayView;
use crate::{
    clock::Clock,
    engine::link::{Sender, SenderConfig, SenderInput, SenderOutput, State},
    metrics::LinkMetrics,
    store::Store,
};

/// One peer: the sending end of this relay's link to it, and whether it is online.
pub(super) struct Peer {
    pub(super) site: SiteName,
    pub(super) address: String,
    pub(super) metrics: LinkMetrics,
    /// Told when something but the link's own task has changed the sender.
    pub(super) changed: Notify,
    /// Locked for a moment at a time, always before the store's state.
    sender: Mutex<Sender>,
    offline: watch::Sender<bool>,
}

impl Peer {
    pub(super) fn new(site: SiteName, address: String, config: SenderConfig, metrics: LinkMetrics, seed: u64) -> Self {
        let sender = Mutex::new(Sender::new(site, config, seed));
        Self { site, address, metrics, changed: Notify::new(), sender, offline: watch::Sender::new(false) }
    }

    /// Hands in what happened.
    pub(super) fn handle(&self, input: SenderInput, store: &Store, now: Timestamp) {
        let mut sender = self.sender();
        store.view(|replica| sender.handle(input, replica, now));
    }

    /// What the sender wants next.
    pub(super) fn poll(&self, store: &Store, now: Timestamp) -> Option<SenderOutput> {
        let mut sender = self.sender();
        store.view(|replica| sender.poll(replica, now))
    }

    /// When to poll at the latest.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.sender().deadline()
    }

    /// Looks at the sender's state.
    pub(super) fn state<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(self.sender().state())
    }

    /// Both ways: this relay's link, and what it takes from the peer's.
    pub(super) fn set_offline(&self, offline: bool, store: &Store, now: Timestamp) {
        self.handle(if offline { SenderInput::TakeOffline } else { SenderInput::BringOnline }, store, now);
        self.follow();
        self.changed.notify_one();
    }

    /// Where this relay's link is offline, by whomever's word, nothing is taken from the peer's.
    pub(super) fn follow(&self) {
        let sender = self.sender();
        let is_offline = matches!(sender.state(), State::Offline { .. });
        self.offline.send_if_modified(|offline| std::mem::replace(offline, is_offline) != is_offline);
    }

    /// Resolves once the peer is offline, at once where it is.
    pub(super) async fn taken_offline(&self) {
        let mut offline = self.offline.subscribe();
        // An error: the peer is dropped, and with it everything that could wait here.
        if offline.wait_for(|offline| *offline).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why nothing is taken from a peer that is offline.
    pub(super) fn refuse_offline(&self) -> Result<(), Refusal> {
        if *self.offline.borrow() { Err(taken_offline()) } else { Ok(()) }
    }

    /// The link for `status`.
    pub(super) fn report(&self, store: &Store, view: &RelayView, clock: &dyn Clock) -> LinkReport {
        let now = clock.now();
        let sender = self.sender();
        let (report, skew_ms) = store.view(|replica| {
            let skew_ms = replica.report(&self.site).and_then(|report| report.skew_ms);
            (sender.report(replica, now), skew_ms)
        });
        let (version, software) = report.spoken.unzip();
        LinkReport {
            peer: self.site,
            address: self.address.clone(),
            state: report.state.to_owned(),
            detail: report.detail,
            incoming: view.incoming(self.site),
            lag_changes: report.lag_changes,
            lag_seconds: report.lag.get() as f64 / 1000.0,
            skew_ms,
            version,
            software,
        }
    }

    fn sender(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer is told whose link was taken offline here.
pub(super) fn taken_offline() -> Refusal {
    Refusal::new(ErrorCode::TakenOffline, "the link was taken offline at the other site")
}
