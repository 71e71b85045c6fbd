//! The books of a station on disk: SQLite in WAL mode with `synchronous=FULL`, one writer, every commit whole or not at all.
//!
//! A record, its link of the hash chain and its outbox row are one commit. Readers have connections of their own and never wait.

mod ballast;
mod chain;
mod check;
mod consumers;
mod customers;
pub mod doctor;
mod fault;
mod migrate;
mod outbox;
mod prices;
mod reader;
mod rescue;
mod retention;
pub mod thread;
mod views;
mod wal;
mod writes;

pub use chain::ChainReport;
pub use check::{AT_ONCE_BYTES, Trouble};
pub use consumers::{ConsumerPlan, ConsumerRow, ConsumerView, Page, Start};
pub use fault::StoreFault;
pub use reader::Reader;
pub use rescue::Rescued;
pub use retention::Pruned;
pub use views::{OrderView, OutboxView, SaleView};

use cloud_sync::wire::chain::Head;
use core::cell::Cell;
use forecourt::ids::{StationId, UuidMaker};
use forecourt::ledger::{Memory, Write};
use forecourt::time::UtcTime;
use rusqlite::{Connection, TransactionBehavior};
use std::fs::File;
use std::io::Write as _;
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
    /// A commit failed otherwise than for space: the connection is not used again.
    sick: bool,
    /// Every write is refused, for trials.
    refusing: bool,
    /// Its end is noted in the lock file.
    marked: bool,
    /// Held while the store is open, so that no second daemon writes.
    lock: File,
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
        let lock = lock(&lock_of(path))?;
        Self::open_locked(path, station, boot, lock)
    }

    /// Opens the store as [`Store::open`] does, but looks at it first: one that is damaged is set aside whole, and a new one takes its
    /// place with all that can be proven. Tells of that too.
    ///
    /// # Errors
    /// [`StoreFault`]; never for damage alone.
    pub fn open_or_rescue(
        path: &Path,
        station: &StationId,
        boot: Uuid,
        ids: &mut UuidMaker,
        now: UtcTime,
    ) -> Result<(Self, Option<Rescued>), StoreFault> {
        let lock_path = lock_of(path);
        let lock = lock(&lock_path)?;
        let said = check::last_word(&lock_path);
        let mut troubles = if path.exists() { check::files(path, said) } else { Vec::new() };
        if troubles.is_empty() && !rescue::is_pending(path) {
            let mine = lock.try_clone().map_err(|why| no_lock(path, &why))?;
            match Self::open_locked(path, station.clone(), boot, mine) {
                Ok(mut store) => match store.look()? {
                    None => {
                        store.mark(check::RUNNING)?;
                        return Ok((store, None));
                    }
                    Some(trouble) => troubles.push(trouble),
                },
                Err(StoreFault::Damaged { what, why }) => troubles.push(Trouble::Unreadable(format!("{what}: {why}"))),
                Err(fault) => return Err(fault),
            }
        }
        troubles.iter().for_each(|trouble| tracing::error!(%trouble, "the store is damaged"));
        let bearings = rescue::Bearings { path, station, boot, ids, now };
        let rescued = rescue::rescue(bearings, &troubles)?;
        let mut store = Self::open_locked(path, station.clone(), boot, lock)?;
        store.mark(check::RUNNING)?;
        Ok((store, Some(rescued)))
    }

    fn open_locked(path: &Path, station: StationId, boot: Uuid, lock: File) -> Result<Self, StoreFault> {
        const WHAT: &str = "open the store";
        let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
        let mut connection = connect(path)?;
        migrate::migrate(&mut connection, migrate::STEPS, path)?;
        connection
            .execute("INSERT INTO station (only, station_id) VALUES (1, ?1) ON CONFLICT DO NOTHING", [station.as_str()])
            .map_err(fault)?;
        let found: String =
            connection.query_row("SELECT station_id FROM station", [], |row| row.get(0)).map_err(fault)?;
        if found != station.as_str() {
            return Err(StoreFault::WrongStation { path: path.into(), found, expected: station.to_string() });
        }
        // Something is in the log from now on, so that its loss can be noticed.
        connection.execute("UPDATE station SET station_id = station_id", []).map_err(fault)?;
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
            sick: false,
            refusing: false,
            marked: false,
            lock,
        })
    }

    /// What can be seen quickly: the structure of a store that is not large, and what is open and unacknowledged in any.
    fn look(&self) -> Result<Option<Trouble>, StoreFault> {
        if std::fs::metadata(&self.path).map_or(0, |data| data.len()) <= AT_ONCE_BYTES
            && let Some(trouble) = check::structure(&self.connection, &self.path)?
        {
            return Ok(Some(trouble));
        }
        check::content(&self.connection, &self.path)
    }

    /// Notes in the lock file that the store is in use, so that the next start knows whether a log must be there.
    fn mark(&mut self, word: &str) -> Result<(), StoreFault> {
        let noted = |why: std::io::Error| no_lock(&self.path, &why);
        // The log's name in the directory comes first: it must not be missed after a power cut.
        if let Some(directory) = self.path.parent() {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(noted)?;
        }
        self.lock.set_len(0).and_then(|()| (&self.lock).write_all(word.as_bytes())).map_err(noted)?;
        self.lock.sync_all().map_err(noted)?;
        self.marked = true;
        Ok(())
    }

    /// Notes that the store is damaged: the next start sets it aside and rescues what can be read.
    ///
    /// # Errors
    /// [`StoreFault`] where it cannot be noted.
    pub fn mark_damaged(&mut self) -> Result<(), StoreFault> {
        self.mark(check::DAMAGED)?;
        self.marked = false;
        Ok(())
    }

    /// Commands that ask for fuel and were sent before this may have been served by a store that was damaged.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn orders_not_before(&self) -> Result<UtcTime, StoreFault> {
        const WHAT: &str = "read when the store was begun";
        let sql = "SELECT not_before_ms FROM station";
        let at = reader::one(&self.connection, &self.path, WHAT, sql, [], |row| row.get(0))?;
        Ok(UtcTime::from_unix_ms(at.unwrap_or(0)))
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

    /// Refuses every write until it is taken back, as a file system does that the kernel has made read-only after an error of the disk.
    /// For trials: SQLite itself then answers.
    ///
    /// # Errors
    /// [`StoreFault`] where the database cannot be asked.
    pub fn refuse_writes(&mut self, refuse: bool) -> Result<(), StoreFault> {
        self.refusing = refuse;
        let done = self.connection.pragma_update(None, "query_only", refuse);
        done.map_err(|error| StoreFault::from_sqlite("make the store read-only", &self.path, &error))
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
        self.heal()?;
        let outcome = self.commit(batches);
        if let Err(fault) = &outcome {
            self.head = None;
            self.tally.set(None);
            self.sick |= matches!(fault, StoreFault::Unavailable { .. });
            if fault.is_full() {
                ballast::drop_it(&self.path);
            }
        }
        outcome
    }

    /// After a failed write or sync nobody knows which pages reached the disk, and the system may call them clean. So the connection,
    /// with all it holds in memory, is given up, and the next one reads what is there.
    fn heal(&mut self) -> Result<(), StoreFault> {
        if self.sick {
            self.connection = connect(&self.path)?;
            self.refuse_writes(self.refusing)?;
            self.head = None;
            self.tally.set(None);
            self.sick = false;
        }
        Ok(())
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

    /// Bytes that the reserve beside this database lacks: whoever looks at the free space takes them off.
    #[must_use]
    pub fn reserve_missing(path: &Path) -> u64 {
        ballast::missing(path)
    }

    /// Takes the reserve in again, once there is room.
    pub fn take_in_reserve(&self) {
        ballast::take_in(&self.path);
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

impl Drop for Store {
    fn drop(&mut self) {
        if self.marked {
            // Before the log goes with the connection: the other way round, a kill in between would look like a lost log. Where it
            // cannot be noted, the log is still looked for.
            let _ = self.mark(check::CLOSED);
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreFault> {
    const WHAT: &str = "open the store";
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
    let connection = Connection::open(path).map_err(fault)?;
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
    Ok(connection)
}

fn lock_of(database: &Path) -> PathBuf {
    database.with_extension("lock")
}

fn no_lock(database: &Path, why: &std::io::Error) -> StoreFault {
    StoreFault::Unavailable { what: "take the store's lock", path: lock_of(database), why: why.to_string() }
}

fn lock(path: &Path) -> Result<File, StoreFault> {
    let file = File::options().create(true).append(true).open(path).map_err(|why| no_lock(path, &why))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreFault::InUse { path: path.into() }),
        Err(std::fs::TryLockError::Error(why)) => Err(no_lock(path, &why)),
    }
}

fn wall_clock() -> UtcTime {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime::from_unix_ms(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
