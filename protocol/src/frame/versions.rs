//! Which protocol versions this build speaks, and which one two ends agree on.
//!
//! A hello carries the range that its sender speaks, the answer the one version that holds from then on: the newest that
//! both speak. A newer build keeps to what the older knows: no frame kind and no positional body of a later version goes
//! to it. Fields added to bodies that are maps need no version: whoever doesn't know them passes them over.

use crate::error::{ErrorCode, Refusal};

/// The newest version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u16 = 2;
/// The first version that knows the drift check between relays.
pub const DRIFT_VERSION: u16 = 2;
/// The oldest. It trails by one at least, so that the relays and clients of an installation can be upgraded one by one.
pub const OLDEST_PROTOCOL_VERSION: u16 = 1;

/// The newest version that this build speaks and that lies in the range of a hello.
///
/// # Errors
/// `Malformed` for a range that holds none, `VersionTooNew` where there is none in common: which side to upgrade is said.
pub fn common_version(min: u16, max: u16) -> Result<u16, Refusal> {
    if min > max {
        return Err(Refusal::new(ErrorCode::Malformed, format!("a range of versions from {min} to {max} holds none")));
    }
    let newest = max.min(PROTOCOL_VERSION);
    if newest >= min.max(OLDEST_PROTOCOL_VERSION) {
        return Ok(newest);
    }
    let side = if min > PROTOCOL_VERSION { "this relay" } else { "the other side" };
    let text = format!(
        "no protocol version in common: the other side speaks {min} to {max}, this relay {OLDEST_PROTOCOL_VERSION} to \
         {PROTOCOL_VERSION}; upgrade {side}"
    );
    Err(Refusal::new(ErrorCode::VersionTooNew, text))
}

/// Whether this build speaks the version that a hello was answered with.
///
/// # Errors
/// `VersionTooNew`.
pub fn check_version(version: u16) -> Result<(), Refusal> {
    if (OLDEST_PROTOCOL_VERSION..=PROTOCOL_VERSION).contains(&version) {
        return Ok(());
    }
    let text = format!(
        "the relay answers in protocol version {version}, which was not offered: this side speaks \
         {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}"
    );
    Err(Refusal::new(ErrorCode::VersionTooNew, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(min: u16, max: u16) -> Option<ErrorCode> {
        common_version(min, max).unwrap_err().code()
    }

    #[test]
    fn the_newest_in_common_is_spoken_or_it_is_said_who_is_to_be_upgraded() {
        assert_eq!(common_version(OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION + 8), Ok(PROTOCOL_VERSION));
        assert_eq!(common_version(0, OLDEST_PROTOCOL_VERSION), Ok(OLDEST_PROTOCOL_VERSION));
        assert_eq!(refused(PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2), Some(ErrorCode::VersionTooNew));
        assert_eq!(refused(0, 0), Some(ErrorCode::VersionTooNew));
        assert_eq!(refused(PROTOCOL_VERSION + 1, PROTOCOL_VERSION), Some(ErrorCode::Malformed));
        let newer = common_version(PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2).unwrap_err();
        assert!(newer.message.contains("upgrade this relay"), "{newer}");
        assert!(common_version(0, 0).unwrap_err().message.contains("upgrade the other side"));
    }

    #[test]
    fn an_answer_in_a_version_that_was_not_offered_is_refused() {
        assert_eq!(check_version(PROTOCOL_VERSION), Ok(()));
        for version in [OLDEST_PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1] {
            assert_eq!(check_version(version).unwrap_err().code(), Some(ErrorCode::VersionTooNew));
        }
    }
}
