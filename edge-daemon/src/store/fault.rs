//! What can go wrong in the store. Nothing of a failed commit is kept, on disk or in memory.

use rusqlite::ErrorCode;
use std::path::PathBuf;

/// SQLite's extended code for a write that failed, as over a file size limit (`SQLITE_IOERR_WRITE`).
const IOERR_WRITE: i32 = 778;

/// The store could not do what was asked. Clonable, as one fault may answer many commits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// No space. Nothing of it was stored; the same may be tried again once there is space.
    #[error("{what}: no space left for {}: {why}; free space on its file system, nothing stored before is lost", path.display())]
    Full {
        /// What was tried.
        what: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// The disk, the file or its rights. Nothing of it was stored.
    #[error("{what}: {}: {why}; check the file, its owner and the disk's log", path.display())]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite or the system said.
        why: String,
    },
    /// Another process has the store open for writing.
    #[error("{} is held by another process; stop the other edge-daemon first", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Written by a newer version of this program.
    #[error("{} has schema version {found}, this program knows up to {known}; install the newer version again", path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The books of another station.
    #[error("{} holds the books of station {found}, the configuration says {expected}; use another data-directory or correct station.id", path.display())]
    WrongStation {
        /// The database.
        path: PathBuf,
        /// In the store.
        found: String,
        /// In the configuration.
        expected: String,
    },
    /// A rule of the books forbids it, such as a second end of an order: a mistake of the caller. Nothing of it was stored.
    #[error("{what}: refused by the rules of the books: {why}; please report this")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Which rule.
        why: String,
    },
    /// What lies in the store cannot be understood.
    #[error("{what}: what is stored cannot be read: {why}; keep a copy of the data directory and call support")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreFault {
    /// Whether space is what is missing.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Names an error of SQLite by what it means to us.
    pub(super) fn from_sqlite(what: &'static str, path: &std::path::Path, error: &rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        let why = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(code, _) if code.extended_code == IOERR_WRITE => {
                Self::Full { what, path, why }
            }
            rusqlite::Error::SqliteFailure(code, _) => match code.code {
                ErrorCode::DiskFull => Self::Full { what, path, why },
                ErrorCode::ConstraintViolation => Self::Refused { what, why },
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    Self::Damaged { what, why: format!("{}: {why}", path.display()) }
                }
                _ => Self::Unavailable { what, path, why },
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Damaged { what, why },
            _ => Self::Unavailable { what, path, why },
        }
    }
}

impl From<StoreFault> for cloud_sync::outbox::store::StoreFault {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::Damaged { what, why } => Self::Damaged { what, why },
            other => Self::Unavailable { what: "read or change the outbox", why: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let told = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            StoreFault::from_sqlite("store a commit", std::path::Path::new("/d/station.db"), &error)
        };
        // SQLITE_FULL, and SQLITE_IOERR_WRITE as over a file size limit
        assert!(told(13).is_full());
        assert!(told(778).is_full());
        // SQLITE_READONLY, SQLITE_IOERR_FSYNC
        for code in [8, 1_034] {
            assert!(matches!(told(code), StoreFault::Unavailable { .. }), "{code}");
        }
        assert!(matches!(told(11), StoreFault::Damaged { .. }));
        assert!(told(13).to_string().starts_with("store a commit: no space left for /d/station.db"));
    }
}
