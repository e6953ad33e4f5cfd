//! One who speaks to a relay below the client library: any bytes, on connections of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use landbridge_client::Client;
use landbridge_protocol::{
    error::ErrorCode,
    frame::{NodeToRelay, PROTOCOL_VERSION, RawFrame, node::Hello},
};
use quinn::{
    Connecting, Connection, ConnectionError, Endpoint, RecvStream, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::time::timeout;

use crate::{
    patience::PATIENCE,
    sites::{SITES, Sites, ThreeSites},
};

/// One with a certificate of the harness.
#[derive(Debug)]
pub struct Stranger {
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    to: SocketAddr,
    name: &'static str,
}

impl Stranger {
    /// One that dials the relay of a site with that certificate.
    ///
    /// # Panics
    /// When the harness has no such certificate.
    pub fn new<const N: usize>(sites: &Sites<N>, at: usize, certificate: &str, alpn: &[u8]) -> Self {
        let certs = sites.config(at).with_file_name("certs");
        let pem = |name: &str| {
            let found = CertificateDer::pem_file_iter(Path::new(&certs).join(name)).expect("a file of certificates");
            found.map(|certificate| certificate.expect("a certificate"))
        };
        let mut roots = RootCertStore::empty();
        pem("ca.pem").for_each(|authority| roots.add(authority).expect("an authority"));
        let key = PrivateKeyDer::from_pem_file(certs.join(format!("{certificate}.key"))).expect("a key");
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(pem(&format!("{certificate}.pem")).collect(), key)
            .expect("the key is the certificate's");
        tls.alpn_protocols = vec![alpn.to_vec()];
        Self {
            endpoint: Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket on loopback"),
            config: quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3"))),
            to: (Ipv4Addr::LOCALHOST, sites.port(at)).into(),
            name: SITES[at],
        }
    }

    /// The same, dialling another port of loopback.
    #[must_use]
    pub fn through(mut self, port: u16) -> Self {
        self.to.set_port(port);
        self
    }

    /// The same, of whose streams no more than so many bytes are on the way, or here, until they are read.
    #[must_use]
    pub fn with_window(mut self, bytes: u32) -> Self {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(bytes));
        self.config.transport_config(Arc::new(transport));
        self
    }

    /// Begins a handshake.
    ///
    /// # Panics
    /// When this machine can't.
    pub fn dial(&self) -> Connecting {
        self.endpoint.connect_with(self.config.clone(), self.to, self.name).expect("a dial can begin")
    }

    /// A connection, as far as TLS goes; the relay may close it at once.
    ///
    /// # Panics
    /// When nothing becomes of it within [`PATIENCE`].
    pub async fn connect(&self) -> Result<Connection, ConnectionError> {
        timeout(PATIENCE, self.dial()).await.expect("the relay does not answer a dial")
    }
}

/// Sites 1 and 3 are honest, with a node each; site 2 is not there, and its certificate is a stranger's. `settings` are
/// further ones of the relays.
///
/// # Panics
/// When they don't start.
pub async fn honest(settings: &str) -> (ThreeSites, [Client; 2]) {
    let mut sites = ThreeSites::prepare(&format!("[replication]\nfill_wait = \"100ms\"\n{settings}"));
    for site in [0, 2] {
        sites.spawn(site);
    }
    for site in [0, 2] {
        sites.ready(site).await;
    }
    let nodes = [sites.node(0, "node11").await, sites.node(2, "node31").await];
    (sites, nodes)
}

/// The frame of a node, with a number that serves as well as any other.
///
/// # Panics
/// When it is too large for a frame.
pub fn of_node(frame: &NodeToRelay) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame.encode(7, &mut bytes).expect("a frame within its bounds");
    bytes.to_vec()
}

/// The hello of a node of the first site.
pub fn hello_of_node(name: &str) -> Vec<u8> {
    let site = || SITES[0].parse().expect("a site's name");
    of_node(&NodeToRelay::Hello(Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        site: site(),
        home: site(),
        node: name.parse().expect("a node's name"),
        member: true,
        software: "hostile".into(),
    }))
}

/// A frame of that kind, whatever the body.
///
/// # Panics
/// When the body is longer than a length can say.
pub fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + body.len()).expect("a short body");
    [&length.to_be_bytes()[..], &kind.to_be_bytes(), &7_u64.to_be_bytes(), body].concat()
}

/// The next frame of a relay.
///
/// # Panics
/// When none comes within [`PATIENCE`].
pub async fn next_frame(from: &mut RecvStream) -> RawFrame {
    let frame = async {
        let mut length = [0; 4];
        from.read_exact(&mut length).await.expect("a frame begins");
        let mut rest = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut rest).await.expect("a frame goes on to its end");
        let kind = u16::from_be_bytes([rest[0], rest[1]]);
        RawFrame { kind, request: 0, body: Bytes::from(rest).slice(10..) }
    };
    timeout(PATIENCE, frame).await.expect("the relay says nothing")
}

/// The code with which the relay closes the connection.
///
/// # Panics
/// When it does not, or with none of the protocol's.
pub async fn closed(connection: &Connection) -> ErrorCode {
    match timeout(PATIENCE, connection.closed()).await.expect("the relay does not close the connection") {
        ConnectionError::ApplicationClosed(closed) => {
            let number = u16::try_from(closed.error_code.into_inner()).expect("codes are small");
            ErrorCode::from_number(number).unwrap_or_else(|| panic!("{number} is no error's number"))
        }
        other => panic!("closed without a typed error: {other}"),
    }
}
