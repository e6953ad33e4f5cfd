//! A cache as JSON lines: what one relay exports, another imports, bytes, deadlines and all.

use std::process::Stdio;

use bytes::Bytes;
use landbridge_client::Key;
use landbridge_tests::{patience::PATIENCE, relay, sites::TwoSites};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// Runs `import` at a site with these lines as its standard input; gives its exit status and what it printed.
async fn import(sites: &TwoSites, at: usize, lines: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut child = tokio::process::Command::new(relay::binary())
        .args([&["import", "work", "--json"], more].concat())
        .env("LANDBRIDGE_PROFILE", sites.profile(at, "operator"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).await.expect("it reads to the end");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the command does not end").expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_is_imported_with_bytes_and_deadlines() {
    let sites = TwoSites::start().await;
    let node = sites.node(0, "node11").await;
    let cache = node.raw("work").unwrap();
    let binary = Key::new(vec![0xff, b'\n', 0]).unwrap();
    cache.put(&binary, Bytes::from_static(&[0xfe, 0, 1])).await.unwrap();
    for number in 0..300 {
        cache.put(&format!("k{number}"), Bytes::from(format!("v{number}"))).await.unwrap();
    }
    let hour = std::time::Duration::from_secs(3600);
    cache.clone().with_lifespan(hour).put("mortal", Bytes::from_static(b"v")).await.unwrap();
    let (code, exported, err) = sites.command(0, &["export", "work"]).await;
    assert_eq!((code, exported.lines().count()), (Some(0), 302), "{err}");
    let of = |text: &str, key: &str| -> Value {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object a line"));
        lines.find(|line| line["key"] == key).expect("the entry")
    };
    let deadline = of(&exported, "mortal")["deadline_ms"].as_u64().expect("a deadline");
    assert_eq!(sites.command(0, &["clear", "work"]).await.0, Some(0));
    assert_eq!(cache.size().await.unwrap(), 0);
    cache.put("k1", Bytes::from_static(b"newer")).await.unwrap();

    let gone = r#"{"key": "gone", "value": "v", "deadline_ms": 1}"#;
    let lines = format!("{exported}{gone}\n");
    let (code, out, err) = import(&sites, 0, &lines, &["--if-absent"]).await;
    assert_eq!(code, Some(0), "{err}");
    let counts: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&counts["written"], &counts["present"], &counts["expired"]), (&301.into(), &1.into(), &1.into()));
    assert_eq!(cache.get(&binary).await.unwrap().unwrap()[..], [0xfe, 0, 1]);
    assert_eq!(cache.get("k1").await.unwrap().unwrap(), "newer");
    assert!(!cache.contains("gone").await.unwrap());
    let (_, again, _) = sites.command(0, &["export", "work"]).await;
    // It runs from when the entry is decided, a moment after the command looked at the clock.
    let moved = of(&again, "mortal")["deadline_ms"].as_u64().expect("a deadline").abs_diff(deadline);
    assert!(moved < PATIENCE.as_millis() as u64, "the deadline moved by {moved} ms");

    let twice = "{\"key\": \"k1\", \"value\": \"first\"}\n{\"key\": \"k1\", \"value\": \"last\"}\nno entry\n";
    let (code, _, err) = import(&sites, 0, twice, &[]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("line 3"), "{err}");
    assert_eq!(cache.get("k1").await.unwrap().unwrap(), "last", "what is before the bad line was imported, in order");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_can_not_be_written_fails() {
    let sites = TwoSites::start().await;
    sites.done(0, &["put", "work", "k", "v"]).await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = tokio::process::Command::new(relay::binary())
        .args(["export", "work"])
        .env("LANDBRIDGE_PROFILE", sites.profile(0, "operator"))
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs")
        .wait_with_output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("its end is known");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output"), "{said}");
}
