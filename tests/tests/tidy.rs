//! The layout holds: modules depend one way, and files stay short enough to be read.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file of code at most.
const MAX_LINES: usize = 500;

/// What the files below a directory must not name. Tests of a module may.
const BOUNDARIES: &[(&str, &[&str])] = &[
    ("protocol/src", &["tokio::", "quinn", "std::net", "std::fs", "std::time::Instant", "SystemTime"]),
    (
        "relay/src/engine",
        &["tokio", "sled", "quinn", "std::time", "std::net", "std::fs", "crate::store", "crate::clock"],
    ),
    (
        "relay/src/store",
        &[
            "quinn",
            "crate::session",
            "crate::link",
            "crate::listener",
            "crate::admin",
            "crate::transport",
            "crate::service",
        ],
    ),
    ("relay/src/session", &["crate::link", "crate::listener", "crate::admin", "crate::store", "crate::cli"]),
    ("relay/src/listener", &["crate::link", "crate::session", "crate::admin", "crate::store", "crate::cli"]),
    ("relay/src/link", &["crate::session", "crate::listener", "crate::admin", "crate::cli"]),
    ("relay/src/cli", &["crate::engine", "crate::store", "crate::session", "crate::link", "crate::listener"]),
    ("client/src", &["landbridge_relay", "sled"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "tests")
        || path.file_stem().is_some_and(|s| s.to_string_lossy().contains("tests"))
}

/// The lines of code that stand before a file's own tests, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let before_tests =
        text.lines().take_while(|line| line.trim() != "#[cfg(test)]" || !line.is_empty() && line.starts_with(' '));
    before_tests.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn modules_depend_one_way() {
    let mut crossed = Vec::new();
    for (dir, forbidden) in BOUNDARIES {
        let mut files = Vec::new();
        rust_files(&root().join(dir), &mut files);
        assert!(!files.is_empty(), "{dir} has no files: the layout has changed, and so must this test");
        for path in files.iter().filter(|path| !is_test(path)) {
            let text = fs::read_to_string(path).unwrap();
            for (line, used) in code(&text) {
                for name in forbidden.iter().filter(|name| used.contains(**name)) {
                    crossed.push(format!("{}:{} names {name}", path.display(), line + 1));
                }
            }
        }
    }
    assert!(crossed.is_empty(), "{}", crossed.join("\n"));
}

#[test]
fn only_its_log_names_the_storage_engine_and_only_one_file_reads_the_wall_clock() {
    let mut files = Vec::new();
    rust_files(&root().join("relay/src"), &mut files);
    for (name, allowed) in [("sled::", &["renew.rs", "trees.rs"][..]), ("SystemTime::now", &["clock.rs"])] {
        let naming = files.iter().filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            !is_test(path) && code(&text).any(|(_, line)| line.contains(name))
        });
        let mut naming: Vec<&str> = naming.map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        naming.sort_unstable();
        assert_eq!(naming, allowed, "{name}");
    }
}

#[test]
fn files_stay_short() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<String> = files
        .iter()
        .map(|path| (path, lines(path)))
        .filter(|(_, n)| *n > MAX_LINES)
        .map(|(p, n)| format!("{} has {n} lines", p.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
