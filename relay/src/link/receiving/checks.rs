//! What a receiver asks of a hello before it takes anything from its sender.

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        common_version,
        peer::{Hello, Introduction},
    },
    name::SiteName,
    time::{Millis, Timestamp},
};

/// The protocol version that both speak, or why there is to be no link. `certified` is the site of the sender's
/// certificate, `own` the receiver itself at this moment.
pub(super) fn check_hello(
    hello: &Hello,
    certified: SiteName,
    own: &Introduction,
    max_clock_skew: Millis,
) -> Result<u16, Refusal> {
    let sender = &hello.sender;
    let version = common_version(sender.version_min, sender.version_max)?;
    if hello.to != own.site {
        let text = format!("this is the relay of {}, not of {}; check the address of the peer", own.site, hello.to);
        return Err(Refusal::new(ErrorCode::WrongSite, text));
    }
    if sender.site != certified {
        let text = format!("the hello says {}, the certificate {certified}", sender.site);
        return Err(Refusal::new(ErrorCode::NameNotInCertificate, text));
    }
    check_skew(sender.site, sender.wall, own.wall, max_clock_skew)?;
    Ok(version)
}

/// The peer's wall clock less ours in milliseconds, where that is within the bound.
pub(super) fn check_skew(peer: SiteName, theirs: Timestamp, ours: Timestamp, bound: Millis) -> Result<i64, Refusal> {
    let (ahead, behind) = (theirs.since(ours), ours.since(theirs));
    if ahead > bound || behind > bound {
        let (by, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
        let text = format!(
            "the wall clock of {peer} is {} ms {direction} this relay's, more than the {} ms that are allowed; set the clocks right",
            by.get(),
            bound.get()
        );
        return Err(Refusal::new(ErrorCode::ClockSkew, text));
    }
    let signed = |span: Millis| i64::try_from(span.get()).unwrap_or(i64::MAX);
    Ok(signed(ahead) - signed(behind))
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{frame::PROTOCOL_VERSION, position::Sequence, vector::Vector, version::RunId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const SKEW: Millis = Millis::from_secs(60);

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn introduction(name: &str) -> Introduction {
        Introduction {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            site: site(name),
            run: RunId(7),
            wall: NOW,
            seen: Vector::new(),
            dropped: Vector::new(),
            head: Sequence::ZERO,
            runs: vec![],
            caches: vec![],
            filling: false,
            lacks: vec![],
            sites: vec![],
            former_sites: vec![],
            software: String::new(),
        }
    }

    fn verdict(change: impl FnOnce(&mut Hello)) -> Result<u16, Option<ErrorCode>> {
        let mut hello = Hello { sender: introduction("site2"), to: site("site1") };
        change(&mut hello);
        check_hello(&hello, site("site2"), &introduction("site1"), SKEW).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_good_hello_passes_up_to_the_edge_of_the_skew() {
        assert_eq!(verdict(|_| ()), Ok(PROTOCOL_VERSION));
        assert_eq!(verdict(|hello| hello.sender.wall = NOW.after(SKEW)), Ok(PROTOCOL_VERSION));
        assert_eq!(verdict(|hello| hello.sender.wall = NOW.before(SKEW)), Ok(PROTOCOL_VERSION));
    }

    #[test]
    fn each_lie_has_its_answer() {
        let refused = |code| Err(Some(code));
        assert_eq!(verdict(|hello| hello.to = site("site3")), refused(ErrorCode::WrongSite));
        assert_eq!(verdict(|hello| hello.sender.site = site("site3")), refused(ErrorCode::NameNotInCertificate));
        let beyond = SKEW.get() + 1;
        assert_eq!(verdict(|hello| hello.sender.wall = NOW.after(Millis::new(beyond))), refused(ErrorCode::ClockSkew));
        assert_eq!(verdict(|hello| hello.sender.wall = NOW.before(Millis::new(beyond))), refused(ErrorCode::ClockSkew));
        let newer = |hello: &mut Hello| {
            hello.sender.version_min = PROTOCOL_VERSION + 1;
            hello.sender.version_max = PROTOCOL_VERSION + 2;
        };
        assert_eq!(verdict(newer), refused(ErrorCode::VersionTooNew));
    }

    #[test]
    fn skew_has_its_sign() {
        let skew = |theirs| check_skew(site("site2"), theirs, NOW, SKEW).unwrap();
        assert_eq!(skew(NOW.after(Millis::new(5))), 5);
        assert_eq!(skew(NOW.before(Millis::new(5))), -5);
        assert_eq!(
            check_skew(site("site2"), Timestamp::ZERO, NOW, SKEW).unwrap_err().code(),
            Some(ErrorCode::ClockSkew)
        );
    }
}
