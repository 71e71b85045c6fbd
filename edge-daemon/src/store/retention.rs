//! What is taken away, and when: the chain from its old end only, never an unacknowledged record, and what a
//! consumer has not taken only when it is older than was promised to it.

use crate::store::consumers;
use crate::store::customers;
use crate::store::fault::StoreFault;
use forecourt::time::UtcTime;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::Path;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Records are kept this long after their acknowledgement.
pub(super) const RECORD_DAYS: i64 = 90;
/// Audit records, from their own time on.
pub(super) const AUDIT_DAYS: i64 = 3 * 365;
/// Answers to commands; the contract (section 2) asks for at least 30 days.
pub(super) const REPLY_DAYS: i64 = 35;
/// The content of an ended order, which may hold a masked plate and a customer token. Its id and end stay.
pub(super) const ORDER_CONTENT_DAYS: i64 = 7;
/// Rows of one kind taken away in one commit, so that sales do not wait.
const AT_ONCE: i64 = 2_000;

pub(super) const FIRST: &str = "SELECT min(sequence) FROM event";
pub(super) const KEPT: &str = "SELECT sequence FROM event WHERE sequence >= ?1 AND sequence < ?2
    AND (acked_ms IS NULL OR acked_ms > ?3) ORDER BY sequence LIMIT 1";
pub(super) const KEEP_AUDIT: &str = "INSERT INTO old_audit (sequence, time_ms, body)
    SELECT sequence, time_ms, body FROM event WHERE sequence <= ?1 AND kind = 'fuel.audit.v1'";
pub(super) const OLD_AUDIT: &str = "DELETE FROM old_audit WHERE sequence IN
    (SELECT sequence FROM old_audit WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)";
const LAST_BEFORE: &str = "SELECT sequence, hash FROM event WHERE sequence < ?1 ORDER BY sequence DESC LIMIT 1";
pub(super) const REPLIES: &str = "DELETE FROM reply WHERE command_id IN
    (SELECT command_id FROM reply WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
pub(super) const CONTENT: &str = "UPDATE orders SET body = NULL WHERE order_id IN (SELECT order_id FROM orders
    WHERE ended IS NOT NULL AND body IS NOT NULL AND ended_ms < ?1 ORDER BY ended_ms LIMIT ?2)";

/// What one round of retention took away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Records, with their sales. Audit records among them are kept apart for three years.
    pub records: u64,
    /// Answers to commands.
    pub replies: u64,
    /// Orders whose content was dropped.
    pub orders: u64,
    /// There may be more to take away.
    pub more: bool,
}

pub(super) fn prune(connection: &mut Connection, path: &Path, now: UtcTime) -> Result<Pruned, StoreFault> {
    rounds(connection, now).map_err(|error| StoreFault::from_sqlite("take away what is old", path, &error))
}

fn rounds(connection: &mut Connection, now: UtcTime) -> rusqlite::Result<Pruned> {
    let before = |days: i64| now.plus_ms(-days * DAY_MS).unix_ms();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = |changed: usize| u64::try_from(changed).unwrap_or(0);
    let replies = transaction.prepare_cached(REPLIES)?.execute(params![before(REPLY_DAYS), AT_ONCE])?;
    let orders = transaction.prepare_cached(CONTENT)?.execute(params![before(ORDER_CONTENT_DAYS), AT_ONCE])?;
    // Local days end up to fourteen hours apart from those of UTC.
    transaction.execute(customers::OLD_DAYS, [before(1).div_euclid(DAY_MS)])?;
    let audits = transaction.prepare_cached(OLD_AUDIT)?.execute(params![before(AUDIT_DAYS), AT_ONCE])?;

    let mut records = 0;
    let first: Option<i64> = transaction.prepare_cached(FIRST)?.query_row([], |row| row.get(0))?;
    if let Some(first) = first {
        let end = first.saturating_add(AT_ONCE);
        let kept: Option<i64> = transaction
            .prepare_cached(KEPT)?
            .query_row(params![first, end, before(RECORD_DAYS)], |row| row.get(0))
            .optional()?;
        let end = consumers::first_held(&transaction, first, kept.unwrap_or(end), now.unix_ms())?;
        let last: Option<(i64, String)> =
            transaction.query_row(LAST_BEFORE, [end], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((sequence, hash)) = last {
            transaction.execute(KEEP_AUDIT, [sequence])?;
            transaction.execute("DELETE FROM sale WHERE sequence <= ?1", [sequence])?;
            records = transaction.execute("DELETE FROM event WHERE sequence <= ?1", [sequence])?;
            transaction
                .execute("UPDATE station SET pruned_sequence = ?1, pruned_hash = ?2", params![sequence, hash])?;
        }
    }
    transaction.commit()?;
    let full = |changed: usize| i64::try_from(changed).unwrap_or(0) >= AT_ONCE;
    let more = full(replies) || full(orders) || full(audits) || full(records);
    Ok(Pruned { records: count(records), replies: count(replies), orders: count(orders), more })
}
