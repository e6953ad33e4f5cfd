//! Searches through all that can happen between relays, on the real engine.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use landbridge_relay::engine::guards::{Guard, Guards};
use landbridge_tests::explorer::{
    action::Action,
    scenario::Scenario,
    scenarios::{scenario, scenarios, without},
    search::{Bounds, Outcome, explore},
    walk::{go, walk},
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
    /// Megabytes of memory at most.
    #[arg(long, default_value_t = 6_000)]
    megabytes: usize,
    /// Minutes at most for `all`; what a scenario leaves over goes to those after it.
    #[arg(long)]
    minutes: Option<u64>,
    /// Let every state settle at once: slower, and finds what breaks in fewer steps.
    #[arg(long)]
    ahead: bool,
    /// Steps to go, as they are printed, to see what comes of them: `"Put(0,0) Poll(0,1)"`.
    #[arg(long)]
    way: Option<String>,
    /// Walk at random from this seed instead of searching all.
    #[arg(long)]
    walk: Option<u64>,
}

fn guard(name: &str) -> Option<Guard> {
    Guard::ALL.iter().copied().find(|guard| format!("{guard:?}").eq_ignore_ascii_case(&name.replace('-', "")))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let bounds = Bounds {
        states: options.cap,
        time: Duration::from_secs(options.seconds),
        megabytes: options.megabytes,
        ahead: options.ahead,
    };
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
            let all = scenarios();
            let begun = Instant::now();
            let mut held = 0;
            for (n, scenario) in all.iter().enumerate() {
                let left = |minutes: u64| Duration::from_secs(minutes * 60).saturating_sub(begun.elapsed());
                let time = options.minutes.map_or(bounds.time, |minutes| left(minutes) / (all.len() - n) as u32);
                let scenario = Scenario { guards, ..scenario.clone() };
                held += usize::from(run(&scenario, Bounds { time, ..bounds }, options.walk, false));
            }
            println!("{held} of {} hold", all.len());
            if held == all.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("mutations") => {
            for guard in Guard::ALL {
                print!("without {:16} ", format!("{guard:?}"));
                let bounds = Bounds { ahead: true, ..bounds };
                run(&without(*guard), bounds, options.walk, false);
            }
            ExitCode::SUCCESS
        }
        Some(name) => match scenario(name) {
            Some(scenario) if options.way.is_some() => {
                gone(&Scenario { guards, ..scenario }, &options.way.unwrap_or_default())
            }
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

/// Goes a way and tells what happens on it.
fn gone(scenario: &Scenario, way: &str) -> ExitCode {
    let way: Vec<Action> = match way.split_whitespace().map(str::parse).collect() {
        Ok(way) => way,
        Err(unknown) => {
            eprintln!("{unknown}");
            return ExitCode::FAILURE;
        }
    };
    let (told, wrong) = go(scenario, &way);
    told.iter().for_each(|step| println!("{step}"));
    println!("{}", wrong.as_deref().unwrap_or("holds"));
    if wrong.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the scenario holds, as far as it was searched.
fn run(scenario: &Scenario, bounds: Bounds, seed: Option<u64>, traced: bool) -> bool {
    let begun = Instant::now();
    let outcome = seed.map_or_else(|| explore(scenario, bounds), |seed| walk(scenario, seed, bounds));
    let (states, verdict, trace) = match outcome {
        Outcome::Exhaustive { states, depth } => (states, format!("exhausted at depth {depth}, holds"), None),
        Outcome::Capped { states, depth } => (states, format!("capped at depth {depth}, holds so far"), None),
        Outcome::Violation { states, why, trace } => (states, format!("{why}  in {} steps", trace.len()), Some(trace)),
    };
    println!("{:24} {states:>9} states  {verdict}  {:.1} s", scenario.name, begun.elapsed().as_secs_f32());
    for step in trace.iter().flatten().filter(|_| traced) {
        println!("    {step}");
    }
    trace.is_none()
}
