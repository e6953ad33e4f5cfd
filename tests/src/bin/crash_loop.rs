//! Does to relays what machines do to them, at random moments and places, and looks for what was lost.
//!
//! `cargo run --release -p landbridge-tests --bin crash_loop -- --rounds 200 --seed 1`, with nothing more, `--flip-bits`,
//! `--disk-full` or `--transfer`.

use std::ops::ControlFlow;

use clap::Parser;
use landbridge_tests::{
    crash,
    faults::{flips, full, transfer},
};

/// Kill relays with `kill -9` at random moments under load, or hurt them otherwise, and look for what was lost.
#[derive(Parser)]
struct Args {
    /// Rounds: in each, one relay or both are killed and started again, or what the mode says is done
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Where the moments, places and values are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    mode: Mode,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Mode {
    /// Flip bits of a stopped relay's files at random places: each start is complete, or refused and mended by --recover
    #[arg(long)]
    flip_bits: bool,
    /// Fill up a relay's disk under load, nearly or altogether (needs the right to mount a file system)
    #[arg(long)]
    disk_full: bool,
    /// Kill relays in the middle of a state transfer and of compaction
    #[arg(long)]
    transfer: bool,
}

#[tokio::main]
async fn main() {
    let Args { rounds, seed, mode } = Args::parse();
    println!("crash loop: {rounds} rounds, seed {seed}");
    match mode {
        Mode { flip_bits: true, .. } => flip_bits(rounds, seed).await,
        Mode { disk_full: true, .. } => disk_full(rounds, seed).await,
        Mode { transfer: true, .. } => kill_in_transfer(rounds, seed).await,
        Mode { .. } => kill(rounds, seed).await,
    }
}

async fn kill(rounds: u32, seed: u64) {
    let (mut writes, mut keys) = (0, 0);
    crash::run(rounds, seed, |round| {
        writes += round.writes;
        keys = round.keys;
        let killed = round.killed.join(" and ");
        println!(
            "round {:>3}: killed {killed:<15}  {:>6} writes acknowledged  {:.1} s",
            round.number,
            round.writes,
            round.took.as_secs_f32()
        );
    })
    .await;
    println!("nothing lost: {writes} acknowledged writes of {keys} keys, at both sites and at both listeners");
}

async fn flip_bits(rounds: u32, seed: u64) {
    let (mut complete, mut refused, mut later) = (0, 0, 0);
    flips::run(rounds, seed, |round| {
        match round.outcome {
            flips::Outcome::Complete => complete += 1,
            flips::Outcome::Refused => refused += 1,
            flips::Outcome::RefusedLater => later += 1,
        }
        let flipped: Vec<String> = round.flipped.iter().map(|(file, bits)| format!("{bits} of {file}")).collect();
        let (number, outcome, took) = (round.number, round.outcome, round.took.as_secs_f32());
        println!("round {number:>3}: flipped {}: {outcome:?}  {took:.1} s {}", flipped.join(" and "), round.said);
    })
    .await;
    println!(
        "never wrong data: {complete} stores complete, {refused} refused at once and {later} at a later start; those were \
         mended by --recover"
    );
}

async fn disk_full(rounds: u32, seed: u64) {
    let (mut writes, mut refused, mut failed) = (0, 0, 0);
    let done = full::run(rounds, seed, |round| {
        writes += round.writes;
        refused += round.refused;
        failed += u32::from(round.outcome == full::Outcome::Failed);
        println!(
            "round {:>3}: {:>8} bytes left: {:<8} {:>6} writes acknowledged, {:>5} puts refused  {:.1} s",
            round.number,
            round.left,
            format!("{:?}", round.outcome),
            round.writes,
            round.refused,
            round.took.as_secs_f32()
        );
        ControlFlow::Continue(())
    })
    .await;
    if !done {
        eprintln!("this process may not mount a small file system: run it as root");
        std::process::exit(1);
    }
    println!(
        "nothing lost: {writes} acknowledged writes; {refused} puts refused and not done; in {failed} rounds a commit failed"
    );
}

async fn kill_in_transfer(rounds: u32, seed: u64) {
    let (mut writes, mut in_transfer, mut after) = (0, 0, 0);
    transfer::run(rounds, seed, |round| {
        writes += round.writes;
        in_transfer += round.in_transfer;
        after += round.after;
        println!(
            "round {:>3}: wiped, killed {} in transfer and {} after{}  {:>6} writes acknowledged, {:>9} bytes of log  {:.1} s",
            round.number,
            round.in_transfer,
            round.after,
            if round.source { ", its source once" } else { "" },
            round.writes,
            round.log_bytes,
            round.took.as_secs_f32()
        );
    })
    .await;
    println!(
        "nothing lost: {writes} acknowledged writes; {in_transfer} kills in the middle of a transfer, {after} after one"
    );
}
