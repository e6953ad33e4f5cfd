//! What authorities have revoked: lists of certificates (CRLs), as files have them.
//!
//! A list revokes from the moment that it is read, also when its own date for the next one is past: an old list is better
//! than none. An authority without a list revokes nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use landbridge_protocol::time::Timestamp;
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{
    files::{CertsError, all_of, authorities, timestamp},
    tls::provider,
};
use crate::config::TlsConfig;

/// The lists of what is revoked.
#[derive(Debug, Clone, Default)]
pub(super) struct Revoked {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// Files with lists for which the next one is due, and since when.
    pub(super) next_due: Vec<(PathBuf, Timestamp)>,
    /// Files with lists of authorities that are not trusted for anything.
    pub(super) of_strangers: Vec<PathBuf>,
}

impl Revoked {
    /// Reads the lists of the configuration. One whose authority is trusted must be signed by it: else TLS would refuse
    /// everybody whom that authority has certified.
    pub(super) fn load(tls: &TlsConfig, roots: &Arc<RootCertStore>) -> Result<Self, CertsError> {
        let mut revoked = Self::default();
        if tls.crls.is_empty() {
            return Ok(revoked);
        }
        let mut trusted = Vec::new();
        for path in [&tls.trust_nodes, &tls.trust_peers, &tls.trust_admins].into_iter().flatten() {
            trusted.extend(authorities(path)?);
        }
        for path in &tls.crls {
            for list in all_of::<CertificateRevocationListDer<'static>>(path, "list of revoked certificates")? {
                usable(&list, roots).map_err(|problem| CertsError::BadList { path: path.clone(), problem })?;
                revoked.add(path, list, &trusted)?;
            }
        }
        Ok(revoked)
    }

    fn add(
        &mut self,
        path: &Path,
        list: CertificateRevocationListDer<'static>,
        trusted: &[CertificateDer<'_>],
    ) -> Result<(), CertsError> {
        let read = inspect(&list, trusted).map_err(|problem| CertsError::BadList { path: path.into(), problem })?;
        match read.signer {
            Signer::Authority => {}
            Signer::Another => return Err(CertsError::ForeignList { path: path.into() }),
            Signer::Stranger => self.of_strangers.push(path.into()),
        }
        self.next_due.extend(read.next_due.map(|due| (path.to_path_buf(), due)));
        self.lists.push(list);
        Ok(())
    }
}

/// Whether TLS can use it, whatever the authorities.
pub(super) fn usable(list: &CertificateRevocationListDer<'static>, roots: &Arc<RootCertStore>) -> Result<(), String> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    builder.with_crls([list.clone()]).build().map(drop).map_err(|error| error.to_string())
}

/// What there is to know about a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inspected {
    next_due: Option<Timestamp>,
    pub(super) signer: Signer,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// The trusted authority that it names.
    Authority,
    /// Not that one.
    Another,
    /// It names an authority that is not trusted: perhaps not any more.
    Stranger,
}

/// Reads a list, whatever its bytes.
pub(super) fn inspect(list: &[u8], trusted: &[CertificateDer<'_>]) -> Result<Inspected, String> {
    let (rest, read) = CertificateRevocationList::from_der(list).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("there is more after it".into());
    }
    let mut signer = Signer::Stranger;
    for authority in trusted {
        let (_, authority) = X509Certificate::from_der(authority).map_err(|error| error.to_string())?;
        if authority.subject() != read.issuer() {
            continue;
        }
        // Two authorities may have one name, as when one has got a new key.
        if read.verify_signature(authority.public_key()).is_ok() {
            signer = Signer::Authority;
            break;
        }
        signer = Signer::Another;
    }
    Ok(Inspected { next_due: read.next_update().as_ref().map(timestamp), signer })
}
