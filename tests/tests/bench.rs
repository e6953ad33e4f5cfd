//! `landbridge bench` as a process: what it measures adds up, and nothing is left behind.

use std::{fs, path::Path, process::Stdio, time::Duration};

use landbridge_tests::{patience::PATIENCE, relay, sites::TwoSites};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

async fn bench(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(relay::binary())
        .arg("bench")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output).await.expect("it ends").expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn figures(dir: &Path, args: &[&str]) -> Value {
    let (code, out, err) = bench(dir, args).await;
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
}

/// What every measurement must fulfil, however fast the machine.
fn adds_up(of: &Value) {
    let number = |name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name} is a number: {of}"));
    assert!(number("operations") > 0.0, "{of}");
    assert_eq!(number("errors"), 0.0, "{of}");
    assert!((number("operations_per_second") * number("seconds") - number("operations")).abs() < 1.0, "{of}");
    let rising = ["p50_us", "p99_us", "p999_us", "max_us"].map(number);
    assert!(rising[0] > 1.0 && rising.is_sorted(), "{of}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_workload_is_measured_at_own_relays_and_nothing_is_left() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let small = ["--seconds", "1", "--warmup", "0", "--keys", "500", "--in-flight", "8", "--json"];
    for (args, sites) in [
        (&["put", "--sites", "1"][..], 1),
        (&["get", "--batch", "16", "--sites", "1"], 1),
        (&["mixed", "--sessions", "3"], 2),
        (&["event", "--rate", "200", "--sites", "3"], 3),
        (&["event", "--rate", "200", "--sites", "1", "--subscriptions", "250"], 1),
    ] {
        let of = figures(dir.path(), &[args, &small].concat()).await;
        adds_up(&of);
        let relays = of["relays"].as_array().expect("a list of relays");
        assert_eq!(relays.len(), sites, "{of}");
        assert!(relays.iter().all(|relay| relay["rss_bytes"].as_u64() > Some(1_000_000)), "{of}");
        if args[0] == "event" {
            let number = |name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{name} is a number: {of}"));
            let (puts, subscriptions) = (number("puts"), number("subscriptions"));
            assert!((1..=400).contains(&puts), "a rate of 200: {of}");
            assert!(number("operations") > puts * subscriptions / 2, "each event is heard by each: {of}");
            let quarters = of["quarters_p50_us"].as_array().expect("quarters");
            assert_eq!(quarters.len(), 4, "{of}");
        }
        let left: Vec<_> = fs::read_dir(dir.path()).expect("it can be read").collect();
        assert!(left.is_empty(), "{args:?} left {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_runs_is_measured_and_keeps_only_what_was_its_own() {
    let sites = TwoSites::start().await;
    sites.done(0, &["put", "work", "mine", "kept"]).await;
    let profile = sites.profile(0, "node11").display().to_string();
    let there = sites.profile(1, "node21").display().to_string();
    let args = ["event", "--profile", &profile, "--listen-profile", &there, "--cache", "work", "--seconds", "1"];
    let small = ["--warmup", "0", "--keys", "300", "--json"];
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let of = figures(dir.path(), &[&args[..], &small].concat()).await;
    adds_up(&of);
    assert_eq!(of["relays"].as_array().map(Vec::len), Some(0), "{of}");
    assert_eq!(sites.command(0, &["size", "work"]).await.1.trim(), "1");
    assert_eq!(sites.command(0, &["get", "work", "mine"]).await.1, "kept");
    let keep = ["get", "--profile", &profile, "--cache", "work", "--seconds", "1", "--keep"];
    adds_up(&figures(dir.path(), &[&keep[..], &small].concat()).await);
    assert_eq!(sites.command(0, &["size", "work"]).await.1.trim(), "301");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_before_anything_runs() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    for (args, word) in [
        (&["put", "--profile", "p.toml"][..], "--cache"),
        (&["put", "--value-bytes", "7"], "8.."),
        (&["put", "--profile", "p.toml", "--cache", "work"], "p.toml"),
        (&["put", "--dir", "nowhere"], "nowhere"),
        (&["put", "--keep"], "--profile"),
        (&["put", "--sites", "6"], "1..=5"),
        (&["event", "--subscriptions", "0"], "1..=10000"),
    ] {
        let (code, out, err) = timeout(Duration::from_secs(10), bench(dir.path(), args)).await.expect("at once");
        assert_eq!(code, Some(2), "{args:?}: {out}{err}");
        assert!(err.contains(word), "{args:?}: {err}");
    }
}
