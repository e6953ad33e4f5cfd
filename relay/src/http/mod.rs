//! HTTP, for monitoring only: `/metrics`, `/health/live`, `/health/ready` and a read-only status page at `/`.
//!
//! ```text
//!  Prometheus ── GET /metrics ──> Pages.status() ──> Metrics::observe, render
//!  balancer ──── GET /health/ready ──> Pages.status() ──> 200, or 503 and why
//!  a person ──── GET / ──> Pages.status() ──> status::page
//! ```
//!
//! The address is bound ([`bind`]) before the relay does serious work, and served ([`serve`]) until the relay ends. There
//! is no TLS here and nothing that changes anything, so it is on loopback unless configured otherwise. It does not know
//! where the status comes from: a closure gives it.

mod bounds;
mod listening;
mod pages;
mod status;

pub use bounds::HttpBounds;
pub use listening::{BindError, HttpListener, bind, serve};
pub use pages::{Pages, router};
