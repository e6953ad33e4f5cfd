//! One peer, as both directions and the reports share it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::admin::LinkReport,
    name::SiteName,
    time::Timestamp,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    drift::Drift,
    links::{PeerOptions, Shared},
    view::RelayView,
};
use crate::{
    clock::Clock,
    engine::link::{Sender, SenderConfig, SenderInput, SenderOutput, State},
    metrics::LinkMetrics,
    store::Store,
};

/// One peer: the sending end of this relay's link to it, and whether it is online.
pub(super) struct Peer {
    pub(super) site: SiteName,
    pub(super) metrics: LinkMetrics,
    /// Told when something but the link's own task has changed the sender.
    pub(super) changed: Notify,
    /// Locked for a moment at a time, always before the store's state.
    sender: Mutex<Sender>,
    offline: watch::Sender<bool>,
    /// As configured by now.
    options: Mutex<PeerOptions>,
    /// Changes when the peer's own stream is to begin anew.
    generation: watch::Sender<u64>,
    /// Cancelled when it is a peer no more.
    removed: CancellationToken,
    /// The differences of configuration that were told last.
    differences: Mutex<Vec<String>>,
    /// What drift checks have found.
    pub(super) drift: Drift,
}

impl Peer {
    pub(super) fn new(options: PeerOptions, config: &SenderConfig, metrics: LinkMetrics, seed: u64) -> Self {
        let site = options.site;
        let sender = Mutex::new(Sender::new(site, options.sender(config), seed));
        Self {
            site,
            metrics,
            changed: Notify::new(),
            sender,
            offline: watch::Sender::new(false),
            options: Mutex::new(options),
            generation: watch::Sender::new(0),
            removed: CancellationToken::new(),
            differences: Mutex::default(),
            drift: Drift::default(),
        }
    }

    /// Where it is dialled.
    pub(super) fn address(&self) -> String {
        self.options.lock().unwrap_or_else(PoisonError::into_inner).address.clone()
    }

    /// As it is configured by now.
    pub(super) fn configure(&self, options: PeerOptions, config: &SenderConfig, store: &Store, now: Timestamp) {
        let sender = options.sender(config);
        let offline = options.offline;
        let former = {
            let mut held = self.options.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, options)
        };
        self.handle(SenderInput::Configured(Box::new(sender)), store, now);
        if former.address != self.address() {
            self.handle(SenderInput::Moved, store, now);
        }
        if former.offline != offline {
            self.set_offline(offline, store, now);
        }
        self.changed.notify_one();
    }

    /// Ends the peer's stream that is open now, so that it begins with a handshake.
    pub(super) fn begin_anew(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// It is a peer no more: everything that runs for it ends.
    pub(super) fn remove(&self) {
        self.removed.cancel();
    }

    /// Resolves once the relay stops or the peer is one no more, with what the other side is told.
    pub(super) async fn ended(&self, shared: &Shared) -> Refusal {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => Refusal::new(ErrorCode::ShuttingDown, "the relay shuts down"),
            () = self.removed.cancelled() => {
                let text = format!("{} is no peer of {} any more", self.site, shared.site);
                Refusal::new(ErrorCode::UnknownPeer, text)
            }
        }
    }

    /// Resolves once the peer's stream that is open now is to begin anew.
    pub(super) fn begun_anew(&self) -> impl Future<Output = ()> + use<> {
        let mut generation = self.generation.subscribe();
        async move {
            // An error: the peer is dropped, and with it everything that could wait here.
            if generation.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Logs how the configurations differ, where that has changed.
    pub(super) fn tell_differences(&self, store: &Store) {
        let differences = store.view(|replica| replica.differences(&self.site));
        let mut told = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        for difference in differences.iter().filter(|difference| !told.contains(difference)) {
            tracing::warn!(peer = %self.site, "configurations differ: {difference}");
        }
        if differences.is_empty() && !told.is_empty() {
            tracing::info!(peer = %self.site, "configurations do not differ any more");
        }
        *told = differences;
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
        let (now, drift) = (clock.now(), Some(Box::new(self.drift_summary())));
        let sender = self.sender();
        let (report, skew_ms, differences) = store.view(|replica| {
            let skew_ms = replica.report(&self.site).and_then(|report| report.skew_ms);
            (sender.report(replica, now), skew_ms, replica.differences(&self.site))
        });
        let (version, software) = report.spoken.unzip();
        LinkReport {
            peer: self.site,
            address: self.address(),
            state: report.state.to_owned(),
            detail: report.detail,
            incoming: view.incoming(self.site),
            lag_changes: report.lag_changes,
            lag_seconds: report.lag.get() as f64 / 1000.0,
            skew_ms,
            version,
            software,
            differences,
            drift,
        }
    }

    /// Looks at the sender.
    pub(super) fn with_sender<R>(&self, look: impl FnOnce(&Sender) -> R) -> R {
        look(&self.sender())
    }

    fn sender(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer is told whose stream was opened under a former configuration.
pub(super) fn begin_anew() -> Refusal {
    Refusal::new(ErrorCode::HandshakeAnew, "this relay was configured anew; shake hands again")
}

/// What a peer is told whose link was taken offline here.
pub(super) fn taken_offline() -> Refusal {
    Refusal::new(ErrorCode::TakenOffline, "the link was taken offline at the other site")
}
