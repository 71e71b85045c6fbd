//! From the core's writes to rows.

use crate::store::fault::StoreFault;
use cloud_sync::wire::chain::{Head, seal};
use forecourt::command::Reply;
use forecourt::hold::Hold;
use forecourt::ids::{NozzleId, StationId};
use forecourt::ledger::{Release, Write};
use forecourt::order::{Order, OrderPhase};
use forecourt::record::{Record, Sale};
use forecourt::time::UtcTime;
use rusqlite::{Connection, Params, params};
use serde::Serialize;
use std::path::Path;
use uuid::Uuid;

const WHAT: &str = "store a commit";

pub(super) const ORDER: &str = "INSERT INTO orders
    (order_id, nozzle, phase, place, received_ms, content_hash, ended, ended_ms, body) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)
    ON CONFLICT (order_id) DO UPDATE SET nozzle = ?2, phase = ?3, place = ?4, received_ms = ?5, content_hash = ?6, ended = ?7,
    ended_ms = coalesce(ended_ms, ?8), body = ?9";
const NUMBER: &str = "INSERT INTO last_number (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)";
pub(super) const REPLY: &str =
    "INSERT INTO reply (command_id, giver, at_ms, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const RELEASE: &str = "INSERT INTO release (release, order_id, body) VALUES (?1, ?2, ?3)
    ON CONFLICT (release) DO UPDATE SET order_id = ?2, body = ?3";
pub(super) const RELEASE_CLOSED: &str = "DELETE FROM release WHERE release = ?1";
const TOTALISER: &str = "INSERT INTO totaliser (nozzle, volume_ml, at_ms) VALUES (?1, ?2, ?3)
    ON CONFLICT (nozzle) DO UPDATE SET volume_ml = ?2, at_ms = ?3";
pub(super) const UNHOLD: &str = "DELETE FROM hold WHERE nozzle = ?1";
const HOLD: &str = "INSERT INTO hold (nozzle, hold) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const EVENT: &str =
    "INSERT INTO event (sequence, id, kind, time_ms, priority, hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const OUTBOX: &str = "INSERT INTO outbox (sequence, priority) VALUES (?1, ?2)";
const SALE: &str = "INSERT INTO sale (sale_id, sequence, order_id, basis, fuelling_point, nozzle, grade, currency,
    unit_price_micros, price_set, volume_ml, amount_minor, totaliser_start_ml, totaliser_end_ml, unaccounted_ml, started_ms,
    ended_ms, finish, evidence, offline, recovered, flags)
    VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)";

/// Writes rows within one transaction and carries the head of the chain along.
pub(super) struct Pen<'a> {
    pub connection: &'a Connection,
    pub path: &'a Path,
    pub station: &'a StationId,
    pub boot: Uuid,
    pub head: &'a mut Head,
    pub now: UtcTime,
    /// Records written so far.
    pub records: u64,
}

impl Pen<'_> {
    pub fn write(&mut self, write: &Write) -> Result<(), StoreFault> {
        match write {
            Write::Order(order) => self.order(order),
            Write::Reply { reply, at } => self.reply(reply, *at),
            Write::Release(release) => self.release(release),
            Write::ReleaseClosed(release) => self.run(RELEASE_CLOSED, [integer(release.0)?]),
            Write::Totaliser { nozzle, volume, at } => {
                self.run(TOTALISER, params![nozzle.0, volume.get(), at.unix_ms()])
            }
            Write::Holds { nozzle, holds } => self.holds(*nozzle, holds),
            Write::PriceSet(known) => self.price_set(known),
            Write::NozzlePrice { nozzle, price } => self.nozzle_price(*nozzle, price),
            Write::CustomerDay(row) => self.customer_day(row),
            Write::List(update) => self.list(update),
            Write::Record { id, time, record } => self.record(*id, *time, record),
        }
    }

    pub(super) fn run(&self, sql: &str, values: impl Params) -> Result<(), StoreFault> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
        done.map(|_| ()).map_err(|error| StoreFault::from_sqlite(WHAT, self.path, &error))
    }

    fn order(&self, order: &Order) -> Result<(), StoreFault> {
        let ended = match &order.phase {
            OrderPhase::Ended { end } => Some(json(end)?),
            _ => None,
        };
        let ended_ms = ended.is_some().then_some(self.now.unix_ms());
        let request = &order.request;
        let place = integer(order.place)?;
        self.run(
            ORDER,
            params![
                request.order_id.as_str(),
                request.nozzle.0,
                order.phase.word(),
                place,
                order.received_at.unix_ms(),
                request.content_hash,
                ended,
                ended_ms,
                json(order)?
            ],
        )?;
        self.run(NUMBER, params!["place", place])
    }

    fn reply(&self, reply: &Reply, at: UtcTime) -> Result<(), StoreFault> {
        self.run(REPLY, params![reply.command_id.as_str(), "site", at.unix_ms(), json(reply)?])
    }

    fn release(&self, release: &Release) -> Result<(), StoreFault> {
        let number = integer(release.release.0)?;
        let order_id = release.order_id.as_ref().map(forecourt::ids::OrderId::as_str);
        self.run(RELEASE, params![number, order_id, json(release)?])?;
        self.run(NUMBER, params!["release", number])
    }

    fn holds(&self, nozzle: NozzleId, holds: &[Hold]) -> Result<(), StoreFault> {
        self.run(UNHOLD, [nozzle.0])?;
        for hold in holds {
            self.run(HOLD, params![nozzle.0, word(hold)?])?;
        }
        Ok(())
    }

    fn record(&mut self, id: Uuid, time: UtcTime, record: &Record) -> Result<(), StoreFault> {
        let sealed = seal(self.station, self.boot, self.head, id, time, record);
        let sequence = integer(sealed.sequence)?;
        self.run(
            EVENT,
            params![
                sequence,
                sealed.id.to_string(),
                sealed.kind,
                time.unix_ms(),
                sealed.priority,
                sealed.hash,
                sealed.bytes
            ],
        )?;
        self.run(OUTBOX, params![sequence, sealed.priority])?;
        if let Record::Sale(sale) = record {
            self.sale(sequence, sale)?;
        }
        *self.head = sealed.head();
        self.records += 1;
        Ok(())
    }

    /// The row of a sale whose record stands at this sequence.
    pub fn sale(&self, sequence: i64, sale: &Sale) -> Result<(), StoreFault> {
        self.run(
            SALE,
            params![
                sale.sale_id.to_string(),
                sequence,
                sale.order_id.as_ref().map(forecourt::ids::OrderId::as_str),
                word(&sale.basis)?,
                sale.fuelling_point.0,
                sale.nozzle.0,
                sale.grade.as_str(),
                sale.currency.code(),
                sale.unit_price.get(),
                sale.price_set.as_str(),
                sale.volume.get(),
                sale.amount.get(),
                sale.totaliser_start.map(forecourt::units::Volume::get),
                sale.totaliser_end.map(forecourt::units::Volume::get),
                sale.unaccounted.get(),
                sale.started_at.unix_ms(),
                sale.ended_at.unix_ms(),
                word(&sale.finish)?,
                word(&sale.evidence)?,
                sale.offline,
                sale.recovered,
                json(&sale.flags)?
            ],
        )
    }
}

/// A count as SQLite keeps it.
pub(super) fn integer(count: u64) -> Result<i64, StoreFault> {
    i64::try_from(count).map_err(|_| StoreFault::Refused { what: WHAT, why: format!("{count} is past 2^63") })
}

pub(super) fn json(value: &impl Serialize) -> Result<String, StoreFault> {
    serde_json::to_string(value).map_err(|error| StoreFault::Refused { what: WHAT, why: error.to_string() })
}

/// The contract's word of an enum without members.
pub(super) fn word(value: &impl Serialize) -> Result<String, StoreFault> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreFault::Refused { what: WHAT, why: format!("{other:?} is no word") }),
    }
}
