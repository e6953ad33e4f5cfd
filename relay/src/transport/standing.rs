//! The connections that are in, either way: looked at again when certificates and trust have changed, and when a
//! certificate ends.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::SiteName,
    time::Timestamp,
};
use quinn::Connection;
use rustls_pki_types::CertificateDer;

use super::{accept::chain_of, close::close};
use crate::certs::{Authority, Peer, RefusedBecause, RefusedConnection, Role};

/// Connections that are looked at in one go, before others get their turn.
const LOOKS_AT_ONCE: usize = 16;

/// Every connection that stands. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_number: BTreeMap<u64, Entry>,
    /// When each peer's certificate ends, as it was shown last.
    peers: BTreeMap<SiteName, Timestamp>,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    shown: Arc<Shown>,
    /// The edition by which it was verified last; `None`: by none yet.
    edition: Option<u64>,
    /// The last moment at which the certificate is good.
    ends: Timestamp,
}

/// What the other end has shown, and as what.
#[derive(Debug)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// It dialled, with this protocol, and was let in as one of this site.
    Came { alpn: Vec<u8>, site: SiteName },
    /// It was dialled, as the relay of this site.
    Dialled(SiteName),
}

/// A connection stands until this is dropped, and is looked at until then.
#[derive(Debug)]
pub struct Stay {
    standing: Standing,
    number: u64,
}

/// A connection that was closed because its certificate is not good any more.
#[derive(Debug)]
pub struct Ended {
    /// The other end.
    pub from: SocketAddr,
    /// Its role.
    pub role: Role,
    /// Why.
    pub refused: RefusedConnection,
}

impl Standing {
    /// One that was let in as that.
    pub(super) fn came(&self, connection: &Connection, alpn: &[u8], peer: &Peer) -> Stay {
        let way = Way::Came { alpn: alpn.to_vec(), site: peer.site };
        let stay = self.enter(connection, way, Some(peer.edition), peer.not_after);
        if peer.role == Role::Peer {
            self.entries().peers.insert(peer.site, peer.not_after);
        }
        stay
    }

    /// One to that site's relay, which TLS has verified. It is looked at with the next look.
    pub fn dialled(&self, connection: &Connection, site: SiteName) -> Stay {
        self.enter(connection, Way::Dialled(site), None, Timestamp::ZERO)
    }

    /// When each peer's certificate ends, as it was shown last.
    pub fn peers(&self) -> Vec<(SiteName, Timestamp)> {
        self.entries().peers.iter().map(|(site, ends)| (*site, *ends)).collect()
    }

    /// Verifies again whom another edition has verified, and whose certificate has ended since; closes the connections of
    /// those who would not be let in any more.
    pub async fn look(&self, authority: &Authority, now: Timestamp) -> Vec<Ended> {
        let due: Vec<(u64, Connection, Arc<Shown>)> = {
            let entries = self.entries();
            let is_due = |entry: &Entry| entry.edition != Some(authority.edition()) || entry.ends < now;
            let due = entries.by_number.iter().filter(|(_, entry)| is_due(entry));
            due.map(|(number, entry)| (*number, entry.connection.clone(), entry.shown.clone())).collect()
        };
        let mut ended = Vec::new();
        for (looked_at, (number, connection, shown)) in due.into_iter().enumerate() {
            if looked_at % LOOKS_AT_ONCE == LOOKS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match shown.verify(authority, now) {
                Ok(peer) => self.verified(number, &peer),
                Err(refused) => {
                    self.entries().by_number.remove(&number);
                    // Who has left by himself was not closed for this.
                    if connection.close_reason().is_none() {
                        close(&connection, &refused.refusal);
                        ended.push(Ended { from: connection.remote_address(), role: shown.role(), refused });
                    }
                }
            }
        }
        ended
    }

    fn enter(&self, connection: &Connection, way: Way, edition: Option<u64>, ends: Timestamp) -> Stay {
        let shown = Arc::new(Shown { chain: chain_of(connection), way });
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        entries.by_number.insert(number, Entry { connection: connection.clone(), shown, edition, ends });
        Stay { standing: self.clone(), number }
    }

    fn verified(&self, number: u64, peer: &Peer) {
        let mut entries = self.entries();
        if let Some(entry) = entries.by_number.get_mut(&number) {
            entry.edition = Some(peer.edition);
            entry.ends = peer.not_after;
            if peer.role == Role::Peer {
                entries.peers.insert(peer.site, peer.not_after);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Each change above is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn verify(&self, authority: &Authority, now: Timestamp) -> Result<Peer, RefusedConnection> {
        match &self.way {
            Way::Dialled(site) => authority.authorize_dialled(&self.chain, *site, now),
            Way::Came { alpn, site } => {
                let peer = authority.authorize(&self.chain, alpn, now)?;
                if peer.site == *site {
                    return Ok(peer);
                }
                let text = format!("the certificate is not taken for one of {site} any more");
                let refusal = Refusal::new(ErrorCode::NameNotInCertificate, text);
                Err(RefusedConnection { because: RefusedBecause::Site, refusal })
            }
        }
    }

    fn role(&self) -> Role {
        match &self.way {
            Way::Dialled(_) => Role::Peer,
            // Whoever came in speaks a known protocol.
            Way::Came { alpn, .. } => Role::of(alpn).unwrap_or(Role::Node),
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // Outside of the lock: dropping the last handle of a connection closes it.
        let left = self.standing.entries().by_number.remove(&self.number);
        drop(left);
    }
}
