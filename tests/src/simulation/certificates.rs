//! Certificates for simulated sites. Ed25519 throughout, as its keys and signatures always have the same length: the
//! datagrams of a handshake must not differ between two runs of a seed. Good for as long as anybody may simulate, but for
//! those that are to end in a run.

use std::{path::Path, sync::LazyLock, time::Duration};

use landbridge_client::Identity;
use landbridge_protocol::{name::SiteName, time::Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::{
    clock::EPOCH,
    plan::{Holder, MAX_SITES},
};

/// The day of [`EPOCH`].
const BEGINS: (i32, u8, u8) = (2100, 1, 1);
/// The name of what all nodes have.
pub const NODES: &str = "nodes";

/// All simulations of a process have the same.
static ISSUED: LazyLock<Issued> = LazyLock::new(|| write().expect("certificates can be written"));

struct Issued {
    dir: TempDir,
    authority: Issuer<'static, KeyPair>,
}

type Failed = Box<dyn std::error::Error>;

/// Where the files are: `ca.pem`, and `siteN.pem` and `.key` with everything that is of a site.
pub fn directory() -> &'static Path {
    ISSUED.dir.path()
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

fn write() -> Result<Issued, Failed> {
    let dir = tempfile::tempdir()?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut authority = params("authority", 1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    std::fs::write(dir.path().join("ca.pem"), authority.self_signed(&key)?.pem())?;
    let authority = Issuer::new(authority, key);
    for site in 0..MAX_SITES {
        issue_by(&authority, &dir.path().join(site_name(site).as_str()), site, Holder::Relay, None)?;
    }
    issue_by(&authority, &dir.path().join(NODES), 0, Holder::Nodes, None)?;
    Ok(Issued { dir, authority })
}

/// Writes a certificate and its key, beside that name with `.pem` and `.key`; `ends`, to the second, where it does in a run.
pub fn issue(stem: &Path, site: usize, holder: Holder, ends: Option<Timestamp>) -> Result<(), Failed> {
    issue_by(&ISSUED.authority, stem, site, holder, ends)
}

fn issue_by(
    authority: &Issuer<'_, KeyPair>,
    stem: &Path,
    site: usize,
    holder: Holder,
    ends: Option<Timestamp>,
) -> Result<(), Failed> {
    let sites = (0..MAX_SITES).map(site_name);
    let (name, names) = match holder {
        Holder::Relay => {
            let site = site_name(site);
            (site.to_string(), vec![SanType::DnsName(site.as_str().try_into()?), uri(&site, "peer")?])
        }
        Holder::Nodes => (NODES.into(), sites.map(|site| uri(&site, "node")).collect::<Result<_, _>>()?),
    };
    let mut params = params(&name, 2 + site as u64);
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    if let Some(ends) = ends {
        let (year, month, day) = BEGINS;
        let into = Duration::from_millis(ends.since(EPOCH).get());
        params.not_after = date_time_ymd(year, month, day) + Duration::from_secs(into.as_secs());
    }
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    std::fs::write(stem.with_extension("pem"), params.signed_by(&key, authority)?.pem())?;
    std::fs::write(stem.with_extension("key"), key.serialize_pem())?;
    Ok(())
}

fn uri(site: &SiteName, role: &str) -> Result<SanType, Failed> {
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
