//! A profile: who connects to which relay, as a small TOML file.
//!
//! ```toml
//! relay = "127.0.0.1:12232"
//! site = "site1"
//! node = "node11"
//! certificate = "node11.pem"
//! key = "node11.key"
//! trust = "ca.pem"
//! ```

use std::path::{Path, PathBuf};

use landbridge_protocol::name::{NodeName, SiteName};
use serde::{Deserialize, Serialize};

/// Who connects to which relay, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The relay's address, `HOST:PORT`.
    pub relay: String,
    /// The site that the relay and the node are of.
    pub site: SiteName,
    /// The node's name.
    pub node: NodeName,
    /// PEM file of the node's certificate, and of those between it and the trusted one.
    pub certificate: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
    /// PEM file of the certificates that relays are trusted by.
    pub trust: PathBuf,
}

/// Why a profile could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file can't be read.
    #[error("can't read the profile {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a profile.
    #[error("{} is not a profile: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `relay` can't be dialled.
    #[error("{}: {relay:?} is no address of a relay; write HOST:PORT, such as \"127.0.0.1:12232\"", path.display())]
    Relay {
        /// The file.
        path: PathBuf,
        /// What stands there.
        relay: String,
    },
}

impl Profile {
    /// Reads a file. Relative paths in it are relative to the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ProfileError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads `text` as the file at `path`.
    fn parse(text: &str, path: &Path) -> Result<Self, ProfileError> {
        let mut profile: Self = toml::from_str(text)
            .map_err(|source| ProfileError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        if !is_address(&profile.relay) {
            return Err(ProfileError::Relay { path: path.to_owned(), relay: profile.relay });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut profile.certificate, &mut profile.key, &mut profile.trust] {
            *file = folder.join(&*file);
        }
        Ok(profile)
    }
}

/// Whether it is a host and a port; whether there is such a host is seen when it is dialled.
fn is_address(relay: &str) -> bool {
    let Some((host, port)) = relay.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        relay = "127.0.0.1:12232"
        site = "site1"
        node = "node11"
        certificate = "certs/node11.pem"
        key = "/keys/node11.key"
        trust = "certs/ca.pem"
    "#;

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let profile = Profile::parse(TEXT, Path::new("demo/site1.profile.toml")).unwrap();
        assert_eq!(profile.certificate, Path::new("demo/certs/node11.pem"));
        assert_eq!(profile.key, Path::new("/keys/node11.key"));
    }

    #[test]
    fn a_relay_is_a_host_and_a_port() {
        for good in ["127.0.0.1:12232", "[::1]:12232", "relay.site1.example:1"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "127.0.0.1", "::1:12232", ":12232", "host:0", "host:port", "host:70000"] {
            let text = TEXT.replace("127.0.0.1:12232", bad);
            let message = Profile::parse(&text, Path::new("p.toml")).unwrap_err().to_string();
            assert!(message.contains("p.toml") && message.contains("HOST:PORT"), "{message}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let misspelt = TEXT.replace("trust", "thrust");
        let message = Profile::parse(&misspelt, Path::new("p.toml")).unwrap_err().to_string();
        assert!(message.contains("p.toml") && message.contains("thrust") && message.contains("line 7"), "{message}");
        let message = Profile::parse("site = \"!\"", Path::new("p.toml")).unwrap_err().to_string();
        assert!(message.contains("bad site name"), "{message}");
        let message = Profile::load("/nowhere/p.toml").unwrap_err().to_string();
        assert!(message.contains("/nowhere/p.toml"), "{message}");
    }

    /// Ten thousand profiles with bytes changed or cut off: read or refused by name, never a panic.
    #[test]
    fn a_mutated_profile_is_read_or_refused() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut refused = 0;
        for _ in 0..10_000 {
            let mut bytes = TEXT.as_bytes().to_vec();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            if random(4) == 0 {
                bytes.truncate(random(bytes.len()));
            }
            if let Err(error) = Profile::parse(&String::from_utf8_lossy(&bytes), Path::new("p.toml")) {
                assert!(error.to_string().contains("p.toml"), "{error}");
                refused += 1;
            }
        }
        assert!((1_000..10_000).contains(&refused), "{refused}");
    }
}
