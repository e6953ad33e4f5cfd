//! The binary's commands: what they print, and their exit status.

use landbridge_tests::{patience::until, sites::TwoSites};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_by_command_line() {
    let sites = TwoSites::start().await;
    let run = async |at: usize, args: &[&str]| sites.command(at, args).await;
    let (code, out, err) = run(0, &["put", "sessions", "alice", "hello", "--lifespan", "10m"]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("@site1/"), "put prints the version: {out}");
    let got = until("the entry at site2", async || {
        let got = run(1, &["get", "sessions", "alice"]).await;
        (got.0 == Some(0)).then_some(got)
    })
    .await;
    assert_eq!(got.1, "hello", "get prints the value's bytes and nothing else");
    assert_eq!(run(1, &["size", "sessions"]).await.1, "1\n");
    assert_eq!(run(1, &["ls", "sessions", "--prefix", "al"]).await.1, "alice\n");
    assert_eq!(run(1, &["put", "sessions", "alice", "x", "--if-absent"]).await.0, Some(1));
    assert_eq!(run(1, &["remove", "sessions", "alice"]).await.0, Some(0));
    let (code, out, err) = run(1, &["get", "sessions", "alice"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("no entry"), "{err}");
    run(1, &["put", "sessions", "a", "1"]).await;
    assert_eq!(run(1, &["clear", "sessions"]).await.0, Some(0));
    until("the clear at site1", async || (run(0, &["size", "sessions"]).await.1 == "0\n").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_as_json_has_what_programs_ask_for() {
    let sites = TwoSites::start().await;
    let status = until("links that stream", async || {
        let status = sites.status(0).await;
        (status["links"][0]["state"] == "streaming").then_some(status)
    })
    .await;
    for member in ["site", "origin", "ready", "head", "sessions", "links", "caches"] {
        assert!(!status[member].is_null(), "{member} is missing: {status}");
    }
    for member in ["peer", "state", "lag_changes", "lag_seconds"] {
        assert!(!status["links"][0][member].is_null(), "{member} of a link is missing: {status}");
    }
    let caches: Vec<&str> = status["caches"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(caches, ["actionTokens", "loginFailures", "offlineSessions", "sessions", "work"]);
    for member in ["name", "entries", "tombstones", "bytes"] {
        assert!(!status["caches"][0][member].is_null(), "{member} of a cache is missing: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_go_wrong_has_an_exit_status_and_a_sentence() {
    let mut sites = TwoSites::start_with(
        "[[caches]]\nname = \"sessions\"\n[[caches]]\nname = \"work\"\nmax_entry_bytes = \"1KiB\"",
    )
    .await;
    let (code, _, err) = sites.command(0, &["get", "no-such-cache", "k"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no-such-cache"), "{err}");
    let (code, out, err) = sites.command(0, &["conflicts", "--cache", "no-such-cache"]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("no-such-cache"), "{err}");
    let (code, _, err) = sites.command(0, &["get", "sessions", "k", "--profile", "/nowhere/p.toml"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("/nowhere/p.toml"), "{err}");
    let (code, _, err) = sites.command(0, &["put", "sessions", "k", "v", "--lifespan", "soon"]).await;
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = sites.command(0, &["take-offline", "site9"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("site9") && err.contains("there is site2"), "{err}");
    let node = sites.profile(0, "node11").display().to_string();
    let (code, _, err) = sites.command(0, &["status", "--profile", &node]).await;
    assert_eq!(code, Some(2), "the relay answered, and refused: {err}");
    assert!(err.contains("role of admin"), "{err}");
    let (code, _, err) = sites.command(0, &["put", "work", "k", &"v".repeat(100_000)]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("max_entry_bytes"), "{err}");
    sites.kill(0).await;
    let (code, _, err) = sites.command(0, &["get", "sessions", "k"]).await;
    assert_eq!(code, Some(3), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_drains_on_sigterm_and_exits_0() {
    let mut sites = TwoSites::start().await;
    assert!(sites.take(0).stop().await.success());
    let (code, _, err) = sites.command(1, &["status"]).await;
    assert_eq!(code, Some(0), "the other goes on: {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_text_is_whole_as_json_and_harmless_as_a_line() {
    let sites = TwoSites::start().await;
    let node = sites.node(0, "node11").await;
    let cache = node.raw("sessions").unwrap();
    let key = landbridge_client::Key::new(b"k\xff".to_vec()).unwrap();
    cache.put(&key, vec![0u8, 0xff].into()).await.unwrap();
    let (code, out, err) = sites.command(0, &["ls", "sessions", "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed["key_base64"], "a/8=");
    cache.put(&landbridge_client::Key::new(b"two\nlines\x1b[31m".to_vec()).unwrap(), vec![0xff].into()).await.unwrap();
    let (_, out, _) = sites.command(0, &["ls", "sessions", "--prefix", "two"]).await;
    assert_eq!(out, "two\\nlines\\u{1b}[31m\n");
    let (_, out, _) = sites.command(0, &["get", "sessions", "two\nlines\x1b[31m", "--json"]).await;
    let got: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(got["value_base64"], "/w==");
    node.close().await;
}
