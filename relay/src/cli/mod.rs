//! The commands of the binary `landbridge`: what they take, what they print, and how they end.
//!
//! This is the only part of the relay that uses the client library. It knows nothing of the engine or the store.

mod admin;
mod backup;
mod bench;
mod caches;
mod certs;
mod check;
mod conflicts;
mod connect;
pub mod demo;
mod drift;
mod duration;
mod examples;
mod export;
mod output;
mod relay_process;
mod reload;
mod run;
mod signals;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use landbridge_protocol::name::{CacheName, SiteName};

use self::duration::Lifespan;
use crate::service::RunOptions;

/// How a command ended, as an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// The entry was not there, or a condition failed, or a check found something.
    Failed = 1,
    /// The command line or a configuration is wrong.
    Usage = 2,
    /// The relay can't be reached.
    Unreachable = 3,
}

/// A command that did not do what was asked: what to print on stderr, and the exit status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// For a person: what is wrong, and what to do.
    pub message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// An error and all its sources, in one line.
    fn because(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            let text = source.to_string();
            // many errors say their source already
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            next = source.source();
        }
        Self { exit, message }
    }
}

/// A relay that keeps the caches of applications equal across datacenters.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(
    after_help = "Begin with `landbridge demo`: two sites on this machine, and commands to try against them.\n\n\
    Exit status: 0 done; 1 not found, or a condition or check failed; 2 wrong usage or configuration; 3 the relay can't be reached."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what it does: two sites, four nodes, a cut link and a killed relay, on this machine
    #[command(after_help = examples::DEMO)]
    Demo(demo::DemoArgs),
    /// Run the relay of one site
    #[command(after_help = examples::RUN)]
    Run {
        /// The relay's configuration (TOML); ops/relay.toml shows every setting
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Set a damaged log aside and start without it; the peers' copies fill the store again
        #[arg(long)]
        recover: bool,
        /// End also when standard input ends, as with the process at its other end
        #[arg(long, hide = true)]
        until_stdin_ends: bool,
    },
    /// Read all that `run` would read and say what is wrong
    #[command(after_help = examples::CHECK)]
    Check {
        /// The relay's configuration (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Measure puts, gets and events under load, at relays of its own or at one that runs
    #[command(after_help = examples::BENCH)]
    Bench(bench::BenchArgs),
    /// Make a development CA and certificates; never overwrites
    #[command(after_help = examples::CERTS)]
    Certs(certs::CertsArgs),
    /// Make a relay's store of a backup, while the relay does not run
    #[command(after_help = examples::RESTORE)]
    Restore {
        /// The relay's configuration (TOML); there must be nothing at its `store.dir`
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The directory that `backup` has filled
        #[arg(long, value_name = "D")]
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Remote(Remote),
}

/// The commands that talk to a relay.
#[derive(Debug, Subcommand)]
enum Remote {
    /// Write an entry
    #[command(after_help = examples::PUT)]
    Put {
        /// The cache
        cache: CacheName,
        /// The key
        key: String,
        /// The value; `-` reads it from standard input
        value: String,
        /// How long the entry lives, such as 90s, 10m, 12h, 30d
        #[arg(long, value_name = "TIME")]
        lifespan: Option<Lifespan>,
        /// Only where no entry is
        #[arg(long)]
        if_absent: bool,
        #[command(flatten)]
        to: Target,
    },
    /// Print an entry's value, and nothing else
    #[command(after_help = examples::GET)]
    Get {
        /// The cache
        cache: CacheName,
        /// The key
        key: String,
        #[command(flatten)]
        to: Target,
    },
    /// Remove an entry
    #[command(after_help = examples::REMOVE)]
    Remove {
        /// The cache
        cache: CacheName,
        /// The key
        key: String,
        #[command(flatten)]
        to: Target,
    },
    /// Print how many entries a cache has
    #[command(after_help = examples::SIZE)]
    Size {
        /// The cache
        cache: CacheName,
        #[command(flatten)]
        to: Target,
    },
    /// List keys in their order
    #[command(after_help = examples::LS)]
    Ls {
        /// The cache
        cache: CacheName,
        /// Only keys that begin so
        #[arg(long, value_name = "P", default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = limit)]
        limit: usize,
        #[command(flatten)]
        to: Target,
    },
    /// Remove every entry of a cache, at all sites
    #[command(after_help = examples::CLEAR)]
    Clear {
        /// The cache
        cache: CacheName,
        #[command(flatten)]
        to: Target,
    },
    /// Print a cache's entries as JSON lines
    #[command(after_help = examples::EXPORT)]
    Export {
        /// The cache
        cache: CacheName,
        #[command(flatten)]
        to: Target,
    },
    /// Write entries that `export` printed, from standard input
    #[command(after_help = examples::IMPORT)]
    Import {
        /// The cache
        cache: CacheName,
        /// Only where no entry is
        #[arg(long)]
        if_absent: bool,
        #[command(flatten)]
        to: Target,
    },
    /// Print an event a line as entries change, wherever they change
    #[command(after_help = examples::WATCH)]
    Watch {
        /// The cache
        cache: CacheName,
        /// Print the entries there are first
        #[arg(long)]
        snapshot: bool,
        /// Resume after the event that carried this token
        #[arg(long, value_name = "TOKEN")]
        from: Option<String>,
        #[command(flatten)]
        to: Target,
    },
    /// Show the relay: readiness, log, links, caches, sessions
    #[command(after_help = examples::STATUS)]
    Status(Target),
    /// Show the links to the other sites
    Sites(Target),
    /// Show the caches
    Caches(Target),
    /// Show the writes that were discarded for others that had not seen them, oldest first
    Conflicts {
        /// Of this cache only
        #[arg(long, value_name = "CACHE")]
        cache: Option<CacheName>,
        #[command(flatten)]
        to: Target,
    },
    /// Compare what this site and the others hold, and show what one of them should hold and does not
    #[command(after_help = examples::DRIFT)]
    Drift {
        /// With this peer only
        peer: Option<SiteName>,
        /// Of this cache only
        #[arg(long, value_name = "CACHE")]
        cache: Option<CacheName>,
        /// Send what is lacked to the site that lacks it
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        to: Target,
    },
    /// Back a running relay up: its log as it is at this moment
    #[command(after_help = examples::BACKUP)]
    Backup {
        /// Where to put it; made where it is not there, and nothing in it is overwritten
        #[arg(long, value_name = "D")]
        dir: PathBuf,
        #[command(flatten)]
        to: Target,
    },
    /// Show the connected nodes
    Nodes(Target),
    /// Have the relay read its configuration anew and take over what has changed; a bad one is refused whole
    #[command(after_help = examples::RELOAD)]
    Reload {
        /// This file, at the relay's machine, instead of the one that it was started with
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        to: Target,
    },
    /// Stop replicating with a peer until `bring-online`; nothing is dropped
    #[command(after_help = examples::TAKE_OFFLINE)]
    TakeOffline {
        /// The peer's site
        peer: SiteName,
        #[command(flatten)]
        to: Target,
    },
    /// Replicate with a peer again, from where it stopped
    #[command(after_help = examples::BRING_ONLINE)]
    BringOnline {
        /// The peer's site
        peer: SiteName,
        #[command(flatten)]
        to: Target,
    },
}

/// A limit of at least one.
fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number of at least 1".into()),
        Ok(limit) => Ok(limit),
    }
}

/// Which relay, as whom, and how to print.
#[derive(Debug, Args)]
struct Target {
    /// Relay, site, node name and certificates, as a small TOML file
    #[arg(long, value_name = "FILE", env = "LANDBRIDGE_PROFILE")]
    profile: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command that the command line names, and says on stderr what went wrong.
pub fn exit(cli: Cli) -> ExitCode {
    match run_command(cli) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("landbridge: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run_command(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Run { config, recover, until_stdin_ends } => {
            run::run(&config, RunOptions { recover, until_stdin_ends })
        }
        Command::Check { config } => check::check(&config),
        Command::Certs(args) => certs::certs(&args),
        Command::Restore { config, dir, json } => backup::restore(&config, &dir, json),
        Command::Demo(args) => connect::block_on(demo::demo(args)),
        Command::Bench(args) => connect::block_on(bench::bench(args)),
        Command::Remote(remote) => connect::block_on(run_remote(remote)),
    }
}

async fn run_remote(command: Remote) -> Result<Exit, Failure> {
    match command {
        Remote::Put { cache, key, value, lifespan, if_absent, to } => {
            caches::put(&to, &cache, &key, &value, lifespan, if_absent).await
        }
        Remote::Get { cache, key, to } => caches::get(&to, &cache, &key).await,
        Remote::Remove { cache, key, to } => caches::remove(&to, &cache, &key).await,
        Remote::Size { cache, to } => caches::size(&to, &cache).await,
        Remote::Ls { cache, prefix, limit, to } => caches::ls(&to, &cache, &prefix, limit).await,
        Remote::Clear { cache, to } => caches::clear(&to, &cache).await,
        Remote::Export { cache, to } => export::export(&to, &cache).await,
        Remote::Import { cache, if_absent, to } => export::import(&to, &cache, if_absent).await,
        Remote::Watch { cache, snapshot, from, to } => watch::watch(&to, &cache, snapshot, from).await,
        Remote::Status(to) => admin::status(&to).await,
        Remote::Sites(to) => admin::sites(&to).await,
        Remote::Caches(to) => admin::caches(&to).await,
        Remote::Conflicts { cache, to } => conflicts::conflicts(&to, cache).await,
        Remote::Drift { peer, cache, repair, to } => drift::drift(&to, peer, cache, repair).await,
        Remote::Backup { dir, to } => backup::backup(&to, &dir).await,
        Remote::Nodes(to) => admin::nodes(&to).await,
        Remote::Reload { config, to } => reload::reload(&to, config.as_deref()).await,
        Remote::TakeOffline { peer, to } => admin::take_offline(&to, peer).await,
        Remote::BringOnline { peer, to } => admin::bring_online(&to, peer).await,
    }
}
