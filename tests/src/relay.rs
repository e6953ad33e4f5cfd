//! A relay as a process of its own, so that it can be killed.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::patience::PATIENCE;

/// The relay's binary: built beside this test's. `CARGO_BIN_EXE_*` exists only for binaries of the same package, so
/// `landbridge-relay-under-test` is a thin one of this package that calls the relay library's own `main`.
pub fn binary() -> PathBuf {
    let mut dir = std::env::current_exe().expect("a running test has a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir.join(format!("landbridge-relay-under-test{}", std::env::consts::EXE_SUFFIX))
}

/// A relay's process. Dropping it kills it.
#[derive(Debug)]
pub struct RelayProcess {
    child: Child,
    log: PathBuf,
}

impl RelayProcess {
    /// Starts `run --config` and waits for nothing.
    ///
    /// # Panics
    /// When the process can't be started.
    pub fn spawn(config: &Path, extra: &[&str]) -> Self {
        Self::spawn_as(&binary(), config, extra)
    }

    /// As [`RelayProcess::spawn`], of another binary.
    ///
    /// # Panics
    /// When the process can't be started.
    pub fn spawn_as(binary: &Path, config: &Path, extra: &[&str]) -> Self {
        Self::spawn_command(Command::new(binary), config, extra)
    }

    /// As [`RelayProcess::spawn`], by a program that becomes what its last arguments say.
    ///
    /// # Panics
    /// When the process can't be started.
    pub fn spawn_within(program: &str, args: &[String], config: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(args).arg(binary());
        Self::spawn_command(command, config, &[])
    }

    fn spawn_command(mut command: Command, config: &Path, extra: &[&str]) -> Self {
        let log = config.with_extension("log");
        let errors = OpenOptions::new().create(true).append(true).open(&log).expect("the test's directory is writable");
        let child = command
            .arg("run")
            .arg("--config")
            .arg(config)
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} can't be started: {e}; `cargo test --workspace` builds it"));
        Self { child, log }
    }

    /// Waits until it has printed `ready`.
    ///
    /// # Panics
    /// When it ends before, or takes longer than [`PATIENCE`].
    pub async fn ready(&mut self) {
        let ended = self.ready_or_ended().await;
        assert_eq!(ended, Ok(()), "the relay did not become ready; its log:\n{}", self.log());
    }

    /// Waits until it has printed `ready`, or has ended without: then how.
    ///
    /// # Panics
    /// When it takes longer than [`PATIENCE`].
    pub async fn ready_or_ended(&mut self) -> Result<(), ExitStatus> {
        let stdout = self.child.stdout.take().expect("taken once, at the start");
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.trim() == "ready" {
                    return Ok(());
                }
            }
            Err(self.child.wait().await.expect("a child of ours can be waited for"))
        };
        let ready = timeout(PATIENCE, ready).await;
        let ready = ready.unwrap_or_else(|_| panic!("the relay does not become ready; its log:\n{}", self.log()));
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        ready
    }

    /// What it has written on stderr so far, in all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Bytes of it that are in memory.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes(&self) -> u64 {
        let pid = self.pid().expect("a relay that runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the kernel tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what is resident is told");
        let kilobytes = line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
        kilobytes.expect("kilobytes") * 1024
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it can't be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child of ours can be killed");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it takes longer than [`PATIENCE`].
    pub async fn end(mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the relay does not end").expect("a child of ours can be waited for")
    }

    /// SIGTERM, and its end.
    pub async fn stop(self) -> ExitStatus {
        self.signal("TERM").await;
        self.end().await
    }

    /// Sends a signal, by its name without SIG.
    ///
    /// # Panics
    /// When it can't be sent.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().await;
        assert!(sent.is_ok_and(|s| s.success()), "SIG{name} can't be sent");
    }
}
