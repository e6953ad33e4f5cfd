//! What a start would find out, tried without starting.

use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket},
    path::Path,
};

use landbridge_protocol::{name::SiteName, time::Timestamp};
use rustix::fs::{Access, access};

use super::{
    error::{ConfigError, Problem},
    relay::RelayConfig,
};
use crate::{
    certs::{CertsError, Identity, Trust, certificate_dates, fitness},
    store::inspect,
};

/// A configuration with which a relay would start.
#[derive(Debug, Clone)]
pub struct Checked {
    /// It.
    pub config: RelayConfig,
    /// What is not wrong yet, in sentences.
    pub warnings: Vec<String>,
    /// What was seen of the store, in words; empty where it was not looked at.
    pub store: String,
}

/// Reads everything that a start would read, tries the addresses, and leaves all as it was. All problems are told at once.
pub fn check(path: &Path, now: Timestamp) -> Result<Checked, ConfigError> {
    checked(path, now, true)
}

/// As [`check`], for a relay that runs and has its addresses and its store: these are not tried.
pub fn check_anew(path: &Path, now: Timestamp) -> Result<Checked, ConfigError> {
    checked(path, now, false)
}

fn checked(path: &Path, now: Timestamp, before_start: bool) -> Result<Checked, ConfigError> {
    let config = RelayConfig::load(path)?;
    let mut findings = Findings::default();
    certificates(&config, now, &mut findings);
    directory(&config.store.dir, &mut findings);
    if before_start {
        store(&config.store.dir, &mut findings);
        addresses(&config, &mut findings);
    }
    peers(&config, &mut findings);
    if findings.problems.is_empty() {
        Ok(Checked { config, warnings: findings.warnings, store: findings.store })
    } else {
        let problems = findings.problems.into_iter().map(Problem::general).collect();
        Err(ConfigError::Invalid { path: path.to_path_buf(), problems })
    }
}

#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    warnings: Vec<String>,
    store: String,
}

impl Findings {
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn warning(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn certs_problem(&mut self, error: &CertsError) {
        self.problem(error.with_cause());
    }
}

fn certificates(config: &RelayConfig, now: Timestamp, findings: &mut Findings) {
    let tls = &config.tls;
    let identity = Identity::load(&tls.certificate, &tls.key);
    match &identity {
        Ok(identity) => {
            for fault in fitness::faults(&tls.certificate, identity, config.site, !config.peers.is_empty(), now) {
                findings.certs_problem(&fault);
            }
        }
        Err(error) => findings.certs_problem(error),
    }
    // File by file, so that all problems are told; what they make together comes last.
    let before = findings.problems.len();
    for path in tls.trust_files() {
        match crate::certs::authorities(path) {
            Ok(found) => found.iter().for_each(|certificate| begun(path, certificate, now, findings)),
            Err(error) => findings.certs_problem(&error),
        }
    }
    if findings.problems.len() > before {
        return;
    }
    match (identity, Trust::load(tls, now)) {
        (_, Err(error)) => findings.certs_problem(&error),
        (Ok(identity), Ok(trust)) => {
            let warnings = fitness::warnings(&tls.certificate, &identity, &trust, now);
            findings.warnings.extend(warnings);
        }
        (Err(_), Ok(_)) => {}
    }
}

/// An authority's dates: one that has ended is passed over, so that only its beginning can be wrong.
fn begun(path: &Path, certificate: &[u8], now: Timestamp, findings: &mut Findings) {
    match certificate_dates(certificate) {
        Err(source) => findings.certs_problem(&CertsError::Names { path: path.into(), source }),
        Ok((from, _)) if from > now => {
            findings.certs_problem(&CertsError::NotYet { path: path.into(), wait: from.since(now) });
        }
        Ok(_) => {}
    }
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

/// As much of the store as can be read without opening it.
fn store(dir: &Path, findings: &mut Findings) {
    match inspect(dir) {
        Ok(found) => findings.store = found.to_string(),
        Err(error) => findings.problem(error.to_string()),
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
