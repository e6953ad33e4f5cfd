//! Own relays: processes of this binary, one a site, with certificates, configurations and stores in a directory that goes
//! when the measurement ends.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
};

use landbridge_protocol::name::SiteName;
use tempfile::TempDir;

use super::{BenchArgs, usage::Usage};
use crate::{
    certs::{Development, develop},
    cli::{Exit, Failure, relay_process::RelayProcess},
    clock::{Clock, SystemClock},
};

/// Ports that are tried before it is said that there is none.
const TRIES: usize = 100;
/// Beyond those that put and hear.
const SPARE_SESSIONS: u32 = 8;

/// See the module.
pub(super) struct Relays {
    dir: TempDir,
    ports: Vec<u16>,
    /// That each lets in, all with one certificate.
    sessions: u32,
    processes: Vec<RelayProcess>,
}

impl Relays {
    /// Writes all files of the sites that were asked for.
    pub(super) fn prepare(args: &BenchArgs) -> Result<Self, Failure> {
        let (dir, sites) = (&args.dir, usize::from(args.sites));
        let within = |e: std::io::Error| {
            Failure::new(Exit::Usage, format!("cannot write to {}: {e}; name another with --dir", dir.display()))
        };
        let made = tempfile::Builder::new().prefix("landbridge-bench-").tempdir_in(dir).map_err(within)?;
        let ports = (0..sites).map(|_| free_port()).collect::<Result<_, _>>()?;
        let sessions = args.sessions + args.hearing_sessions() + SPARE_SESSIONS;
        let relays = Self { dir: made, ports, sessions, processes: Vec::new() };
        let names = (0..sites).map(|at| SiteName::new(&site(at)).expect("a site's name")).collect();
        let certs = relays.dir.path().join("certs");
        develop(&Development { dir: certs, sites: names, nodes: Vec::new(), now: SystemClock.now() })
            .map_err(|e| Failure::because(Exit::Failed, &e))?;
        for at in 0..sites {
            fs::write(relays.config(at), relays.relay_toml(at)).map_err(within)?;
            fs::write(relays.profile(at), relays.profile_toml(at)).map_err(within)?;
        }
        Ok(relays)
    }

    /// Starts them all, and waits until they are ready.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let failed = |e: crate::cli::relay_process::RelayError| Failure::because(Exit::Failed, &e);
        for at in 0..self.ports.len() {
            let log = self.dir.path().join(format!("{}.log", site(at)));
            self.processes.push(RelayProcess::spawn(self.config(at), log).map_err(failed)?);
        }
        for process in &mut self.processes {
            process.ready().await.map_err(failed)?;
        }
        Ok(())
    }

    /// The profile at the `at`-th site.
    pub(super) fn profile(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("{}.profile.toml", site(at)))
    }

    /// What each relay has used.
    pub(super) fn usage(&self) -> Vec<Option<Usage>> {
        self.processes.iter().map(|process| Usage::of(process.pid())).collect()
    }

    /// Stops them, and takes away all files.
    pub(super) async fn remove(self) -> Result<(), Failure> {
        for process in self.processes {
            process.stop().await.map_err(|e| Failure::because(Exit::Failed, &e))?;
        }
        let path = self.dir.path().to_path_buf();
        self.dir.close().map_err(|e| Failure::new(Exit::Failed, format!("cannot remove {}: {e}", path.display())))
    }

    fn config(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("{}.relay.toml", site(at)))
    }

    fn relay_toml(&self, at: usize) -> String {
        let site_name = site(at);
        let mut text = format!(
            "site = \"{site_name}\"\nlisten = \"127.0.0.1:{}\"\n\n[store]\ndir = \"{site_name}.store\"\n\n[tls]\n\
             certificate = \"certs/{site_name}.relay.pem\"\nkey = \"certs/{site_name}.relay.key\"\ntrust = \"certs/ca.pem\"\n\n\
             [limits]\nmax_sessions = {}\nmax_sessions_per_certificate = {}\ndrain_timeout = \"2s\"\n\n[[caches]]\nname = \"{}\"\n",
            self.ports[at],
            self.sessions * 2,
            self.sessions,
            super::CACHE,
        );
        for (peer, port) in self.ports.iter().enumerate().filter(|(peer, _)| *peer != at) {
            text += &format!("\n[[peers]]\nsite = \"{}\"\naddress = \"127.0.0.1:{port}\"\n", site(peer));
        }
        text
    }

    fn profile_toml(&self, at: usize) -> String {
        let (site, port) = (site(at), self.ports[at]);
        format!(
            "relay = \"127.0.0.1:{port}\"\nsite = \"{site}\"\nnode = \"operator\"\ncertificate = \"certs/{site}.admin.pem\"\n\
             key = \"certs/{site}.admin.key\"\ntrust = \"certs/ca.pem\"\n"
        )
    }
}

/// As the relays and their operators are named.
pub(super) fn site(at: usize) -> String {
    format!("site{}", at + 1)
}

/// A port that nobody has, for UDP and for TCP.
fn free_port() -> Result<u16, Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let found = (0..TRIES).find_map(|_| {
        let socket = UdpSocket::bind(any).ok()?.local_addr().ok()?;
        TcpListener::bind(socket).ok().map(|_| socket.port())
    });
    found.ok_or_else(|| Failure::new(Exit::Failed, "no port of 127.0.0.1 is free for both UDP and TCP"))
}
