//! Simulates whole sites, a run for each seed.
//!
//! ```text
//! cargo run --release -p landbridge-tests --bin simulate -- --seeds 1000            # many runs
//! cargo run --release -p landbridge-tests --bin simulate -- --seed 7 --seeds 1 --trace   # one, with all that happens
//! cargo run --release -p landbridge-tests --bin simulate -- --mutations             # what is found of what is broken on purpose
//! ```

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use landbridge_tests::simulation::{
    checks::Broken,
    judge,
    mutation::Mutation,
    plan::{Kinds, Plan},
    shorten::shorten,
    world::Run,
};

/// Runs that may go into making a failure shorter.
const SHORTEN_RUNS: u32 = 400;

/// Simulates whole sites with faults, a run for each seed, and looks for promises that were broken.
#[derive(Parser)]
struct Args {
    /// How many seeds; with `--mutations`, how many for each at most
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print all that happens
    #[arg(long)]
    trace: bool,
    /// Break each rule in turn, and say after how many seeds that is found
    #[arg(long)]
    mutations: bool,
    /// Break this one
    #[arg(long)]
    mutate: Option<String>,
    /// No runs that go on for hours
    #[arg(long)]
    no_hours: bool,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        Plan::drawn(seed, Kinds { hours: !self.no_hours, ..Kinds::ALL })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mutation = match args.mutate.as_deref().map(|name| (name, named(name))) {
        Some((name, None)) => {
            let names: Vec<_> = Mutation::all().into_iter().map(Mutation::name).collect();
            eprintln!("no mutation {name}; there are {}", names.join(" "));
            return ExitCode::FAILURE;
        }
        found => found.and_then(|(_, mutation)| mutation),
    };
    if args.mutations { mutations(&args) } else { seeds(&args, mutation) }
}

fn named(name: &str) -> Option<Mutation> {
    Mutation::all().into_iter().find(|mutation| mutation.name() == name)
}

fn seeds(args: &Args, mutation: Option<Mutation>) -> ExitCode {
    let began = Instant::now();
    let (next, simulated_ms, datagrams, histories) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= args.seeds {
                        return;
                    }
                    let seed = args.seed + number;
                    let (run, verdict) = judge(&args.plan(seed), mutation);
                    simulated_ms.fetch_add(run.lasted_ms, Ordering::Relaxed);
                    datagrams.fetch_add(run.datagrams, Ordering::Relaxed);
                    histories.fetch_xor(run.hash().rotate_left(seed as u32), Ordering::Relaxed);
                    if args.seeds == 1 {
                        println!("seed {seed}: history {:016x}", run.hash());
                        trace(&run, args.trace);
                    }
                    if let Err(broken) = verdict {
                        println!("seed {seed}: {broken}");
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, broken));
                    }
                    if number % 500 == 499 {
                        eprintln!("{} seeds, {:.0} s", number + 1, began.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} seeds in {:.1} s: {:.1} h simulated, {} datagrams, histories {:016x}; {} failed",
        args.seeds,
        began.elapsed().as_secs_f64(),
        simulated_ms.into_inner() as f64 / 3_600_000.0,
        datagrams.into_inner(),
        histories.into_inner(),
        failed.len()
    );
    match failed.iter().min_by_key(|(seed, _)| *seed) {
        Some((seed, broken)) => {
            tell_shortened(&args.plan(*seed), broken, mutation);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn trace(run: &Run, wanted: bool) {
    for entry in run.history.iter().filter(|_| wanted) {
        println!("{entry}");
    }
}

/// The shortest run that was found of a seed that failed.
fn tell_shortened(plan: &Plan, broken: &Broken, mutation: Option<Mutation>) {
    println!("\nseed {}, made shorter:", plan.seed);
    let plan = shorten(plan, broken.promise, mutation, SHORTEN_RUNS);
    let (run, verdict) = judge(&plan, mutation);
    println!("{} sites, {:?}", plan.sites, plan.bounds);
    trace(&run, true);
    match verdict {
        Ok(()) => println!("which does not fail any more: a fault of the simulation"),
        Err(broken) => println!("{broken}"),
    }
}

/// After how many seeds each mutation is found.
fn mutations(args: &Args) -> ExitCode {
    let mut missed = 0;
    for mutation in Mutation::all() {
        let began = Instant::now();
        let found = (args.seed..args.seed + args.seeds).find_map(|seed| {
            let verdict = judge(&args.plan(seed), Some(mutation)).1;
            verdict.err().map(|broken| (seed, broken))
        });
        let took = began.elapsed().as_secs_f64();
        match found {
            Some((seed, broken)) => {
                let how: String = broken.to_string().chars().take(120).collect();
                println!("{:<28} found by seed {seed} in {took:.1} s: {how}", mutation.name());
            }
            None => {
                missed += 1;
                println!("{:<28} not found in {} seeds, {took:.1} s", mutation.name(), args.seeds);
            }
        }
    }
    println!("{missed} not found");
    ExitCode::SUCCESS
}
