//! Certificates, keys and trust, as files have them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use landbridge_protocol::{
    name::SiteName,
    time::{Millis, Timestamp},
};
use ring::hmac;
use rustls::{RootCertStore, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{
    fitness::show_days,
    names::{CertificateNames, NamesError, Role},
    revoked::Revoked,
};
use crate::config::TlsConfig;

/// Why certificates, keys or trust can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file that can't be read, or is no PEM.
    #[error("can't read the {what} {}", path.display())]
    Read {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// A file with nothing of its kind in it.
    #[error("there is no {what} in {}", path.display())]
    Empty {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate that TLS can't use.
    #[error("the certificate in {} can't be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A key that is not that of the certificate.
    #[error("the key {} is not the key of the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// A certificate whose names can't be read.
    #[error("the certificate {} bears names that can't be read", path.display())]
    Names {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NamesError,
    },
    /// A certificate of this relay's that is not good any more.
    #[error("the certificate {} has expired {} ago; put a renewed one there", path.display(), show_days(*ago))]
    Ended {
        /// The file.
        path: PathBuf,
        /// Since when.
        ago: Millis,
    },
    /// A certificate of this relay's that is not good yet.
    #[error("the certificate {} is not valid for another {}; wait, or see that the clock is right", path.display(), show_days(*wait))]
    NotYet {
        /// The file.
        path: PathBuf,
        /// For so long.
        wait: Millis,
    },
    /// A certificate without the name that this relay is dialled by.
    #[error("the certificate {} does not bear DNS:{site}, by which this relay is dialled", path.display())]
    AnothersName {
        /// The file.
        path: PathBuf,
        /// This relay's site.
        site: SiteName,
    },
    /// A certificate that peers would not take for this relay's.
    #[error("the certificate {} does not bear URI:landbridge://{site}/peer, without which no peer lets this relay in", path.display())]
    NoPeer {
        /// The file.
        path: PathBuf,
        /// This relay's site.
        site: SiteName,
    },
    /// Bundles of a role of which no authority is left.
    #[error(
        "every authority in {} has expired, so that nobody could have the role of {role}; put one that is good there",
        listed(paths)
    )]
    NobodyToTrust {
        /// The role.
        role: Role,
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// A list of what is revoked that is none.
    #[error("{} is no list of revoked certificates that can be used: {problem}", path.display())]
    BadList {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A list of what is revoked that somebody else has signed.
    #[error("the list of revoked certificates in {} is not signed by the authority that it names", path.display())]
    ForeignList {
        /// The file.
        path: PathBuf,
    },
    /// TLS or QUIC refuses the whole.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

impl CertsError {
    /// With what it came of, in one line.
    pub fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{self}{cause}")
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A certificate with its issuers, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, issuers after it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The names in the certificate.
    pub names: CertificateNames,
    /// When it ends, or sooner the first of its issuers.
    pub not_after: Timestamp,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            names: self.names.clone(),
            not_after: self.not_after,
        }
    }
}

impl Identity {
    /// Reads both files and sees that they belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertsError> {
        let chain = certificates(certificate, "certificate")?;
        let read = |source| match source {
            rustls_pki_types::pem::Error::NoItemsFound => CertsError::Empty { what: "private key", path: key.into() },
            source => CertsError::Read { what: "private key", path: key.into(), source },
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(read)?;
        let unreadable = |source| CertsError::Names { path: certificate.into(), source };
        let names = CertificateNames::of(&chain[0]).map_err(unreadable)?;
        let mut not_after = Timestamp::from_millis(u64::MAX);
        for certificate in &chain {
            not_after = not_after.min(certificate_dates(certificate).map_err(unreadable)?.1);
        }
        match rustls::sign::CertifiedKey::from_der(chain.clone(), private.clone_key(), &default_provider()) {
            Ok(_) => Ok(Self { chain, key: private, names, not_after }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(CertsError::KeyMismatch { certificate: certificate.into(), key: key.into() })
            }
            Err(source) => Err(CertsError::Unusable { path: certificate.into(), source }),
        }
    }
}

impl Identity {
    /// A key for QUIC's stateless resets, the same in each run with this private key, and of no use to find that.
    pub fn reset_key(&self) -> hmac::Key {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_der());
        let derived = hmac::sign(&secret, b"landbridge stateless reset");
        hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
    }
}

/// The authorities that are believed, per role, and what they have revoked.
#[derive(Debug, Clone)]
pub struct Trust {
    nodes: Bundle,
    peers: Bundle,
    admins: Bundle,
    /// Every authority's file and end, also of those that have ended.
    pub(super) ends: BTreeSet<(PathBuf, Timestamp)>,
    pub(super) revoked: Revoked,
}

/// The authorities that are believed for one role.
#[derive(Debug, Clone)]
struct Bundle {
    roots: Arc<RootCertStore>,
    soonest_end: Timestamp,
}

impl Trust {
    /// Reads the bundles, and the lists of what is revoked. An authority that has ended is passed over.
    pub fn load(tls: &TlsConfig, now: Timestamp) -> Result<Self, CertsError> {
        let mut ends = BTreeSet::new();
        let mut of = |role, paths: &[PathBuf]| Bundle::load(role, paths, now, &mut ends);
        let nodes = of(Role::Node, &tls.trust_nodes)?;
        let peers = of(Role::Peer, &tls.trust_peers)?;
        let admins = of(Role::Admin, &tls.trust_admins)?;
        let revoked = Revoked::load(tls, &nodes.roots)?;
        Ok(Self { nodes, peers, admins, ends, revoked })
    }

    /// Those for that role.
    pub fn of(&self, role: Role) -> Arc<RootCertStore> {
        self.bundle(role).roots.clone()
    }

    /// When the first of the authorities for that role ends.
    pub fn soonest_end(&self, role: Role) -> Timestamp {
        self.bundle(role).soonest_end
    }

    /// Those for any role: what TLS, which does not see the role, verifies against.
    pub fn union(&self) -> Arc<RootCertStore> {
        let mut union = RootCertStore::empty();
        for root in Role::ALL.iter().flat_map(|role| &self.bundle(*role).roots.roots) {
            if !union.roots.contains(root) {
                union.roots.push(root.clone());
            }
        }
        Arc::new(union)
    }

    fn bundle(&self, role: Role) -> &Bundle {
        match role {
            Role::Node => &self.nodes,
            Role::Peer => &self.peers,
            Role::Admin => &self.admins,
        }
    }
}

impl Bundle {
    fn load(
        role: Role,
        paths: &[PathBuf],
        now: Timestamp,
        ends: &mut BTreeSet<(PathBuf, Timestamp)>,
    ) -> Result<Self, CertsError> {
        let mut store = RootCertStore::empty();
        let mut soonest_end = None;
        for path in paths {
            for certificate in authorities(path)? {
                let (_, end) = certificate_dates(&certificate)
                    .map_err(|source| CertsError::Names { path: path.clone(), source })?;
                ends.insert((path.clone(), end));
                // A trust anchor's dates are nothing that TLS would look at.
                if end < now {
                    continue;
                }
                soonest_end = Some(soonest_end.map_or(end, |soonest: Timestamp| soonest.min(end)));
                store.add(certificate).map_err(|source| CertsError::Unusable { path: path.clone(), source })?;
            }
        }
        let soonest_end = soonest_end.ok_or_else(|| CertsError::NobodyToTrust { role, paths: paths.to_vec() })?;
        Ok(Self { roots: Arc::new(store), soonest_end })
    }
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    all_of(path, what)
}

/// The authorities in a bundle of trust.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    certificates(path, "trusted certificate")
}

/// All items of that kind in a PEM file; at least one.
pub(super) fn all_of<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, CertsError> {
    let read = |source| CertsError::Read { what, path: path.into(), source };
    let found = T::pem_file_iter(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if found.is_empty() { Err(CertsError::Empty { what, path: path.into() }) } else { Ok(found) }
}

/// From when and until when a certificate is good: its first millisecond and its last, as the second that it names is its last.
pub fn certificate_dates(certificate: &[u8]) -> Result<(Timestamp, Timestamp), NamesError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| NamesError::Unreadable(error.to_string()))?;
    let validity = certificate.validity();
    Ok((timestamp(&validity.not_before), timestamp(&validity.not_after).after(Millis::new(999))))
}

/// A time as certificates have it; what is before 1970 is 1970.
pub(super) fn timestamp(at: &ASN1Time) -> Timestamp {
    Timestamp::from_millis(u64::try_from(at.timestamp()).unwrap_or(0).saturating_mul(1000))
}
