//! `landbridge run`: the relay of one site.

use std::path::Path;

use super::{Exit, Failure};
use crate::service::{self, RunError, RunOptions};

/// Runs until SIGTERM or Ctrl-C, then drains.
pub(super) fn run(config: &Path, options: RunOptions) -> Result<Exit, Failure> {
    match service::run(config, options) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ RunError::Config(_)) => Err(Failure::because(Exit::Usage, &error)),
        Err(error) => Err(Failure::because(Exit::Failed, &error)),
    }
}
