//! The daemon's store, read from outside while it runs: a witness beside the platform and the pumps.

use forecourt::ids::{NozzleId, OrderId};
use forecourt::units::{Money, Volume};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::path::Path;
use std::time::Duration;

/// The file in the daemon's data directory.
pub const FILE: &str = "station.db";

/// The store, read-only.
#[derive(Debug)]
pub struct Books {
    connection: Connection,
}

/// A sale's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaleRow {
    /// Its place in the chain.
    pub sequence: i64,
    /// Its name.
    pub sale_id: String,
    /// Sold.
    pub volume: Volume,
    /// Sold.
    pub amount: Money,
    /// The nozzle's totaliser afterwards.
    pub totaliser_end: Option<Volume>,
    /// How it ended.
    pub finish: String,
}

impl Books {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// If the daemon has not made it yet, or it cannot be read.
    pub fn open(data_directory: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(
            data_directory.join(FILE),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(Self { connection })
    }

    /// The sale that ended an order. The store itself refuses a second one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sale_of(&self, order: &OrderId) -> rusqlite::Result<Option<SaleRow>> {
        self.connection
            .prepare_cached(
                "SELECT sequence, sale_id, volume_ml, amount_minor, totaliser_end_ml, finish FROM sale WHERE order_id = ?1",
            )?
            .query_row([order.as_str()], |row| {
                Ok(SaleRow {
                    sequence: row.get(0)?,
                    sale_id: row.get(1)?,
                    volume: Volume::new(row.get(2)?),
                    amount: Money::new(row.get(3)?),
                    totaliser_end: row.get::<_, Option<i64>>(4)?.map(Volume::new),
                    finish: row.get(5)?,
                })
            })
            .optional()
    }

    /// The end of an order as the store has it: `sale`, or `released` and the reason; `None` while it has none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn end_of(&self, order: &OrderId) -> rusqlite::Result<Option<String>> {
        let ended: Option<Option<String>> = self
            .connection
            .prepare_cached("SELECT ended FROM orders WHERE order_id = ?1")?
            .query_row([order.as_str()], |row| row.get(0))
            .optional()?;
        let Some(end) = ended.flatten().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()) else {
            return Ok(None);
        };
        let kind = end["kind"].as_str().unwrap_or("?");
        Ok(Some(match end["reason"].as_str() {
            Some(reason) => format!("{kind} {reason}"),
            None => kind.to_owned(),
        }))
    }

    /// The last totaliser known of a nozzle.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn totaliser(&self, nozzle: NozzleId) -> rusqlite::Result<Option<Volume>> {
        self.connection
            .prepare_cached("SELECT volume_ml FROM totaliser WHERE nozzle = ?1")?
            .query_row([nozzle.0], |row| row.get(0).map(Volume::new))
            .optional()
    }

    /// Records waiting in the outbox, those set aside included.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn outbox(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
    }

    /// Orders whose sale is stored with a sequence above this, with that sequence, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sales_after(&self, sequence: i64) -> rusqlite::Result<Vec<(i64, Option<String>)>> {
        self.connection
            .prepare_cached("SELECT sequence, order_id FROM sale WHERE sequence > ?1 ORDER BY sequence")?
            .query_map([sequence], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }
}
