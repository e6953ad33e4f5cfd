//! A relay that a command starts for itself: a process of this same binary, started, killed and stopped.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a relay may take until it says `ready`; two fresh ones fill each other, so each waits for the other.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a process that was killed may take until it is gone, with its ports.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a relay may take to drain.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A running relay process. Dropping it kills the process, and waits until it is gone.
#[derive(Debug)]
pub(super) struct RelayProcess {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("cannot start a relay: {0}")]
    Spawn(#[source] io::Error),
    #[error("the relay of {config} did not become ready; the end of its log {log}:\n{tail}")]
    NotReady { config: String, log: String, tail: String },
    #[error("cannot signal a relay: {0}")]
    Signal(#[source] io::Error),
    #[error("the relay of {0} did not stop in time and was killed")]
    Stuck(String),
    #[error("the relay of {config} ended with {status} when asked to stop")]
    BadEnd { config: String, status: std::process::ExitStatus },
}

impl RelayProcess {
    /// Starts a relay; it may not be ready yet.
    pub(super) fn spawn(config: PathBuf, log: PathBuf) -> Result<Self, RelayError> {
        let errors = OpenOptions::new().create(true).append(true).open(&log).map_err(RelayError::Spawn)?;
        let child = Command::new(std::env::current_exe().map_err(RelayError::Spawn)?)
            .arg("run")
            .arg("--config")
            .arg(&config)
            // the other end of this pipe is closed with this process, also by `kill -9`: no relay outlives it
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            // Ctrl-C on the terminal is for the command, which then stops its relays in order
            .process_group(0)
            .spawn()
            .map_err(RelayError::Spawn)?;
        Ok(Self { child, config, log })
    }

    /// Waits until the relay has printed `ready`.
    pub(super) async fn ready(&mut self) -> Result<(), RelayError> {
        let stdout = self.child.stdout.take().expect("taken once, at the start");
        let mut lines = BufReader::new(stdout).lines();
        let waiting = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.trim() == "ready" {
                    return true;
                }
            }
            false
        };
        if timeout(START_PATIENCE, waiting).await == Ok(true) {
            // nothing more is expected there, but a full pipe must not hold the relay
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(());
        }
        Err(RelayError::NotReady {
            config: self.config.display().to_string(),
            log: self.log.display().to_string(),
            tail: tail(&self.log),
        })
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// `kill -9`, and waits until the process is gone.
    pub(super) async fn kill(mut self) -> Result<(), RelayError> {
        self.child.kill().await.map_err(RelayError::Signal)
    }

    /// Asks the relay to drain and end, as SIGTERM does.
    pub(super) async fn stop(mut self) -> Result<(), RelayError> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM).map_err(|e| RelayError::Signal(e.into()))?;
        }
        let config = self.config.display().to_string();
        match timeout(STOP_PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(RelayError::BadEnd { config, status }),
            Ok(Err(e)) => Err(RelayError::Signal(e)),
            Err(_) => Err(RelayError::Stuck(config)),
        }
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // Who is told that a command has ended starts the next, at the same ports.
        if self.child.start_kill().is_err() {
            return; // it has ended, and was waited for
        }
        let until = Instant::now() + KILL_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = File::open(log).and_then(io::read_to_string).unwrap_or_else(|e| format!("(cannot be read: {e})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
