//! Who may speak as what, once TLS has let somebody in.

use std::{collections::BTreeSet, fmt, sync::Arc};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER},
    name::{NodeName, SiteName},
    time::Timestamp,
};
use rustls::{
    CertificateError,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::CertificateDer;

use super::{
    files::{CertsError, Trust, certificate_dates},
    names::{CertificateNames, Grant, Role},
    tls::{provider, unix_time},
};

/// One who was let in, as what.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The role, that the ALPN named and the certificate has.
    pub role: Role,
    /// The site that the certificate has this role at: this relay's for nodes and operators, the other's for a peer.
    pub site: SiteName,
    /// The names that the certificate bears for this role at this site; none where it may have any.
    names: Vec<NodeName>,
    /// The certificate, as it was shown. Two connections of one holder show the same.
    pub certificate: CertificateDer<'static>,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

impl Peer {
    /// Whether the holder may go by that name.
    pub fn may_be(&self, name: &NodeName) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}

/// Why somebody was not let in; the value of the label `reason` in the metric of refused connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBecause {
    /// TLS failed: no certificate, an expired one, one of an unknown authority, no ALPN in common.
    Tls,
    /// An ALPN that is none of ours.
    Alpn,
    /// The certificate is from no authority that is believed for this role, or is not good at present.
    Untrusted,
    /// The certificate's names can't be read.
    Names,
    /// The certificate does not have the role.
    Role,
    /// It has the role, at another site.
    Site,
    /// As many handshakes as there may be are under way.
    Crowded,
    /// As many connections as there may be are open.
    Full,
}

impl RefusedBecause {
    /// As a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedBecause::Tls => "tls",
            RefusedBecause::Alpn => "alpn",
            RefusedBecause::Untrusted => "untrusted",
            RefusedBecause::Names => "names",
            RefusedBecause::Role => "role",
            RefusedBecause::Site => "site",
            RefusedBecause::Crowded => "crowded",
            RefusedBecause::Full => "full",
        }
    }
}

impl fmt::Display for RefusedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A connection that is not let in: why, and what its other end is told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("connection refused ({because}): {}", refusal.message)]
pub struct RefusedConnection {
    /// Why, for the count.
    pub because: RefusedBecause,
    /// What to answer.
    pub refusal: Refusal,
}

/// Decides who may connect to one site's relay.
#[derive(Debug, Clone)]
pub struct Authority {
    site: SiteName,
    peers: BTreeSet<SiteName>,
    verifiers: [Arc<dyn ClientCertVerifier>; 3],
}

impl Authority {
    pub(super) fn new(trust: &Trust, site: SiteName, peers: BTreeSet<SiteName>) -> Result<Self, CertsError> {
        let verifier = |role| {
            let builder = WebPkiClientVerifier::builder_with_provider(trust.of(role), provider());
            builder.build().map_err(|error| CertsError::Setup(error.to_string()))
        };
        Ok(Self { site, peers, verifiers: [verifier(Role::Node)?, verifier(Role::Peer)?, verifier(Role::Admin)?] })
    }

    /// The same authority over connections, where the relay has these peers.
    pub fn with_peers(&self, peers: impl IntoIterator<Item = SiteName>) -> Self {
        Self { peers: peers.into_iter().collect(), ..self.clone() }
    }

    /// Checks ALPN × role × authorities × site. `chain` is what quinn has as the peer's identity: the certificate,
    /// issuers after it. To be asked before the first frame, and again while a connection lasts.
    pub fn authorize(
        &self,
        chain: &[CertificateDer<'static>],
        alpn: &[u8],
        now: Timestamp,
    ) -> Result<Peer, RefusedConnection> {
        let role = role_of(alpn)?;
        let (certificate, issuers) =
            chain.split_first().ok_or_else(|| refused(RefusedBecause::Tls, "no certificate was shown".into()))?;
        let verified = self.verifiers[role as usize].verify_client_cert(certificate, issuers, unix_time(now));
        verified.map_err(|error| refused(RefusedBecause::Untrusted, untrusted(role, &error)))?;
        let unreadable = |error: super::NamesError| refused(RefusedBecause::Names, error.to_string());
        let names = CertificateNames::of(certificate).map_err(unreadable)?;
        let (_, not_after) = certificate_dates(certificate).map_err(unreadable)?;
        let site = self.site_of(role, &names.grants)?;
        let grants = names.grants.into_iter().filter(|grant| grant.role == role && grant.site == site);
        // One grant without a name outweighs those with one.
        let names = grants.map(|grant| grant.name).collect::<Option<Vec<_>>>().unwrap_or_default();
        Ok(Peer { role, site, names, certificate: certificate.clone(), not_after })
    }

    fn site_of(&self, role: Role, grants: &[Grant]) -> Result<SiteName, RefusedConnection> {
        let sites: BTreeSet<SiteName> =
            grants.iter().filter(|grant| grant.role == role).map(|grant| grant.site).collect();
        if sites.is_empty() {
            return Err(refused(RefusedBecause::Role, format!("the certificate does not have the role of {role}")));
        }
        let welcome = |site: &SiteName| match role {
            Role::Node | Role::Admin => *site == self.site,
            Role::Peer => self.peers.contains(site),
        };
        if let Some(site) = sites.iter().copied().find(welcome) {
            return Ok(site);
        }
        let listed = sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(", ");
        let text = match role {
            Role::Peer => format!("the certificate is that of {listed}, which {} does not have as a peer", self.site),
            _ => format!("the certificate is for {listed}, this is the relay of {}", self.site),
        };
        Err(refused(RefusedBecause::Site, text))
    }
}

fn role_of(alpn: &[u8]) -> Result<Role, RefusedConnection> {
    match alpn {
        ALPN_NODE => Ok(Role::Node),
        ALPN_PEER => Ok(Role::Peer),
        ALPN_ADMIN => Ok(Role::Admin),
        other => Err(refused(RefusedBecause::Alpn, format!("unknown protocol {:?}", String::from_utf8_lossy(other)))),
    }
}

fn untrusted(role: Role, error: &rustls::Error) -> String {
    use rustls::Error::InvalidCertificate;
    match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired".into()
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the certificate is not valid yet".into()
        }
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("the certificate is from no authority that is trusted for the role of {role}")
        }
        other => format!("the certificate is not good: {other}"),
    }
}

fn refused(because: RefusedBecause, text: String) -> RefusedConnection {
    RefusedConnection { because, refusal: Refusal::new(ErrorCode::NameNotInCertificate, text) }
}
