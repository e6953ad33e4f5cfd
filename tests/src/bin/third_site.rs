//! Measures what a third site costs the other two.
//!
//! `cargo run --release -p landbridge-tests --bin third_site -- bytes --seconds 60`
//! `cargo run --release -p landbridge-tests --bin third_site -- frozen --seconds 60`

use std::time::Duration;

use clap::{Parser, Subcommand};
use landbridge_tests::measure;

/// Measure what a third site costs.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Bytes over the links of three sites, all of them up: with `forward_after = "off"` and with the default
    Bytes {
        /// Puts a second, at all three sites together
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// How long each of the two
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Puts at two sites while the third runs, and while it is frozen
    Frozen {
        /// Puts a second at each of the two sites
        #[arg(long, default_value_t = 500)]
        rate: u32,
        /// How long each of the two
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() {
    match Args::parse().what {
        What::Bytes { rate, seconds } => bytes(rate, Duration::from_secs(seconds)).await,
        What::Frozen { rate, seconds } => frozen(rate, Duration::from_secs(seconds)).await,
    }
}

async fn bytes(rate: u32, span: Duration) {
    println!("three sites, all links up, {rate} puts/s of 256 bytes for {} s", span.as_secs());
    let mut sums = Vec::new();
    for forward_after in ["off", "2s"] {
        let sum = measure::forwarding(forward_after, rate, span, Duration::ZERO).await;
        println!(
            "forward_after = {forward_after:>3}: {:.0} bytes in {:.0} batches with {:.0} records; greatest lag {:.2} s",
            sum.bytes, sum.batches, sum.records, sum.lag_seconds
        );
        sums.push(sum);
    }
    let [off, on] = sums[..] else { return };
    println!(
        "forwarding costs {:+.2} % bytes, {:+.2} % records",
        (on.bytes / off.bytes - 1.0) * 100.0,
        (on.records / off.records - 1.0) * 100.0
    );
}

async fn frozen(rate: u32, span: Duration) {
    println!("two sites of three with {rate} puts/s of 256 bytes each, {} s and {} s", span.as_secs(), span.as_secs());
    let seen = measure::frozen(rate, span).await;
    for (at, (without, with)) in seen.without.iter().zip(&seen.with).enumerate() {
        println!("site{}: site3 runs:      {without}", at + 1);
        println!("site{}: site3 is frozen: {with}", at + 1);
    }
    println!(
        "site3 caught up {:.1} s after it went on: {} entries, equal",
        seen.caught_up_after.as_secs_f64(),
        seen.entries
    );
}
