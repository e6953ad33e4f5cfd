//! What the README shows is what compiles.

use std::{fs, path::Path};

#[test]
fn the_client_in_the_readme_is_a_program_that_compiles() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(top.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (readme, program) = (read("README.md"), read("examples/src/bin/readme.rs"));
    let shown = readme.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block of Rust").0;
    // the README lines its comments up
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = |text: &str| text.lines().map(words).collect::<Vec<_>>();
    let (shown, program) = (lines(shown), lines(&program));
    assert!(shown.len() > 10, "the README's client has {} lines", shown.len());
    let there = program.windows(shown.len()).any(|window| window == shown);
    assert!(there, "examples/src/bin/readme.rs does not have the README's lines; bring the two together");
}
