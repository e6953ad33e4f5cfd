//! Why a relay does not start.

use std::{io, net::SocketAddr};

use crate::{certs::CertsError, http::BindError, store::error::OpenError};

/// Why a relay does not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody has the port.
    #[error("can't listen at {address} (UDP): the port is in use; stop what uses it, or set `{setting}` to another")]
    AddressInUse {
        /// Where.
        address: SocketAddr,
        /// By which setting.
        setting: &'static str,
    },
    /// The address can't be listened at.
    #[error("can't listen at {address} (UDP, `{setting}`): {source}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// By which setting.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// HTTP can't be served.
    #[error(transparent)]
    Http(#[from] BindError),
    /// Certificates, keys or trust are not good.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The machine gives no random numbers, from which the number of a run is drawn.
    #[error("no random numbers to draw this run's number from: {0}")]
    Random(getrandom::Error),
    /// The thread that opened the store did not come back.
    #[error("opening the store was cut off: {0}")]
    Opening(#[from] tokio::task::JoinError),
}
