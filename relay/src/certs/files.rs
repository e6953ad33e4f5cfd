//! Certificates, keys and trust, as files have them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use landbridge_protocol::time::Timestamp;
use ring::hmac;
use rustls::{RootCertStore, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{CertificateNames, NamesError, Role};
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
    /// TLS or QUIC refuses the whole.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
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
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), names: self.names.clone() }
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
        let names =
            CertificateNames::of(&chain[0]).map_err(|source| CertsError::Names { path: certificate.into(), source })?;
        match rustls::sign::CertifiedKey::from_der(chain.clone(), private.clone_key(), &default_provider()) {
            Ok(_) => Ok(Self { chain, key: private, names }),
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

/// The authorities that are believed, per role.
#[derive(Debug, Clone)]
pub struct Trust {
    nodes: Arc<RootCertStore>,
    peers: Arc<RootCertStore>,
    admins: Arc<RootCertStore>,
}

impl Trust {
    /// Reads the bundles.
    pub fn load(tls: &TlsConfig) -> Result<Self, CertsError> {
        Ok(Self {
            nodes: Arc::new(bundle(&tls.trust_nodes)?),
            peers: Arc::new(bundle(&tls.trust_peers)?),
            admins: Arc::new(bundle(&tls.trust_admins)?),
        })
    }

    /// Those for that role.
    pub fn of(&self, role: Role) -> Arc<RootCertStore> {
        match role {
            Role::Node => self.nodes.clone(),
            Role::Peer => self.peers.clone(),
            Role::Admin => self.admins.clone(),
        }
    }

    /// Those for any role: what TLS, which does not see the role, verifies against.
    pub fn union(&self) -> Arc<RootCertStore> {
        let mut union = RootCertStore::empty();
        for root in [&self.nodes, &self.peers, &self.admins].into_iter().flat_map(|store| &store.roots) {
            if !union.roots.contains(root) {
                union.roots.push(root.clone());
            }
        }
        Arc::new(union)
    }
}

fn bundle(paths: &[PathBuf]) -> Result<RootCertStore, CertsError> {
    let mut store = RootCertStore::empty();
    for path in paths {
        for certificate in authorities(path)? {
            store.add(certificate).map_err(|source| CertsError::Unusable { path: path.clone(), source })?;
        }
    }
    Ok(store)
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    let read = |source| CertsError::Read { what, path: path.into(), source };
    let found = CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if found.is_empty() { Err(CertsError::Empty { what, path: path.into() }) } else { Ok(found) }
}

/// The authorities in a bundle of trust.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    certificates(path, "trusted certificate")
}

/// From when and until when a certificate is good.
pub fn certificate_dates(certificate: &[u8]) -> Result<(Timestamp, Timestamp), NamesError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| NamesError::Unreadable(error.to_string()))?;
    let validity = certificate.validity();
    let at = |seconds: i64| Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Ok((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}
