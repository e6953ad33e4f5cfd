//! A new configuration while the relay runs.
//!
//! ```text
//!  file ─ check ─► changes ─ none needs a restart ─► fits what is held ─► certificates ─► writer ─► sessions, door, links
//!                    │                                  │                     │            │
//!                    └──── refused whole: the old one stays as it was ──────┴────────────┘
//! ```
//!
//! Everything that may refuse comes before the first change; the writer, who decides last, refuses or takes over between
//! two groups.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::admin::Reloaded,
};
use tokio::sync::{Mutex, watch};

use super::{
    renewal::{Prepared, Renewal},
    settings,
};
use crate::{
    certs::Wanted,
    clock::Clock,
    config::{Change, Changes, Checked, RelayConfig, changes, check_anew},
    engine::command::Command,
    link::{Links, LinksChange},
    metrics::Metrics,
    session::Terms,
    store::Store,
};

/// What goes by the configuration, and what is needed to change it.
pub(super) struct Reloading {
    /// The file that the relay was started with, where it was with one.
    pub(super) file: Option<PathBuf>,
    /// The configuration that holds.
    pub(super) config: watch::Sender<Arc<RelayConfig>>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) terms: watch::Sender<Arc<Terms>>,
    pub(super) renewal: Arc<Renewal>,
    pub(super) links: Links,
    /// Held by the one that is under way.
    pub(super) turn: Mutex<()>,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reloading({:?})", self.file)
    }
}

impl Reloading {
    /// Reads the file, else the one that the relay was started with, and takes over what it changes: all of it, or nothing.
    pub(super) async fn reload(&self, file: Option<PathBuf>) -> Result<Reloaded, Refusal> {
        let _turn = self.turn.lock().await;
        let nowhere = || refused("the relay was started without a file: name one with --config");
        let file = file.or_else(|| self.file.clone()).ok_or_else(nowhere)?;
        let reloaded = self.take_over(&file).await.inspect_err(|refusal| {
            tracing::warn!(file = %file.display(), "the configuration is refused, and the old one stays: {refusal}");
        })?;
        for change in &reloaded.changes {
            tracing::info!("configured anew: {change}");
        }
        if reloaded.changes.is_empty() {
            tracing::info!(file = %file.display(), "the configuration was read anew, and changes nothing");
        }
        reloaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(reloaded)
    }

    async fn take_over(&self, file: &Path) -> Result<Reloaded, Refusal> {
        let Checked { config: new, warnings, .. } = self.read(file).await?;
        let old = self.config.borrow().clone();
        let found = changes(&old, &new);
        self.refuse(&found, &new)?;
        // Also where the configuration is the same: what its files hold may not be.
        let certificates = self.renewal.read(Wanted::of(&new)).await;
        let certificates = certificates.map_err(|error| refused(&told(vec![error.with_cause()])))?;
        let mut changes: Vec<String> = found.live.iter().map(Change::to_string).collect();
        changes.extend(certificates.changed().iter().map(|path| format!("{}: read anew", path.display())));
        let closed = if found.is_empty() {
            certificates.put_in_force().await
        } else {
            self.carry_out(new, certificates).await?
        };
        changes.extend(
            (closed > 0).then(|| format!("connections closed, as their certificates are not good any more: {closed}")),
        );
        Ok(Reloaded { file: file.display().to_string(), changes, warnings })
    }

    async fn read(&self, file: &Path) -> Result<Checked, Refusal> {
        let (path, now) = (file.to_path_buf(), self.clock.now());
        let read = self.renewal.workers.apart(move || check_anew(&path, now)).await;
        let checked = read.map_err(|error| Refusal::new(ErrorCode::Internal, error.to_string()))?;
        checked.map_err(|error| refused(&told(error.problems())))
    }

    fn refuse(&self, found: &Changes, new: &RelayConfig) -> Result<(), Refusal> {
        let restart = found.restart.iter().map(|change| format!("{change}: it needs a restart of the relay"));
        let unfit = self.store.view(|replica| replica.unfit(&settings::replica(new)));
        let all: Vec<String> = restart.chain(unfit.iter().map(ToString::to_string)).collect();
        if all.is_empty() { Ok(()) } else { Err(refused(&told(all))) }
    }

    /// The writer first: it may still refuse, and nobody is let in before the store knows of it.
    async fn carry_out(&self, new: RelayConfig, certificates: Prepared<'_>) -> Result<usize, Refusal> {
        let generation = || self.store.view(|replica| replica.generation());
        let before = generation();
        self.store.submit(Command::Reconfigure(Box::new(settings::replica(&new)))).await?;
        self.terms.send_replace(Arc::new(Terms::new(&new.caches, new.limits.clone(), &self.metrics)));
        let closed = certificates.put_in_force().await;
        self.links.reconfigure(LinksChange {
            peers: settings::peers(&new),
            sender: settings::sender(&new),
            connect_timeout: new.replication.connect_timeout.into(),
            anew: generation() != before,
        });
        self.config.send_replace(Arc::new(new));
        Ok(closed)
    }
}

fn refused(text: &str) -> Refusal {
    Refusal::new(ErrorCode::BadArgument, text)
}

fn told(problems: Vec<String>) -> String {
    let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("the new configuration can't be taken over, and the old one stays:{lines}")
}
