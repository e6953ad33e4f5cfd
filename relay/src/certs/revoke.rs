//! Revoking certificates of a development authority: the command `certs --revoke`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use landbridge_protocol::time::Timestamp;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls_pki_types::CertificateRevocationListDer;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{
    develop::{AUTHORITY_DAYS, DevelopError, issuer, moment},
    files::{CertsError, all_of, certificates},
};

/// The list's file, beside the authority's.
pub const REVOKED_FILE: &str = "ca.crl.pem";

/// Revokes the certificates of those names (`NAME.pem`) by the authority in that directory: its list is written anew, with
/// all that was in it before.
pub fn revoke(dir: &Path, names: &[String], now: Timestamp) -> Result<(), DevelopError> {
    let there = |what, path: PathBuf| if path.exists() { Ok(path) } else { Err(DevelopError::NotThere { what, path }) };
    there("authority", dir.join("ca.pem"))?;
    let issuer = issuer(dir)?;
    let path = dir.join(REVOKED_FILE);
    let now = moment(now);
    let mut revoked = if path.exists() { listed(&path)? } else { Vec::new() };
    for name in names {
        let file = there("certificate to revoke,", dir.join(format!("{name}.pem")))?;
        let certificate = certificates(&file, "certificate")?.remove(0);
        let unreadable = |problem: String| CertsError::BadList { path: file.clone(), problem };
        let (_, read) = X509Certificate::from_der(&certificate).map_err(|error| unreadable(error.to_string()))?;
        let entry = entry(read.raw_serial(), now);
        if !revoked.iter().any(|there| there.serial_number == entry.serial_number) {
            revoked.push(entry);
        }
    }
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now.saturating_add(Duration::days(AUTHORITY_DAYS)),
        crl_number: SerialNumber::from(revoked.len() as u64),
        issuing_distribution_point: None,
        revoked_certs: revoked,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let pem = list.signed_by(&issuer)?.pem()?;
    // In one step: a relay may be reading it.
    let written = path.with_extension("new");
    let write = || {
        fs::write(&written, pem)?;
        fs::rename(&written, &path)
    };
    write().map_err(|source| DevelopError::Write { path: path.clone(), source })
}

fn listed(path: &Path) -> Result<Vec<RevokedCertParams>, DevelopError> {
    let mut revoked = Vec::new();
    for list in all_of::<CertificateRevocationListDer<'static>>(path, "list of revoked certificates")? {
        let unreadable = |problem: String| CertsError::BadList { path: path.into(), problem };
        let (_, read) = CertificateRevocationList::from_der(&list).map_err(|error| unreadable(error.to_string()))?;
        let entries = read.iter_revoked_certificates();
        revoked.extend(entries.map(|there| entry(there.raw_serial(), there.revocation_date.to_datetime())));
    }
    Ok(revoked)
}

fn entry(serial: &[u8], at: OffsetDateTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: at,
        reason_code: None,
        invalidity_date: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::{Development, develop};

    #[test]
    fn what_is_revoked_twice_is_listed_once_and_what_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let missing = |name: &str| revoke(dir.path(), &[name.into()], now).unwrap_err().to_string();
        assert!(missing("node11").starts_with("there is no authority "), "{}", missing("node11"));
        let nodes = vec![("site1".parse().unwrap(), "node11".parse().unwrap())];
        develop(&Development { dir: dir.path().into(), sites: vec![], nodes, now }).unwrap();
        let said = missing("node12");
        assert!(said.starts_with("there is no certificate to revoke") && said.ends_with("node12.pem"), "{said}");
        for _ in 0..2 {
            revoke(dir.path(), &["node11".into()], now).unwrap();
        }
        assert_eq!(listed(&dir.path().join(REVOKED_FILE)).unwrap().len(), 1);
    }
}
