//! The books of a station on disk: SQLite in WAL mode with `synchronous=FULL`, one writer, every commit whole or not at all.
//!
//! A record, its link of the hash chain and its outbox row are one commit. Readers have connections of their own and never wait.

mod ballast;
mod chain;
mod fault;
mod migrate;
mod outbox;
mod reader;
mod retention;
pub mod thread;
mod views;
mod writes;

pub use chain::ChainReport;
pub use fault::StoreFault;
pub use reader::Reader;
pub use retention::Pruned;
pub use views::{OrderView, OutboxView, SaleView};

use cloud_sync::wire::chain::Head;
use core::cell::Cell;
use forecourt::ids::StationId;
use forecourt::ledger::{Memory, Write};
use forecourt::time::UtcTime;
use rusqlite::{Connection, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Name of the database in the data directory.
pub const FILE_NAME: &str = "station.db";
/// The WAL is cut back to this after a checkpoint, in bytes.
const JOURNAL_SIZE_LIMIT: i64 = 8 * 1024 * 1024;
/// Pages in the WAL that start a checkpoint. Few, as that writes less to an eMMC than SQLite's own 1,000.
const AUTOCHECKPOINT_PAGES: i64 = 100;
/// SQLite's own limit of a database, in pages.
const MOST_PAGES: i64 = 4_294_967_294;
/// Prepared statements kept.
const STATEMENTS: usize = 64;

/// The one writer.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    station: StationId,
    boot: Uuid,
    /// The last link; `None` after a failed commit, until it is read again.
    head: Option<Head>,
    /// Rows in the outbox; `None` where they are to be counted again.
    tally: Cell<Option<outbox::Tally>>,
    clock: fn() -> UtcTime,
    /// Held while the store is open, so that no second daemon writes.
    _lock: File,
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).field("head", &self.head).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or makes the database, brings its schema up to date and takes its lock.
    ///
    /// # Errors
    /// [`StoreFault`]: the directory is missing or not ours, another daemon holds it, the schema is newer than this program, or it
    /// holds the books of another station.
    pub fn open(path: &Path, station: StationId, boot: Uuid) -> Result<Self, StoreFault> {
        const WHAT: &str = "open the store";
        let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
        let lock = lock(&path.with_extension("lock"))?;
        let mut connection = Connection::open(path).map_err(fault)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(fault)?;
        if mode != "wal" {
            // Any other mode with synchronous=FULL may lose the last commits in a power cut.
            let why = format!("its file system allows no write-ahead log (journal mode {mode}); use a local disk");
            return Err(StoreFault::Unavailable { what: WHAT, path: path.into(), why });
        }
        connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fault)?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT).map_err(fault)?;
        connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES).map_err(fault)?;
        migrate::migrate(&mut connection, migrate::STEPS, path)?;
        connection
            .execute("INSERT INTO station (only, station_id) VALUES (1, ?1) ON CONFLICT DO NOTHING", [station.as_str()])
            .map_err(fault)?;
        let found: String =
            connection.query_row("SELECT station_id FROM station", [], |row| row.get(0)).map_err(fault)?;
        if found != station.as_str() {
            return Err(StoreFault::WrongStation { path: path.into(), found, expected: station.to_string() });
        }
        ballast::take_in(path);
        let clock = wall_clock;
        Ok(Self {
            connection,
            path: path.into(),
            station,
            boot,
            head: None,
            tally: Cell::new(None),
            clock,
            _lock: lock,
        })
    }

    /// Takes the time of acknowledgements and ends from another clock, as a simulation does.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> UtcTime) -> Self {
        self.clock = clock;
        self
    }

    /// Lets the database grow by no more than so many pages, as on a full disk; `None` lifts it. For trials: SQLite itself then answers
    /// as it does when the file system is full.
    ///
    /// # Errors
    /// [`StoreFault`] where the database cannot be asked.
    pub fn limit_growth(&mut self, pages: Option<u32>) -> Result<(), StoreFault> {
        let limit = || -> rusqlite::Result<()> {
            let used: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let most = pages.map_or(MOST_PAGES, |pages| used + i64::from(pages));
            self.connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
        };
        limit().map_err(|error| StoreFault::from_sqlite("limit the store", &self.path, &error))
    }

    /// A connection of its own that only reads.
    ///
    /// # Errors
    /// [`StoreFault`] where the database is missing, from the future or cannot be opened.
    pub fn reader(path: &Path) -> Result<Reader, StoreFault> {
        Reader::open(path)
    }

    /// Writes all batches in one commit, in order, durable when this returns.
    ///
    /// # Errors
    /// [`StoreFault`]; then nothing of any batch is stored and the chain is as it was. When the disk is full, reserved space is
    /// given free, so that the same writes may pass when they are tried again.
    pub fn apply(&mut self, batches: &[&[Write]]) -> Result<(), StoreFault> {
        let outcome = self.commit(batches);
        if let Err(fault) = &outcome {
            self.head = None;
            self.tally.set(None);
            if fault.is_full() {
                ballast::drop_it(&self.path);
            }
        }
        outcome
    }

    fn commit(&mut self, batches: &[&[Write]]) -> Result<(), StoreFault> {
        const WHAT: &str = "store a commit";
        let path = &self.path;
        let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
        let mut head = match self.head.take() {
            Some(head) => head,
            None => chain::head(&self.connection).map_err(fault)?,
        };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let mut pen = writes::Pen {
            connection: &transaction,
            path,
            station: &self.station,
            boot: self.boot,
            head: &mut head,
            now: (self.clock)(),
            records: 0,
        };
        for write in batches.iter().copied().flatten() {
            pen.write(write)?;
        }
        let records = pen.records;
        transaction.commit().map_err(fault)?;
        self.head = Some(head);
        if let Some(tally) = self.tally.get() {
            self.tally.set(Some(outbox::Tally { pending: tally.pending + records, ..tally }));
        }
        Ok(())
    }

    /// What a new run of the core needs to know of those before.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn memory(&self) -> Result<Memory, StoreFault> {
        reader::memory(&self.connection, &self.path)
    }

    /// Checks every stored record against its hash and the one before it. Takes long with many: better on a [`Reader`].
    ///
    /// # Errors
    /// [`StoreFault`] where the rows cannot be read at all; a broken chain is a result.
    pub fn verify_chain(&self) -> Result<ChainReport, StoreFault> {
        chain::verify(&self.connection, &self.path)
    }

    /// Takes away what has been kept long enough, a bounded part at a time; call it again while it says that there is more.
    ///
    /// # Errors
    /// [`StoreFault`]; then nothing was taken away.
    pub fn prune(&mut self, now: UtcTime) -> Result<Pruned, StoreFault> {
        let pruned = retention::prune(&mut self.connection, &self.path, now)?;
        self.head = None;
        Ok(pruned)
    }
}

fn lock(path: &Path) -> Result<File, StoreFault> {
    let unavailable = |why: std::io::Error| StoreFault::Unavailable {
        what: "take the store's lock",
        path: path.into(),
        why: why.to_string(),
    };
    let file = File::options().create(true).append(true).open(path).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreFault::InUse { path: path.into() }),
        Err(std::fs::TryLockError::Error(why)) => Err(unavailable(why)),
    }
}

fn wall_clock() -> UtcTime {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime::from_unix_ms(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
