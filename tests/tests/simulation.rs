//! Whole sites in simulation, some seeds of it; and that what is broken on purpose is found. More seeds, and the rest of the
//! mutations: `cargo run --release -p landbridge-tests --bin simulate`.

use std::time::{Duration, Instant};

use landbridge_relay::engine::guards::Guard;
use landbridge_tests::simulation::{
    judge,
    mutation::{DiskLies, Mutation},
    plan::{Kinds, Plan},
};

/// The seeds take no longer than this, however slow the machine is.
const AT_MOST: Duration = Duration::from_secs(15);
/// So many seeds at least: a machine on which they take longer than all the time there is is none to test on.
const SEEDS_AT_LEAST: u64 = 3;
const SEEDS: u64 = 200;
/// Each of the mutations that are run here is found by one of so many seeds.
const FOUND_WITHIN: u64 = 8;

#[test]
fn a_seed_is_a_run() {
    for seed in [3, 17, 22] {
        let [first, again] = [(); 2].map(|()| judge(&Plan::of(seed), None).0.hash());
        assert_eq!(first, again, "seed {seed}");
    }
}

#[test]
fn nothing_breaks_where_nothing_goes_wrong() {
    for seed in 1..6 {
        let (run, verdict) = judge(&Plan::drawn(seed, Kinds { most: 0, hours: false }), None);
        assert_eq!(verdict, Ok(()), "seed {seed}");
        assert!(run.history.len() > 100, "seed {seed}: something happens");
    }
}

#[test]
fn no_promise_breaks_whatever_goes_wrong() {
    let began = Instant::now();
    for seed in 1..=SEEDS {
        if seed > SEEDS_AT_LEAST && began.elapsed() > AT_MOST {
            println!("{} seeds in {AT_MOST:?}", seed - 1);
            return;
        }
        let (_, verdict) = judge(&Plan::of(seed), None);
        assert_eq!(verdict, Ok(()), "simulate --seeds 1 --seed {seed}");
    }
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    let lies = [DiskLies::Flush, DiskLies::Tombstones, DiskLies::Foreign].map(Mutation::Disk);
    for mutation in lies.into_iter().chain([Mutation::Without(Guard::EagerVector)]) {
        let found = (1..=FOUND_WITHIN).any(|seed| judge(&Plan::of(seed), Some(mutation)).1.is_err());
        assert!(found, "{} was not found in {FOUND_WITHIN} seeds", mutation.name());
    }
}
