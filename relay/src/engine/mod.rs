//! The pure core: what is decided, merged, sent, dropped and reconciled. No tokio, no sled, no quinn, no clock:
//! inputs and `now` come in, outputs are polled.

pub mod claim;
pub mod command;
pub mod history;
pub mod outage;
pub mod window;
