//! Whether what was read is of use: what a start warns of, a reload refuses, and `landbridge check` tells.

use std::path::Path;

use landbridge_protocol::{
    name::SiteName,
    time::{Millis, Timestamp},
};

use super::{
    files::{CertsError, Identity, Trust, certificate_dates},
    names::Role,
};

/// What ends within this time is worth a word.
pub const ENDS_SOON: Millis = Millis::from_secs(30 * 86_400);

/// Everything for which a relay of that site, with peers or without, could not use its certificate.
pub fn faults(path: &Path, identity: &Identity, site: SiteName, has_peers: bool, now: Timestamp) -> Vec<CertsError> {
    let mut faults = Vec::new();
    for certificate in &identity.chain {
        let fault = match certificate_dates(certificate) {
            Err(source) => CertsError::Names { path: path.into(), source },
            Ok((_, until)) if until < now => CertsError::Ended { path: path.into(), ago: now.since(until) },
            Ok((from, _)) if from > now => CertsError::NotYet { path: path.into(), wait: from.since(now) },
            Ok(_) => continue,
        };
        faults.push(fault);
    }
    if !identity.names.hosts.iter().any(|host| host == site.as_str()) {
        faults.push(CertsError::AnothersName { path: path.into(), site });
    }
    if has_peers && !identity.names.has(Role::Peer, site) {
        faults.push(CertsError::NoPeer { path: path.into(), site });
    }
    faults
}

/// What is not wrong, and needs somebody's attention before long, in sentences.
pub fn warnings(path: &Path, identity: &Identity, trust: &Trust, now: Timestamp) -> Vec<String> {
    let dates = identity.chain.iter().filter_map(|certificate| certificate_dates(certificate).ok());
    let own = dates.filter_map(|(_, end)| ends(path, end, now));
    let authorities = trust.ends.iter().filter_map(|(path, end)| ends(path, *end, now));
    let overdue = trust.revoked.next_due.iter().filter(|(_, due)| *due < now).map(|(path, due)| {
        let ago = show_days(now.since(*due));
        format!("the list of revoked certificates in {} was to be renewed {ago} ago", path.display())
    });
    let of_strangers = trust.revoked.of_strangers.iter().map(|path| {
        format!("the list of revoked certificates in {} is from no authority that is trusted", path.display())
    });
    own.chain(authorities).chain(overdue).chain(of_strangers).collect()
}

fn ends(path: &Path, end: Timestamp, now: Timestamp) -> Option<String> {
    let shown = path.display();
    if end < now {
        Some(format!("the certificate {shown} has expired {} ago", show_days(now.since(end))))
    } else if end.since(now) < ENDS_SOON {
        Some(format!("the certificate {shown} ends in {}", show_days(end.since(now))))
    } else {
        None
    }
}

/// A span of days, or of hours where there are few; to the next full hour, up or down.
pub fn show_days(span: Millis) -> String {
    let hours = (span.get() + 1_800_000) / 3_600_000;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}
