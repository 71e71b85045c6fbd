//! What is wrong with a configuration, and where.

use core::fmt;
use std::path::PathBuf;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used, and a person should know.
    Warning,
}

impl Severity {
    /// The word shown to people and programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Whether it stops the daemon.
    pub severity: Severity,
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path of the key, such as `line[0].dispenser[1].address`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right; empty where `what` says it.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: ", self.line, self.column, self.severity.word())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; check the path and that the daemon's user may read it", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was read and is wrong: every problem, in the order of the file.
    #[error("{}", list(path, problems))]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Errors and warnings.
        problems: Vec<Problem>,
    },
}

fn list(path: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
    lines.join("\n")
}
