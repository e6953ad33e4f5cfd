//! Certificates for simulated sites. Ed25519 throughout, as its keys and signatures always have the same length: the
//! datagrams of a handshake must not differ between two runs of a seed. Good for as long as anybody may simulate.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use landbridge_client::Identity;
use landbridge_protocol::name::SiteName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::plan::MAX_SITES;

/// All simulations of a process have the same.
static FILES: LazyLock<TempDir> = LazyLock::new(|| write().expect("certificates can be written"));

/// Where the files are: `ca.pem`, and `siteN.pem` and `.key` with everything that is of a site.
pub fn directory() -> &'static Path {
    FILES.path()
}

/// What nodes of all sites have.
pub fn of_nodes() -> Identity {
    static NODES: LazyLock<Identity> = LazyLock::new(|| {
        let file = |name: &str| directory().join(name);
        Identity::from_pem_files(file("nodes.pem"), file("nodes.key"), file("ca.pem")).expect("they were written")
    });
    NODES.clone()
}

/// The name of a site, counted from 0.
///
/// # Panics
/// Where there are not so many sites.
pub fn site_name(at: usize) -> SiteName {
    assert!(at < MAX_SITES, "there are {MAX_SITES} sites at most");
    SiteName::new(&format!("site{}", at + 1)).expect("a name for a site")
}

fn write() -> Result<TempDir, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = |name: String| -> PathBuf { dir.path().join(name) };
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut authority = params("authority", 1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    std::fs::write(file("ca.pem".into()), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let sites: Vec<SiteName> = (0..MAX_SITES).map(site_name).collect();
    let mut holders = Vec::new();
    for site in &sites {
        holders.push((site.as_str(), vec![SanType::DnsName(site.as_str().try_into()?), uri(site, "peer")?]));
    }
    let nodes = sites.iter().map(|site| uri(site, "node")).collect::<Result<Vec<_>, _>>()?;
    holders.push(("nodes", nodes));
    for (number, (name, names)) in (2..).zip(holders) {
        let mut params = params(name, number);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        std::fs::write(file(format!("{name}.pem")), params.signed_by(&key, &issuer)?.pem())?;
        std::fs::write(file(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(dir)
}

fn uri(site: &SiteName, role: &str) -> Result<SanType, Box<dyn std::error::Error>> {
    Ok(SanType::URI(format!("landbridge://{site}/{role}").as_str().try_into()?))
}

fn params(name: &str, number: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.serial_number = Some(SerialNumber::from(number));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
