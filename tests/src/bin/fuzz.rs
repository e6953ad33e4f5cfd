//! Gives decoders of bytes from outside changed inputs of the committed corpus, for so long, on any toolchain.
//!
//! `cargo run --release -p landbridge-tests --bin fuzz -- --seconds 60 --seed 1`

use std::{
    fs,
    panic::catch_unwind,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use landbridge_tests::fuzz::{TARGETS, Target};
use rand::{SeedableRng, rngs::StdRng};

/// Fuzz the decoders of bytes from outside with changed inputs of tests/fuzz/corpus
#[derive(Parser)]
struct Args {
    /// What to fuzz: `decoders`, `frames`; both by default
    #[arg(value_parser = target)]
    targets: Vec<&'static Target>,
    /// For how long, each
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Where the changes are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Give the targets this input alone
    #[arg(long)]
    input: Option<PathBuf>,
}

fn target(name: &str) -> Result<&'static Target, String> {
    Target::named(name).ok_or_else(|| "there is none of that name".into())
}

fn main() -> ExitCode {
    let Args { mut targets, seconds, seed, input } = Args::parse();
    if targets.is_empty() {
        targets.extend(&TARGETS);
    }
    for target in targets {
        if let Some(file) = &input {
            (target.run)(&fs::read(file).expect("the input can be read"));
            println!("fuzz: {}: {} gives a value or an error", target.name, file.display());
        } else if let Err((input, number)) = fuzz(target, Duration::from_secs(seconds), seed) {
            let file = target.artifacts().join(format!("seed-{seed}-{number}"));
            fs::create_dir_all(target.artifacts()).expect("a directory for what was found");
            fs::write(&file, input).expect("what was found can be written");
            println!(
                "fuzz: {}: input {number} of seed {seed} broke it; again: --input {}",
                target.name,
                file.display()
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The committed inputs as they are, then changed ones; the first that breaks the target, and its number.
fn fuzz(target: &'static Target, span: Duration, seed: u64) -> Result<(), (Vec<u8>, usize)> {
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let corpus = target.corpus();
    let mut number = 0;
    while number < corpus.len() || begun.elapsed() < span {
        let input = corpus.get(number).cloned().unwrap_or_else(|| target.changed(&corpus, &mut rng));
        catch_unwind(|| (target.run)(&input)).map_err(|_| (input, number))?;
        number += 1;
    }
    println!(
        "fuzz: {}: {} committed inputs and {} like them, seed {seed}, {:.1} s: each a value or an error",
        target.name,
        corpus.len(),
        number - corpus.len(),
        begun.elapsed().as_secs_f32()
    );
    Ok(())
}
