//! The sockets: bound before anything else, so that a port in use is told at once.

use std::{io, net::SocketAddr, sync::Arc};

use landbridge_protocol::frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER};
use quinn::{Endpoint, EndpointConfig};
use quinn_proto::RandomConnectionIdGenerator;

use super::error::StartError;
use crate::{
    certs::Held,
    config::RelayConfig,
    http::{self, HttpListener},
    machine::Machine,
};

/// Where a relay can be reached: with the ports that were given where 0 was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddrs {
    /// Nodes, UDP.
    pub nodes: SocketAddr,
    /// Peers, UDP.
    pub peers: SocketAddr,
    /// Operators, UDP.
    pub admins: SocketAddr,
    /// HTTP, TCP; where it is not served, where it would be.
    pub http: SocketAddr,
}

/// All of them.
pub(super) struct Sockets {
    /// One to three: each of the three protocols is spoken on one.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) http: Option<HttpListener>,
    pub(super) addresses: LocalAddrs,
}

impl Sockets {
    /// Binds what the configuration names; HTTP, a socket of the operating system, only `with_http`.
    pub(super) fn bind(
        config: &RelayConfig,
        held: &Held,
        machine: &dyn Machine,
        with_http: bool,
    ) -> Result<Self, StartError> {
        let mut alpns = vec![ALPN_NODE];
        let mut endpoints = Vec::new();
        let mut apart = |address: Option<SocketAddr>, setting, alpn| match address {
            Some(address) => {
                let (endpoint, bound) = endpoint(held, machine, address, setting, vec![alpn])?;
                endpoints.push(endpoint);
                Ok(Some(bound))
            }
            None => {
                alpns.push(alpn);
                Ok::<_, StartError>(None)
            }
        };
        let peers = apart(config.listen_peers, "listen_peers", ALPN_PEER)?;
        let admins = apart(config.listen_admin, "listen_admin", ALPN_ADMIN)?;
        let (main, nodes) = endpoint(held, machine, config.listen, "listen", alpns)?;
        endpoints.push(main);
        let at = config.http_address(nodes.port());
        let http = with_http.then(|| http::bind(at)).transpose()?;
        let addresses = LocalAddrs {
            nodes,
            peers: peers.unwrap_or(nodes),
            admins: admins.unwrap_or(nodes),
            http: http.as_ref().map_or(at, HttpListener::address),
        };
        Ok(Self { endpoints, http, addresses })
    }
}

fn endpoint(
    held: &Held,
    machine: &dyn Machine,
    address: SocketAddr,
    setting: &'static str,
    alpns: Vec<&'static [u8]>,
) -> Result<(Endpoint, SocketAddr), StartError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address, setting },
        _ => StartError::Socket { address, setting, source },
    };
    let endpoint = machine.listen(address, recognisable(held)).map_err(refused)?;
    held.listen(endpoint.clone(), alpns)?;
    let bound = endpoint.local_addr().map_err(refused)?;
    Ok((endpoint, bound))
}

/// A relay that was killed and started again tells connections of its former run, by QUIC's stateless reset, that they are
/// gone, so that their other ends dial again at once instead of after a time-out. For that, the key of the resets must be
/// the same in each run: it is derived from the certificate's key, as it is when the relay starts.
fn recognisable(held: &Held) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(held.in_force().credentials().identity().reset_key()));
    config.cid_generator(|| Box::<RandomConnectionIdGenerator>::default());
    config
}
