//! What a reload takes over, and what it refuses.

use std::{fs, path::Path, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine};
use landbridge_protocol::{
    frame::ALPN_NODE,
    name::{NodeName, SiteName},
    time::{Millis, Timestamp},
};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use tempfile::TempDir;

use super::*;
use crate::config::{Limits, TlsConfig};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn days(count: u64) -> Millis {
    Millis::from_secs(count * 86_400)
}

/// An authority's directory: relays of two sites and a node of the first.
fn developed(dir: &Path, now: Timestamp) {
    let nodes = vec![(site("site1"), NodeName::new("node11").unwrap())];
    let sites = vec![site("site1"), site("site2")];
    develop(&Development { dir: dir.into(), sites, nodes, now }).unwrap();
}

/// The files of a relay of site1 in use, copied from an authority's.
struct Relay {
    authority: TempDir,
    files: TempDir,
    held: Held,
}

impl Relay {
    fn start() -> Self {
        let (authority, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        developed(authority.path(), NOW);
        for file in ["site1.relay.pem", "site1.relay.key", "ca.pem"] {
            fs::copy(authority.path().join(file), files.path().join(file)).unwrap();
        }
        let held = Held::load(wanted(files.path()), Now::new(|| NOW)).unwrap();
        Self { authority, files, held }
    }

    /// Puts another's file in place of one that is in use.
    fn replace(&self, file: &str, by: impl AsRef<Path>) {
        fs::copy(by, self.files.path().join(file)).unwrap();
    }

    /// The same authority's certificates of another time.
    fn renewed(&self, now: Timestamp) -> TempDir {
        let renewed = tempfile::tempdir().unwrap();
        for file in ["ca.pem", "ca.key"] {
            fs::copy(self.authority.path().join(file), renewed.path().join(file)).unwrap();
        }
        developed(renewed.path(), now);
        renewed
    }

    fn reload(&self) -> Result<Arc<InForce>, CertsError> {
        self.reload_as(self.held.in_force().wanted().clone())
    }

    fn reload_as(&self, wanted: Wanted) -> Result<Arc<InForce>, CertsError> {
        self.held.read(wanted).map(|next| self.held.put_in_force(next))
    }

    fn presented(&self) -> Vec<u8> {
        self.held.in_force().credentials().identity().chain[0].to_vec()
    }

    fn refused(&self) -> String {
        let (before, edition) = (self.presented(), self.held.in_force().authority().edition());
        let error = self.reload().unwrap_err();
        let after = (self.presented(), self.held.in_force().authority().edition());
        assert_eq!((before, edition), after, "what was in force stays in force: {error}");
        error.to_string()
    }
}

fn wanted(files: &Path) -> Wanted {
    let file = |name: &str| files.join(name);
    Wanted {
        tls: TlsConfig::new(file("site1.relay.pem"), file("site1.relay.key"), file("ca.pem")),
        site: site("site1"),
        peers: [site("site2")].into(),
        limits: Limits::default(),
    }
}

#[test]
fn renewed_files_are_taken_over_when_they_have_changed() {
    let relay = Relay::start();
    let before = relay.presented();
    assert!(relay.held.read_if_changed().is_none());
    let renewed = relay.renewed(NOW.before(days(1)));
    for file in ["site1.relay.pem", "site1.relay.key"] {
        relay.replace(file, renewed.path().join(file));
    }
    let next = relay.held.read_if_changed().expect("a change").unwrap();
    assert_eq!(relay.presented(), before, "what was read is not in force yet");
    relay.held.put_in_force(next);
    assert_ne!(relay.presented(), before);
    assert_eq!(relay.held.in_force().authority().edition(), 1);
    assert!(relay.held.read_if_changed().is_none());
    relay.reload().unwrap();
    assert_eq!(relay.held.in_force().authority().edition(), 2, "by an operator's word they are read all the same");
}

#[test]
fn whatever_is_bad_is_refused_as_a_whole_and_named() {
    let relay = Relay::start();
    let renewed = relay.renewed(NOW.before(days(1)));
    // Half of a renewal, as it is when one file has been written and the other not yet.
    relay.replace("site1.relay.pem", renewed.path().join("site1.relay.pem"));
    assert!(relay.refused().contains("site1.relay.key is not the key of the certificate"));
    relay.replace("site1.relay.key", renewed.path().join("site1.relay.key"));
    relay.reload().unwrap();

    for (begin, why) in [(NOW.before(days(740)), "has expired 10 days ago"), (NOW.after(days(3)), "is not valid for")] {
        let other = relay.renewed(begin);
        for file in ["site1.relay.pem", "site1.relay.key"] {
            relay.replace(file, other.path().join(file));
        }
        let refused = relay.refused();
        assert!(refused.contains("site1.relay.pem") && refused.contains(why), "{refused}");
    }
    for end in ["pem", "key"] {
        relay.replace(&format!("site1.relay.{end}"), relay.authority.path().join(format!("site2.relay.{end}")));
    }
    assert!(relay.refused().contains("does not bear DNS:site1"));
    for end in ["pem", "key"] {
        relay.replace(&format!("site1.relay.{end}"), relay.authority.path().join(format!("site1.relay.{end}")));
    }
    fs::write(relay.files.path().join("ca.pem"), "no PEM").unwrap();
    assert!(relay.refused().contains("there is no trusted certificate in"));
    fs::remove_file(relay.files.path().join("ca.pem")).unwrap();
    assert!(relay.refused().contains("can't read the trusted certificate"));
    relay.replace("ca.pem", relay.authority.path().join("ca.pem"));
    relay.reload().unwrap();
}

#[test]
fn a_bad_change_is_tried_once_and_again_when_it_has_changed() {
    let relay = Relay::start();
    let bundle = relay.files.path().join("ca.pem");
    fs::write(&bundle, "no PEM").unwrap();
    assert!(relay.held.read_if_changed().expect("a change").is_err());
    assert!(relay.held.read_if_changed().is_none());
    fs::write(&bundle, "nor this").unwrap();
    assert!(relay.held.read_if_changed().expect("another").is_err());
}

#[test]
fn who_was_let_in_is_held_to_the_new_bundle() {
    let relay = Relay::start();
    let file = |name: &str| relay.authority.path().join(name);
    let chain = Identity::load(&file("node11.pem"), &file("node11.key")).unwrap().chain;
    let in_force = relay.held.in_force();
    assert!(in_force.authority().authorize(&chain, ALPN_NODE, NOW).is_ok());
    let other = tempfile::tempdir().unwrap();
    developed(other.path(), NOW);
    relay.replace("ca.pem", other.path().join("ca.pem"));
    let in_force = relay.reload().unwrap();
    let refused = in_force.authority().authorize(&chain, ALPN_NODE, NOW).unwrap_err();
    assert_eq!(refused.because, RefusedBecause::Untrusted);
    let peer = Identity::load(&file("site2.relay.pem"), &file("site2.relay.key")).unwrap().chain;
    let refused = in_force.authority().authorize_dialled(&peer, site("site2"), NOW).unwrap_err();
    assert_eq!(refused.because, RefusedBecause::Untrusted);
}

#[test]
fn an_authority_that_has_ended_is_passed_over_and_the_last_one_is_an_error() {
    let relay = Relay::start();
    let ended = tempfile::tempdir().unwrap();
    developed(ended.path(), NOW.before(days(3651)));
    let both = [ended.path(), relay.authority.path()].map(|dir| fs::read_to_string(dir.join("ca.pem")).unwrap());
    fs::write(relay.files.path().join("ca.pem"), both.concat()).unwrap();
    let in_force = relay.reload().unwrap();
    let warnings = in_force.warnings(NOW);
    assert!(warnings.len() == 1 && warnings[0].ends_with("ca.pem has expired 24 hours ago"), "{warnings:?}");
    let chain = Identity::load(&ended.path().join("node11.pem"), &ended.path().join("node11.key")).unwrap().chain;
    let soon = NOW.before(days(3000)); // when the certificate itself was good
    let refused = in_force.authority().authorize(&chain, ALPN_NODE, soon).unwrap_err();
    assert_eq!(refused.because, RefusedBecause::Untrusted);
    relay.replace("ca.pem", ended.path().join("ca.pem"));
    let refused = relay.refused();
    assert!(refused.contains("every authority in") && refused.contains("role of node"), "{refused}");
}

#[test]
fn other_files_and_other_peers_can_be_wanted_from_then_on() {
    let relay = Relay::start();
    let chain = |name: &str| {
        let file = |ending: &str| relay.authority.path().join(format!("{name}.{ending}"));
        Identity::load(&file("pem"), &file("key")).unwrap().chain
    };
    let peer = chain("site2.relay");
    let alone = Wanted { peers: [].into(), ..wanted(relay.authority.path()) };
    let in_force = relay.reload_as(alone).unwrap();
    let refused = in_force.authority().authorize(&peer, landbridge_protocol::frame::ALPN_PEER, NOW).unwrap_err();
    assert_eq!(refused.because, RefusedBecause::Site);
    fs::remove_file(relay.files.path().join("ca.pem")).unwrap();
    relay.reload().unwrap(); // it is not read any more
    let bad = Wanted { site: site("site3"), ..wanted(relay.authority.path()) };
    relay.reload_as(bad).unwrap_err();
    relay.reload().unwrap(); // what was refused is not wanted
}

#[test]
fn what_an_authority_has_revoked_is_refused_from_then_on() {
    let relay = Relay::start();
    let dir = relay.authority.path();
    let list = relay.files.path().join("revoked.pem");
    let put_list = |from: &Path| fs::copy(from.join(REVOKED_FILE), &list).unwrap();
    let chain =
        |name: &str| Identity::load(&dir.join(format!("{name}.pem")), &dir.join(format!("{name}.key"))).unwrap().chain;
    revoke(dir, &["site2.relay".into()], NOW).unwrap();
    put_list(dir);
    let mut wanted = wanted(relay.files.path());
    wanted.tls.crls = vec![list.clone()];
    let in_force = relay.reload_as(wanted).unwrap();
    let dialled = in_force.authority().authorize_dialled(&chain("site2.relay"), site("site2"), NOW).unwrap_err();
    assert_eq!(dialled.because, RefusedBecause::Revoked);
    let of_node = |in_force: &InForce| in_force.authority().authorize(&chain("node11"), ALPN_NODE, NOW);
    assert!(of_node(&in_force).is_ok());

    revoke(dir, &["node11".into()], NOW).unwrap();
    put_list(dir);
    let in_force = relay.reload().unwrap();
    assert_eq!(of_node(&in_force).unwrap_err().because, RefusedBecause::Revoked);
    let dialled = in_force.authority().authorize_dialled(&chain("site2.relay"), site("site2"), NOW).unwrap_err();
    assert_eq!(dialled.because, RefusedBecause::Revoked, "what was revoked before is so still");

    // A list by nobody who is trusted takes nothing from anybody, and is worth a word.
    let other = tempfile::tempdir().unwrap();
    developed(other.path(), NOW);
    revoke(other.path(), &["node11".into()], NOW).unwrap();
    put_list(other.path());
    let in_force = relay.reload().unwrap();
    assert!(of_node(&in_force).is_ok());
    assert!(in_force.warnings(NOW)[0].contains("revoked.pem is from no authority that is trusted"));

    fs::write(&list, "no PEM").unwrap();
    assert!(relay.refused().contains("there is no list of revoked certificates in"));
    assert!(of_node(&relay.held.in_force()).is_ok());
}

#[test]
fn a_list_in_the_name_of_a_trusted_authority_that_another_has_signed_is_refused() {
    let relay = Relay::start();
    let list = relay.authority.path().join(REVOKED_FILE);
    revoke(relay.authority.path(), &[], NOW).unwrap();
    let good = CertificateRevocationListDer::from_pem_file(&list).unwrap();
    let mut bytes = good.to_vec();
    *bytes.last_mut().unwrap() ^= 1; // in the signature
    let authority = authorities(&relay.authority.path().join("ca.pem")).unwrap();
    let signed = |bytes: &[u8]| super::revoked::inspect(bytes, &authority).unwrap().signer;
    assert_eq!(signed(&good), super::revoked::Signer::Authority);
    assert_eq!(signed(&bytes), super::revoked::Signer::Another);
    let pem = format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", BASE64_STANDARD.encode(&bytes));
    fs::write(&list, pem).unwrap();
    let mut wanted = wanted(relay.files.path());
    wanted.tls.crls = vec![list];
    let refused = relay.reload_as(wanted).unwrap_err().to_string();
    assert!(refused.contains("is not signed by the authority that it names"), "{refused}");
}
