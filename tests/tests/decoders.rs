//! Promise 7, closed: bytes from outside harm no decoder. The committed corpus of the fuzzer, as it is and with changes drawn
//! from a seed; each value that is decoded has to come back as it was.
//! Coverage-guided and for long: `cd tests && cargo +nightly fuzz run --fuzz-dir fuzz -s none decoders -- -runs=5000000`.

use std::{collections::BTreeMap, fs, path::Path};

use landbridge_tests::decoders::{self, DECODERS};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Changed inputs made of each one that is committed. Those that make a file or a store are few, as they take a disk's time.
const CHANGED: usize = 200;
const SLOW: [(&str, usize); 2] = [("profile", 50), ("backup", 3)];

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decoders");
    let files = fs::read_dir(&dir).expect("the corpus is committed").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("an input")).collect()
}

/// Changes some bytes, cuts some off, puts some in, lets a length lie, or goes on with another input.
fn change(input: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        // The first byte stays: it says for which decoder the input is.
        let at = rng.random_range(1..=input.len());
        match rng.random_range(0..6) {
            0 => input.truncate(at),
            1 => input.insert(at, rng.random()),
            2 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            3 if at < input.len() => input[at] = rng.random(),
            4 => drop(input.splice(at.., other[at.min(other.len())..].iter().copied())),
            _ => drop(input.splice(at..at, [[0xdd, 0xdb, 0xc6, 0xdf][rng.random_range(0..4)], 0xff, 0xff, 0xff, 0xff])),
        }
    }
}

#[test]
fn no_input_of_the_corpus_and_none_like_it_harms_a_decoder() {
    let corpus = corpus();
    let mut rng = StdRng::seed_from_u64(1);
    let mut decoded = BTreeMap::new();
    for input in &corpus {
        let decoder = decoders::decode(input).expect("an input names its decoder");
        *decoded.entry(decoder.name).or_insert(0) += 1;
        let slow = SLOW.iter().find(|(name, _)| *name == decoder.name);
        for _ in 0..slow.map_or(CHANGED, |(_, count)| *count) {
            let mut changed = input.clone();
            change(&mut changed, &corpus[rng.random_range(0..corpus.len())], &mut rng);
            decoders::decode(&changed);
        }
    }
    assert!(DECODERS.iter().all(|decoder| decoded.contains_key(decoder.name)), "each has an input: {decoded:?}");
}
