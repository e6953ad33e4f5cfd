//! Dialling another site's relay.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use landbridge_protocol::{error::Refusal, name::SiteName};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};

use super::close::refusal_of;
use crate::machine::{Machine, ThisMachine};

/// Addresses of one name that are tried at most.
const MAX_ADDRESSES: usize = 8;

/// How long sockets stay open for the last words of connections.
const LINGER: Duration = Duration::from_millis(250);

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name of its host could not be looked up.
    #[error("the address {address} can't be looked up: {source}")]
    LookUp {
        /// As configured.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// There is no address behind the name.
    #[error("there is no address behind {address}")]
    NoAddress {
        /// As configured.
        address: String,
    },
    /// No socket could be opened to dial from.
    #[error("no socket to dial from: {0}")]
    Socket(#[from] io::Error),
    /// The connection can't even be tried.
    #[error("{to} can't be dialled: {source}")]
    Connect {
        /// Where.
        to: SocketAddr,
        /// Why.
        source: quinn::ConnectError,
    },
    /// It answered, and did not let this relay in; or it did not answer.
    #[error("no connection to {to}: {source}")]
    Connection {
        /// Where.
        to: SocketAddr,
        /// Why.
        source: ConnectionError,
    },
    /// Nobody answered in time.
    #[error("no answer from {address} within {}", crate::config::show_duration(*within))]
    TooLong {
        /// As configured.
        address: String,
        /// How long was waited.
        within: Duration,
    },
}

impl DialError {
    /// The refusal with which the other end closed, if that is what happened.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            DialError::Connection { source, .. } => refusal_of(source),
            _ => None,
        }
    }
}

/// Dials, from sockets of its own: one per address family, opened when first needed. (The listening socket may be bound to an
/// address from which the peer can't be reached.)
pub struct Dialler {
    machine: Arc<dyn Machine>,
    endpoints: Mutex<Endpoints>,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialler({:?})", self.endpoints)
    }
}

impl Default for Dialler {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Default)]
struct Endpoints {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

impl Dialler {
    /// One that has not dialled yet, from this machine.
    pub fn new() -> Self {
        Self::from(Arc::new(ThisMachine))
    }

    /// One that has not dialled yet.
    pub fn from(machine: Arc<dyn Machine>) -> Self {
        Self { machine, endpoints: Mutex::default() }
    }

    /// Connects to `site`'s relay at `address` (host:port; looked up anew each time). The server must have a certificate
    /// for the name of `site`.
    pub async fn dial(
        &self,
        address: &str,
        site: SiteName,
        config: ClientConfig,
        within: Duration,
    ) -> Result<Connection, DialError> {
        match tokio::time::timeout(within, self.try_each(address, site, config)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(DialError::TooLong { address: address.to_owned(), within }),
        }
    }

    /// Closes the sockets, once what was sent has left. A dial that nobody has answered is not waited for.
    pub async fn shutdown(&self) {
        let Endpoints { v4, v6 } = std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        for endpoint in [v4, v6].into_iter().flatten() {
            endpoint.close(0u32.into(), b"");
            let _idle_or_given_up = tokio::time::timeout(LINGER, endpoint.wait_idle()).await;
        }
    }

    async fn try_each(&self, address: &str, site: SiteName, config: ClientConfig) -> Result<Connection, DialError> {
        let found = tokio::net::lookup_host(address).await;
        let found = found.map_err(|source| DialError::LookUp { address: address.to_owned(), source })?;
        let mut last = DialError::NoAddress { address: address.to_owned() };
        for to in found.take(MAX_ADDRESSES) {
            match self.try_one(to, site, config.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn try_one(&self, to: SocketAddr, site: SiteName, config: ClientConfig) -> Result<Connection, DialError> {
        let connecting = self.endpoint(to)?.connect_with(config, to, site.as_str());
        let connecting = connecting.map_err(|source| DialError::Connect { to, source })?;
        connecting.await.map_err(|source| DialError::Connection { to, source })
    }

    fn endpoint(&self, to: SocketAddr) -> io::Result<Endpoint> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let (endpoint, any): (_, IpAddr) = match to {
            SocketAddr::V4(_) => (&mut endpoints.v4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut endpoints.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if let Some(endpoint) = endpoint {
            return Ok(endpoint.clone());
        }
        Ok(endpoint.insert(self.machine.dial_from(any)?).clone())
    }
}
