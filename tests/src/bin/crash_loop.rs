//! Kills relays at random moments under load and looks for what was lost.
//!
//! `cargo run --release -p landbridge-tests --bin crash_loop -- --rounds 50 --seed 1`

use clap::Parser;
use landbridge_tests::crash;

/// Kill relays with `kill -9` at random moments under load, and look for what was lost.
#[derive(Parser)]
struct Args {
    /// Rounds: in each, one relay or both are killed and started again
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Where the moments and values are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    println!("crash loop: {} rounds, seed {}", args.rounds, args.seed);
    let (mut writes, mut keys) = (0, 0);
    crash::run(args.rounds, args.seed, |round| {
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
