//! Certificates: who may connect as what, and how connections are secured.
//!
//! A certificate bears names (`names`): `URI:landbridge://SITE/ROLE[/NAME]` for each role that its holder has, and, for a
//! relay, `DNS:SITE`, by which peers and nodes dial it. TLS lets in whoever has a certificate of any trusted authority
//! ([`Credentials`]); before the first frame an [`Authority`] then checks ALPN × role × that role's authorities × site.
//! [`develop`] makes a certificate authority and certificates for development.
//!
//! There is one crypto provider, ring, always handed over and never the process's default; TLS 1.3 only; no 0-RTT and no
//! resumption, so that every connection shows its certificate. It knows nothing of frames, sessions or links.

mod authority;
mod develop;
mod files;
pub mod fitness;
mod held;
#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod hostile;
mod names;
mod revoke;
mod revoked;
#[cfg(test)]
mod tests;
mod tls;

pub use authority::{Authority, Peer, RefusedBecause, RefusedConnection};
pub use develop::{DevelopError, Development, Written, develop};
pub use files::{CertsError, Identity, Trust, authorities, certificate_dates};
pub use held::{Held, InForce, Next, Wanted};
pub use names::{CertificateNames, Grant, NamesError, Role};
pub use revoke::{REVOKED_FILE, revoke};
pub use tls::{Credentials, Now};
