//! The relay of Landbridge.
#![forbid(unsafe_code)]

pub mod admin;
pub mod certs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod http;
pub mod link;
pub mod listener;
pub mod machine;
pub mod metrics;
pub mod service;
pub mod session;
pub mod store;
pub mod transport;
