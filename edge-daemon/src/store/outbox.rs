//! The outbox as the cloud link sees it. An acknowledged record leaves the outbox and stays in the books.

use crate::store::Store;
use crate::store::fault::StoreFault;
use crate::store::reader::{all, one, parse};
use crate::store::writes::{self, json};
use cloud_sync::outbox::store::{self as asked, Ack, Counts, OutboxStore, PRIORITIES, Refused, Row};
use cloud_sync::wire::reply::Remembered;
use forecourt::ids::CommandId;
use forecourt::time::UtcTime;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

pub(super) const PENDING: &str =
    "SELECT e.sequence, e.id, e.priority, e.body, 0 FROM outbox o JOIN event e USING (sequence)
    WHERE o.priority = ?1 AND o.set_aside = 0 AND o.sequence > ?2 ORDER BY o.sequence LIMIT ?3";
pub(super) const ONE: &str = "SELECT e.sequence, e.id, e.priority, e.body, o.sequence IS NULL OR o.set_aside
    FROM event e LEFT JOIN outbox o USING (sequence) WHERE e.sequence = ?1";
pub(super) const RANGE: &str = "SELECT e.sequence, e.id, e.priority, e.body, o.sequence IS NULL OR o.set_aside
    FROM event e LEFT JOIN outbox o USING (sequence) WHERE e.sequence BETWEEN ?1 AND ?2 ORDER BY e.sequence LIMIT ?3";
pub(super) const COUNT_RANGE: &str = "SELECT count(*) FROM event WHERE sequence BETWEEN ?1 AND ?2";
pub(super) const OLDEST: &str = "SELECT sequence FROM outbox WHERE priority = ?1 AND set_aside = 0
    ORDER BY sequence LIMIT 1";
pub(super) const TIME: &str = "SELECT time_ms FROM event WHERE sequence = ?1";
pub(super) const BY_ID: &str = "SELECT sequence FROM event WHERE id = ?1";
pub(super) const ACK_THROUGH: &str = "UPDATE event SET acked_ms = ?2
    WHERE sequence IN (SELECT sequence FROM outbox WHERE sequence <= ?1)";
pub(super) const LEAVE_THROUGH: &str = "DELETE FROM outbox WHERE sequence <= ?1";
pub(super) const ACK: &str = "UPDATE event SET acked_ms = ?2 WHERE sequence = ?1";
pub(super) const LEAVE: &str = "DELETE FROM outbox WHERE sequence = ?1";
pub(super) const REFUSE: &str = "UPDATE outbox SET refusals = refusals + 1, reason = ?2
    WHERE sequence = ?1 AND set_aside = 0 RETURNING refusals";
pub(super) const SET_ASIDE: &str = "UPDATE outbox SET set_aside = 1 WHERE sequence = ?1 AND set_aside = 0";
pub(super) const RECALL: &str = "SELECT giver, body FROM reply WHERE command_id = ?1";
const COUNT: &str =
    "SELECT (SELECT count(*) FROM outbox WHERE set_aside = 0), (SELECT count(*) FROM outbox WHERE set_aside = 1)";
/// A reason of a refusal is kept up to this many characters.
const REASON_CHARS: usize = 200;

/// How many rows the outbox has: counted once after a change of the outbox, then carried along with new records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    pub pending: u64,
    pub set_aside: u64,
}

impl Store {
    /// Runs a change of the outbox in one commit; the tally is counted again at need.
    pub(super) fn change<T>(
        &mut self,
        what: &'static str,
        change: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        self.heal()?;
        self.tally.set(None);
        let now = (self.clock)().unix_ms();
        let path = &self.path;
        let outcome =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let outcome = change(&transaction, now)?;
                transaction.commit()?;
                Ok(outcome)
            });
        let outcome = outcome.map_err(|error| StoreFault::from_sqlite(what, path, &error));
        self.sick |= matches!(outcome, Err(StoreFault::Unavailable { .. }));
        outcome
    }

    fn select(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Row>, asked::StoreFault> {
        const WHAT: &str = "read the outbox";
        let found = all(&self.connection, &self.path, WHAT, sql, values, |row| {
            let row_id: String = row.get(1)?;
            Ok((row_id, row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
        let mut rows = Vec::with_capacity(found.len());
        for (id, sequence, priority, bytes, settled) in found {
            let id = Uuid::parse_str(&id)
                .map_err(|error| asked::StoreFault::Damaged { what: "record id", why: format!("{id}: {error}") })?;
            rows.push(Row { sequence, id, priority, bytes, settled });
        }
        Ok(rows)
    }

    /// Pending rows and rows set aside.
    fn tally(&self) -> Result<Tally, StoreFault> {
        if let Some(tally) = self.tally.get() {
            return Ok(tally);
        }
        let counted = one(&self.connection, &self.path, "count the outbox", COUNT, [], |row| {
            Ok(Tally { pending: row.get(0)?, set_aside: row.get(1)? })
        })?;
        self.tally.set(counted);
        Ok(counted.unwrap_or_default())
    }
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A sequence in a comparison: past the largest that SQLite can hold, every row is before it.
fn bound(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

impl OutboxStore for Store {
    fn pending(&self, priority: u8, after: u64, limit: usize) -> Result<Vec<Row>, asked::StoreFault> {
        self.select(PENDING, params![priority, bound(after), limit_of(limit)])
    }

    fn rows(&self, sequences: &[u64]) -> Result<Vec<Row>, asked::StoreFault> {
        let mut wanted = sequences.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut rows = Vec::with_capacity(wanted.len());
        for sequence in wanted {
            rows.extend(self.select(ONE, [bound(sequence)])?);
        }
        Ok(rows)
    }

    fn range(&self, from: u64, to: u64, limit: usize) -> Result<Vec<Row>, asked::StoreFault> {
        self.select(RANGE, params![bound(from), bound(to), limit_of(limit)])
    }

    fn count_range(&self, from: u64, to: u64) -> Result<u64, asked::StoreFault> {
        let values = params![bound(from), bound(to)];
        let count = one(&self.connection, &self.path, "count records", COUNT_RANGE, values, |row| row.get(0))?;
        Ok(count.unwrap_or(0))
    }

    fn counts(&self) -> Result<Counts, asked::StoreFault> {
        const WHAT: &str = "count the outbox";
        let tally = self.tally()?;
        let mut oldest: Option<i64> = None;
        for priority in 0..PRIORITIES {
            let first: Option<i64> = one(&self.connection, &self.path, WHAT, OLDEST, [priority], |row| row.get(0))?;
            oldest = [oldest, first].into_iter().flatten().min();
        }
        let oldest_at = match oldest {
            Some(sequence) => one(&self.connection, &self.path, WHAT, TIME, [sequence], |row| row.get(0))?,
            None => None,
        };
        let oldest_at = oldest_at.map(UtcTime::from_unix_ms);
        Ok(Counts { pending: tally.pending, oldest_at, set_aside: tally.set_aside })
    }

    fn acknowledge(&mut self, acks: &[Ack]) -> Result<u64, asked::StoreFault> {
        let newly = self.change("acknowledge records", |transaction, now| {
            let mut newly = 0_u64;
            for ack in acks {
                match ack {
                    Ack::Through(sequence) => {
                        transaction.prepare_cached(ACK_THROUGH)?.execute(params![bound(*sequence), now])?;
                        let left = transaction.prepare_cached(LEAVE_THROUGH)?.execute([bound(*sequence)])?;
                        newly += u64::try_from(left).unwrap_or(0);
                    }
                    Ack::Ids(ids) => {
                        for id in ids {
                            let found: Option<i64> = transaction
                                .prepare_cached(BY_ID)?
                                .query_row([id.to_string()], |row| row.get(0))
                                .optional()?;
                            let Some(sequence) = found else { continue };
                            if transaction.prepare_cached(LEAVE)?.execute([sequence])? > 0 {
                                transaction.prepare_cached(ACK)?.execute(params![sequence, now])?;
                                newly += 1;
                            }
                        }
                    }
                }
            }
            Ok(newly)
        })?;
        Ok(newly)
    }

    fn refuse(&mut self, id: Uuid, reason: &str) -> Result<Option<Refused>, asked::StoreFault> {
        let reason: String = reason.chars().take(REASON_CHARS).collect();
        let refused = self.change("count a refusal", |transaction, _| {
            let found: Option<u64> =
                transaction.prepare_cached(BY_ID)?.query_row([id.to_string()], |row| row.get(0)).optional()?;
            let Some(sequence) = found else { return Ok(None) };
            let count: Option<u32> = transaction
                .prepare_cached(REFUSE)?
                .query_row(params![bound(sequence), reason], |row| row.get(0))
                .optional()?;
            Ok(count.map(|count| Refused { sequence, count }))
        })?;
        Ok(refused)
    }

    fn set_aside(&mut self, sequence: u64) -> Result<(), asked::StoreFault> {
        self.change("set a record aside", |transaction, _| {
            transaction.prepare_cached(SET_ASIDE)?.execute([bound(sequence)])
        })?;
        Ok(())
    }

    fn recall(&self, id: &CommandId) -> Result<Option<Remembered>, asked::StoreFault> {
        const WHAT: &str = "look up the answer to a command";
        let found: Option<(String, String)> =
            one(&self.connection, &self.path, WHAT, RECALL, [id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((giver, body)) = found else { return Ok(None) };
        let remembered =
            if giver == "site" { Remembered::Site(parse(WHAT, &body)?) } else { Remembered::Link(parse(WHAT, &body)?) };
        Ok(Some(remembered))
    }

    fn remember(&mut self, id: &CommandId, answer: &Remembered, at: UtcTime) -> Result<(), asked::StoreFault> {
        let (giver, body) = match answer {
            Remembered::Site(reply) => ("site", json(reply)?),
            Remembered::Link(reply) => ("link", json(reply)?),
        };
        self.change("remember the answer to a command", |transaction, _| {
            transaction.prepare_cached(writes::REPLY)?.execute(params![id.as_str(), giver, at.unix_ms(), body])
        })?;
        Ok(())
    }
}
