//! Mixed load with faults for as long as it is told to, and whether what the relays hold on to stays flat.
//!
//! `cargo run --release -p landbridge-tests --bin soak -- --minutes 60 --seed 1`

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use landbridge_tests::soak::{
    self,
    measured::{COLUMNS, judge},
};

/// Load two sites and hurt them, period by period; at the end say whether memory, files, threads and disk are flat.
#[derive(Parser)]
struct Args {
    /// How long
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Seconds of a period, about: loads and a fault, then a rest in which all is compared and measured
    #[arg(long, default_value_t = 8.0)]
    period: f64,
    /// Where the faults and moments are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { minutes, period, seed } = Args::parse();
    println!("soak: {minutes} minutes, seed {seed}");
    let (mut writes, mut measured) = (0, [Vec::new(), Vec::new()]);
    println!("| period | at, s | fault | writes | site1: MiB, files, threads, sessions, disk MiB | site2 |");
    println!("|---|---|---|---|---|---|");
    let (span, period) = (Duration::from_secs_f64(minutes * 60.0), Duration::from_secs_f64(period));
    soak::run(span, period, seed, |period| {
        writes += period.writes;
        let columns = period.relays.map(|relay| {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let (memory, disk) = (mib(relay.memory), mib(relay.disk));
            format!("{memory:.1}, {}, {}, {}, {disk:.1}", relay.files, relay.threads, relay.sessions)
        });
        let (number, at, fault) = (period.number, period.at.as_secs(), period.fault);
        println!("| {number} | {at} | {fault:?} | {} | {} | {} |", period.writes, columns[0], columns[1]);
        measured.iter_mut().zip(period.relays).for_each(|(all, relay)| all.push(relay));
    })
    .await;
    println!("\n{writes} acknowledged writes, all at both sites and heard by all listeners, period by period\n");
    println!("| relay | what | second quarter (median) | last quarter (median) | |");
    println!("|---|---|---|---|---|");
    let mut flat = true;
    for (site, measured) in ["site1 (never killed)", "site2"].iter().zip(&measured) {
        for column in &COLUMNS {
            let (before, after, is_flat) = judge(column, measured);
            flat &= is_flat;
            let verdict = if is_flat { "flat" } else { "GROWS" };
            println!("| {site} | {} | {before} | {after} | {verdict} |", column.name);
        }
    }
    println!(
        "\nflat: the last quarter's median is no more than the second's, a tenth of it and a slack ({})",
        slacks()
    );
    if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn slacks() -> String {
    let each: Vec<String> = COLUMNS.iter().map(|column| format!("{} {}", column.slack, column.name)).collect();
    each.join(", ")
}
