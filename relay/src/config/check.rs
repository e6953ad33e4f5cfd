//! What a start would find out, tried without starting.

use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket},
    path::{Path, PathBuf},
};

use landbridge_protocol::{
    name::SiteName,
    time::{Millis, Timestamp},
};
use rustix::fs::{Access, access};

use super::{
    error::{ConfigError, Problem},
    relay::{RelayConfig, TlsConfig},
};
use crate::certs::{CertsError, Identity, Role, Trust, certificate_dates};

/// A certificate that ends within this time is worth a word.
const ENDS_SOON: Millis = Millis::from_secs(14 * 86_400);

/// A configuration with which a relay would start.
#[derive(Debug, Clone)]
pub struct Checked {
    /// It.
    pub config: RelayConfig,
    /// What is not wrong yet, in sentences.
    pub warnings: Vec<String>,
}

/// Reads everything that a start would read, tries the addresses, and leaves all as it was. All problems are told at once.
pub fn check(path: &Path, now: Timestamp) -> Result<Checked, ConfigError> {
    checked(path, now, true)
}

/// As [`check`], for a relay that runs and has its addresses: these are not tried.
pub fn check_anew(path: &Path, now: Timestamp) -> Result<Checked, ConfigError> {
    checked(path, now, false)
}

fn checked(path: &Path, now: Timestamp, try_addresses: bool) -> Result<Checked, ConfigError> {
    let config = RelayConfig::load(path)?;
    let mut findings = Findings::default();
    certificates(&config, now, &mut findings);
    directory(&config.store.dir, &mut findings);
    if try_addresses {
        addresses(&config, &mut findings);
    }
    peers(&config, &mut findings);
    if findings.problems.is_empty() {
        Ok(Checked { config, warnings: findings.warnings })
    } else {
        let problems = findings.problems.into_iter().map(Problem::general).collect();
        Err(ConfigError::Invalid { path: path.to_path_buf(), problems })
    }
}

#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn warning(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn certs_problem(&mut self, error: &CertsError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.problem(format!("{error}{cause}"));
    }
}

fn certificates(config: &RelayConfig, now: Timestamp, findings: &mut Findings) {
    match Identity::load(&config.tls.certificate, &config.tls.key) {
        Ok(identity) => own_certificate(config, &identity, now, findings),
        Err(error) => findings.certs_problem(&error),
    }
    for path in every_trust_file(&config.tls) {
        match crate::certs::authorities(path) {
            Ok(found) => {
                for certificate in found {
                    dates(path, &certificate, now, findings);
                }
            }
            Err(error) => findings.certs_problem(&error),
        }
    }
    if findings.problems.is_empty()
        && let Err(error) = Trust::load(&config.tls)
    {
        findings.certs_problem(&error);
    }
}

fn every_trust_file(tls: &TlsConfig) -> impl Iterator<Item = &PathBuf> {
    let mut all: Vec<&PathBuf> =
        [&tls.trust_nodes, &tls.trust_peers, &tls.trust_admins].into_iter().flatten().collect();
    all.sort();
    all.dedup();
    all.into_iter()
}

fn own_certificate(config: &RelayConfig, identity: &Identity, now: Timestamp, findings: &mut Findings) {
    let path = &config.tls.certificate;
    for certificate in &identity.chain {
        dates(path, certificate, now, findings);
    }
    let site = config.site;
    if !identity.names.hosts.iter().any(|host| host == site.as_str()) {
        let text =
            format!("the certificate {} does not bear DNS:{site}, by which this relay is dialled", path.display());
        findings.problem(text);
    }
    if !config.peers.is_empty() && !identity.names.has(Role::Peer, site) {
        let text = format!(
            "the certificate {} does not bear URI:landbridge://{site}/peer, without which no peer lets this relay in",
            path.display()
        );
        findings.problem(text);
    }
}

fn dates(path: &Path, certificate: &[u8], now: Timestamp, findings: &mut Findings) {
    let shown = path.display();
    match certificate_dates(certificate) {
        Err(error) => findings.problem(format!("{shown}: {error}")),
        Ok((_, until)) if until < now => {
            findings.problem(format!("the certificate {shown} has expired {} ago", days(now.since(until))));
        }
        Ok((from, _)) if from > now => {
            findings.problem(format!("the certificate {shown} is not valid for another {}", days(from.since(now))));
        }
        Ok((_, until)) if until.since(now) < ENDS_SOON => {
            findings.warning(format!("the certificate {shown} ends in {}", days(until.since(now))));
        }
        Ok(_) => {}
    }
}

fn days(span: Millis) -> String {
    let hours = span.get() / 3_600_000;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}

/// The directory itself, or the nearest one above it in which it would be made.
fn directory(dir: &Path, findings: &mut Findings) {
    let mut nearest = Some(dir);
    while let Some(candidate) = nearest.filter(|path| !path.as_os_str().is_empty() && !path.exists()) {
        nearest = candidate.parent();
    }
    let nearest = nearest.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = dir.display();
    if !nearest.is_dir() {
        findings.problem(format!("the store {shown} can't be made: {} is no directory", nearest.display()));
    } else if let Err(error) = access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
        findings.problem(format!("the store {shown} can't be written: {}: {error}", nearest.display()));
    }
}

fn addresses(config: &RelayConfig, findings: &mut Findings) {
    let udp =
        [("listen", Some(config.listen)), ("listen_peers", config.listen_peers), ("listen_admin", config.listen_admin)];
    for (setting, address) in udp.into_iter().filter_map(|(setting, address)| Some((setting, address?))) {
        if let Err(error) = UdpSocket::bind(address) {
            findings.problem(taken(setting, address, "UDP", &error));
        }
    }
    let http = config.http_address(config.listen.port());
    if let Err(error) = TcpListener::bind(http) {
        findings.problem(taken("listen_http", http, "TCP", &error));
    }
    if !http.ip().is_loopback() {
        findings.warning(format!("HTTP is open beyond this machine, at {http}: whoever gets there reads its metrics"));
    }
}

fn taken(setting: &str, address: SocketAddr, kind: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "`{setting}`: {address} ({kind}) is in use; is a relay running already? Choose another port or stop it"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => format!("`{setting}`: {address} is not an address of this machine"),
        _ => format!("`{setting}`: can't listen at {address} ({kind}): {error}"),
    }
}

/// A peer's host may be unknown for now, which is worth a word: the link goes on trying.
fn peers(config: &RelayConfig, findings: &mut Findings) {
    for peer in &config.peers {
        let unknown =
            |site: SiteName, why: String| format!("the address of {site}, {}, can't be looked up: {why}", peer.address);
        match peer.address.as_str().to_socket_addrs().map(|found| found.count()) {
            Ok(0) => findings.warning(unknown(peer.site, "there is none".into())),
            Ok(_) => {}
            Err(error) => findings.warning(unknown(peer.site, error.to_string())),
        }
    }
}
