//! TLS and QUIC, as this relay speaks them.

use std::{fmt, sync::Arc, time::Duration};

use landbridge_protocol::{name::SiteName, time::Timestamp};
use quinn::{IdleTimeout, TransportConfig, VarInt, crypto::rustls as quic};
use rustls::{
    RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::UnixTime;

use super::{
    authority::Authority,
    files::{CertsError, Identity, Trust},
    names::Role,
};
use crate::config::{Limits, TlsConfig};

/// Tells the time. TLS asks it whether certificates are good.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    /// By that clock.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }
}

impl Now {
    /// The time.
    pub fn timestamp(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.timestamp()))
    }
}

pub(super) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(at.as_millis()))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// This relay's certificate and key, and whom it believes. Connections made from it keep what was read.
#[derive(Debug, Clone)]
pub struct Credentials {
    identity: Identity,
    trust: Trust,
    now: Now,
}

impl Credentials {
    /// Reads the files.
    pub fn load(tls: &TlsConfig, now: Now) -> Result<Self, CertsError> {
        let identity = Identity::load(&tls.certificate, &tls.key)?;
        Ok(Self { identity, trust: Trust::load(tls, now.timestamp())?, now })
    }

    /// Whom it believes.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// This relay's certificate and key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Who may connect to this site's relay, which has these peers.
    pub fn authority(
        &self,
        site: SiteName,
        peers: impl IntoIterator<Item = SiteName>,
    ) -> Result<Authority, CertsError> {
        Authority::new(&self.trust, site, peers.into_iter().collect(), 0)
    }

    /// For listening: speaks these protocols, with whoever has a certificate of any trusted authority. What the holder
    /// may do is for [`Credentials::authority`] to say.
    pub fn server(&self, alpns: &[&[u8]], limits: &Limits) -> Result<quinn::ServerConfig, CertsError> {
        let verifier = client_verifier(&self.trust, self.trust.union())?;
        let mut tls = rustls::ServerConfig::builder_with_details(provider(), Arc::new(self.now.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(setup)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.identity.chain.clone(), self.identity.key.clone_key())
            .map_err(setup)?;
        tls.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
        tls.max_early_data_size = 0;
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let tls = quic::QuicServerConfig::try_from(tls).map_err(setup)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.max_incoming(limits.max_handshakes).transport_config(transport(limits)?);
        Ok(server)
    }

    /// For dialling a peer: the server must have a certificate of an authority for peers, with the name that is dialled,
    /// which is to be the peer's site.
    pub fn client(&self, alpn: &[u8], limits: &Limits) -> Result<quinn::ClientConfig, CertsError> {
        let mut tls = rustls::ClientConfig::builder_with_details(provider(), Arc::new(self.now.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(setup)?
            .with_webpki_verifier(server_verifier(&self.trust)?)
            .with_client_auth_cert(self.identity.chain.clone(), self.identity.key.clone_key())
            .map_err(setup)?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.enable_early_data = false;
        tls.resumption = Resumption::disabled();
        let tls = quic::QuicClientConfig::try_from(tls).map_err(setup)?;
        let mut client = quinn::ClientConfig::new(Arc::new(tls));
        client.transport_config(transport(limits)?);
        Ok(client)
    }
}

/// Verifies who dials, against these authorities and what is revoked. Whose authority has no list is not revoked.
pub(super) fn client_verifier(
    trust: &Trust,
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, CertsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    builder.with_crls(trust.revoked.lists.clone()).allow_unknown_revocation_status().build().map_err(setup)
}

/// Verifies the peer that is dialled, likewise.
pub(super) fn server_verifier(trust: &Trust) -> Result<Arc<WebPkiServerVerifier>, CertsError> {
    let builder = WebPkiServerVerifier::builder_with_provider(trust.of(Role::Peer), provider());
    builder.with_crls(trust.revoked.lists.clone()).allow_unknown_revocation_status().build().map_err(setup)
}

/// The bounds of a connection, either way.
fn transport(limits: &Limits) -> Result<Arc<TransportConfig>, CertsError> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from(limits.idle_timeout)).map_err(setup)?;
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits.keep_alive.into()))
        .max_concurrent_bidi_streams(VarInt::try_from(limits.max_streams as u64).map_err(setup)?)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::try_from(limits.stream_window_bytes.get()).map_err(setup)?)
        .receive_window(VarInt::try_from(limits.connection_window_bytes.get()).map_err(setup)?)
        .send_window(limits.send_window_bytes.get())
        .datagram_receive_buffer_size(None);
    Ok(Arc::new(transport))
}

fn setup(error: impl fmt::Display) -> CertsError {
    CertsError::Setup(error.to_string())
}
