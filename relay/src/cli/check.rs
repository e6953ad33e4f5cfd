//! `landbridge check`: everything that is wrong with a configuration, at once.

use std::path::Path;

use super::{Exit, Failure, output::say};
use crate::{
    clock::{Clock, SystemClock},
    config,
};

/// Prints what is wrong, or that nothing is.
pub(super) fn check(path: &Path) -> Result<Exit, Failure> {
    match config::check(path, SystemClock.now()) {
        Ok(checked) => {
            for warning in checked.warnings {
                say!("note: {warning}");
            }
            say!("store {}: {}", checked.config.store.dir.display(), checked.store);
            say!("{} is good: the relay of {} would start", path.display(), checked.config.site);
            Ok(Exit::Done)
        }
        Err(error) => Err(Failure::because(Exit::Failed, &error)),
    }
}
