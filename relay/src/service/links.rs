//! The links, as the rest of the service sees them.

use std::sync::Arc;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{admin::LinkReport, node::View},
    name::SiteName,
};
use tokio::sync::watch;

use crate::{
    config::RelayConfig,
    link::RelayView,
    transport::{Admitted, close},
};

/// The links to the peers.
#[derive(Clone)]
pub(super) struct Links {
    config: Arc<RelayConfig>,
    view: Arc<RelayView>,
}

impl Links {
    /// Begins to dial.
    pub(super) fn start(config: Arc<RelayConfig>) -> Self {
        let view = Arc::new(RelayView::new(config.site));
        Self { config, view }
    }

    /// The relay view.
    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Each link.
    pub(super) fn reports(&self) -> Vec<LinkReport> {
        let report = |peer: &crate::config::PeerConfig| LinkReport {
            peer: peer.site,
            address: peer.address.to_string(),
            state: "offline".into(),
            detail: String::new(),
            incoming: false,
            lag_changes: 0,
            lag_seconds: 0.0,
            skew_ms: None,
        };
        self.config.peers.iter().map(report).collect()
    }

    /// An operator's word.
    pub(super) async fn set_offline(&self, peer: SiteName, _offline: bool) -> Result<LinkReport, Refusal> {
        let report = self.reports().into_iter().find(|report| report.peer == peer);
        report.ok_or_else(|| Refusal::new(ErrorCode::UnknownPeer, format!("{} has no peer {peer}", self.config.site)))
    }

    /// A peer's connection.
    pub(super) async fn receive(&self, admitted: Admitted) {
        close(&admitted.connection, &Refusal::new(ErrorCode::NotReady, "this relay takes no links yet"));
    }

    /// Ends the links in order.
    pub(super) async fn shutdown(&self) {}
}
