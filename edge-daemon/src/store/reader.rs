//! Reading the books on a connection of its own, so that a look-up never waits for the writer.

use crate::store::chain::{self, ChainReport};
use crate::store::check::{self, Trouble};
use crate::store::fault::StoreFault;
use crate::store::{customers, migrate, prices, views};
use forecourt::command::{Outcome, Reply};
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, NozzleId, OrderId};
use forecourt::ledger::{EndedOrder, KnownTotaliser, Ledger, Memory};
use forecourt::order::{OrderEnd, ReleaseReason};
use forecourt::time::UtcTime;
use forecourt::units::Volume;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub(super) const OPEN_ORDERS: &str = "SELECT body FROM orders WHERE ended IS NULL ORDER BY place";
pub(super) const ENDED_ORDER: &str = "SELECT content_hash, ended FROM orders WHERE order_id = ?1 AND ended IS NOT NULL";
pub(super) const SITE_REPLY: &str = "SELECT body FROM reply WHERE command_id = ?1 AND giver = 'site'";
const RELEASES: &str = "SELECT body FROM release ORDER BY release";
const TOTALISERS: &str = "SELECT nozzle, volume_ml, at_ms FROM totaliser";
const HOLDS: &str = "SELECT nozzle, hold FROM hold";
const NUMBER: &str = "SELECT value FROM last_number WHERE name = ?1";

/// A connection that only reads. It sees every commit as soon as that is durable.
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

impl core::fmt::Debug for Reader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        Self::over(connection, path)
    }

    /// Opens a database that nobody has open and that has no log, without making one.
    pub(super) fn open_at_rest(path: &Path) -> Result<Self, StoreFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags);
        Self::over(connection, path)
    }

    fn over(connection: rusqlite::Result<Connection>, path: &Path) -> Result<Self, StoreFault> {
        let fault = |error: rusqlite::Error| StoreFault::from_sqlite("open the store for reading", path, &error);
        let connection = connection.map_err(fault)?;
        connection.busy_timeout(core::time::Duration::from_secs(1)).map_err(fault)?;
        let found = migrate::version(&connection).map_err(fault)?;
        let known = i64::try_from(migrate::STEPS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreFault::TooNew { path: path.into(), found, known });
        }
        if found < known {
            return Err(StoreFault::Unavailable {
                what: "open the store for reading",
                path: path.into(),
                why: format!(
                    "its schema is version {found}, not {known}: start edge-daemon once to bring it up to date"
                ),
            });
        }
        Ok(Self { connection, path: path.into() })
    }

    /// What a new run of the core needs to know of those before.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn memory(&self) -> Result<Memory, StoreFault> {
        memory(&self.connection, &self.path)
    }

    /// Checks every stored record against its hash and the one before it.
    ///
    /// # Errors
    /// [`StoreFault`] where the rows cannot be read at all; a broken chain is a result.
    pub fn verify_chain(&self) -> Result<ChainReport, StoreFault> {
        chain::verify(&self.connection, &self.path)
    }

    /// Checks everything: the structure, and every record against its hash and the one before it. Reads the whole store.
    ///
    /// # Errors
    /// [`StoreFault`] where the store cannot be read for another reason than damage.
    pub fn check(&self) -> Result<Vec<Trouble>, StoreFault> {
        check::whole(&self.connection, &self.path)
    }

    /// The last orders to come, newest first; all that are open among them.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn orders(&self, limit: u32) -> Result<Vec<views::OrderView>, StoreFault> {
        views::orders(&self.connection, &self.path, limit)
    }

    /// Records that nobody has acknowledged, oldest first.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn outbox(&self, limit: u32) -> Result<Vec<views::OutboxView>, StoreFault> {
        views::outbox(&self.connection, &self.path, limit)
    }

    /// How many records nobody has acknowledged: pending and set aside.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn outbox_counts(&self) -> Result<(u64, u64), StoreFault> {
        views::outbox_counts(&self.connection, &self.path)
    }

    /// A sale by its own id or by that of its order.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn sale(&self, id: &str) -> Result<Option<views::SaleView>, StoreFault> {
        views::sale(&self.connection, &self.path, id)
    }

    /// The last sale of a nozzle.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn last_sale(&self, nozzle: NozzleId) -> Result<Option<views::SaleView>, StoreFault> {
        views::last_sale(&self.connection, &self.path, nozzle)
    }

    fn find_reply(&self, id: &CommandId) -> Result<Option<Reply>, StoreFault> {
        const WHAT: &str = "look up the answer to a command";
        let body: Option<String> =
            one(&self.connection, &self.path, WHAT, SITE_REPLY, [id.as_str()], |row| row.get(0))?;
        body.map(|body| parse(WHAT, &body)).transpose()
    }

    fn find_end(&self, id: &OrderId) -> Result<Option<EndedOrder>, StoreFault> {
        const WHAT: &str = "look up an order";
        let found: Option<(String, String)> =
            one(&self.connection, &self.path, WHAT, ENDED_ORDER, [id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        found.map(|(content_hash, end)| Ok(EndedOrder { content_hash, end: parse(WHAT, &end)? })).transpose()
    }
}

/// A store that cannot be read must never look like an order not seen before: that would release fuel twice. So a failed look-up
/// answers as if the command had been refused, and the order had ended.
impl Ledger for Reader {
    fn reply_to(&self, id: &CommandId) -> Option<Reply> {
        self.find_reply(id).unwrap_or_else(|fault| {
            tracing::error!(command = %id, %fault, "command refused: its earlier answer cannot be looked up");
            Some(Reply {
                command_id: id.clone(),
                command_type: String::new(),
                outcome: Outcome::StationHeld,
                detail: "The station cannot read its store; nothing was done.".into(),
                repeated: false,
            })
        })
    }

    fn ended_order(&self, id: &OrderId) -> Option<EndedOrder> {
        self.find_end(id).unwrap_or_else(|fault| {
            tracing::error!(order = %id, %fault, "order taken as ended: it cannot be looked up");
            let end = OrderEnd::Released { id: Uuid::nil(), reason: ReleaseReason::Fault };
            Some(EndedOrder { content_hash: String::new(), end })
        })
    }
}

pub(super) fn memory(connection: &Connection, path: &Path) -> Result<Memory, StoreFault> {
    const WHAT: &str = "read what is open";
    let bodies = |sql| all(connection, path, WHAT, sql, [], |row| row.get::<_, String>(0));
    let mut memory = Memory::default();
    for body in bodies(OPEN_ORDERS)? {
        memory.orders.push(parse(WHAT, &body)?);
    }
    for body in bodies(RELEASES)? {
        memory.releases.push(parse(WHAT, &body)?);
    }
    let totalisers = all(connection, path, WHAT, TOTALISERS, [], |row| {
        let known = KnownTotaliser { volume: Volume::new(row.get(1)?), at: UtcTime::from_unix_ms(row.get(2)?) };
        Ok((NozzleId(row.get(0)?), known))
    })?;
    memory.totalisers.extend(totalisers);
    let holds = all(connection, path, WHAT, HOLDS, [], |row| Ok((NozzleId(row.get(0)?), row.get::<_, String>(1)?)))?;
    for (nozzle, hold) in holds {
        let hold: Hold = parse(WHAT, &serde_json::Value::String(hold).to_string())?;
        memory.holds.entry(nozzle).or_default().push(hold);
    }
    for holds in memory.holds.values_mut() {
        holds.sort_unstable();
    }
    prices::recall(connection, path, &mut memory)?;
    customers::recall(connection, path, &mut memory)?;
    let number = |name: &str| one(connection, path, WHAT, NUMBER, [name], |row| row.get(0));
    memory.last_release = number("release")?.unwrap_or(0);
    memory.last_place = number("place")?.unwrap_or(0);
    Ok(memory)
}

pub(super) fn parse<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T, StoreFault> {
    serde_json::from_str(body).map_err(|error| StoreFault::Damaged { what, why: format!("{error} in {body}") })
}

/// One row, if there is one.
pub(super) fn one<T>(
    connection: &Connection,
    path: &Path,
    what: &'static str,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreFault> {
    let found = connection.prepare_cached(sql).and_then(|mut statement| statement.query_row(values, read).optional());
    found.map_err(|error| StoreFault::from_sqlite(what, path, &error))
}

/// All rows.
pub(super) fn all<T>(
    connection: &Connection,
    path: &Path,
    what: &'static str,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreFault> {
    let found = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>());
    found.map_err(|error| StoreFault::from_sqlite(what, path, &error))
}
