//! The files of the demo: certificates, configurations and profiles under one directory, and the ports.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use landbridge_protocol::name::{NodeName, SiteName};

use crate::{
    certs::{DevelopError, Development, develop},
    clock::{Clock, SystemClock},
};

/// Names of the sites and of the nodes of each.
pub(crate) const SITES: [(&str, [&str; 2]); 3] =
    [("site1", ["node11", "node12"]), ("site2", ["node21", "node22"]), ("site3", ["node31", "node32"])];
/// How far the ports of two relays are apart.
const PORTS_APART: u16 = 1000;

/// Shows that a directory is a demo's, so that a later demo may begin its stores anew.
const MARKER: &str = "this-directory-is-a-landbridge-demo";

/// Where a demo keeps its files, and where its relays listen.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    /// One of each site.
    ports: Vec<u16>,
    /// The marker, locked as long as this demo runs.
    _lock: File,
}

/// What keeps the demo from beginning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("{} is not empty and was not made by a demo; name another directory with --dir", .0.display())]
    NotOurs(PathBuf),
    #[error("cannot write {}: {source}; name another directory with --dir", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is the directory of a demo that runs; stop that one, or name another directory with --dir", .0.display())]
    Running(PathBuf),
    #[error(
        "{protocol} port {port} is in use (another demo or relay?); choose others with --base-port N: N, N+1000 and so on"
    )]
    PortInUse { protocol: &'static str, port: u16 },
    #[error("cannot listen at {protocol} port {port}: {source}; choose others with --base-port N: N, N+1000 and so on")]
    Port { protocol: &'static str, port: u16, source: io::Error },
    #[error("--base-port {0} is too high: the ports of all relays, 1000 apart, must be at most 65535")]
    PortTooHigh(u16),
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] DevelopError),
}

impl Layout {
    /// Checks directory and ports, and writes every file. A directory of an earlier demo keeps its certificates and loses
    /// its stores.
    pub(crate) fn prepare(dir: &Path, base_port: u16, sites: u16) -> Result<(Self, bool), LayoutError> {
        let ports = (0..sites).map(|at| base_port.checked_add(at * PORTS_APART));
        let ports: Vec<u16> = ports.collect::<Option<_>>().ok_or(LayoutError::PortTooHigh(base_port))?;
        ports.iter().try_for_each(|port| free(*port))?;
        let (lock, again) = claim(dir)?;
        let layout = Self { dir: dir.to_path_buf(), ports, _lock: lock };
        layout.write_all()?;
        Ok((layout, again))
    }

    /// The sites of this demo, and the nodes of each.
    pub(crate) fn sites(&self) -> &'static [(&'static str, [&'static str; 2])] {
        &SITES[..self.ports.len()]
    }

    fn write_all(&self) -> Result<(), LayoutError> {
        let site = |name: &str| SiteName::new(name).expect("a constant of this file is a site's name");
        let node = |name: &str| NodeName::new(name).expect("a constant of this file is a node's name");
        let sites = self.sites().iter().map(|(name, _)| site(name)).collect();
        let nodes: Vec<_> =
            self.sites().iter().flat_map(|(name, nodes)| nodes.iter().map(|n| (site(name), node(n)))).collect();
        develop(&Development { dir: self.dir.join("certs"), sites, nodes, now: SystemClock.now() })?;
        for (at, (name, nodes)) in self.sites().iter().enumerate() {
            write(&self.relay_config(at), &self.relay_toml(at))?;
            write(&self.profile(at), &self.profile_toml(at, name, "operator", &format!("{name}.admin")))?;
            for node in nodes {
                write(&self.node_profile(node), &self.profile_toml(at, name, node, node))?;
            }
        }
        Ok(())
    }

    fn relay_toml(&self, at: usize) -> String {
        let site = SITES[at].0;
        let peers = self.sites().iter().zip(&self.ports).filter(|((peer, _), _)| *peer != site);
        let peers =
            peers.map(|((peer, _), port)| format!("\n[[peers]]\nsite = \"{peer}\"\naddress = \"127.0.0.1:{port}\"\n"));
        format!(
            "# The relay of {site} in the demo. ops/relay.toml shows every setting.\n\
             site = \"{site}\"\n\
             listen = \"127.0.0.1:{}\"\n\n\
             [store]\n\
             dir = \"{site}.store\"\n\n\
             [tls]\n\
             certificate = \"certs/{site}.relay.pem\"\n\
             key = \"certs/{site}.relay.key\"\n\
             trust = \"certs/ca.pem\"\n\
             {}",
            self.ports[at],
            peers.collect::<String>(),
        )
    }

    fn profile_toml(&self, at: usize, site: &str, node: &str, certificate: &str) -> String {
        format!(
            "# How a node or an operator of {site} reaches its relay.\n\
             relay = \"127.0.0.1:{}\"\n\
             site = \"{site}\"\n\
             node = \"{node}\"\n\
             certificate = \"certs/{certificate}.pem\"\n\
             key = \"certs/{certificate}.key\"\n\
             trust = \"certs/ca.pem\"\n",
            self.ports[at],
        )
    }

    /// The configuration of the relay of the `at`-th site.
    pub(crate) fn relay_config(&self, at: usize) -> PathBuf {
        self.dir.join(format!("{}.relay.toml", SITES[at].0))
    }

    /// The operator's profile of the `at`-th site.
    pub(crate) fn profile(&self, at: usize) -> PathBuf {
        self.dir.join(format!("{}.profile.toml", SITES[at].0))
    }

    /// The profile of a node.
    pub(crate) fn node_profile(&self, node: &str) -> PathBuf {
        self.dir.join(format!("{node}.profile.toml"))
    }

    /// What the relay of the `at`-th site logs.
    pub(crate) fn relay_log(&self, at: usize) -> PathBuf {
        self.dir.join(format!("{}.log", SITES[at].0))
    }

    /// Where the relay of the `at`-th site serves HTTP.
    pub(crate) fn http(&self, at: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[at]).into()
    }
}

/// Makes the directory ours, and empty of stores; tells whether it is an earlier demo's.
fn claim(dir: &Path) -> Result<(File, bool), LayoutError> {
    let failed = |source| LayoutError::Write { path: dir.to_path_buf(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let marker = dir.join(MARKER);
    let again = marker.exists();
    if !again && fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(LayoutError::NotOurs(dir.to_path_buf()));
    }
    write(&marker, "Made by `landbridge demo`. The next demo with this --dir begins its stores anew.\n")?;
    let lock = File::open(&marker).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LayoutError::Running(dir.to_path_buf())),
        Err(TryLockError::Error(source)) => return Err(LayoutError::Write { path: marker, source }),
    }
    for (site, _) in SITES {
        let store = dir.join(format!("{site}.store"));
        if store.exists() {
            fs::remove_dir_all(&store).map_err(|source| LayoutError::Write { path: store, source })?;
        }
    }
    Ok((lock, again))
}

fn write(path: &Path, text: &str) -> Result<(), LayoutError> {
    fs::write(path, text).map_err(|source| LayoutError::Write { path: path.to_path_buf(), source })
}

/// Whether both the UDP and the TCP port can be bound.
fn free(port: u16) -> Result<(), LayoutError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = |protocol| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => LayoutError::PortInUse { protocol, port },
            _ => LayoutError::Port { protocol, port, source },
        }
    };
    UdpSocket::bind(address).map(drop).map_err(failed("UDP"))?;
    TcpListener::bind(address).map(drop).map_err(failed("TCP"))
}
