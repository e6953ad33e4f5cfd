//! A directory in use, one that can't be written, a damaged file: each gets a clear error, and loses nothing.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use bytes::Bytes;
use landbridge_tests::{
    faults::mount::SmallDisk, load::contents, patience::until, relay::RelayProcess, sites::TwoSites,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_directory_is_refused_by_name() {
    let sites = TwoSites::start().await;
    // the same directory, other ports
    let text = fs::read_to_string(sites.config(0)).unwrap();
    let other = sites.config(0).with_file_name("second.relay.toml");
    let port = landbridge_tests::ports::free();
    fs::write(&other, text.replace(&sites.port(0).to_string(), &port.to_string())).unwrap();
    let second = RelayProcess::spawn(&other, &[]);
    let log = other.with_extension("log");
    assert!(!second.end().await.success());
    let said = fs::read_to_string(log).unwrap();
    assert!(said.contains("site1.store"), "the error names the directory: {said}");
    let one = sites.node(0, "node11").await;
    one.raw("sessions").unwrap().put("k", Bytes::from_static(b"the first goes on")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_no_directory_is_refused_by_name() {
    let sites = TwoSites::prepare("");
    fs::write(sites.store(0), "a file where the directory should be").unwrap();
    let relay = RelayProcess::spawn(&sites.config(0), &[]);
    let log = sites.config(0).with_extension("log");
    assert!(!relay.end().await.success());
    let said = fs::read_to_string(log).unwrap();
    assert!(said.contains("site1.store"), "the error names the directory: {said}");
    assert_eq!(fs::read_to_string(sites.store(0)).unwrap(), "a file where the directory should be");
}

/// Needs the right to mount a small file system: the rights of a directory bind everybody but root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_can_only_be_read_is_refused_by_name_and_left_as_it_is() {
    let mut sites = TwoSites::prepare("");
    let Some(disk) = SmallDisk::at(&sites.store(0), 64) else {
        eprintln!("not tested: this process may not mount a small file system");
        return;
    };
    let config = fs::read_to_string(sites.config(0)).unwrap();
    fs::write(sites.config(0), config.replacen("[store]\n", "[store]\nmin_free_bytes = \"1MiB\"\n", 1)).unwrap();
    sites.start_all().await;
    let one = sites.node(0, "node11").await;
    one.raw("sessions").unwrap().put("k", Bytes::from_static(b"v")).await.unwrap();
    let before = contents(&one, "sessions").await;
    // Alone, so that nobody fills it.
    sites.kill(1).await;
    assert!(sites.take(0).stop().await.success());
    disk.set_read_only(true);
    for extra in [&[][..], &["--recover"]] {
        let relay = RelayProcess::spawn(&sites.config(0), extra);
        assert!(!relay.end().await.success());
        let log = sites.log(0);
        let said = log.lines().last().unwrap();
        assert!(said.contains("site1.store") && said.contains("Read-only"), "the error names the directory: {said}");
    }
    disk.set_read_only(false);
    sites.spawn(0);
    sites.ready(0).await;
    assert_eq!(contents(&one, "sessions").await, before);
    drop((one, sites));
    drop(disk);
}

/// Puts entries, kills the relay, starts it anew with other settings of the store, and reads what was acknowledged.
async fn killed_and_read_again(before: &str, after: &str) -> String {
    let mut sites = TwoSites::prepare("");
    let configure = |sites: &TwoSites, settings: &str| {
        sites.configure(0, "");
        let config = fs::read_to_string(sites.config(0)).unwrap();
        fs::write(sites.config(0), config.replacen("[store]\n", &format!("[store]\n{settings}\n"), 1)).unwrap();
    };
    configure(&sites, before);
    sites.start_all().await;
    let one = sites.node(0, "node11").await;
    for n in 0..100 {
        one.raw("sessions").unwrap().put(format!("k{n:03}").as_str(), Bytes::from_static(b"v")).await.unwrap();
    }
    let acknowledged = contents(&one, "sessions").await;
    // Alone, so that nobody fills it.
    sites.kill(1).await;
    sites.kill(0).await;
    configure(&sites, after);
    sites.spawn(0);
    sites.ready(0).await;
    assert_eq!(contents(&one, "sessions").await, acknowledged);
    sites.log(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fsync_what_was_acknowledged_survives_a_kill() {
    killed_and_read_again("fsync = false", "fsync = false").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_what_it_saw_of_the_store_and_fails_where_a_start_would() {
    let mut sites = TwoSites::start().await;
    sites.done(0, &["put", "sessions", "k", "v"]).await;
    let config = sites.config(0).display().to_string();
    let check = ["check", "--config", &config];
    let (_, _, err) = sites.command(0, &check).await;
    assert!(err.contains("is in use") && !err.contains("damaged"), "a store in use is let be: {err}");
    sites.kill(0).await;
    let (code, out, err) = sites.command(0, &check).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("site1.store: format 2") && out.contains("in the journal"), "{out}");
    for number in [0, 1] {
        fs::write(sites.store(0).join(format!("log/journal.{number}")), vec![0x55; 64 * 1024]).unwrap();
    }
    let (code, out, err) = sites.command(0, &check).await;
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("journal.0 is damaged") && err.contains("--recover"), "{err}");
    let relay = RelayProcess::spawn(&sites.config(0), &[]);
    assert!(!relay.end().await.success(), "nor does it start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_start_says_how_far_it_is() {
    let log = killed_and_read_again("", "progress_every = \"0s\"").await;
    assert!(log.contains("reading the log: 100 records"), "{log}");
}

/// The largest file below a directory: where the log's bytes are.
fn largest(dir: &Path) -> std::path::PathBuf {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                todo.push(entry.path())
            } else {
                found.push((entry.metadata().unwrap().len(), entry.path()))
            }
        }
    }
    found.into_iter().max().unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_refused_and_recovered_from_the_peer() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    for n in 0..2000 {
        let value = Bytes::from(vec![b'a' + (n % 26) as u8; 200]);
        one.raw("sessions").unwrap().put(format!("k{n:04}").as_str(), value).await.unwrap();
    }
    until("site2 to have all", async || (contents(&two, "sessions").await.len() == 2000).then_some(())).await;
    let before = contents(&two, "sessions").await;
    assert!(sites.take(0).stop().await.success());

    let damaged = largest(&sites.store(0));
    let mut file = fs::OpenOptions::new().read(true).write(true).open(&damaged).unwrap();
    let middle = file.metadata().unwrap().len() / 3;
    let mut bytes = vec![0; 4096];
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    bytes.iter_mut().for_each(|b| *b ^= 0x55);
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&bytes).unwrap();
    drop(file);

    // either the damage hit nothing that is read, or the start is refused and says the way out; never wrong data
    let relay = RelayProcess::spawn(&sites.config(0), &[]);
    let log = sites.config(0).with_extension("log");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), relay.end()).await;
    if let Ok(status) = ended {
        assert!(!status.success());
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("--recover") && said.contains("site1.store"), "the error says the way out: {said}");
        let mut relay = RelayProcess::spawn(&sites.config(0), &["--recover"]);
        relay.ready().await;
        assert_eq!(contents(&one, "sessions").await, before);
        drop(relay);
    }
}
