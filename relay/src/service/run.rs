//! `landbridge run`: a relay as a process.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{LocalAddrs, Service, ServiceOptions, StartError};
use crate::{
    config::{ConfigError, RelayConfig},
    metrics::Metrics,
};

/// The environment's variable that says what is logged, such as `debug` or `landbridge_relay::link=trace`.
const LOG_VARIABLE: &str = "LANDBRIDGE_LOG";

/// Why `run` ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The relay does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process lacks what it needs: threads, signals, a standard output.
    #[error("the relay can't run as a process: {0}")]
    Process(#[from] io::Error),
}

/// What the command line says about a run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Set a damaged log aside and start without it.
    pub recover: bool,
    /// End in order also when standard input ends: with the process that holds its other end, however that ends.
    pub until_stdin_ends: bool,
}

/// Runs a relay until SIGTERM or Ctrl-C, then drains it. Where it listens is printed on standard output, and `ready` on a
/// line of its own once it serves; the log goes to standard error.
pub fn run(config: &Path, options: RunOptions) -> Result<(), RunError> {
    log_to_stderr();
    let loaded = RelayConfig::load(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(serve(config, loaded, options));
    // What still runs was cut off by the drain's deadline: nothing waits for it.
    runtime.shutdown_background();
    ran
}

async fn serve(file: &Path, config: RelayConfig, run: RunOptions) -> Result<(), RunError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // From the beginning: without a handler it would end the process.
    let mut hangup = signal(SignalKind::hangup())?;
    let site = config.site;
    let options =
        ServiceOptions { file: Some(file.to_path_buf()), recover: run.recover, ..ServiceOptions::new(Metrics::new()) };
    let service = tokio::select! {
        biased;
        // Nobody has been served, and the store begins where it ended.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
        service = Service::start(config, options) => service?,
    };
    let LocalAddrs { nodes, peers, admins, http } = service.local_addrs();
    print(&format!(
        "relay of {site} listens\n  nodes  {nodes}\n  peers  {peers}\n  admins {admins}\n  http   http://{http}/\n"
    ))?;
    let ready = async {
        service.ready().await;
        print("ready\n")?;
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => tracing::info!("SIGTERM: drains"),
        _ = interrupt.recv() => tracing::info!("Ctrl-C: drains"),
        () = stdin_ends(run.until_stdin_ends) => tracing::info!("standard input has ended: drains"),
        failed = ready => failed?,
        () = reload_on(&mut hangup, &service) => {}
    }
    let drain_timeout = service.config().limits.drain_timeout;
    let in_order = service.shutdown(drain_timeout.into()).await;
    tracing::info!(in_order, "ended");
    Ok(())
}

/// Reads the configuration anew at each SIGHUP. What comes of it is in the log.
async fn reload_on(hangup: &mut Signal, service: &Service) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: reads the configuration anew");
        if let Err(refusal) = service.reload().await {
            tracing::debug!(%refusal, "SIGHUP changed nothing");
        }
    }
}

/// Waits until standard input ends, or for ever where nobody asked for that. What is read is thrown away.
async fn stdin_ends(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let reading = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
    if let Ok(Err(error)) = reading.await {
        tracing::debug!(%error, "standard input can't be read");
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let made = log.with_ansi(io::stderr().is_terminal()).try_init();
    if made.is_err() {
        tracing::debug!("a log was there already");
    }
}
