//! Certificates and lists of revoked ones come from outside: whatever their bytes, reading them is an answer or an error, never a panic.

use std::sync::{Arc, OnceLock};

use landbridge_protocol::time::Timestamp;
use proptest::{collection::vec, prelude::*, sample::Index};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};

use super::*;

/// Inputs of each kind.
const INPUTS: u32 = 10_000;

fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let name = |text: &str| rcgen::string::Ia5String::try_from(text).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![
            rcgen::SanType::DnsName(name("site1")),
            rcgen::SanType::URI(name("landbridge://site1/node/node11")),
            rcgen::SanType::URI(name("landbridge://site1/peer")),
        ];
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    })
}

/// A list of revoked certificates, and the authority that has signed it.
fn list() -> &'static (Vec<u8>, CertificateDer<'static>) {
    static LIST: OnceLock<(Vec<u8>, CertificateDer<'static>)> = OnceLock::new();
    LIST.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let site = landbridge_protocol::name::SiteName::new("site1").unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        develop(&Development { dir: dir.path().into(), sites: vec![site], nodes: vec![], now }).unwrap();
        revoke(dir.path(), &["site1.relay".into(), "site1.admin".into()], now).unwrap();
        let list = CertificateRevocationListDer::from_pem_file(dir.path().join(REVOKED_FILE)).unwrap();
        (list.to_vec(), authorities(&dir.path().join("ca.pem")).unwrap().remove(0))
    })
}

/// As a reload reads it: what is signed, and what TLS can use.
fn read_list(bytes: &[u8]) -> Result<(), String> {
    let (_, authority) = list();
    revoked::inspect(bytes, std::slice::from_ref(authority))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    revoked::usable(&bytes.to_vec().into(), &Arc::new(roots))
}

fn read(bytes: &[u8]) -> Result<CertificateNames, NamesError> {
    certificate_dates(bytes)?;
    CertificateNames::of(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: INPUTS, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_certificate(bytes in vec(any::<u8>(), 0..512)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn random_bytes_revoke_nothing(bytes in vec(any::<u8>(), 0..512)) {
        prop_assert!(read_list(&bytes).is_err());
    }

    #[test]
    fn a_mutated_list_is_read_or_refused(
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
        length in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = list().0.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
            prop_assert!(read_list(&bytes).is_err());
        } else if bytes != list().0 && read_list(&bytes).is_ok() {
            // Only as the list of somebody else, who is trusted with nothing.
            let signed_by_ours = revoked::Signer::Authority;
            prop_assert_ne!(revoked::inspect(&bytes, std::slice::from_ref(&list().1)).unwrap().signer, signed_by_ours);
        }
    }

    #[test]
    fn a_mutated_certificate_is_read_or_refused(
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
        length in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = good().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
            prop_assert!(read(&bytes).is_err());
        } else if let Ok(names) = read(&bytes) {
            prop_assert!(names.grants.len() <= 2);
        }
    }
}

#[test]
fn the_list_that_is_mutated_is_good() {
    read_list(&list().0).unwrap();
    let signed = revoked::inspect(&list().0, std::slice::from_ref(&list().1)).unwrap().signer;
    assert_eq!(signed, revoked::Signer::Authority);
}

#[test]
fn the_certificate_that_is_mutated_is_good() {
    assert_eq!(read(good()).unwrap().grants.len(), 2);
}
