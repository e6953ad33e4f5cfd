//! `ops/bench/compare`, as far as it needs nobody else's servers, and `ops/bench/growth`: their JSON is as documented and adds
//! up, what can't be had is told, and nothing is left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use landbridge_tests::{
    patience::{PATIENCE, until_true},
    relay,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

fn bench() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/bench")
}

fn compare(dir: &Path, args: &[&str]) -> Command {
    program("compare", dir, args)
}

fn program(name: &str, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(bench().join(name));
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("XDG_CACHE_HOME", dir.join("cache")).kill_on_drop(true);
    command
}

async fn ends(mut command: Command) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").expect("python3 is installed");
    texts(output)
}

fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Stores and configurations that measurements have left.
fn left(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    paths.filter(|path| !path.ends_with("cache")).collect()
}

/// Processes that were started with files of that directory.
fn processes(dir: &Path) -> usize {
    let lines = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
        // A process may be gone by now.
        fs::read_to_string(entry.ok()?.path().join("cmdline")).ok()
    });
    lines.filter(|line| line.contains(&*dir.to_string_lossy())).count()
}

#[tokio::test]
async fn what_it_works_out_is_right() {
    let mut command = Command::new("python3");
    command.args(["-B", "-m", "unittest"]).current_dir(bench()).stdin(Stdio::null()).kill_on_drop(true);
    let (code, out, err) = ends(command).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("Ran ") && !err.contains("Ran 0 "), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_round_of_each_workload_is_told_with_medians() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let binary = relay::binary().display().to_string();
    let args = ["--peers", "landbridge", "--landbridge", &binary, "--rounds", "2", "--seconds", "1", "--json", "-"];
    let (code, out, err) = ends(compare(dir.path(), &[&args[..], &["--workloads", "put-64,event-200"]].concat())).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert!(report["peers"]["landbridge"]["version"].is_string(), "{report}");
    assert!(report["machine"]["cores"].as_u64() > Some(0), "{report}");
    assert_eq!(report["conditions"].as_array().map(Vec::len), Some(2), "{report}");
    let runs = report["runs"].as_array().expect("a list of runs");
    assert_eq!(runs.len(), 4, "{report}");
    for (workload, figure) in [("put-64", "operations_per_second"), ("event-200", "p50_us")] {
        let of_it = runs.iter().filter(|run| run["workload"] == workload);
        let measured: Vec<f64> = of_it.filter_map(|run| run["figures"][figure].as_f64()).collect();
        assert!(measured.len() == 2 && measured.iter().all(|value| *value > 0.0), "{report}");
        let summary = &report["summary"][workload]["landbridge"][figure];
        let median = summary["median"].as_f64().expect("a median");
        assert!((median - (measured[0] + measured[1]) / 2.0).abs() < 1e-6, "{report}");
        assert_eq!(summary["landbridge_ratio"], 1.0, "{report}");
    }
    assert!(left(dir.path()).is_empty(), "{:?}", left(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_curve_is_told_and_drawn() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let out_dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let (binary, drawn) = (relay::binary().display().to_string(), out_dir.path().display().to_string());
    let args = ["--landbridge", &binary, "--curves", "sites", "--points", "1", "--seconds", "1", "--out", &drawn];
    let growth = program("growth", dir.path(), &[&args[..], &["--rounds", "2", "--json", "-"]].concat());
    let (code, out, err) = ends(growth).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2), "{report}");
    let point = &report["curves"]["sites"][0];
    assert_eq!(point["at"], 1, "{report}");
    for figure in ["operations_per_second", "cpu_us_per_put", "p50_us"] {
        assert!(point[figure].as_f64() > Some(0.0), "{report}");
    }
    let svg = fs::read_to_string(out_dir.path().join("growth-sites.svg")).expect("it is drawn");
    assert!(svg.contains("puts/s") && svg.contains("us per put"), "{svg}");
    assert!(left(dir.path()).is_empty(), "{:?}", left(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_interrupts_it_finds_nothing_left() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let binary = relay::binary().display().to_string();
    let args = ["--peers", "landbridge", "--landbridge", &binary, "--seconds", "600", "--workloads", "put-64"];
    let child = compare(dir.path(), &args).spawn().expect("python3 is installed");
    // Two relays and the load.
    until_true("a load runs", || processes(dir.path()) >= 3).await;
    let pid = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "SIGINT can't be sent");
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it can be waited for");
    let (code, out, err) = texts(output);
    assert_eq!(code, Some(130), "{out}{err}");
    assert_eq!(processes(dir.path()), 0, "{out}{err}");
    assert!(left(dir.path()).is_empty(), "{:?}", left(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_had_and_what_there_is_not_are_told() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    for (args, code, word) in [
        (&["--help"][..], 0, "exit status"),
        (&["--peers", "landbridge", "--landbridge", "nowhere"], 3, "landbridge is skipped"),
        (&["--peers", "oracle"], 2, "oracle"),
        (&["--workloads", "put-0"], 2, "put-0"),
        (&["--rounds", "0"], 2, "--rounds"),
        (&["--dir", "nowhere"], 2, "nowhere"),
    ] {
        let (ended, out, err) = ends(compare(dir.path(), args)).await;
        assert_eq!(ended, Some(code), "{args:?}: {out}{err}");
        assert!((out + &err).contains(word), "{args:?}: {err}");
    }
    for (args, code, word) in [
        (&["--help"][..], 0, "exit status"),
        (&["--landbridge", "nowhere"], 1, "landbridge can't be had"),
        (&["--curves", "oracle"], 2, "oracle"),
        (&["--out", "nowhere"], 2, "nowhere"),
    ] {
        let (ended, out, err) = ends(program("growth", dir.path(), args)).await;
        assert_eq!(ended, Some(code), "{args:?}: {out}{err}");
        assert!((out + &err).contains(word), "{args:?}: {err}");
    }
    assert!(left(dir.path()).is_empty(), "{:?}", left(dir.path()));
}
