//! Cursors of the consumers beside the platform, what they are still to get, and notes from one run to the next.

use crate::store::fault::StoreFault;
use crate::store::reader::{all, one};
use crate::store::{Reader, Store};
use forecourt::time::UtcTime;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use std::path::Path;

pub(super) const HEAD: &str = "SELECT sequence FROM event ORDER BY sequence DESC LIMIT 1";
pub(super) const PAGE: &str = "SELECT sequence, time_ms, body FROM event WHERE sequence > ?1 AND sequence <= ?2
    AND kind IN (SELECT value FROM json_each(?3)) ORDER BY sequence LIMIT ?4";
pub(super) const HASH: &str = "SELECT hash FROM event WHERE sequence = ?1";
const PRUNED: &str = "SELECT pruned_sequence FROM station";
pub(super) const CURSOR: &str = "SELECT cursor FROM consumer WHERE name = ?1";
/// A new one begins where it is told to; one that is known goes on where it was.
pub(super) const SETTLE: &str = "INSERT INTO consumer (name, cursor, kinds, keep_ms, active) VALUES (?1, ?2, ?3, ?4, 1)
    ON CONFLICT (name) DO UPDATE SET kinds = ?3, keep_ms = ?4, active = 1";
pub(super) const MOVE: &str = "UPDATE consumer SET cursor = max(cursor, ?2), passed_over = passed_over + ?3,
    taken_ms = coalesce(?4, taken_ms) WHERE name = ?1";
const ALL: &str = "SELECT name, cursor, kinds, active, passed_over, taken_ms FROM consumer ORDER BY name";
pub(super) const WAITING: &str = "SELECT count(*), min(time_ms) FROM event WHERE sequence > ?1
    AND kind IN (SELECT value FROM json_each(?2))";
const HOLDING: &str = "SELECT cursor, keep_ms FROM consumer WHERE active = 1";
pub(super) const HELD: &str = "SELECT sequence FROM event WHERE sequence > ?1 AND sequence >= ?2 AND sequence < ?3
    AND time_ms > ?4 ORDER BY sequence LIMIT 1";
pub(super) const NOTE: &str = "SELECT value FROM note WHERE name = ?1";
pub(super) const SET_NOTE: &str =
    "INSERT INTO note (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";

/// Where a consumer that is new begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the oldest record that is kept.
    Oldest,
    /// With the next record.
    Newest,
}

/// A consumer as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerPlan {
    /// Its name.
    pub name: String,
    /// CloudEvent types that it gets.
    pub kinds: Vec<String>,
    /// Records that it has not taken are kept so long, in milliseconds.
    pub keep_ms: i64,
    /// Where it begins when it is new.
    pub start: Start,
}

/// A record for a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerRow {
    /// Its place in the chain.
    pub sequence: u64,
    /// The event's time.
    pub time: UtcTime,
    /// The sealed event as it was stored.
    pub bytes: Vec<u8>,
}

/// What comes next for a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Records of its types, in sequence.
    pub rows: Vec<ConsumerRow>,
    /// Nothing of its types stands between the last row and this sequence, this included.
    pub read_to: u64,
    /// The last record that retention took away.
    pub pruned: u64,
}

/// A consumer in one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ConsumerView {
    /// Its name.
    pub name: String,
    /// Named in the configuration when the daemon last started.
    pub active: bool,
    /// The last record that it needs no more.
    pub cursor: u64,
    /// Records that it is still to get.
    pub waiting: u64,
    /// Time of the oldest of them.
    pub oldest_at: Option<UtcTime>,
    /// Records that it refused, or that were taken away before it took them.
    pub passed_over: u64,
    /// When it last took something.
    pub taken_at: Option<UtcTime>,
}

fn bound(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// The kinds as the JSON that the queries take.
fn kinds_json(kinds: &[String]) -> String {
    serde_json::Value::from(kinds.to_vec()).to_string()
}

impl Store {
    /// Brings the consumers up to the configuration; those no longer named keep their cursor and hold nothing back.
    ///
    /// # Errors
    /// [`StoreFault`]; then nothing is changed.
    pub fn settle_consumers(&mut self, plans: &[ConsumerPlan]) -> Result<(), StoreFault> {
        self.change("note the consumers", |transaction, _| {
            transaction.execute("UPDATE consumer SET active = 0 WHERE active = 1", [])?;
            let pruned: i64 = transaction.query_row(PRUNED, [], |row| row.get(0))?;
            let newest: Option<i64> = transaction.query_row("SELECT max(sequence) FROM event", [], |row| row.get(0))?;
            for plan in plans {
                let begin = match plan.start {
                    Start::Oldest => pruned,
                    Start::Newest => newest.unwrap_or(pruned),
                };
                let values = params![plan.name, begin, kinds_json(&plan.kinds), plan.keep_ms];
                transaction.prepare_cached(SETTLE)?.execute(values)?;
            }
            Ok(())
        })
    }

    /// A consumer needs nothing up to `through` any more. `passed_over` of these it did not take; `taken` says whether it took any.
    ///
    /// # Errors
    /// [`StoreFault`]; then it gets them again.
    pub fn move_cursor(&mut self, name: &str, through: u64, passed_over: u64, taken: bool) -> Result<(), StoreFault> {
        self.change("move a consumer's cursor", |transaction, now| {
            let values = params![name, bound(through), bound(passed_over), taken.then_some(now)];
            transaction.prepare_cached(MOVE)?.execute(values)
        })
        .map(|_| ())
    }

    /// Leaves a note for the next run.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn set_note(&mut self, name: &str, value: &str) -> Result<(), StoreFault> {
        self.change("leave a note", |transaction, _| transaction.prepare_cached(SET_NOTE)?.execute([name, value]))
            .map(|_| ())
    }
}

impl Reader {
    /// A consumer's cursor; `None` for one that was never settled.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn cursor(&self, name: &str) -> Result<Option<u64>, StoreFault> {
        one(&self.connection, &self.path, "read a cursor", CURSOR, [name], |row| row.get(0))
    }

    /// The next records of these types behind a sequence, at most `limit`.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn page(&self, after: u64, kinds: &[String], limit: usize) -> Result<Page, StoreFault> {
        const WHAT: &str = "read records for a consumer";
        let (connection, path) = (&self.connection, &self.path);
        let pruned: Option<u64> = one(connection, path, WHAT, PRUNED, [], |row| row.get(0))?;
        // Before the rows: what is committed in between comes with the next page.
        let head: Option<u64> = one(connection, path, WHAT, HEAD, [], |row| row.get(0))?;
        let head = head.unwrap_or(after).max(after);
        let values = params![bound(after), bound(head), kinds_json(kinds), i64::try_from(limit).unwrap_or(i64::MAX)];
        let rows = all(connection, path, WHAT, PAGE, values, |row| {
            let time = UtcTime::from_unix_ms(row.get(1)?);
            Ok(ConsumerRow { sequence: row.get(0)?, time, bytes: row.get(2)? })
        })?;
        let read_to = match rows.last() {
            Some(last) if rows.len() >= limit => last.sequence,
            _ => head,
        };
        Ok(Page { rows, read_to, pruned: pruned.unwrap_or(0) })
    }

    /// The hash of the record with this sequence, if it is kept, and the newest sequence (0 for none).
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn hash_at(&self, sequence: u64) -> Result<(Option<String>, u64), StoreFault> {
        const WHAT: &str = "look up a record's hash";
        let (connection, path) = (&self.connection, &self.path);
        let hash = one(connection, path, WHAT, HASH, [bound(sequence)], |row| row.get(0))?;
        let newest: Option<u64> = one(connection, path, WHAT, HEAD, [], |row| row.get(0))?;
        let pruned: Option<u64> = one(connection, path, WHAT, PRUNED, [], |row| row.get(0))?;
        Ok((hash, newest.or(pruned).unwrap_or(0)))
    }

    /// All consumers that ever were, with what waits for them.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn consumers(&self) -> Result<Vec<ConsumerView>, StoreFault> {
        const WHAT: &str = "list the consumers";
        let (connection, path) = (&self.connection, &self.path);
        let found = all(connection, path, WHAT, ALL, [], |row| {
            let view = ConsumerView {
                name: row.get(0)?,
                cursor: row.get(1)?,
                active: row.get(3)?,
                waiting: 0,
                oldest_at: None,
                passed_over: row.get(4)?,
                taken_at: row.get::<_, Option<i64>>(5)?.map(UtcTime::from_unix_ms),
            };
            Ok((view, row.get::<_, String>(2)?))
        })?;
        let mut views = Vec::with_capacity(found.len());
        for (view, kinds) in found {
            let values = params![bound(view.cursor), kinds];
            let waiting = one(connection, path, WHAT, WAITING, values, |row| {
                Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(UtcTime::from_unix_ms)))
            })?;
            let (waiting, oldest_at) = waiting.unwrap_or((0, None));
            views.push(ConsumerView { waiting, oldest_at, ..view });
        }
        Ok(views)
    }

    /// A note of an earlier run.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreFault> {
        note(&self.connection, &self.path, name)
    }
}

fn note(connection: &Connection, path: &Path, name: &str) -> Result<Option<String>, StoreFault> {
    one(connection, path, "read a note", NOTE, [name], |row| row.get(0))
}

/// The first record below `end` that some consumer has not taken and that is young enough to be kept for it.
pub(super) fn first_held(transaction: &Transaction<'_>, first: i64, end: i64, now_ms: i64) -> rusqlite::Result<i64> {
    let mut statement = transaction.prepare_cached(HOLDING)?;
    let holding: Vec<(i64, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut end = end;
    for (cursor, keep_ms) in holding {
        let mut held = transaction.prepare_cached(HELD)?;
        let mut rows = held.query(params![cursor, first, end, now_ms.saturating_sub(keep_ms)])?;
        if let Some(row) = rows.next()? {
            end = row.get(0)?;
        }
    }
    Ok(end)
}

#[cfg(test)]
#[path = "consumers_tests.rs"]
mod tests;
