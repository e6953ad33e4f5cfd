//! The demo as a process: whoever runs it finds nothing left behind, and nothing of another demo's gone.

use std::{path::Path, process::Stdio, time::Duration};

use landbridge_tests::{
    patience::{PATIENCE, until_true},
    ports, relay,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(dir: &Path) -> Self {
        let mut child = demo(dir).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("it was just made");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The process ids of both relays, as it prints them.
    async fn relays(&mut self) -> [String; 2] {
        let mut found = Vec::new();
        while found.len() < 2 {
            let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the demo is silent");
            let line = line.expect("what it prints is text").expect("the demo goes on");
            if let Some((_, rest)) = line.split_once(", process ") {
                found.push(rest.split(',').next().expect("split gives one at least").to_owned());
            }
        }
        found.try_into().expect("two were found")
    }
}

fn demo(dir: &Path) -> Command {
    let mut command = Command::new(relay::binary());
    command.args(["demo", "--base-port", &ports::free_for_a_demo(3).to_string(), "--dir"]).arg(dir);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn runs(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("exe").exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_is_killed_leaves_no_relay_behind() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let mut demo = Demo::start(&dir.path().join("demo"));
    let relays = demo.relays().await;
    assert!(relays.iter().all(|pid| runs(pid)), "both relays run: {relays:?}");
    demo.child.kill().await.expect("a child of ours can be killed");
    until_true("the end of both relays", || !relays.iter().any(|pid| runs(pid))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_demo_leaves_a_running_one_its_directory() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let dir = dir.path().join("demo");
    let mut first = Demo::start(&dir);
    first.relays().await;
    let second = timeout(Duration::from_secs(60), demo(&dir).arg("--once").output()).await;
    let second = second.expect("the second demo does not end").expect("the binary runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("a demo that runs"), "{said}");
    assert!(dir.join("site1.store").join("FORMAT").exists(), "the first one's store is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_sites_the_story_has_a_link_cut_and_is_verified() {
    let dir = TempDir::with_prefix("landbridge-").expect("a temporary directory");
    let told = demo(&dir.path().join("demo")).args(["--sites", "3", "--once"]).output();
    let told = timeout(4 * PATIENCE, told).await.expect("the demo does not end").expect("the binary runs");
    let story = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{story}\n{}", String::from_utf8_lossy(&told.stderr));
    for line in ["7. Only the link between site1 and site2 is cut", "the link stayed cut", "All steps verified"] {
        assert!(story.contains(line), "{line:?} is missing of\n{story}");
    }
}
