//! Two relays in network namespaces of their own, joined by a bridge that loses, delays and reorders (where the machine has
//! `tc`'s netem), and from which each is cut off in turn: by routes that end, thus one way. Needs root and `ip`.
//!
//! `cargo run --release -p landbridge-tests --bin namespaces -- --rounds 20 --seed 1`

use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use landbridge_tests::faults::namespaces;

/// Cut and heal two relays in network namespaces, under load, and compare their stores.
#[derive(Parser)]
struct Args {
    /// Rounds: in each, one of the relays can't send to the other, or neither can
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Where the moments and values are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { rounds, seed } = Args::parse();
    let allowed = Command::new("ip").args(["netns", "list"]).stdout(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("there is no `ip`, or it may not do anything here");
        return ExitCode::FAILURE;
    }
    println!("namespaces: {rounds} rounds, seed {seed}");
    let (mut writes, mut entries) = (0, 0);
    namespaces::run(rounds, seed, |round| {
        writes += round.writes;
        entries = round.entries;
        println!(
            "round {:>3}: cut {:<12} {:>6} writes acknowledged, {:>5} entries equal at both  {:.1} s",
            round.number,
            format!("{:?}", round.cut),
            round.writes,
            round.entries,
            round.took.as_secs_f32()
        );
    })
    .await;
    println!("nothing lost: {writes} acknowledged writes, {entries} entries equal at both in the end");
    ExitCode::SUCCESS
}
