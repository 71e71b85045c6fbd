//! The office's rows: open periods and their reports, wrong codes, revoked keys.

use crate::store::fault::StoreFault;
use crate::store::reader::{all, one};
use crate::store::writes::{Pen, integer};
use crate::store::{Reader, Store};
use cloud_sync::outbox::store::ReportPlace;
use cloud_sync::wire::chain::sequence_text;
use forecourt::ids::{Grade, NozzleId};
use forecourt::order::Basis;
use forecourt::period::{Period, Scope, Turned};
use forecourt::record::Record;
use forecourt::report::{Anchor, OutboxCounters, Range, Sold, Tally};
use forecourt::site::{OfficeMemory, OfficeWrite};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Volume};
use forecourt::voucher::CodeEntry;
use rusqlite::{Connection, Params, Row, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

const WHAT: &str = "make a report";
const PERIODS: &str = "SELECT scope, name, start_ms, end_ms FROM period";
const AFTER: &str = "SELECT after FROM period WHERE scope = ?1 AND name = ?2 AND start_ms = ?3";
const OPEN: &str = "INSERT INTO period (scope, name, start_ms, end_ms, after) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (scope) DO UPDATE SET name = ?2, start_ms = ?3, end_ms = ?4, after = ?5";
const SALES: &str =
    "SELECT nozzle, grade, basis, volume_ml, amount_minor, unaccounted_ml FROM sale WHERE sequence > ?1";
const UNACCOUNTED: &str = "SELECT body FROM event WHERE sequence > ?1 AND kind = 'fuel.unaccounted.v1'";
const TOTALISERS: &str = "SELECT t.nozzle, p.volume_ml, t.volume_ml FROM totaliser t
    LEFT JOIN period_totaliser p ON p.nozzle = t.nozzle AND p.scope = ?1";
const FORGET_STARTS: &str = "DELETE FROM period_totaliser WHERE scope = ?1";
const NOTE_STARTS: &str =
    "INSERT INTO period_totaliser (scope, nozzle, volume_ml) SELECT ?1, nozzle, volume_ml FROM totaliser";
const COUNT: &str = "SELECT count(*) FROM event WHERE sequence > ?1";
const PARTS: &str = "SELECT count(*) FROM report WHERE scope = ?1 AND period = ?2";
const REPORT: &str = "INSERT INTO report (scope, period, part, sequence) VALUES (?1, ?2, ?3, ?4)";
const OUTBOX: &str = "SELECT (SELECT count(*) FROM outbox WHERE set_aside = 0),
    (SELECT count(*) FROM outbox WHERE set_aside = 1), (SELECT time_ms FROM event WHERE sequence =
    (SELECT sequence FROM outbox WHERE set_aside = 0 ORDER BY sequence LIMIT 1))";
const CODES: &str = "INSERT INTO code_entry (only, wrong, locked_until_ms) VALUES (1, ?1, ?2)
    ON CONFLICT (only) DO UPDATE SET wrong = ?1, locked_until_ms = ?2";
const READ_CODES: &str = "SELECT wrong, locked_until_ms FROM code_entry";
const PLACES: &str = "SELECT r.sequence FROM report r JOIN event e USING (sequence) WHERE scope = ?1 AND period = ?2
    ORDER BY part";
const IS_OPEN: &str = "SELECT 1 FROM period WHERE scope = ?1 AND name = ?2";
const LAST_REPORT: &str = "SELECT e.body FROM report r JOIN event e USING (sequence) WHERE r.scope = ?1
    ORDER BY r.sequence DESC LIMIT 1";
const REPORTS: &str = "SELECT e.body FROM report r JOIN event e USING (sequence) WHERE r.scope = ?1 AND r.period = ?2
    ORDER BY r.part";

impl Pen<'_> {
    pub(super) fn office(&mut self, write: &OfficeWrite) -> Result<(), StoreFault> {
        match write {
            OfficeWrite::CodeEntry(codes) => {
                self.run(CODES, params![codes.wrong, codes.locked_until.map(UtcTime::unix_ms)])
            }
            OfficeWrite::Turned { id, time, turned, nozzles, currency } => {
                self.turn_period(*id, *time, turned, nozzles, *currency)
            }
            OfficeWrite::Anchor { id, time } => {
                let through_sequence = sequence_text(self.head.sequence);
                let anchor = Anchor { through_sequence, hash: self.head.hash.clone() };
                self.record(*id, *time, &Record::Anchor(anchor))
            }
        }
    }

    /// The report of a period is made in the commit that closes it: what is in it, and what is in the next, can never differ from what
    /// the chain holds.
    fn turn_period(
        &mut self,
        id: Uuid,
        time: UtcTime,
        turned: &Turned,
        nozzles: &BTreeMap<NozzleId, Grade>,
        currency: Currency,
    ) -> Result<(), StoreFault> {
        if let Some(closed) = &turned.closed {
            self.close(id, time, closed, nozzles, currency)?;
        }
        let (scope, open) = (turned.open.scope.word(), &turned.open);
        let after = integer(self.head.sequence)?;
        self.run(OPEN, params![scope, open.name, open.start.unix_ms(), open.end.unix_ms(), after])?;
        self.run(FORGET_STARTS, [scope])?;
        self.run(NOTE_STARTS, [scope])
    }

    fn close(
        &mut self,
        id: Uuid,
        time: UtcTime,
        period: &Period,
        nozzles: &BTreeMap<NozzleId, Grade>,
        currency: Currency,
    ) -> Result<(), StoreFault> {
        let scope = period.scope.word();
        let open: Option<u64> =
            self.get(AFTER, params![scope, period.name, period.start.unix_ms()], |row| row.get(0))?;
        // Closed already: a report is never made twice.
        let Some(after) = open else { return Ok(()) };
        let mut tally = Tally::new(nozzles);
        for sale in self.list(SALES, [integer(after)?], sold)? {
            tally.take_sale(&sale?);
        }
        for body in self.list(UNACCOUNTED, [integer(after)?], |row| row.get::<_, Vec<u8>>(0))? {
            if let Some((nozzle, volume)) = movement(&body) {
                tally.take_unaccounted(nozzle, volume);
            }
        }
        let ends = self.list(TOTALISERS, [scope], |row| {
            Ok((NozzleId(row.get(0)?), row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(2)?))
        })?;
        for (nozzle, start, end) in ends {
            tally.take_totalisers(nozzle, start.map(Volume::new), end.map(Volume::new));
        }
        let parts: u32 = self.get(PARTS, params![scope, period.name], |row| row.get(0))?.unwrap_or(0);
        let outbox = self.get(OUTBOX, [], |row| {
            let oldest_at = row.get::<_, Option<i64>>(2)?.map(UtcTime::from_unix_ms);
            Ok(OutboxCounters { pending: row.get(0)?, set_aside: row.get(1)?, oldest_at })
        })?;
        let there: u64 = self.get(COUNT, [integer(after)?], |row| row.get(0))?.unwrap_or(0);
        let range = Range {
            after: sequence_text(after),
            through: sequence_text(self.head.sequence),
            missing: self.head.sequence.saturating_sub(after).saturating_sub(there),
        };
        let report = tally.finish(period, parts + 1, currency, range, outbox.unwrap_or_default());
        self.record(id, time, &Record::Report(Box::new(report)))?;
        self.run(REPORT, params![scope, period.name, parts + 1, integer(self.head.sequence)?])
    }

    fn get<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreFault> {
        one(self.connection, self.path, WHAT, sql, values, read)
    }

    fn list<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreFault> {
        all(self.connection, self.path, WHAT, sql, values, read)
    }
}

fn sold(row: &Row<'_>) -> rusqlite::Result<Result<Sold, StoreFault>> {
    let (grade, basis): (String, String) = (row.get(1)?, row.get(2)?);
    let damaged = |why: String| StoreFault::Damaged { what: WHAT, why };
    let read = |grade: String, basis: String| {
        let grade = Grade::new(grade).map_err(|why| damaged(why.to_string()))?;
        let basis: Basis = serde_json::from_value(Value::String(basis)).map_err(|why| damaged(why.to_string()))?;
        Ok((grade, basis))
    };
    let (nozzle, volume, amount, unaccounted) = (row.get(0)?, row.get(3)?, row.get(4)?, row.get(5)?);
    Ok(read(grade, basis).map(|(grade, basis)| Sold {
        nozzle: NozzleId(nozzle),
        grade,
        basis,
        volume: Volume::new(volume),
        amount: forecourt::units::Money::new(amount),
        unaccounted: Volume::new(unaccounted),
    }))
}

/// Nozzle and volume of a `fuel.unaccounted.v1`.
fn movement(body: &[u8]) -> Option<(NozzleId, Volume)> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let data = event.get("data")?;
    let nozzle = u16::try_from(data.get("nozzle")?.as_u64()?).ok()?;
    Some((NozzleId(nozzle), Volume::new(data.get("volume_ml")?.as_i64()?)))
}

pub(super) fn memory(connection: &Connection, path: &Path) -> Result<OfficeMemory, StoreFault> {
    const WHAT: &str = "read what is open";
    let mut memory = OfficeMemory::default();
    let periods = all(connection, path, WHAT, PERIODS, [], |row| {
        let (start, end) = (UtcTime::from_unix_ms(row.get(2)?), UtcTime::from_unix_ms(row.get(3)?));
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, start, end))
    })?;
    for (scope, name, start, end) in periods {
        if let Some(scope) = Scope::from_word(&scope) {
            memory.open.insert(scope, Period { scope, name, start, end });
        }
    }
    let codes = one(connection, path, WHAT, READ_CODES, [], |row| {
        Ok(CodeEntry { wrong: row.get(0)?, locked_until: row.get::<_, Option<i64>>(1)?.map(UtcTime::from_unix_ms) })
    })?;
    memory.codes = codes.unwrap_or_default();
    Ok(memory)
}

/// Where the report of a period stands.
pub(super) fn place(
    connection: &Connection,
    path: &Path,
    scope: Scope,
    period: &str,
) -> Result<ReportPlace, StoreFault> {
    const WHAT: &str = "look up a report";
    let values = params![scope.word(), period];
    let made = all(connection, path, WHAT, PLACES, values, |row| row.get(0))?;
    if !made.is_empty() {
        return Ok(ReportPlace::Made(made));
    }
    let open = one(connection, path, WHAT, IS_OPEN, values, |_| Ok(()))?;
    Ok(if open.is_some() { ReportPlace::Open } else { ReportPlace::Unknown })
}

impl Reader {
    /// The reports of a period, or the last one of its kind: `data` of `fuel.report.v1`. More than one only where the clock was set back.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn reports(&self, scope: Scope, period: Option<&str>) -> Result<Vec<Value>, StoreFault> {
        const WHAT: &str = "look up a report";
        let body = |row: &Row<'_>| row.get::<_, Vec<u8>>(0);
        let bodies = match period {
            Some(period) => all(&self.connection, &self.path, WHAT, REPORTS, params![scope.word(), period], body)?,
            None => all(&self.connection, &self.path, WHAT, LAST_REPORT, [scope.word()], body)?,
        };
        let data =
            |body: Vec<u8>| serde_json::from_slice::<Value>(&body).ok().and_then(|event| event.get("data").cloned());
        Ok(bodies.into_iter().filter_map(data).collect())
    }

    /// The open period of a kind.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn open_period(&self, scope: Scope) -> Result<Option<Period>, StoreFault> {
        Ok(memory(&self.connection, &self.path)?.open.remove(&scope))
    }
}

impl Store {
    /// Never trusts a key of the platform again.
    ///
    /// # Errors
    /// [`StoreFault`]; then nothing is noted.
    pub fn revoke_key(&mut self, kid: &str) -> Result<(), StoreFault> {
        self.change("revoke a key", |transaction, now| {
            transaction.execute(
                "INSERT INTO revoked_key (kid, at_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![kid, now],
            )
        })?;
        Ok(())
    }

    /// Keys that are trusted no longer.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn revoked_keys(&self) -> Result<Vec<String>, StoreFault> {
        all(&self.connection, &self.path, "read the revoked keys", "SELECT kid FROM revoked_key", [], |row| row.get(0))
    }
}
