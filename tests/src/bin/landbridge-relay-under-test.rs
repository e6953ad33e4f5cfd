//! The relay's own binary under a name of this package, so that its tests can start it.

use std::process::ExitCode;

use clap::Parser;
use landbridge_relay::cli::{self, Cli};

fn main() -> ExitCode {
    cli::exit(Cli::parse())
}
