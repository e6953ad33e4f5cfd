//! Certificates come from outside: whatever their bytes, reading them is an answer or an error, never a panic.

use std::sync::OnceLock;

use proptest::{collection::vec, prelude::*, sample::Index};

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
fn the_certificate_that_is_mutated_is_good() {
    assert_eq!(read(good()).unwrap().grants.len(), 2);
}
