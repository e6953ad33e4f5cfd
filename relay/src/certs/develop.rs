//! A certificate authority and certificates for development: the command `certs`.
//!
//! In the directory: `ca.pem`, `ca.key`; per site `SITE.relay.pem` (server, and peer of the others) and `SITE.admin.pem`
//! (operator, and node of any name); per node `NODE.pem`; each with its `.key`. What is there is kept, so that sites and
//! nodes can be added later under the same authority. Nothing is ever overwritten.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use landbridge_protocol::{
    name::{NodeName, SiteName},
    time::Timestamp,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, string::Ia5String,
};
use time::{Duration, OffsetDateTime};

use super::{
    files::{CertsError, Identity, certificates},
    names::{CertificateNames, Grant, Role},
};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Development {
    /// Where the files go; made if need be.
    pub dir: PathBuf,
    /// A relay's and an operator's certificate for each.
    pub sites: Vec<SiteName>,
    /// A node's certificate for each; one for all its sites where a node is there with several.
    pub nodes: Vec<(SiteName, NodeName)>,
    /// From when they are good, less an hour for clocks that are behind.
    pub now: Timestamp,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new.
    pub written: Vec<PathBuf>,
    /// Files that were there, fit, and were left as they were.
    pub kept: Vec<PathBuf>,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum DevelopError {
    /// Two of what is wanted would have the same file.
    #[error("two certificates would be named {0}: give the site or the node another name")]
    SameName(String),
    /// Half of a pair.
    #[error("{} is there without {}: put it back, or move the first away", there.display(), missing.display())]
    HalfAPair {
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// A certificate that is there and is another one's.
    #[error("{} is there, and is not the certificate of {wanted}: move it away, or use another directory", path.display())]
    AnotherOnes {
        /// The file.
        path: PathBuf,
        /// Whose it would be.
        wanted: String,
    },
    /// A pair that is there and can't be used.
    #[error("what is there can't be used: {0}; move it away, or use another directory")]
    Unusable(#[from] CertsError),
    /// A certificate or an authority that is to be worked with.
    #[error("there is no {what} {}", path.display())]
    NotThere {
        /// What.
        what: &'static str,
        /// Where it would be.
        path: PathBuf,
    },
    /// A file or directory that can't be written.
    #[error("can't write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authority's own files don't make an authority.
    #[error("{} and its key don't make a certificate authority: {source}", path.display())]
    Authority {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// The cryptography fails.
    #[error("can't make a certificate")]
    Make(#[from] rcgen::Error),
}

pub(super) const AUTHORITY_DAYS: i64 = 3650;
const CERTIFICATE_DAYS: i64 = 730;

/// Writes what is missing of what is wanted.
pub fn develop(wanted: &Development) -> Result<Written, DevelopError> {
    let leaves = leaves(wanted);
    let mut stems = BTreeSet::from(["ca".to_string()]);
    for leaf in &leaves {
        if !stems.insert(leaf.stem.clone()) {
            return Err(DevelopError::SameName(leaf.stem.clone()));
        }
    }
    let dir = &wanted.dir;
    std::fs::create_dir_all(dir).map_err(|source| DevelopError::Write { path: dir.clone(), source })?;
    let mut written = Written::default();
    let missing = leaves.iter().map(|leaf| leaf.is_missing(dir)).collect::<Result<Vec<_>, _>>()?;
    let authority = authority(dir, wanted.now, &mut written)?;
    for (leaf, is_missing) in leaves.iter().zip(missing) {
        let pair = pair(dir, &leaf.stem);
        if is_missing {
            leaf.issue(&authority, wanted.now, &pair)?;
            written.written.extend(<[PathBuf; 2]>::from(pair));
        } else {
            written.kept.extend(<[PathBuf; 2]>::from(pair));
        }
    }
    Ok(written)
}

fn leaves(wanted: &Development) -> Vec<Leaf> {
    let grant = |site: SiteName, role, name| Grant { site, role, name };
    let mut leaves = Vec::new();
    for &site in &wanted.sites {
        let grants = vec![grant(site, Role::Peer, None)];
        leaves.push(Leaf { stem: format!("{site}.relay"), host: Some(site), grants });
        let grants = vec![grant(site, Role::Admin, None), grant(site, Role::Node, None)];
        leaves.push(Leaf { stem: format!("{site}.admin"), host: None, grants });
    }
    let first_node = leaves.len();
    for (site, node) in &wanted.nodes {
        let grant = grant(*site, Role::Node, Some(node.clone()));
        let stem = node.to_string();
        match leaves[first_node..].iter_mut().find(|leaf| leaf.stem == stem) {
            // It goes to that site's relay while its own is away: with one certificate, as it is one node.
            Some(leaf) if !leaf.grants.contains(&grant) => leaf.grants.push(grant),
            _ => leaves.push(Leaf { stem, host: None, grants: vec![grant] }),
        }
    }
    leaves
}

fn pair(dir: &Path, stem: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{stem}.pem")), dir.join(format!("{stem}.key")))
}

/// Whether neither file of a pair is there.
fn neither(certificate: &Path, key: &Path) -> Result<bool, DevelopError> {
    let half = |there: &Path, missing: &Path| DevelopError::HalfAPair { there: there.into(), missing: missing.into() };
    match (certificate.exists(), key.exists()) {
        (true, true) => Ok(false),
        (false, false) => Ok(true),
        (true, false) => Err(half(certificate, key)),
        (false, true) => Err(half(key, certificate)),
    }
}

/// A certificate that is wanted.
struct Leaf {
    stem: String,
    host: Option<SiteName>,
    grants: Vec<Grant>,
}

impl Leaf {
    fn is_missing(&self, dir: &Path) -> Result<bool, DevelopError> {
        let (certificate, key) = pair(dir, &self.stem);
        if neither(&certificate, &key)? {
            return Ok(true);
        }
        let there = Identity::load(&certificate, &key)?;
        let hosts = self.host.iter().map(SiteName::to_string).collect();
        if there.names == (CertificateNames { hosts, grants: self.grants.clone() }) {
            Ok(false)
        } else {
            let wanted = self.grants.iter().map(Grant::uri).collect::<Vec<_>>().join(" and ");
            Err(DevelopError::AnotherOnes { path: certificate, wanted })
        }
    }

    fn issue(&self, by: &Issuer<'_, KeyPair>, now: Timestamp, pair: &(PathBuf, PathBuf)) -> Result<(), DevelopError> {
        let mut params = params(&self.stem, now, CERTIFICATE_DAYS);
        let uris = self.grants.iter().map(|grant| Ia5String::try_from(grant.uri()).map(SanType::URI));
        let hosts = self.host.iter().map(|site| Ia5String::try_from(site.as_str()).map(SanType::DnsName));
        params.subject_alt_names = hosts.chain(uris).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.extended_key_usages.extend(self.host.map(|_| ExtendedKeyUsagePurpose::ServerAuth));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, by)?;
        write_pair(pair, &certificate.pem(), &key.serialize_pem())
    }
}

fn authority(dir: &Path, now: Timestamp, done: &mut Written) -> Result<Issuer<'static, KeyPair>, DevelopError> {
    let files = pair(dir, "ca");
    if neither(&files.0, &files.1)? {
        let mut params = params("Landbridge development authority", now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        // Two authorities of one name would be told apart by signatures only, and errors would speak of those.
        let mark: String = params.key_identifier(&key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("Landbridge development authority {mark}"));
        let certificate = params.self_signed(&key)?;
        write_pair(&files, &certificate.pem(), &key.serialize_pem())?;
        done.written.extend(<[PathBuf; 2]>::from(files));
        return Ok(Issuer::new(params, key));
    }
    let issuer = issuer(dir)?;
    done.kept.extend(<[PathBuf; 2]>::from(files));
    Ok(issuer)
}

/// The authority that is there.
pub(super) fn issuer(dir: &Path) -> Result<Issuer<'static, KeyPair>, DevelopError> {
    let files = pair(dir, "ca");
    Identity::load(&files.0, &files.1)?;
    let certificate = certificates(&files.0, "certificate")?.remove(0);
    let path = files.0.clone();
    let key = std::fs::read_to_string(&files.1)
        .map_err(|source| DevelopError::Write { path: files.1.clone(), source })
        .and_then(|pem| {
            KeyPair::from_pem(&pem).map_err(|source| DevelopError::Authority { path: path.clone(), source })
        })?;
    Issuer::from_ca_cert_der(&certificate, key).map_err(|source| DevelopError::Authority { path, source })
}

/// A time as certificates have it.
pub(super) fn moment(at: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(at.as_millis() / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn params(name: &str, now: Timestamp, days: i64) -> CertificateParams {
    let now = moment(now);
    let mut params = CertificateParams::default();
    params.not_before = now.saturating_sub(Duration::hours(1));
    params.not_after = now.saturating_add(Duration::days(days));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The key first and for its owner only, so that no moment has it open to others.
fn write_pair((certificate, key): &(PathBuf, PathBuf), pem: &str, key_pem: &str) -> Result<(), DevelopError> {
    for (path, text, mode) in [(key, key_pem, 0o600), (certificate, pem, 0o644)] {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| DevelopError::Write { path: path.clone(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn wanted(dir: &Path, sites: &[&str], nodes: &[(&str, &str)]) -> Development {
        let site = |name: &str| SiteName::new(name).unwrap();
        Development {
            dir: dir.into(),
            sites: sites.iter().map(|name| site(name)).collect(),
            nodes: nodes.iter().map(|(at, name)| (site(at), NodeName::new(name).unwrap())).collect(),
            now: NOW,
        }
    }

    fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn names_and_roles_are_those_of_the_holders_and_keys_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/certs");
        let written = develop(&wanted(&dir, &["site1"], &[("site1", "node11")])).unwrap();
        assert_eq!((written.written.len(), written.kept.len()), (8, 0));
        let names = |stem: &str| {
            let (certificate, key) = pair(&dir, stem);
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&key), mode(&certificate) & 0o600), (0o600, 0o600));
            let names = Identity::load(&certificate, &key).unwrap().names;
            let uris: Vec<_> = names.grants.iter().map(Grant::uri).collect();
            (names.hosts, uris)
        };
        assert_eq!(names("site1.relay"), (vec!["site1".into()], vec!["landbridge://site1/peer".into()]));
        let admin = vec!["landbridge://site1/admin".into(), "landbridge://site1/node".into()];
        assert_eq!(names("site1.admin"), (vec![], admin));
        assert_eq!(names("node11"), (vec![], vec!["landbridge://site1/node/node11".into()]));
        assert_eq!(names("ca"), (vec![], vec![]));
    }

    #[test]
    fn a_node_of_several_sites_has_one_certificate_for_all_of_them_and_one_of_one_site_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = [("site1", "mover"), ("site1", "node11"), ("site2", "mover")];
        let written = develop(&wanted(dir.path(), &["site1", "site2"], &nodes)).unwrap();
        assert_eq!(written.written.len(), 14);
        let uris = |stem: &str| {
            let (certificate, key) = pair(dir.path(), stem);
            let names = Identity::load(&certificate, &key).unwrap().names;
            names.grants.iter().map(Grant::uri).collect::<Vec<_>>()
        };
        assert_eq!(uris("mover"), ["landbridge://site1/node/mover", "landbridge://site2/node/mover"]);
        assert_eq!(uris("node11"), ["landbridge://site1/node/node11"]);
        let twice = develop(&wanted(dir.path(), &["site1"], &[("site1", "node12"), ("site1", "node12")])).unwrap_err();
        assert!(matches!(twice, DevelopError::SameName(_)), "{twice}");
    }

    #[test]
    fn what_is_there_stays_byte_for_byte_and_more_can_be_added() {
        let dir = tempfile::tempdir().unwrap();
        develop(&wanted(dir.path(), &["site1"], &[])).unwrap();
        let before = contents(dir.path());
        let written = develop(&wanted(dir.path(), &["site1", "site2"], &[("site2", "node21")])).unwrap();
        assert_eq!((written.written.len(), written.kept.len()), (6, 6));
        let after = contents(dir.path());
        assert!(before.iter().all(|file| after.contains(file)) && after.len() == 12);
    }

    #[test]
    fn what_is_there_and_does_not_fit_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        develop(&wanted(dir.path(), &["site1"], &[("site1", "node11")])).unwrap();
        let before = contents(dir.path());
        let refused = |wanted: &Development| develop(wanted).unwrap_err();
        let other = refused(&wanted(dir.path(), &["site2"], &[("site2", "node11")]));
        assert!(matches!(other, DevelopError::AnotherOnes { .. }), "{other}");
        let twice = refused(&wanted(dir.path(), &["site2"], &[("site2", "ca")]));
        assert!(matches!(twice, DevelopError::SameName(_)), "{twice}");
        assert_eq!(contents(dir.path()), before);

        fs::remove_file(dir.path().join("node11.key")).unwrap();
        let half = refused(&wanted(dir.path(), &["site2"], &[("site1", "node11")]));
        assert!(matches!(half, DevelopError::HalfAPair { .. }), "{half}");
        assert!(!dir.path().join("site2.relay.pem").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = develop(&wanted(&file, &["site1"], &[])).unwrap_err();
        assert!(matches!(error, DevelopError::Write { .. }), "{error}");
    }
}
