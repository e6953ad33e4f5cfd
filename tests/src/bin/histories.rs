//! Sessions of one site contend for few keys while their relay is killed, and what happened is judged.
//!
//! `cargo run --release -p landbridge-tests --bin histories -- --rounds 500 --seed 1`

use clap::Parser;
use landbridge_tests::linear::contest;

/// Record what sessions ask of few keys through kills of their relay, and judge whether it is linearizable.
#[derive(Parser)]
struct Args {
    /// Rounds: each of its own keys, with a kill or two
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Where the moments and operations are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() {
    let Args { rounds, seed } = Args::parse();
    println!("histories: {rounds} rounds, seed {seed}");
    let (mut operations, mut unanswered, mut kills) = (0, 0, 0);
    contest::run(rounds, seed, |round| {
        operations += round.operations;
        unanswered += round.unanswered;
        kills += round.kills;
        println!(
            "round {:>3}: {} kills, {:>5} operations on {} keys, {:>3} without an answer: linearizable  {:.1} s",
            round.number,
            round.kills,
            round.operations,
            round.histories.len(),
            round.unanswered,
            round.took.as_secs_f32()
        );
    })
    .await;
    println!("linearizable: {operations} operations, {unanswered} of them without an answer, {kills} kills");
}
