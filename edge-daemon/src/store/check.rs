//! Whether a store can be trusted: what its files look like from outside, what SQLite says, and whether its records prove themselves.

use crate::store::fault::StoreFault;
use crate::store::{chain, reader, wal};
use cloud_sync::wire::chain as links;
use rusqlite::Connection;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What every SQLite database begins with (fileformat2.html, section 1.3).
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// A store up to this size is checked whole before it is used; a larger one while it works already.
pub const AT_ONCE_BYTES: u64 = 32 * 1024 * 1024;
/// Unacknowledged records checked before the store is used.
const UNSENT_AT_ONCE: u32 = 2_000;
/// Sentences kept of what SQLite finds.
const SENTENCES: u32 = 5;
/// In the lock file while the store is open.
pub(super) const RUNNING: &str = "running\n";
/// In the lock file once it was closed in order.
pub(super) const CLOSED: &str = "closed\n";
/// In the lock file once damage was found while the store was open.
pub(super) const DAMAGED: &str = "damaged\n";

/// Something that a store should not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// The first page is none of a database.
    #[error("{} does not begin as a database does: its first page was overwritten", path.display())]
    Header {
        /// The file.
        path: PathBuf,
    },
    /// It ends too early.
    #[error("{} is cut off: {have} bytes are there of {need}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes there.
        have: u64,
        /// Bytes that its header names.
        need: u64,
    },
    /// The last run did not close the store, and its log is gone.
    #[error("{} is missing although the store was not closed: the last commits were in it", path.display())]
    LogMissing {
        /// The log.
        path: PathBuf,
    },
    /// The log has more bad than a power cut leaves.
    #[error("{} is damaged: {behind} commits lie behind its first bad frame", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Commits that SQLite would not see.
        behind: u64,
    },
    /// SQLite's own check.
    #[error("the structure is damaged: {0}")]
    Structure(String),
    /// A record does not prove itself.
    #[error("record {sequence} is damaged: {why}")]
    Record {
        /// Its place in the chain.
        sequence: u64,
        /// What is wrong.
        why: String,
    },
    /// Rows cannot be understood.
    #[error("{0}")]
    Unreadable(String),
    /// An earlier run found damage and asked for a rescue.
    #[error("the last run found damage in it")]
    Reported,
}

impl Trouble {
    /// Whether commits may be missing without a trace, so that nothing open in the store can be taken for the last word.
    #[must_use]
    pub const fn is_deep(&self) -> bool {
        !matches!(self, Self::Record { .. })
    }
}

/// What a last run left in the lock file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastWord {
    Nothing,
    Running,
    Closed,
    Damaged,
}

pub(super) fn last_word(lock: &Path) -> LastWord {
    match std::fs::read_to_string(lock).unwrap_or_default().as_str() {
        RUNNING => LastWord::Running,
        CLOSED => LastWord::Closed,
        DAMAGED => LastWord::Damaged,
        _ => LastWord::Nothing,
    }
}

/// The log beside a database.
pub(super) fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// What the files show while nobody has them open.
pub(super) fn files(database: &Path, said: LastWord) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if said == LastWord::Damaged {
        troubles.push(Trouble::Reported);
    }
    let log = log_of(database);
    let log_bytes = std::fs::metadata(&log).map(|data| data.len()).ok();
    // While the store is open its log is never empty: the first commit of each run is written before the lock file says so.
    if log_bytes.unwrap_or(0) == 0 && said == LastWord::Running {
        troubles.push(Trouble::LogMissing { path: log.clone() });
    }
    match wal::inspect(&log) {
        Ok(Some(found)) if found.is_damaged() => troubles.push(Trouble::Log { path: log, behind: found.behind }),
        Ok(_) => {}
        Err(why) => troubles.push(Trouble::Unreadable(format!("{}: {why}", log.display()))),
    }
    let mut header = [0; 100];
    let mut file = match File::open(database) {
        Ok(file) => file,
        Err(why) => {
            troubles.push(Trouble::Unreadable(format!("{}: {why}", database.display())));
            return troubles;
        }
    };
    let have = file.metadata().map_or(0, |data| data.len());
    // A database that was never written to is empty, or has all its content in the log.
    if have == 0 && said != LastWord::Closed {
        return troubles;
    }
    if file.read_exact(&mut header).is_err() || !header.starts_with(MAGIC) {
        troubles.push(Trouble::Header { path: database.into() });
        return troubles;
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = u64::from(match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536_u32,
        size => size.into(),
    });
    // The page count holds only where it was written with the last change (section 1.3.8), and the log may have the rest.
    let need = u64::from(word(28)) * page;
    if word(24) == word(92) && have < need && log_bytes.unwrap_or(0) == 0 {
        troubles.push(Trouble::Truncated { path: database.into(), have, need });
    }
    troubles
}

/// SQLite's check of the structure. Reads the whole file.
pub(super) fn structure(connection: &Connection, path: &Path) -> Result<Option<Trouble>, StoreFault> {
    const WHAT: &str = "check the store's structure";
    let sql = format!("PRAGMA quick_check({SENTENCES})");
    match reader::all(connection, path, WHAT, &sql, [], |row| row.get::<_, String>(0)) {
        Ok(said) if said == ["ok"] => Ok(None),
        Ok(said) => Ok(Some(Trouble::Structure(said.join("; ").replace('\n', ", ")))),
        Err(StoreFault::Damaged { why, .. }) => Ok(Some(Trouble::Structure(why))),
        Err(fault) => Err(fault),
    }
}

const UNSENT: &str = "SELECT o.sequence, e.body FROM outbox o LEFT JOIN event e USING (sequence)
    ORDER BY o.sequence DESC LIMIT ?1";

/// Whether what is open can be read and the newest unacknowledged records prove themselves. Quick however large the store is.
pub(super) fn content(connection: &Connection, path: &Path) -> Result<Option<Trouble>, StoreFault> {
    const WHAT: &str = "check what is not acknowledged";
    let understood = |outcome: Result<Option<Trouble>, StoreFault>| match outcome {
        Err(StoreFault::Damaged { what, why }) => Ok(Some(Trouble::Unreadable(format!("{what}: {why}")))),
        other => other,
    };
    if let Some(trouble) = understood(reader::memory(connection, path).map(|_| None))? {
        return Ok(Some(trouble));
    }
    let rows = reader::all(connection, path, WHAT, UNSENT, [UNSENT_AT_ONCE], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(StoreFault::Damaged { why, .. }) => return Ok(Some(Trouble::Structure(why))),
        Err(fault) => return Err(fault),
    };
    for (sequence, body) in rows {
        let why = match body.as_deref().map(links::prove) {
            None => "it is not there".to_owned(),
            Some(Ok(proven)) if proven.sequence == sequence => continue,
            Some(Ok(proven)) => format!("record {} stands in its place", proven.sequence),
            Some(Err(why)) => why.to_string(),
        };
        return Ok(Some(Trouble::Record { sequence, why }));
    }
    Ok(None)
}

/// Everything: the structure, and every record against its hash and the one before it. Reads the whole store.
pub(super) fn whole(connection: &Connection, path: &Path) -> Result<Vec<Trouble>, StoreFault> {
    let mut troubles: Vec<Trouble> = structure(connection, path)?.into_iter().collect();
    match chain::verify(connection, path) {
        Ok(report) => {
            troubles.extend(report.broken.map(|(sequence, why)| Trouble::Record { sequence, why: why.to_string() }))
        }
        Err(StoreFault::Damaged { what, why }) => troubles.push(Trouble::Unreadable(format!("{what}: {why}"))),
        Err(fault) => return Err(fault),
    }
    Ok(troubles)
}
