//! What a hello must say before anybody hears of the session.

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{common_version, node::Hello},
    name::{NodeName, SiteName},
};

/// A hello that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// The protocol version of the session: the newest that both speak.
    pub version: u16,
    /// Who it is.
    pub node: NodeName,
    /// The site that the node is of.
    pub home: SiteName,
    /// Whether it joins the site view.
    pub member: bool,
}

/// Checks a hello against this relay's site and the names that the sender's certificate `bears`. The version comes first: who
/// speaks another one can't be held to the rest.
pub fn check(hello: &Hello, site: SiteName, bears: impl FnOnce(&NodeName) -> bool) -> Result<Introduced, Refusal> {
    let version = common_version(hello.version_min, hello.version_max)?;
    if hello.site != site {
        let text = format!("this is the relay of {site}, not of {}; correct the site or the address", hello.site);
        return Err(Refusal::new(ErrorCode::WrongSite, text));
    }
    if !bears(&hello.node) {
        let text = format!("the certificate does not bear the name {}; use that node's own", hello.node);
        return Err(Refusal::new(ErrorCode::NameNotInCertificate, text));
    }
    // Who is of another site has failed over to this one: it is served, and no member of this site.
    let member = hello.member && hello.home == site;
    Ok(Introduced { version, node: hello.node.clone(), home: hello.home, member })
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::frame::PROTOCOL_VERSION;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn only(name: &str) -> impl Fn(&NodeName) -> bool {
        move |node| node.as_str() == name
    }

    fn anybody(_: &NodeName) -> bool {
        true
    }

    fn hello() -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            site: site("site1"),
            home: site("site1"),
            node: NodeName::new("node11").unwrap(),
            member: true,
            software: "test".into(),
        }
    }

    fn refused(hello: &Hello, bears: impl Fn(&NodeName) -> bool) -> ErrorCode {
        check(hello, site("site1"), bears).unwrap_err().code().unwrap()
    }

    #[test]
    fn a_good_hello_gets_the_newest_common_version() {
        let introduced = check(&Hello { version_max: 9, ..hello() }, site("site1"), only("node11")).unwrap();
        assert_eq!((introduced.version, introduced.member), (PROTOCOL_VERSION, true));
        assert!(check(&hello(), site("site1"), anybody).is_ok(), "a certificate without a name bears them all");
    }

    #[test]
    fn each_fault_has_its_own_code_and_the_version_comes_first() {
        let beyond = PROTOCOL_VERSION + 1;
        let newer = Hello { version_min: beyond, version_max: beyond, site: site("site2"), ..hello() };
        assert_eq!(refused(&newer, only("node11")), ErrorCode::VersionTooNew);
        assert_eq!(refused(&Hello { version_min: 0, version_max: 0, ..hello() }, anybody), ErrorCode::VersionTooNew);
        assert_eq!(refused(&Hello { version_min: 2, ..hello() }, anybody), ErrorCode::Malformed);
        assert_eq!(refused(&Hello { site: site("site2"), ..hello() }, anybody), ErrorCode::WrongSite);
        assert_eq!(refused(&hello(), only("node12")), ErrorCode::NameNotInCertificate);
    }

    #[test]
    fn who_has_failed_over_from_another_site_is_no_member() {
        let away = Hello { home: site("site2"), ..hello() };
        assert!(!check(&away, site("site1"), anybody).unwrap().member);
    }
}
