//! What can be wrong with a configuration, told all at once and by line.

use std::{fmt, io, path::PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line of the file, from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong and what to do, in one sentence.
    pub text: String,
}

impl Problem {
    /// A problem that no single line is to blame for.
    pub fn general(text: impl Into<String>) -> Self {
        Self { line: None, text: text.into() }
    }

    /// A problem of this line.
    pub fn at(line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read, and is wrong.
    #[error("the configuration {} is not usable:{}", path.display(), listed(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it, by line; at least one.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// The problems, one by one, as sentences.
    pub fn problems(&self) -> Vec<String> {
        match self {
            ConfigError::Read { source, .. } => vec![format!("{self}: {source}")],
            ConfigError::Invalid { problems, .. } => problems.iter().map(Problem::to_string).collect(),
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
