//! What the tests of Landbridge stand on: relays as processes, sites on loopback, loads that remember what was
//! acknowledged, patience in one place; and the explorer of the pure core.
//!
//! Every process is killed when its handle is dropped; ports are ephemeral; every wait is bounded.
#![forbid(unsafe_code)]

pub mod crash;
pub mod decoders;
pub mod explorer;
pub mod faults;
pub mod fuzz;
pub mod hearer;
pub mod linear;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod next;
pub mod patience;
pub mod ports;
pub mod relay;
pub mod simulation;
pub mod sites;
pub mod soak;
pub mod steady;
pub mod stranger;
pub mod wire;
