//! `landbridge certs`: a development CA, and certificates for relays, operators and nodes.

use std::path::PathBuf;

use clap::Args;
use landbridge_protocol::name::{NodeName, SiteName};

use super::{Exit, Failure, output::say};
use crate::{
    certs::{Development, REVOKED_FILE, develop, revoke},
    clock::{Clock, SystemClock},
};

/// What `landbridge certs` takes.
#[derive(Debug, Args)]
pub(super) struct CertsArgs {
    /// Where the files go; made if it is not there. What is there already is kept, and used
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A site: gets certificates for its relay and for its operators
    #[arg(long = "site", value_name = "NAME", required_unless_present = "revoke", num_args = 1..)]
    sites: Vec<SiteName>,
    /// A node: NAME where there is one site, SITE/NAME where there are more; again for each further site whose relay it may go
    /// to while its own is away
    #[arg(long = "node", value_name = "NAME", num_args = 1..)]
    nodes: Vec<String>,
    /// Revokes the certificate NAME.pem of that directory, for relays that have its `ca.crl.pem` among their `tls.crls`
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with_all = ["sites", "nodes"])]
    revoke: Vec<String>,
}

/// Makes the files and prints their names.
pub(super) fn certs(args: &CertsArgs) -> Result<Exit, Failure> {
    if !args.revoke.is_empty() {
        revoke(&args.dir, &args.revoke, SystemClock.now()).map_err(|e| Failure::because(Exit::Usage, &e))?;
        say!("wrote {}, which revokes {}", args.dir.join(REVOKED_FILE).display(), args.revoke.join(", "));
        say!(
            "relays that have it among `tls.crls` go by it within `tls.reload_every`, or at once by `landbridge reload`"
        );
        return Ok(Exit::Done);
    }
    let nodes = args.nodes.iter().map(|text| node(text, &args.sites)).collect::<Result<Vec<_>, _>>()?;
    let wanted = Development { dir: args.dir.clone(), sites: args.sites.clone(), nodes, now: SystemClock.now() };
    let made = develop(&wanted).map_err(|e| Failure::because(Exit::Usage, &e))?;
    for path in &made.written {
        say!("wrote {}", path.display());
    }
    for path in &made.kept {
        say!("kept  {}, which was there", path.display());
    }
    Ok(Exit::Done)
}

/// The site and name of a node as given on the command line.
fn node(text: &str, sites: &[SiteName]) -> Result<(SiteName, NodeName), Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let (site, name) = match (text.split_once('/'), sites) {
        (Some((site, name)), _) => (site.parse().map_err(|e| usage(format!("--node {text}: {e}")))?, name),
        (None, [site]) => (*site, text),
        (None, _) => {
            let first = sites.first().map_or("SITE", SiteName::as_str);
            return Err(usage(format!(
                "--node {text}: of which site? With more than one, write --node {first}/{text}"
            )));
        }
    };
    if !sites.contains(&site) {
        return Err(usage(format!("--node {text}: {site} is not among the sites given with --site")));
    }
    Ok((site, name.parse().map_err(|e| usage(format!("--node {text}: {e}")))?))
}
