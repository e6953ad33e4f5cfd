//! The harness and the tests of Landbridge.

pub mod explorer;
