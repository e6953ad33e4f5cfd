//! Certificates: who the client is, and whom it trusts. TLS 1.3 only, both sides, with a pinned crypto provider.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use landbridge_protocol::frame::ALPN_NODE;
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

/// What a client shows of itself, and what it trusts.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trust: Vec<CertificateDer<'static>>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), trust: self.trust.clone() }
    }
}

/// Why certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not PEM, or not of what is needed.
    #[error("{place} has no usable {what}: {source}")]
    Pem {
        /// The file, or what was handed in.
        place: String,
        /// What was looked for.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// TLS can't be set up with these.
    #[error("the certificates can't be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl Identity {
    /// From PEM texts: the chain beginning with the client's own certificate, its key, and what it trusts.
    pub fn from_pem(certificate: &[u8], key: &[u8], trust: &[u8]) -> Result<Self, IdentityError> {
        Ok(Self {
            chain: certificates(certificate, "the certificate")?,
            key: private_key(key, "the key")?,
            trust: certificates(trust, "the trust")?,
        })
    }

    /// From PEM files.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        trust: impl AsRef<Path>,
    ) -> Result<Self, IdentityError> {
        let place = |path: &Path| path.display().to_string();
        let (certificate, key, trust) = (certificate.as_ref(), key.as_ref(), trust.as_ref());
        Ok(Self {
            chain: certificates(&read(certificate)?, &place(certificate))?,
            key: private_key(&read(key)?, &place(key))?,
            trust: certificates(&read(trust)?, &place(trust))?,
        })
    }

    /// The crypto of a connection to a relay, for nodes.
    pub(crate) fn quic_config(&self) -> Result<QuicClientConfig, IdentityError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &self.trust {
            roots.add(certificate.clone())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_NODE.to_vec()];
        Ok(QuicClientConfig::try_from(config).expect("ring has the cipher suite that QUIC begins with"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn certificates(text: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let fault = |source| IdentityError::Pem { place: place.to_owned(), what: "certificate", source };
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if found.is_empty() { Err(fault(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn private_key(text: &[u8], place: &str) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|source| IdentityError::Pem {
        place: place.to_owned(),
        what: "private key",
        source,
    })
}

/// Where an identity comes from. Files are read anew for every connection, so that renewed certificates are taken up.
#[derive(Debug, Clone)]
pub(crate) enum IdentitySource {
    Given(Identity),
    Files { certificate: PathBuf, key: PathBuf, trust: PathBuf },
}

impl IdentitySource {
    pub(crate) fn quic_config(&self) -> Result<QuicClientConfig, IdentityError> {
        match self {
            Self::Given(identity) => identity.quic_config(),
            Self::Files { certificate, key, trust } => Identity::from_pem_files(certificate, key, trust)?.quic_config(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pem_is_said_so() {
        let message = Identity::from_pem(b"", b"", b"").unwrap_err().to_string();
        assert!(message.contains("the certificate has no usable certificate"), "{message}");
        let message = Identity::from_pem_files("/nowhere/a", "/nowhere/b", "/nowhere/c").unwrap_err().to_string();
        assert!(message.contains("/nowhere/a"), "{message}");
    }
}
