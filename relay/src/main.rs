//! The binary `landbridge`: parse, run, print what went wrong, exit.

use std::process::ExitCode;

use clap::Parser;
use landbridge_relay::cli::{self, Cli};

fn main() -> ExitCode {
    cli::exit(Cli::parse())
}
