//! The pages.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use landbridge_protocol::frame::admin::Status;

use super::status;
use crate::metrics::Metrics;

/// What the pages are made from. Cheap to clone.
#[derive(Clone)]
pub struct Pages {
    metrics: Metrics,
    status: Arc<dyn Fn() -> Option<Status> + Send + Sync>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

impl Pages {
    /// From these numbers, and what `status` reports at the moment; nothing while the relay is recovering its store.
    pub fn new(metrics: Metrics, status: impl Fn() -> Option<Status> + Send + Sync + 'static) -> Self {
        Self { metrics, status: Arc::new(status) }
    }
}

/// The routes.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(pages)
}

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const RECOVERING: &str = "the relay is recovering its store";

async fn metrics(State(pages): State<Pages>) -> Response {
    if let Some(status) = (pages.status)() {
        pages.metrics.observe(&status);
    }
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], pages.metrics.render()).into_response()
}

/// Alive is who answers; a relay that is not ready must not be restarted for it.
async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(pages): State<Pages>) -> Response {
    let because = match (pages.status)() {
        Some(status) if status.ready => return "ready\n".into_response(),
        Some(status) => status.not_ready_because.unwrap_or_else(|| "the relay is not ready".into()),
        None => RECOVERING.into(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {because}\n")).into_response()
}

async fn front(State(pages): State<Pages>) -> Response {
    let page = match (pages.status)() {
        Some(status) => status::page(&status),
        None => status::no_report(RECOVERING),
    };
    // The page has neither scripts nor anything from elsewhere, and says so.
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}
