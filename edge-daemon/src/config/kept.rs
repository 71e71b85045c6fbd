//! The configuration documents of the platform as kept in the data directory: the one in force and the one before.

use crate::config::{self, Config, ConfigFault, Disk, Problem, remote};
use forecourt::time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Its name in the data directory.
const FILE_NAME: &str = "config.json";
/// Starts that a new document may need until it has worked for a while; after these the one before comes back by itself.
const TRIES: u32 = 2;

/// One document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// The platform's.
    pub version: u64,
    /// Lower-case hex SHA-256 of its RFC 8785 form.
    pub hash: String,
    /// When it came.
    pub at: UtcTime,
    /// The configuration.
    pub document: Value,
}

impl Document {
    /// For the audit.
    #[must_use]
    pub fn name(&self) -> String {
        format!("version {} {}", self.version, self.hash)
    }
}

/// All that is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// In force; without one the station's own file alone.
    pub current: Option<Document>,
    /// The one before.
    pub previous: Option<Document>,
    /// The daemon has worked with it for a while.
    #[serde(default)]
    proven: bool,
    /// Starts with it so far.
    #[serde(default)]
    tries: u32,
}

impl Kept {
    /// Reads what is kept; nothing is an answer too.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn load(directory: &Path) -> std::io::Result<Self> {
        match std::fs::read(directory.join(FILE_NAME)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::other),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(why),
        }
    }

    /// Keeps it, whole or not at all, durable when this returns.
    ///
    /// # Errors
    /// Where it cannot be written; then the old one stands.
    pub fn save(&self, directory: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        replace(&directory.join(FILE_NAME), &bytes)
    }

    /// The name of what is in force, for the audit.
    #[must_use]
    pub fn name(&self) -> String {
        self.current.as_ref().map_or_else(|| "the station's own file".into(), Document::name)
    }

    /// With another document in force, and the last one that worked kept for a return.
    #[must_use]
    pub fn with(&self, document: Document) -> Self {
        let previous = if self.proven || self.current.is_none() { self.current.clone() } else { self.previous.clone() };
        Self { current: Some(document), previous, proven: false, tries: 0 }
    }

    /// With the one before in force again; `None` where there is no document.
    #[must_use]
    pub fn rolled_back(&self) -> Option<Self> {
        self.current.as_ref()?;
        Some(Self { current: self.previous.clone(), previous: None, proven: true, tries: 0 })
    }

    /// It works.
    #[must_use]
    pub fn proven(&self) -> Self {
        Self { proven: true, tries: 0, ..self.clone() }
    }

    /// Whether it has still to show that it works.
    #[must_use]
    pub const fn is_on_trial(&self) -> bool {
        self.current.is_some() && !self.proven
    }

    fn tried(&self) -> Self {
        Self { tries: self.tries + 1, ..self.clone() }
    }
}

/// Replaces a file whole: the old or the new one is there after a power cut, never a part.
///
/// # Errors
/// Where it cannot be done; then the old one stands.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// What a start found.
#[derive(Debug)]
pub struct Loaded {
    /// In force.
    pub config: Config,
    /// The station's own file.
    pub own: String,
    /// Where that is.
    pub path: PathBuf,
    /// Documents of the platform.
    pub kept: Kept,
    /// Documents that were given up in this start: which, and why.
    pub given_up: Vec<(Document, String)>,
}

/// Reads the station's own file and the platform's document over it. A document that does not fit any more, or with which the daemon
/// did not come up, gives way to the one before.
///
/// # Errors
/// [`ConfigFault`] where the station's own file cannot be used.
pub fn load(path: &Path) -> Result<(Loaded, Vec<Problem>), ConfigFault> {
    let (mut config, mut warnings) = config::load(path)?;
    let own = std::fs::read_to_string(path).map_err(|source| ConfigFault::Unreadable { path: path.into(), source })?;
    let directory = config.station.data_directory.clone();
    let unusable = |source| ConfigFault::Unreadable { path: directory.join(FILE_NAME), source };
    let mut kept = Kept::load(&directory).map_err(unusable)?;
    let mut given_up = Vec::new();
    if kept.is_on_trial() {
        kept = kept.tried();
        // Where it cannot be counted, it is tried for longer.
        let _uncounted = kept.save(&directory);
    }
    while let Some(document) = kept.current.clone() {
        let why = if kept.is_on_trial() && kept.tries > TRIES {
            format!("the daemon did not come up with it in {TRIES} starts")
        } else {
            match remote::compose(&own, &document.document, &Disk) {
                Ok((composed, more)) => {
                    config = composed;
                    warnings.extend(more);
                    break;
                }
                Err(problems) => {
                    let first = problems.first().map(|first| format!("{} {}", first.at, first.what));
                    first.unwrap_or_else(|| "it does not fit".into())
                }
            }
        };
        given_up.push((document, why));
        kept = kept.rolled_back().unwrap_or_default();
        kept.save(&directory).map_err(unusable)?;
    }
    Ok((Loaded { config, own, path: path.into(), kept, given_up }, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(version: u64) -> Document {
        Document { version, hash: "h".into(), at: UtcTime::from_unix_ms(0), document: json!({}) }
    }

    fn versions(kept: &Kept) -> (Option<u64>, Option<u64>) {
        let version = |document: &Option<Document>| document.as_ref().map(|document| document.version);
        (version(&kept.current), version(&kept.previous))
    }

    #[test]
    fn the_one_before_is_the_last_one_that_worked() {
        let kept = Kept::default().with(document(1));
        assert_eq!((versions(&kept), kept.is_on_trial()), ((Some(1), None), true));
        assert_eq!(versions(&kept.with(document(2))), (Some(2), None), "the first never worked");
        let kept = kept.proven().with(document(2));
        assert_eq!(versions(&kept), (Some(2), Some(1)));
        let back = kept.rolled_back().expect("one before");
        assert_eq!((versions(&back), back.is_on_trial()), ((Some(1), None), false));
        assert_eq!(versions(&back.rolled_back().expect("the file")), (None, None));
        assert_eq!(Kept::default().rolled_back(), None);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(Kept::load(home.path()).expect("reads"), Kept::default());
        let kept = Kept::default().with(document(1)).proven();
        kept.save(home.path()).expect("writes");
        assert_eq!(Kept::load(home.path()).expect("reads"), kept);
    }
}
