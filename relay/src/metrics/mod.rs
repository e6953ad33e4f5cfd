//! What the relay counts and measures.
//!
//! `names` has every metric with its kind and its words. [`Metrics`] holds one relay's numbers: it is handed in and never
//! global, so that several relays live in one process. What happens is told through handles that are made once
//! ([`CacheMetrics`], [`LinkMetrics`], [`StoreMetrics`]); what merely is, is taken from the relay's own report when
//! somebody looks ([`Metrics::observe`]), so that nothing is counted twice and nothing goes stale.
//!
//! Nothing decides by these numbers, and nobody reads them here.

mod handles;
pub mod names;
pub(crate) mod observe;
mod registry;

pub use handles::{Bound, CacheMetrics, LinkMetrics, Operation, Outcome, StoreMetrics};
pub use registry::Metrics;
