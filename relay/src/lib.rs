//! The relay of Landbridge.
#![forbid(unsafe_code)]

pub mod engine;
