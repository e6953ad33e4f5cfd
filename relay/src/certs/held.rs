//! The certificates and the trust that are in force: one cell, from which all that listens and dials takes them.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use landbridge_protocol::{
    name::SiteName,
    time::{Millis, Timestamp},
};
use quinn::Endpoint;

use super::{
    authority::Authority,
    files::CertsError,
    fitness::{faults, warnings},
    names::Role,
    tls::{Credentials, Now},
};
use crate::config::{Limits, OrOff, RelayConfig, TlsConfig};

/// Whose certificates are wanted, and whom they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The files.
    pub tls: TlsConfig,
    /// The relay's site.
    pub site: SiteName,
    /// The sites of its peers.
    pub peers: BTreeSet<SiteName>,
    /// The bounds of connections.
    pub limits: Limits,
}

impl Wanted {
    /// What that configuration wants.
    pub fn of(config: &RelayConfig) -> Self {
        let peers = config.peers.iter().map(|peer| peer.site).collect();
        Self { tls: config.tls.clone(), site: config.site, peers, limits: config.limits.clone() }
    }
}

/// What is in force: read as a whole, never changed.
#[derive(Debug)]
pub struct InForce {
    wanted: Wanted,
    contents: Contents,
    credentials: Credentials,
    authority: Authority,
}

impl InForce {
    /// `contents` were looked at before: what is written meanwhile is a change.
    fn read(wanted: Wanted, contents: Contents, now: Now, edition: u64) -> Result<Self, CertsError> {
        let credentials = Credentials::load(&wanted.tls, now)?;
        let authority = Authority::new(credentials.trust(), wanted.site, wanted.peers.clone(), edition)?;
        Ok(Self { wanted, contents, credentials, authority })
    }

    /// What is in force is what was wanted so.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// This relay's certificate and key.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Who may connect.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// For dialling.
    pub fn client(&self, alpn: &[u8]) -> Result<quinn::ClientConfig, CertsError> {
        self.credentials.client(alpn, &self.wanted.limits)
    }

    /// For listening.
    pub fn server(&self, alpns: &[&[u8]]) -> Result<quinn::ServerConfig, CertsError> {
        self.credentials.server(alpns, &self.wanted.limits)
    }

    /// How often is looked whether the files have changed.
    pub fn reload_every(&self) -> OrOff<Millis> {
        self.wanted.tls.reload_every
    }

    /// When this relay's certificate ends, or sooner the first of the issuers that stand after it.
    pub fn not_after(&self) -> Timestamp {
        self.credentials.identity().not_after
    }

    /// When the first of the authorities for that role ends.
    pub fn trust_ends(&self, role: Role) -> Timestamp {
        self.credentials.trust().soonest_end(role)
    }

    /// What needs somebody's attention before long, in sentences.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        warnings(&self.wanted.tls.certificate, self.credentials.identity(), self.credentials.trust(), now)
    }

    fn check(&self, now: Timestamp) -> Result<(), CertsError> {
        let Wanted { tls, site, peers, .. } = &self.wanted;
        let faults = faults(&tls.certificate, self.credentials.identity(), *site, !peers.is_empty(), now);
        faults.into_iter().next().map_or(Ok(()), Err)
    }
}

/// A relay's certificates and trust. Cheap to clone; [`Held::put_in_force`] changes them for everybody who takes them from here.
///
/// Connections keep what they were made with. Which of them may stay is for whoever has them to ask the new
/// [`InForce::authority`].
#[derive(Clone)]
pub struct Held(Arc<Cell>);

struct Cell {
    now: Now,
    in_force: RwLock<Arc<InForce>>,
    reading: Mutex<Reading>,
}

struct Reading {
    /// The endpoints that listen, with what is spoken there.
    listening: Vec<(Endpoint, Vec<&'static [u8]>)>,
    /// What was in the files, when they were last read.
    contents: Contents,
    /// When that was.
    read: Timestamp,
    /// How often they were read again.
    editions: u64,
}

/// What was read and found good, to be put in force.
#[derive(Debug)]
pub struct Next {
    in_force: InForce,
    listening: Vec<(Endpoint, quinn::ServerConfig)>,
    changed: Vec<PathBuf>,
}

impl Next {
    /// The files that are in use already and have something else in them.
    pub fn changed(&self) -> &[PathBuf] {
        &self.changed
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("in_force", &self.in_force()).finish_non_exhaustive()
    }
}

impl Held {
    /// Reads the files for the first time. What can be read is taken, also a certificate that has ended: a relay that
    /// nobody believes still serves whom it can, and is mended by other files.
    pub fn load(wanted: Wanted, now: Now) -> Result<Self, CertsError> {
        let contents = Contents::of(&wanted.tls);
        let read = now.timestamp();
        let in_force = InForce::read(wanted, contents.clone(), now.clone(), 0)?;
        let reading = Mutex::new(Reading { listening: Vec::new(), contents, read, editions: 0 });
        Ok(Self(Arc::new(Cell { now, in_force: RwLock::new(Arc::new(in_force)), reading })))
    }

    /// What is in force now.
    pub fn in_force(&self) -> Arc<InForce> {
        self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on that endpoint listens with what is in force, whatever becomes of that.
    pub fn listen(&self, endpoint: Endpoint, alpns: Vec<&'static [u8]>) -> Result<(), CertsError> {
        let mut reading = self.reading();
        endpoint.set_server_config(Some(self.in_force().server(&alpns)?));
        reading.listening.push((endpoint, alpns));
        Ok(())
    }

    /// Reads all files anew: those that are wanted, which may be others than before. Nothing changes by that; an error says
    /// which file is bad, and why.
    pub fn read(&self, wanted: Wanted) -> Result<Next, CertsError> {
        self.read_next(&mut self.reading(), wanted)
    }

    /// As [`Held::read`], of the files that are in use, where what is in them is not what was there when they were last read,
    /// whether or not that was good; and where an authority has ended since, which is then believed no more.
    pub fn read_if_changed(&self) -> Option<Result<Next, CertsError>> {
        let mut reading = self.reading();
        let in_force = self.in_force();
        let since = reading.read..self.0.now.timestamp();
        let has_ended = in_force.credentials.trust().ends.iter().any(|(_, end)| since.contains(end));
        if !has_ended && Contents::of(&in_force.wanted.tls) == reading.contents {
            return None;
        }
        Some(self.read_next(&mut reading, in_force.wanted.clone()))
    }

    /// Puts what was read in force as a whole: for who connects from now on, who is dialled from now on, and who asks
    /// [`Held::in_force`].
    pub fn put_in_force(&self, next: Next) -> Arc<InForce> {
        let in_force = Arc::new(next.in_force);
        *self.0.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force.clone();
        for (endpoint, config) in next.listening {
            endpoint.set_server_config(Some(config));
        }
        in_force
    }

    fn read_next(&self, reading: &mut Reading, wanted: Wanted) -> Result<Next, CertsError> {
        reading.contents = Contents::of(&wanted.tls);
        reading.read = self.0.now.timestamp();
        reading.editions += 1;
        let in_force = InForce::read(wanted, reading.contents.clone(), self.0.now.clone(), reading.editions)?;
        in_force.check(reading.read)?;
        // What a dial would find out later.
        in_force.client(&[])?;
        let listening = reading.listening.iter();
        let listening = listening.map(|(endpoint, alpns)| Ok((endpoint.clone(), in_force.server(alpns)?)));
        let listening = listening.collect::<Result<_, CertsError>>()?;
        let changed = in_force.contents.changed_since(&self.in_force().contents);
        Ok(Next { in_force, listening, changed })
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in the files, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents(Vec<(PathBuf, Result<Vec<u8>, io::ErrorKind>)>);

impl Contents {
    fn of(tls: &TlsConfig) -> Self {
        let digest = |bytes: Vec<u8>| ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().to_vec();
        let of = |path: &PathBuf| (path.clone(), fs::read(path).map(digest).map_err(|error| error.kind()));
        Self(tls.files().into_iter().map(of).collect())
    }

    /// The files that are in both, with something else in them.
    fn changed_since(&self, former: &Self) -> Vec<PathBuf> {
        let differs =
            |(path, content): &&(PathBuf, _)| former.0.iter().any(|(known, before)| known == path && before != content);
        self.0.iter().filter(differs).map(|(path, _)| path.clone()).collect()
    }
}
