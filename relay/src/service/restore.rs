//! `landbridge restore`: a store is made of a backup, for a relay that does not run.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use landbridge_protocol::position::Sequence;

use crate::{
    config::{ConfigError, RelayConfig},
    store::{self, RestoreError},
};

/// The file of a backup in its directory.
pub const BACKUP_FILE: &str = "landbridge.backup";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailed {
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no backup, or it can't be read.
    #[error("{}: {source}; `--dir` is a directory that `landbridge backup` has filled", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The store can't be made of it.
    #[error(transparent)]
    Store(#[from] RestoreError),
}

/// Makes the store that a configuration names of the backup in `from`. Gives its directory, and through which sequence it
/// goes; tells that now and then meanwhile.
pub fn restore(config: &Path, from: &Path, mut tell: impl FnMut(u64)) -> Result<(PathBuf, u64), RestoreFailed> {
    let config = RelayConfig::load(config)?;
    let path = from.join(BACKUP_FILE);
    let file = File::open(&path).map_err(|source| RestoreFailed::Open { path, source })?;
    let dir = config.store.dir;
    let through = store::restore(&mut BufReader::new(file), config.site, &dir, |at: Sequence| tell(at.get()))?;
    Ok((dir, through.get()))
}
