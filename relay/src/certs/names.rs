//! The names that a certificate bears, in its subject alternative names.

use std::fmt;

use landbridge_protocol::{
    frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER},
    name::{NameError, NodeName, SiteName},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// As what somebody connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An application process of the site.
    Node,
    /// Another site's relay.
    Peer,
    /// An operator's command.
    Admin,
}

impl Role {
    /// All there are.
    pub const ALL: [Role; 3] = [Role::Node, Role::Peer, Role::Admin];

    /// The role that a protocol is for.
    pub fn of(alpn: &[u8]) -> Option<Self> {
        match alpn {
            ALPN_NODE => Some(Role::Node),
            ALPN_PEER => Some(Role::Peer),
            ALPN_ADMIN => Some(Role::Admin),
            _ => None,
        }
    }

    /// As it stands in a certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Peer => "peer",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `landbridge://SITE/ROLE[/NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The site.
    pub site: SiteName,
    /// The role there.
    pub role: Role,
    /// The only name that the holder may go by; any where it is absent.
    pub name: Option<NodeName>,
}

impl Grant {
    /// As it stands in a certificate.
    pub fn uri(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{SCHEME}{}/{}{name}", self.site, self.role)
    }

    fn parse(rest: &str) -> Result<Self, String> {
        let mut parts = rest.split('/');
        let site = SiteName::new(parts.next().unwrap_or_default()).map_err(|error: NameError| error.to_string())?;
        let word = parts.next().unwrap_or_default();
        let role = Role::ALL.into_iter().find(|role| role.as_str() == word);
        let role = role.ok_or_else(|| format!("{word:?} is no role; there are node, peer and admin"))?;
        let name = parts.next().map(NodeName::new).transpose().map_err(|error| error.to_string())?;
        match parts.next() {
            Some(_) => Err("there is more after the name".to_string()),
            None => Ok(Self { site, role, name }),
        }
    }
}

const SCHEME: &str = "landbridge://";

/// All names of a certificate that mean something here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// DNS names: for a relay its site.
    pub hosts: Vec<String>,
    /// The roles.
    pub grants: Vec<Grant>,
}

/// Why a certificate's names can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// It is no certificate, or one with two lists of names.
    #[error("not a readable certificate: {0}")]
    Unreadable(String),
    /// A `landbridge://` name that is none.
    #[error("bad name {uri:?} in the certificate: {problem}")]
    BadUri {
        /// The name.
        uri: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl CertificateNames {
    /// The names in this certificate. Names of other schemes and kinds are passed over; one of ours that is malformed
    /// is an error, never passed over.
    pub fn of(certificate: &[u8]) -> Result<Self, NamesError> {
        let unreadable = |error: &dyn fmt::Display| NamesError::Unreadable(error.to_string());
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
        let list = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let mut names = Self::default();
        for name in list.iter().flat_map(|list| &list.value.general_names) {
            match name {
                GeneralName::DNSName(host) => names.hosts.push(host.to_string()),
                GeneralName::URI(uri) => {
                    let Some(rest) = uri.strip_prefix(SCHEME) else { continue };
                    let bad = |problem| NamesError::BadUri { uri: uri.chars().take(200).collect(), problem };
                    names.grants.push(Grant::parse(rest).map_err(bad)?);
                }
                _ => {}
            }
        }
        Ok(names)
    }

    /// Whether it has that role at that site, under whatever name.
    pub fn has(&self, role: Role, site: SiteName) -> bool {
        self.grants.iter().any(|grant| grant.role == role && grant.site == site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_as_it_is_written() {
        for uri in
            ["landbridge://site1/node", "landbridge://site1/node/node11", "landbridge://s/peer", "landbridge://s/admin"]
        {
            assert_eq!(Grant::parse(uri.strip_prefix(SCHEME).unwrap()).unwrap().uri(), uri);
        }
        for bad in
            ["", "site1", "site1/", "site1/king", "/node", "site1/node/", "site1/node/a/b", "si te/node", "site1/Node"]
        {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 300]] {
            assert!(matches!(CertificateNames::of(bytes), Err(NamesError::Unreadable(_))));
        }
    }

    #[test]
    fn a_malformed_name_of_ours_is_not_passed_over() {
        let of = |uris: &[&str]| {
            let uri = |uri: &&str| rcgen::SanType::URI(rcgen::string::Ia5String::try_from(*uri).unwrap());
            let mut params = rcgen::CertificateParams::default();
            params.subject_alt_names = uris.iter().map(uri).collect();
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            CertificateNames::of(certificate.der())
        };
        assert_eq!(of(&["spiffe://other/name"]).unwrap(), CertificateNames::default());
        assert_eq!(of(&["spiffe://other/name", "landbridge://s/node"]).unwrap().grants.len(), 1);
        assert!(matches!(of(&["landbridge://s/node", "landbridge://s/king"]), Err(NamesError::BadUri { .. })));
    }
}
