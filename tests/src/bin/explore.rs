//! Searches through all that can happen between relays, on the real engine.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use landbridge_relay::engine::guards::{Guard, Guards};
use landbridge_tests::explorer::{
    scenario::{MUTATIONS, Scenario, scenario, scenarios},
    search::{Bounds, Outcome, explore},
    walk::walk,
};

/// Searches through all that can happen between relays.
#[derive(Parser)]
struct Options {
    /// `all`, `mutations`, or a scenario's name; none lists them.
    what: Option<String>,
    /// The rule to take out.
    #[arg(long)]
    mutate: Option<String>,
    /// States at most, per scenario.
    #[arg(long, default_value_t = 20_000_000)]
    cap: usize,
    /// Seconds at most, per scenario.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Walk at random from this seed instead of searching all.
    #[arg(long)]
    walk: Option<u64>,
}

fn guard(name: &str) -> Option<Guard> {
    Guard::ALL.iter().copied().find(|guard| format!("{guard:?}").eq_ignore_ascii_case(&name.replace('-', "")))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let bounds = Bounds { states: options.cap, time: Duration::from_secs(options.seconds) };
    let mutation = match options.mutate.as_deref().map(|name| guard(name).ok_or(name)) {
        Some(Err(name)) => {
            eprintln!("no rule {name}; there are {:?}", Guard::ALL);
            return ExitCode::FAILURE;
        }
        Some(Ok(guard)) => Some(guard),
        None => None,
    };
    let guards = mutation.map_or(Guards::all(), Guards::without);
    match options.what.as_deref() {
        Some("all") => {
            let held = scenarios()
                .into_iter()
                .filter(|s| run(&Scenario { guards, ..s.clone() }, bounds, options.walk, false))
                .count();
            println!("{held} of {} hold", scenarios().len());
            if held == scenarios().len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("mutations") => {
            for (guard, name) in MUTATIONS {
                let scenario = scenario(name).expect("the table names scenarios");
                print!("without {:16} ", format!("{guard:?}"));
                run(&Scenario { guards: Guards::without(*guard), ..scenario }, bounds, options.walk, false);
            }
            ExitCode::SUCCESS
        }
        Some(name) => match scenario(name) {
            Some(scenario) if run(&Scenario { guards, ..scenario }, bounds, options.walk, true) => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
            None => {
                eprintln!("no scenario {name}");
                ExitCode::FAILURE
            }
        },
        None => {
            let names: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
            println!("scenarios: {}\nrules: {:?}", names.join(" "), Guard::ALL);
            ExitCode::SUCCESS
        }
    }
}

/// Whether the scenario holds, as far as it was searched.
fn run(scenario: &Scenario, bounds: Bounds, seed: Option<u64>, traced: bool) -> bool {
    let begun = std::time::Instant::now();
    let outcome = seed.map_or_else(|| explore(scenario, bounds), |seed| walk(scenario, seed, bounds));
    let (states, verdict, trace) = match outcome {
        Outcome::Exhaustive { states } => (states, "exhaustive, holds".to_owned(), None),
        Outcome::Capped { states, depth } => (states, format!("capped at depth {depth}, holds so far"), None),
        Outcome::Violation { states, why, trace } => (states, format!("{why}  in {} steps", trace.len()), Some(trace)),
    };
    println!("{:22} {states:>9} states  {verdict}  {:.1} s", scenario.name, begun.elapsed().as_secs_f32());
    for step in trace.iter().flatten().filter(|_| traced) {
        println!("    {step}");
    }
    trace.is_none()
}
