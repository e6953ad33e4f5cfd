//! Why a store doesn't open.

use std::{io, path::PathBuf};

use super::log::LogError;

/// Why a store doesn't open. Each message names the file or directory, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory can't be made or written.
    #[error(
        "can't write the store's directory {}: {source}; give the relay's user the right to write there, or set another `store.dir`",
        dir.display()
    )]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the store {} is in use by another process (pid {pid}); stop that relay first, or set another `store.dir`",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says of its holder.
        pid: String,
    },
    /// A newer Landbridge wrote it.
    #[error(
        "the store {} has format {found}, and this landbridge knows formats up to {known}; start the version that wrote it, or a newer one",
        dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// What is there can't be trusted.
    #[error(
        "{file} is damaged: {problem}; nothing was changed. Restore the directory from a copy, or start with `--recover`: \
         that sets the damaged files aside and fetches everything from the peers"
    )]
    Damaged {
        /// The file, or the place in it.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could be neither read nor written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The log failed in another way.
    #[error("the store in {place} can't be read: {source}")]
    Log {
        /// Where the log lies.
        place: String,
        /// Why.
        source: LogError,
    },
    /// The writer's thread could not be started.
    #[error("the writer's thread can't be started: {0}")]
    Thread(#[source] io::Error),
}
