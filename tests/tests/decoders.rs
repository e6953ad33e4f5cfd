//! Promise 7, closed: bytes from outside harm no decoder. The committed corpus of the fuzzers, as it is and with changes drawn
//! from a seed; each value that is decoded has to come back as it was. For longer: `.ci/fuzz SECONDS`.

use std::collections::BTreeMap;

use landbridge_tests::{
    decoders::{self, DECODERS},
    fuzz::Target,
};
use rand::{SeedableRng, rngs::StdRng};

/// Changed inputs for each decoder. Those that make a file or a store are few, as they take a disk's time.
const CHANGED: usize = 2000;
const SLOW: [(&str, usize); 2] = [("profile", 50), ("backup", 5)];

#[test]
fn no_input_of_the_corpus_and_none_like_it_harms_a_decoder() {
    let target = Target::named("decoders").unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut inputs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for input in target.corpus() {
        // One that names no decoder is of use to the fuzzer alone.
        if let Some(decoder) = decoders::decode(&input) {
            inputs.entry(decoder.name).or_default().push(input);
        }
    }
    assert!(DECODERS.iter().all(|decoder| inputs.contains_key(decoder.name)), "each has an input: {:?}", inputs.keys());
    for (name, inputs) in inputs {
        let slow = SLOW.iter().find(|slow| slow.0 == name);
        for _ in 0..slow.map_or(CHANGED, |(_, count)| *count) {
            decoders::decode(&target.changed(&inputs, &mut rng));
        }
    }
}

#[test]
fn every_frame_comes_back_and_none_that_was_changed_harms_a_decoder() {
    let target = Target::named("frames").unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let corpus = target.corpus();
    corpus.iter().for_each(|input| (target.run)(input));
    for _ in 0..CHANGED {
        (target.run)(&target.changed(&corpus, &mut rng));
    }
}
