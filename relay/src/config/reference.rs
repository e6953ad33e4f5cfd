//! Keeps `ops/relay.toml` equal to the code.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{CacheConfig, Limits, RelayConfig, Replication, changes, reader::Reader};

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/relay.toml");
    std::fs::read_to_string(path).unwrap()
}

/// A line that is a setting, or a heading of some, that is commented out: `#` and at once the key or the bracket.
fn commented_out(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    let is_setting =
        rest.starts_with("[[") || (rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "));
    is_setting.then_some(rest)
}

fn uncommented(text: &str, keep: impl Fn(&str) -> bool) -> String {
    text.lines()
        .map(|line| commented_out(line).filter(|_| keep(line)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

const NO_DEFAULT: &str = "# no default";

#[test]
fn defaults_in_the_reference_are_those_of_the_code() {
    let text = reference();
    let minimal = RelayConfig::parse(&text, Path::new("/etc/landbridge")).unwrap();
    let spelt_out = uncommented(&text, |line| !line.ends_with(NO_DEFAULT));
    assert_ne!(text, spelt_out);
    assert_eq!(RelayConfig::parse(&spelt_out, Path::new("/etc/landbridge")).unwrap(), minimal);
    assert_eq!(minimal.limits, Limits::default());
    assert_eq!(minimal.replication, Replication::default());
    assert_eq!(minimal.caches, CacheConfig::defaults(Limits::default().max_entry_bytes));
    assert_eq!(minimal.tls.trust_nodes, [PathBuf::from("/etc/landbridge/ca.pem")]);
    assert_eq!(minimal.store.dir, Path::new("/etc/landbridge/store"));
}

#[test]
fn every_setting_of_the_code_is_in_the_reference_and_none_besides() {
    let all = uncommented(&reference(), |_| true);
    let (config, known) = RelayConfig::parse_noting(&all, Path::new(""));
    config.unwrap();
    let mut there = BTreeSet::new();
    let mut section = String::new();
    for line in all.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            section = format!("{}.", heading.trim_matches(['[', ']']));
            there.insert(section.trim_end_matches('.').to_string());
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            there.insert(format!("{section}{key}"));
        }
    }
    assert_eq!(there, known);
}

#[test]
fn a_default_that_differs_from_the_code_would_be_found() {
    let wrong = reference().replace("#forward_after = \"2s\"", "#forward_after = \"3s\"");
    let spelt_out = uncommented(&wrong, |line| !line.ends_with(NO_DEFAULT));
    let spelt_out = RelayConfig::parse(&spelt_out, Path::new("")).unwrap();
    assert_ne!(spelt_out.replication, Replication::default());
}

/// The line with another value of the same kind, where there is one that the rest agrees with.
fn with_another_value(text: &str, line: &str) -> Option<RelayConfig> {
    let (key, value) = line.split_once(" = ")?;
    let number: String = value.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let others = match number.parse::<u64>() {
        Ok(number) => [number + 1, number - 1].map(|other| value.replacen(&number.to_string(), &other.to_string(), 1)),
        Err(_) => [value.replacen("true", "false", 1), value.replacen("store", "other", 1)],
    };
    let parsed = others.iter().map(|other| text.replacen(line, &format!("{key} = {other}"), 1));
    parsed.filter(|changed| changed != text).find_map(|changed| RelayConfig::parse(&changed, Path::new("")).ok())
}

#[test]
fn what_needs_a_restart_is_marked_so() {
    let text = uncommented(&reference(), |line| !line.ends_with(NO_DEFAULT));
    let config = RelayConfig::parse(&text, Path::new("")).unwrap();
    let (mut section, mut marked, mut live) = ("", 0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        } else if ["[store]", "[limits]", "[replication]"].contains(&section) && line.contains(" = ") {
            let changed = with_another_value(&text, line).unwrap_or_else(|| panic!("no other value for {line}"));
            let changes = changes(&config, &changed);
            assert_eq!(!changes.restart.is_empty(), line.ends_with("# restart"), "{line}");
            *if changes.restart.is_empty() { &mut live } else { &mut marked } += 1;
        }
    }
    assert!(marked > 20 && live > 20, "{marked} {live}");
}

#[test]
fn a_reader_of_nothing_asks_for_nothing() {
    let (problems, asked) = Reader::new("", Path::new("")).close();
    assert!(problems.is_empty() && asked.is_empty());
}

mod mutated {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// A slip of the keyboard anywhere is told, with its line where it has one, or changes a value; it never panics,
        /// and a configuration is never refused without a word.
        #[test]
        fn a_slip_anywhere_is_told(
            slips in vec((any::<Index>(), prop_oneof![Just('"'), Just('['), Just('='), Just('\n'), Just('é'), Just('7')]), 1..4)
        ) {
            let mut text = uncommented(&reference(), |_| true);
            for (place, slip) in slips {
                let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
                text.insert(places[place.index(places.len())], slip);
            }
            let lines = text.lines().count();
            if let Err(problems) = RelayConfig::parse(&text, Path::new("")) {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| problem.line.is_none_or(|line| (1..=lines + 1).contains(&line))));
            }
        }
    }
}
