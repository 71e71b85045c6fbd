//! What becomes of a damaged store: it is set aside whole, a new one is begun, and what can be proven goes over.
//!
//! Records prove themselves by their hashes, so an unacknowledged sale is sent with the same bytes and the same sequence as ever. The
//! chain goes on from the last proven record; sequences that may have been given to records nobody can find are left out for good.
//! Where commits may be missing without a trace, no order that is open is taken for unserved: each goes to review and is never
//! released again, and orders asked for before the rescue are refused.

mod carve;
mod files;
mod salvage;
#[cfg(test)]
mod tests;

use crate::store::check::Trouble;
use crate::store::fault::StoreFault;
use crate::store::{migrate, writes};
use cloud_sync::wire::chain::{Head, Proven, prove};
use forecourt::ids::{NozzleId, OrderId, StationId, UuidMaker};
use forecourt::ledger::Write;
use forecourt::order::{OrderEnd, OrderPhase};
use forecourt::record::{Alarm, AlarmState, OrderReleased, OrderReview, Record, Sale};
use forecourt::time::UtcTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const WHAT: &str = "rescue a damaged store";
/// Sequences, release numbers and places left out where commits may be missing: more than a log ever holds.
const LEFT_OUT: u64 = 1_000;
/// A command may be dated so much later than our clock (contract section 2), and still have been served before.
const AHEAD_MS: i64 = 60_000;
/// A person settles a review within a day.
const REVIEW_MS: i64 = 24 * 60 * 60 * 1_000;

/// What a rescue did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rescued {
    /// Where the damaged store is kept.
    pub set_aside: PathBuf,
    /// What was wrong with it.
    pub troubles: Vec<String>,
    /// Unacknowledged records that are sent as ever.
    pub unsent: u64,
    /// Sales whose record was lost and that were booked again from their row.
    pub rebooked: u64,
    /// Unacknowledged records of which nothing could be found.
    pub lost: u64,
    /// Orders that went to review.
    pub reviews: u64,
    /// Commits may be missing without a trace.
    pub uncertain: bool,
}

/// Who rescues, and when.
pub(super) struct Bearings<'a> {
    pub path: &'a Path,
    pub station: &'a StationId,
    pub boot: Uuid,
    pub ids: &'a mut UuidMaker,
    pub now: UtcTime,
}

/// Whether an earlier run was interrupted in a rescue.
pub(super) fn is_pending(database: &Path) -> bool {
    files::pending(database).is_some()
}

/// Sets the store aside and puts a new one in its place. The caller holds the lock and nobody has the database open.
pub(super) fn rescue(mut at: Bearings<'_>, troubles: &[Trouble]) -> Result<Rescued, StoreFault> {
    let path = at.path;
    let io = |why: std::io::Error| StoreFault::Unavailable { what: WHAT, path: path.into(), why: why.to_string() };
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
    let stamp: String = at.now.to_string().chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect();
    let resumed = files::pending(path);
    let deep = resumed.is_some() || troubles.iter().any(Trouble::is_deep);
    let aside = match resumed {
        Some(aside) => aside,
        None => files::announce(path, &stamp).map_err(io)?,
    };
    files::set_aside(path, &aside).map_err(io)?;
    let copy = files::working_copy(path, &aside).map_err(io)?;
    let new = files::new_of(path);
    files::remove(&new).map_err(io)?;
    let mut connection = Connection::open(&new).map_err(fault)?;
    // Not in its place before it is whole and synced.
    connection.pragma_update(None, "synchronous", "OFF").map_err(fault)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(fault)?;
    migrate::migrate(&mut connection, migrate::STEPS, &new)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let old = Connection::open_with_flags(&copy, flags).map_err(fault)?;
    let report = Rescued {
        set_aside: aside.clone(),
        troubles: troubles.iter().map(Trouble::to_string).collect(),
        unsent: 0,
        rebooked: 0,
        lost: 0,
        reviews: 0,
        uncertain: deep,
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    let files = [aside.clone(), crate::store::check::log_of(&aside)];
    let report = fill(&mut at, &old, &transaction, &files, report)?;
    transaction.commit().map_err(fault)?;
    drop(old);
    connection.close().map_err(|(_, error)| fault(error))?;
    files::install(path).map_err(io)?;
    Ok(report)
}

fn fill(
    at: &mut Bearings<'_>,
    old: &Connection,
    new: &Transaction<'_>,
    files: &[PathBuf],
    mut report: Rescued,
) -> Result<Rescued, StoreFault> {
    let path = at.path;
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
    new.execute("INSERT INTO station (only, station_id) VALUES (1, ?1)", [at.station.as_str()]).map_err(fault)?;
    let found = salvage::salvage(old, new, files, report.uncertain).map_err(fault)?;
    report.uncertain |= !found.whole;
    let head = link_up(new, &found, report.uncertain, at.now).map_err(fault)?;
    if report.uncertain {
        let not_before = at.now.plus_ms(AHEAD_MS).unix_ms();
        new.execute("UPDATE station SET not_before_ms = ?1", [not_before]).map_err(fault)?;
        new.execute("UPDATE last_number SET value = value + ?1", [integer(LEFT_OUT)]).map_err(fault)?;
    }
    let mut head = head;
    let mut pen = writes::Pen {
        connection: new,
        path,
        station: at.station,
        boot: at.boot,
        head: &mut head,
        now: at.now,
        records: 0,
    };
    follow_records(&pen)?;
    let count = |sql: &str| new.query_row(sql, [], |row| row.get::<_, u64>(0)).map_err(fault);
    report.unsent = count("SELECT count(*) FROM outbox")?;
    let mut lost = found.missing.clone();
    for (sequence, sale) in rows_of_lost_sales(old, &lost) {
        pen.write(&record(at.ids, at.now, Record::Sale(Box::new(sale))))?;
        lost.remove(&sequence);
        report.rebooked += 1;
    }
    report.lost = u64::try_from(lost.len()).unwrap_or(u64::MAX);
    if report.uncertain {
        report.reviews = review_all(&mut pen, at.ids)?;
    }
    let text = format!(
        "the store was damaged and is kept as {}: {}; {} unsent records go on, {} sales were booked again, {} records are lost, \
         {} orders are in review",
        report.set_aside.display(),
        report.troubles.first().map_or("an earlier rescue was interrupted", String::as_str),
        report.unsent,
        report.rebooked,
        report.lost,
        report.reviews
    );
    let alarm =
        Alarm { alarm: "store_damaged".into(), place: "store".into(), state: AlarmState::Raised, since: at.now, text };
    pen.write(&record(at.ids, at.now, Record::Alarm(alarm)))?;
    Ok(report)
}

fn record(ids: &mut UuidMaker, now: UtcTime, record: Record) -> Write {
    Write::Record { id: ids.make(now), time: now, record: Box::new(record) }
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Notes every hole between the records and gives the head on which the next one is sealed.
fn link_up(new: &Connection, found: &salvage::Found, uncertain: bool, now: UtcTime) -> rusqlite::Result<Head> {
    const GAP: &str = "INSERT INTO gap (first, last, hash, found_ms) VALUES (?1, ?2, ?3, ?4)";
    let mut gap = new.prepare(GAP)?;
    let mut statement = new.prepare("SELECT sequence, hash, body FROM event ORDER BY sequence")?;
    let mut rows = statement.query([])?;
    let mut last: Option<Head> = None;
    while let Some(row) = rows.next()? {
        let (sequence, hash): (u64, String) = (row.get(0)?, row.get(1)?);
        let follows = last.as_ref().is_some_and(|last| last.sequence + 1 == sequence);
        if !follows {
            let body: Vec<u8> = row.get(2)?;
            let previous = prove(&body).map(|proven| proven.previous).unwrap_or_else(|_| Head::genesis().hash);
            match &last {
                None => {
                    let before = sequence.saturating_sub(1);
                    new.execute(
                        "UPDATE station SET pruned_sequence = ?1, pruned_hash = ?2",
                        params![before, previous],
                    )?;
                }
                Some(last) => {
                    gap.execute(params![last.sequence + 1, sequence - 1, previous, now.unix_ms()])?;
                }
            }
        }
        last = Some(Head { sequence, hash });
    }
    let proven = last.unwrap_or_else(Head::genesis);
    let highest = found.highest.max(proven.sequence);
    let next = if uncertain { highest.saturating_add(LEFT_OUT) } else { highest };
    if next == proven.sequence {
        return Ok(proven);
    }
    gap.execute(params![proven.sequence + 1, next, proven.hash, now.unix_ms()])?;
    Ok(Head { sequence: next, hash: proven.hash })
}

/// Makes the rows that follow from records: sales, ends of orders, totalisers. A record may be newer than any row that was found.
fn follow_records(pen: &writes::Pen<'_>) -> Result<(), StoreFault> {
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, pen.path, &error);
    let sql = "SELECT sequence, body FROM event
        WHERE kind IN ('fuel.sale.v1', 'fuel.order.released.v1') ORDER BY sequence";
    let mut statement = pen.connection.prepare(sql).map_err(fault)?;
    let mut rows = statement.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let (sequence, body): (i64, Vec<u8>) = (row.get(0).map_err(fault)?, row.get(1).map_err(fault)?);
        let Ok(Proven { kind, data, id, time, .. }) = prove(&body) else { continue };
        if kind == "fuel.sale.v1" {
            let Some(sale) = read_sale(data) else { continue };
            pen.sale(sequence, &sale)?;
            if let Some(end) = sale.totaliser_end {
                let newer = "INSERT INTO totaliser (nozzle, volume_ml, at_ms) VALUES (?1, ?2, ?3)
                    ON CONFLICT (nozzle) DO UPDATE SET volume_ml = ?2, at_ms = ?3 WHERE at_ms < ?3";
                let values = params![sale.nozzle.0, end.get(), sale.ended_at.unix_ms()];
                pen.connection.execute(newer, values).map_err(fault)?;
            }
            if let Some(order) = &sale.order_id {
                end_order(pen, order, sale.nozzle, &OrderEnd::Sale { id: sale.sale_id }, time)?;
            }
        } else if let Ok(released) = serde_json::from_value::<OrderReleased>(data) {
            let end = OrderEnd::Released { id, reason: released.reason };
            end_order(pen, &released.order_id, released.nozzle, &end, time)?;
        }
    }
    Ok(())
}

/// An order has the end that a record gives it, and no release of it is open. Of an order not found, its end is all that is known.
fn end_order(
    pen: &writes::Pen<'_>,
    order: &OrderId,
    nozzle: NozzleId,
    end: &OrderEnd,
    at: UtcTime,
) -> Result<(), StoreFault> {
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, pen.path, &error);
    let phase = OrderPhase::Ended { end: end.clone() };
    let sql = "INSERT INTO orders (order_id, nozzle, phase, place, received_ms, content_hash, ended, ended_ms)
        VALUES (?1, ?2, ?3, 0, ?5, '', ?4, ?5)
        ON CONFLICT (order_id) DO UPDATE SET phase = ?3, ended = ?4, ended_ms = ?5, body = NULL WHERE ended IS NULL";
    let values = params![order.as_str(), nozzle.0, phase.word(), writes::json(end)?, at.unix_ms()];
    pen.connection.execute(sql, values).map_err(fault)?;
    pen.connection.execute("DELETE FROM release WHERE order_id = ?1", [order.as_str()]).map_err(fault)?;
    Ok(())
}

/// The content of a sale's record.
fn read_sale(mut data: serde_json::Value) -> Option<Sale> {
    let context = data.get("context").map_or_else(|| "{}".into(), ToString::to_string);
    data.as_object_mut()?.insert("context".into(), context.into());
    serde_json::from_value(data).ok()
}

/// Sales of which the row is there and the record is not, from the row: all but limit, context and times' quality.
fn rows_of_lost_sales(old: &Connection, lost: &std::collections::BTreeSet<u64>) -> Vec<(u64, Sale)> {
    let sql = "SELECT sale_id, order_id, basis, fuelling_point, nozzle, grade, currency, unit_price_micros, price_set, volume_ml,
        amount_minor, totaliser_start_ml, totaliser_end_ml, unaccounted_ml, started_ms, ended_ms, finish, evidence, offline, flags
        FROM sale WHERE sequence = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let text = |at: usize| row.get::<_, Option<String>>(at);
        let number = |at: usize| row.get::<_, Option<i64>>(at);
        let time = |at: usize| row.get(at).map(|ms| UtcTime::from_unix_ms(ms).to_string());
        Ok(serde_json::json!({
            "sale_id": text(0)?, "order_id": text(1)?, "basis": text(2)?, "fuelling_point": number(3)?,
            "nozzle": number(4)?, "grade": text(5)?, "currency": text(6)?, "unit_price_micros": number(7)?,
            "price_set": text(8)?, "volume_ml": number(9)?, "amount_minor": number(10)?,
            "totaliser_start_ml": number(11)?, "totaliser_end_ml": number(12)?, "unaccounted_ml": number(13)?,
            "started_at": time(14)?, "ended_at": time(15)?, "finish": text(16)?, "evidence": text(17)?,
            "offline": row.get::<_, bool>(18)?,
            "flags": serde_json::from_str::<serde_json::Value>(&text(19)?.unwrap_or_default()).unwrap_or_default(),
            "recovered": true, "clock": "holdover", "limit": null, "attendant": null, "shift": null, "context": "{}",
        }))
    };
    let one = |sequence: &u64| {
        let found = old.query_row(sql, [integer(*sequence)], read).optional().ok()??;
        serde_json::from_value(found).ok().map(|sale| (*sequence, sale))
    };
    lost.iter().filter_map(one).collect()
}

/// Every open order goes to review: whether it was served cannot be known. Nothing that moved is put on it: that comes into the
/// books by the totalisers, without an order.
fn review_all(pen: &mut writes::Pen<'_>, ids: &mut UuidMaker) -> Result<u64, StoreFault> {
    const WHY: &str = "the station's store was damaged: whether fuel flowed on this order is not known";
    let memory = crate::store::reader::memory(pen.connection, pen.path)?;
    let reviews = u64::try_from(memory.orders.len()).unwrap_or(u64::MAX);
    for release in memory.releases {
        pen.write(&Write::ReleaseClosed(release.release))?;
    }
    for mut order in memory.orders {
        let review = OrderReview {
            order_id: order.request.order_id.clone(),
            nozzle: order.request.nozzle,
            why: WHY.into(),
            totaliser_start: None,
            deadline: pen.now.plus_ms(REVIEW_MS),
        };
        order.phase = OrderPhase::Review;
        pen.write(&Write::Order(Box::new(order)))?;
        let now = pen.now;
        pen.write(&record(ids, now, Record::Review(review)))?;
    }
    Ok(reviews)
}
