//! The signals that ask a command to end.

use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};

/// Waits for Ctrl-C, SIGTERM, or the terminal's end.
pub(super) async fn asked_to_end() -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot wait for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed)?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
