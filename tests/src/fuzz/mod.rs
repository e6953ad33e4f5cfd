//! What fuzzers of bytes from outside do: those that coverage guides (`tests/fuzz`), and the one that any toolchain builds
//! (`--bin fuzz`). Both give the same targets the committed inputs and changed ones.

pub mod frames;

use std::{fs, path::PathBuf};

use rand::{Rng, RngExt};

use crate::decoders;

/// What is given inputs.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of the directory of its inputs.
    pub name: &'static str,
    /// Takes an input.
    ///
    /// # Panics
    /// When it breaks a promise.
    pub run: fn(&[u8]),
    /// So many bytes stay when an input is changed: which decoder it is for.
    stay: usize,
}

/// All of them.
pub const TARGETS: [Target; 2] =
    [Target { name: "decoders", run: decode, stay: 1 }, Target { name: "frames", run: frames::run, stay: 0 }];

/// An input that names no decoder is for none.
pub fn decode(input: &[u8]) {
    decoders::decode(input);
}

impl Target {
    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The committed inputs, in the order of their names.
    ///
    /// # Panics
    /// When they can't be read, or there are none.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let dir = directory("corpus").join(self.name);
        let files = fs::read_dir(&dir).expect("the corpus is committed").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert!(!files.is_empty(), "inputs are committed");
        files.into_iter().map(|file| fs::read(file).expect("an input")).collect()
    }

    /// Where an input that broke something is put, as libFuzzer does.
    pub fn artifacts(&self) -> PathBuf {
        directory("artifacts").join(self.name)
    }

    /// One of these inputs with some bytes changed, some cut off, some put in, a length that lies, or the end of another input.
    ///
    /// # Panics
    /// When there are none.
    pub fn changed(&self, inputs: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
        let mut input = inputs[rng.random_range(0..inputs.len())].clone();
        let other = &inputs[rng.random_range(0..inputs.len())];
        for _ in 0..rng.random_range(1..4) {
            if input.len() < self.stay {
                break;
            }
            let at = rng.random_range(self.stay..=input.len());
            match rng.random_range(0..6) {
                0 => input.truncate(at),
                1 => input.insert(at, rng.random()),
                2 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
                3 if at < input.len() => input[at] = rng.random(),
                4 => drop(input.splice(at.., other[at.min(other.len())..].iter().copied())),
                _ => drop(
                    input.splice(at..at, [[0xdd, 0xdb, 0xc6, 0xdf][rng.random_range(0..4)], 0xff, 0xff, 0xff, 0xff]),
                ),
            }
        }
        input
    }
}

fn directory(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(of)
}
