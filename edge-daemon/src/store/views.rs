//! What `edgectl` and the state show of the books.

use crate::store::fault::StoreFault;
use crate::store::reader::{all, one};
use forecourt::ids::NozzleId;
use forecourt::time::UtcTime;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use std::path::Path;

pub(super) const ORDERS: &str = "SELECT order_id, nozzle, phase, received_ms, ended, ended_ms FROM orders
    ORDER BY received_ms DESC LIMIT ?1";
pub(super) const OPEN: &str = "SELECT order_id, nozzle, phase, received_ms, ended, ended_ms FROM orders
    WHERE ended IS NULL ORDER BY place";
pub(super) const OUTBOX: &str =
    "SELECT e.sequence, e.id, e.kind, e.time_ms, e.priority, o.set_aside, o.refusals, o.reason
    FROM outbox o JOIN event e USING (sequence) WHERE o.sequence > 0 ORDER BY o.sequence LIMIT ?1";
const COUNTS: &str =
    "SELECT (SELECT count(*) FROM outbox WHERE set_aside = 0), (SELECT count(*) FROM outbox WHERE set_aside = 1)";
pub(super) const SALE_BY_ID: &str = "SELECT s.*, e.id, e.hash, e.acked_ms FROM sale s JOIN event e USING (sequence)
    WHERE s.sale_id = ?1";
pub(super) const SALE_BY_ORDER: &str = "SELECT s.*, e.id, e.hash, e.acked_ms FROM sale s JOIN event e USING (sequence)
    WHERE s.order_id = ?1";
pub(super) const LAST_SALE: &str = "SELECT s.*, e.id, e.hash, e.acked_ms FROM sale s JOIN event e USING (sequence)
    WHERE s.nozzle = ?1 ORDER BY s.ended_ms DESC, s.sequence DESC LIMIT 1";

/// An order in one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OrderView {
    /// Its name.
    pub order_id: String,
    /// Where it stands.
    pub nozzle: NozzleId,
    /// The contract's word.
    pub state: String,
    /// When it came.
    pub received_at: UtcTime,
    /// Its end, if it has one.
    pub end: Option<serde_json::Value>,
    /// When that was stored.
    pub ended_at: Option<UtcTime>,
}

/// An unacknowledged record in one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutboxView {
    /// Its place in the chain.
    pub sequence: u64,
    /// The event's id.
    pub id: String,
    /// The CloudEvent type.
    pub kind: String,
    /// The event's time.
    pub time: UtcTime,
    /// Order of importance, 0 first.
    pub priority: u8,
    /// Out of the queue after refusals.
    pub set_aside: bool,
    /// How often the platform refused it.
    pub refusals: u32,
    /// What it said last.
    pub reason: Option<String>,
}

/// A sale with the record it is in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs, reason = "the contract's members of fuel.sale.v1, section 5")]
pub struct SaleView {
    pub sale_id: String,
    /// Its record's place in the chain.
    pub sequence: u64,
    pub order_id: Option<String>,
    pub basis: String,
    pub fuelling_point: u16,
    pub nozzle: NozzleId,
    pub grade: String,
    pub currency: String,
    pub unit_price_micros: i64,
    pub price_set: String,
    pub volume_ml: i64,
    pub amount_minor: i64,
    pub totaliser_start_ml: Option<i64>,
    pub totaliser_end_ml: Option<i64>,
    pub unaccounted_ml: i64,
    pub started_at: UtcTime,
    pub ended_at: UtcTime,
    pub finish: String,
    pub evidence: String,
    pub offline: bool,
    pub recovered: bool,
    pub flags: serde_json::Value,
    /// Its record's event id.
    pub event_id: String,
    /// Its record's hash.
    pub hash: String,
    /// When the platform acknowledged it.
    pub acknowledged_at: Option<UtcTime>,
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<UtcTime> {
    row.get(column).map(UtcTime::from_unix_ms)
}

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn order(row: &Row<'_>) -> rusqlite::Result<OrderView> {
    Ok(OrderView {
        order_id: row.get(0)?,
        nozzle: NozzleId(row.get(1)?),
        state: row.get(2)?,
        received_at: UtcTime::from_unix_ms(row.get(3)?),
        end: row.get::<_, Option<String>>(4)?.map(|end| value(&end)),
        ended_at: row.get::<_, Option<i64>>(5)?.map(UtcTime::from_unix_ms),
    })
}

pub(super) fn orders(connection: &Connection, path: &Path, limit: u32) -> Result<Vec<OrderView>, StoreFault> {
    const WHAT: &str = "list the orders";
    let mut orders = all(connection, path, WHAT, ORDERS, [limit], order)?;
    // An order may stay open for long: it is shown however many came after it.
    for open in all(connection, path, WHAT, OPEN, [], order)? {
        if orders.iter().all(|shown| shown.order_id != open.order_id) {
            orders.push(open);
        }
    }
    Ok(orders)
}

pub(super) fn outbox(connection: &Connection, path: &Path, limit: u32) -> Result<Vec<OutboxView>, StoreFault> {
    all(connection, path, "list the outbox", OUTBOX, [limit], |row| {
        Ok(OutboxView {
            sequence: row.get(0)?,
            id: row.get(1)?,
            kind: row.get(2)?,
            time: UtcTime::from_unix_ms(row.get(3)?),
            priority: row.get(4)?,
            set_aside: row.get(5)?,
            refusals: row.get(6)?,
            reason: row.get(7)?,
        })
    })
}

pub(super) fn outbox_counts(connection: &Connection, path: &Path) -> Result<(u64, u64), StoreFault> {
    let counts = one(connection, path, "count the outbox", COUNTS, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.unwrap_or_default())
}

fn sale_from(row: &Row<'_>) -> rusqlite::Result<SaleView> {
    Ok(SaleView {
        sale_id: row.get("sale_id")?,
        sequence: row.get("sequence")?,
        order_id: row.get("order_id")?,
        basis: row.get("basis")?,
        fuelling_point: row.get("fuelling_point")?,
        nozzle: NozzleId(row.get("nozzle")?),
        grade: row.get("grade")?,
        currency: row.get("currency")?,
        unit_price_micros: row.get("unit_price_micros")?,
        price_set: row.get("price_set")?,
        volume_ml: row.get("volume_ml")?,
        amount_minor: row.get("amount_minor")?,
        totaliser_start_ml: row.get("totaliser_start_ml")?,
        totaliser_end_ml: row.get("totaliser_end_ml")?,
        unaccounted_ml: row.get("unaccounted_ml")?,
        started_at: time(row, "started_ms")?,
        ended_at: time(row, "ended_ms")?,
        finish: row.get("finish")?,
        evidence: row.get("evidence")?,
        offline: row.get("offline")?,
        recovered: row.get("recovered")?,
        flags: value(&row.get::<_, String>("flags")?),
        event_id: row.get("id")?,
        hash: row.get("hash")?,
        acknowledged_at: row.get::<_, Option<i64>>("acked_ms")?.map(UtcTime::from_unix_ms),
    })
}

pub(super) fn sale(connection: &Connection, path: &Path, id: &str) -> Result<Option<SaleView>, StoreFault> {
    const WHAT: &str = "look up a sale";
    match one(connection, path, WHAT, SALE_BY_ID, [id], sale_from)? {
        Some(sale) => Ok(Some(sale)),
        None => one(connection, path, WHAT, SALE_BY_ORDER, [id], sale_from),
    }
}

pub(super) fn last_sale(
    connection: &Connection,
    path: &Path,
    nozzle: NozzleId,
) -> Result<Option<SaleView>, StoreFault> {
    one(connection, path, "look up the last sale of a nozzle", LAST_SALE, params![nozzle.0], sale_from)
}
