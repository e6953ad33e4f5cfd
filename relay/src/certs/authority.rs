//! Who may speak as what, once TLS has let somebody in.

use std::{collections::BTreeSet, fmt, sync::Arc};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::{NodeName, SiteName},
    time::Timestamp,
};
use rustls::{
    CertificateError,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    server::danger::ClientCertVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName};

use super::{
    files::{CertsError, Trust, certificate_dates},
    names::{CertificateNames, Grant, NamesError, Role},
    tls::{client_verifier, server_verifier, unix_time},
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
    /// When the certificate ends, or sooner the first of the issuers that were shown with it.
    pub not_after: Timestamp,
    /// By which edition of the relay's certificates and trust it was verified.
    pub edition: u64,
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
    /// The certificate has ended.
    Expired,
    /// Its authority has revoked it.
    Revoked,
    /// The certificate is from no authority that is believed for this role, or is not good otherwise.
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
            RefusedBecause::Expired => "expired",
            RefusedBecause::Revoked => "revoked",
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
    dialled: Arc<WebPkiServerVerifier>,
    edition: u64,
}

impl Authority {
    pub(super) fn new(
        trust: &Trust,
        site: SiteName,
        peers: BTreeSet<SiteName>,
        edition: u64,
    ) -> Result<Self, CertsError> {
        let verifier = |role| client_verifier(trust, trust.of(role));
        let verifiers = [verifier(Role::Node)?, verifier(Role::Peer)?, verifier(Role::Admin)?];
        Ok(Self { site, peers, verifiers, dialled: server_verifier(trust)?, edition })
    }

    /// Checks ALPN × role × authorities × site. `chain` is what quinn has as the peer's identity: the certificate,
    /// issuers after it. To be asked before the first frame, and again while a connection lasts.
    pub fn authorize(
        &self,
        chain: &[CertificateDer<'static>],
        alpn: &[u8],
        now: Timestamp,
    ) -> Result<Peer, RefusedConnection> {
        let role = Role::of(alpn).ok_or_else(|| {
            refused(RefusedBecause::Alpn, format!("unknown protocol {:?}", String::from_utf8_lossy(alpn)))
        })?;
        let (certificate, issuers) =
            chain.split_first().ok_or_else(|| refused(RefusedBecause::Tls, "no certificate was shown".into()))?;
        let verified = self.verifiers[role as usize].verify_client_cert(certificate, issuers, unix_time(now));
        verified.map_err(|error| untrusted(role, &error))?;
        let names = CertificateNames::of(certificate).map_err(unreadable)?;
        let not_after = soonest_end(chain, now)?;
        let site = self.site_of(role, &names.grants)?;
        let grants = names.grants.into_iter().filter(|grant| grant.role == role && grant.site == site);
        // One grant without a name outweighs those with one.
        let names = grants.map(|grant| grant.name).collect::<Option<Vec<_>>>().unwrap_or_default();
        Ok(Peer { role, site, names, certificate: certificate.clone(), not_after, edition: self.edition })
    }

    /// Checks the certificate of a peer's relay that was dialled, as TLS did then: to be asked again while the connection
    /// lasts.
    pub fn authorize_dialled(
        &self,
        chain: &[CertificateDer<'static>],
        site: SiteName,
        now: Timestamp,
    ) -> Result<Peer, RefusedConnection> {
        let role = Role::Peer;
        let (certificate, issuers) =
            chain.split_first().ok_or_else(|| refused(RefusedBecause::Tls, "no certificate was shown".into()))?;
        let name = ServerName::try_from(site.as_str())
            .map_err(|error| refused(RefusedBecause::Names, format!("{site} is no name of a server: {error}")))?;
        let verified = self.dialled.verify_server_cert(certificate, issuers, &name, &[], unix_time(now));
        verified.map_err(|error| untrusted(role, &error))?;
        let not_after = soonest_end(chain, now)?;
        Ok(Peer { role, site, names: Vec::new(), certificate: certificate.clone(), not_after, edition: self.edition })
    }

    /// Counts how often certificates and trust were taken over before these.
    pub fn edition(&self) -> u64 {
        self.edition
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

/// When the first of them ends that has not ended: one that has, and was good all the same, was not needed.
fn soonest_end(chain: &[CertificateDer<'static>], now: Timestamp) -> Result<Timestamp, RefusedConnection> {
    let mut soonest = Timestamp::from_millis(u64::MAX);
    for certificate in chain {
        let (_, end) = certificate_dates(certificate).map_err(unreadable)?;
        if end >= now {
            soonest = soonest.min(end);
        }
    }
    Ok(soonest)
}

fn unreadable(error: NamesError) -> RefusedConnection {
    refused(RefusedBecause::Names, error.to_string())
}

fn untrusted(role: Role, error: &rustls::Error) -> RefusedConnection {
    use rustls::Error::InvalidCertificate;
    let (because, text) = match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            (RefusedBecause::Expired, "the certificate has expired".into())
        }
        InvalidCertificate(CertificateError::Revoked) => {
            (RefusedBecause::Revoked, "the certificate was revoked by its authority".into())
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            (RefusedBecause::Untrusted, "the certificate is not valid yet".into())
        }
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            let text = format!("the certificate is from no authority that is trusted for the role of {role}");
            (RefusedBecause::Untrusted, text)
        }
        other => (RefusedBecause::Untrusted, format!("the certificate is not good: {other}")),
    };
    refused(because, text)
}

fn refused(because: RefusedBecause, text: String) -> RefusedConnection {
    RefusedConnection { because, refusal: Refusal::new(ErrorCode::NameNotInCertificate, text) }
}
