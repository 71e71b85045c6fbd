//! The platform's books: one SQLite file, one writer. Everything that decides is a method of [`Act`], one transaction with its
//! time; it is all done or nothing of it.

mod cards;
pub mod channel;
mod commands;
mod commission;
mod coupon;
mod enrol;
mod figures;
mod group;
mod ingest;
mod invoice;
mod ledger;
mod members;
mod order_view;
mod orders;
mod prices;
mod settle;
mod statement;
mod stations;
mod totals;
mod trace;
mod wallet;

pub use cards::NewCard;
pub use coupon::Coupon;
pub use enrol::{Enrolled, Proof};
pub use figures::{Abandoned, DayFigures, Distributor, Share};
pub use ingest::Answer;
pub use ingest::Refusals;
pub use ledger::Account;
pub use members::{Invitation, Member, SESSION_MS};
pub use orders::NewOrder;
pub use stations::{NewStation, grade_name};
pub use totals::{Ending, SoldOf, Totals};
pub use trace::Stage;

use crate::contract::keys::KeyPair;
use crate::refusal::Refusal;
use crate::signature::Secret;
use forecourt::ids::UuidMaker;
use forecourt::time::UtcTime;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction, TransactionBehavior};
use std::path::Path;

/// Of `schema.sql`; one more with every change of it. There are no migrations: this is a reference, its books are for showing.
const VERSION: i64 = 2;

/// Why something was not done; then nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A rule says no; the caller is told which.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database says no.
    #[error("the platform's books: {0}")]
    Books(#[from] rusqlite::Error),
    /// What the books hold cannot be read back.
    #[error("the platform's books hold what cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A file that another version made.
    #[error(
        "these books are of version {0} and this platform writes version {VERSION}: move platform.db away, or run the platform that made it"
    )]
    OtherVersion(i64),
    /// A file of keys or certificates.
    #[error("the platform's keys: {0}")]
    Keys(String),
}

impl From<crate::signature::BadSecret> for Trouble {
    fn from(error: crate::signature::BadSecret) -> Self {
        Self::Keys(error.to_string())
    }
}

/// What the platform signs and hides with.
#[derive(Debug)]
pub struct Secrets {
    /// Signs commands to stations.
    pub commands: KeyPair,
    /// Shared with the sandbox channel.
    pub channel: Secret,
    /// Turns telephone numbers, session tokens and one-time codes into what is stored.
    pub hiding: Secret,
    /// Signs certificates of stations.
    pub authority: crate::authority::Authority,
}

/// The books, open.
#[derive(Debug)]
pub struct Books {
    db: Connection,
    ids: UuidMaker,
    secrets: Secrets,
}

impl Books {
    /// Opens or makes the file; `None` for books in memory. The seed must be fresh at each start: ids come from it.
    ///
    /// # Errors
    /// [`Trouble::Books`] if the file cannot be used.
    pub fn open(file: Option<&Path>, secrets: Secrets, seed: [u8; 32]) -> Result<Self, Trouble> {
        let db = match file {
            Some(file) => Connection::open(file)?,
            None => Connection::open_in_memory()?,
        };
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        db.set_prepared_statement_cache_capacity(128);
        let empty: bool = db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
        if empty {
            db.execute_batch(&format!(
                "BEGIN; {} PRAGMA user_version = {VERSION}; COMMIT;",
                include_str!("schema.sql")
            ))?;
        }
        let version = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(Trouble::OtherVersion(version));
        }
        Ok(Self { db, ids: UuidMaker::new(seed), secrets })
    }

    /// Does something as one transaction at this time. What is refused leaves no trace.
    ///
    /// # Errors
    /// What `work` refuses, or the database.
    pub fn act<T>(
        &mut self,
        now: UtcTime,
        work: impl FnOnce(&mut Act<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut act = Act { tx, now, ids: &mut self.ids, secrets: &self.secrets };
        let done = work(&mut act)?;
        act.tx.commit()?;
        Ok(done)
    }

    /// The keys a station must know, as JWKS.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [self.secrets.commands.jwk()]})
    }

    /// The connection, to damage books on purpose.
    pub(crate) fn raw(&self) -> &Connection {
        &self.db
    }
}

/// One transaction and its time.
#[derive(Debug)]
pub struct Act<'a> {
    tx: Transaction<'a>,
    now: UtcTime,
    ids: &'a mut UuidMaker,
    secrets: &'a Secrets,
}

impl Act<'_> {
    /// This act's time.
    #[must_use]
    pub const fn now(&self) -> UtcTime {
        self.now
    }

    fn now_ms(&self) -> i64 {
        self.now.unix_ms()
    }

    fn run(&self, sql: &str, values: impl Params) -> Result<usize, Trouble> {
        Ok(self.tx.prepare_cached(sql)?.execute(values)?)
    }

    fn row<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Trouble> {
        Ok(self.tx.prepare_cached(sql)?.query_row(values, read).optional()?)
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Trouble> {
        Ok(self.tx.prepare_cached(sql)?.query_map(values, read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// A number; 0 where there is none.
    fn number(&self, sql: &str, values: impl Params) -> Result<i64, Trouble> {
        Ok(self.row(sql, values, |row| row.get::<_, Option<i64>>(0))?.flatten().unwrap_or(0))
    }

    /// A new name such as `c-019a…`, not to be guessed.
    fn name(&mut self, prefix: &str) -> String {
        format!("{prefix}-{}", self.ids.make(self.now).simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::open_secrets;

    #[test]
    fn books_are_opened_again_and_those_of_another_version_are_refused_in_words() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("platform.db");
        for _ in 0..2 {
            Books::open(Some(&file), open_secrets().expect("keys"), [4; 32]).expect("opens");
        }
        Connection::open(&file).and_then(|db| db.execute_batch("PRAGMA user_version = 1")).expect("changes");
        let refused = Books::open(Some(&file), open_secrets().expect("keys"), [4; 32]).expect_err("another version");
        assert!(refused.to_string().contains("move platform.db away"), "{refused}");
    }
}
