//! Reading what can be read of a damaged store into a new one. Records are taken only where they prove themselves.

use cloud_sync::wire::chain::{self, Proven};
use forecourt::command::Reply;
use forecourt::hold::Hold;
use forecourt::ledger::Release;
use forecourt::list::ListRule;
use forecourt::order::{Order, OrderEnd};
use forecourt::price::{KnownPriceSet, NozzlePrice};
use forecourt::record::Record;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A table that is copied row by row.
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    key: &'static str,
    /// Whether what is in the row can be understood.
    sound: fn(&[Value]) -> bool,
}

fn any(_: &[Value]) -> bool {
    true
}

fn json<T: serde::de::DeserializeOwned>(value: &Value) -> bool {
    matches!(value, Value::Text(text) if serde_json::from_str::<T>(text).is_ok())
}

/// An order that is open must be whole; of one that has its end, the end must be.
fn sound_order(row: &[Value]) -> bool {
    match &row[6] {
        Value::Null => json::<Order>(&row[8]),
        end => json::<OrderEnd>(end),
    }
}

fn sound_reply(row: &[Value]) -> bool {
    row[1] != Value::Text("site".into()) || json::<Reply>(&row[3])
}

fn sound_release(row: &[Value]) -> bool {
    json::<Release>(&row[2])
}

const TABLES: [Table; 12] = [
    Table {
        name: "orders",
        columns: &["order_id", "nozzle", "phase", "place", "received_ms", "content_hash", "ended", "ended_ms", "body"],
        key: "order_id",
        sound: sound_order,
    },
    Table { name: "release", columns: &["release", "order_id", "body"], key: "release", sound: sound_release },
    Table { name: "reply", columns: &["command_id", "giver", "at_ms", "body"], key: "command_id", sound: sound_reply },
    Table { name: "last_number", columns: &["name", "value"], key: "name", sound: any },
    Table { name: "totaliser", columns: &["nozzle", "volume_ml", "at_ms"], key: "nozzle", sound: any },
    Table {
        name: "hold",
        columns: &["nozzle", "hold"],
        key: "nozzle, hold",
        sound: |row| json::<Hold>(&quoted(&row[1])),
    },
    Table {
        name: "price_set",
        columns: &["name", "effective_ms", "stage", "body"],
        key: "name",
        sound: |row| json::<KnownPriceSet>(&row[3]),
    },
    Table {
        name: "nozzle_price",
        columns: &["nozzle", "body"],
        key: "nozzle",
        sound: |row| json::<NozzlePrice>(&row[1]),
    },
    Table { name: "customer_day", columns: &["customer", "day", "sold_minor"], key: "customer", sound: any },
    Table { name: "list", columns: &["list", "version"], key: "list", sound: any },
    Table {
        name: "list_entry",
        columns: &["list", "kind", "subject", "rule"],
        key: "list, kind, subject",
        sound: |row| json::<ListRule>(&row[3]),
    },
    Table { name: "old_audit", columns: &["sequence", "time_ms", "body"], key: "sequence", sound: any },
];

/// What is no part of the books: it is taken along where it can be read, and an older store has none of it.
const EXTRAS: [Table; 2] = [
    Table {
        name: "consumer",
        columns: &["name", "cursor", "kinds", "keep_ms", "active", "passed_over", "taken_ms"],
        key: "name",
        sound: any,
    },
    Table { name: "note", columns: &["name", "value"], key: "name", sound: any },
];

fn quoted(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(format!("\"{text}\"")),
        other => other.clone(),
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Everything could be read and understood.
    pub whole: bool,
    /// Sequences in the outbox whose record was not found.
    pub missing: BTreeSet<u64>,
    /// The highest sequence that anything names.
    pub highest: u64,
}

/// Copies everything but the sales, which are made again from their records. `files` are searched for records that SQLite does not
/// find; `deep` says that it may not see all of them.
pub(super) fn salvage(old: &Connection, new: &Connection, files: &[PathBuf], deep: bool) -> rusqlite::Result<Found> {
    let mut found = Found { whole: true, ..Found::default() };
    for table in &TABLES {
        found.whole &= copy(old, new, table)?;
    }
    for table in &EXTRAS {
        copy(old, new, table)?;
    }
    let mut pending: BTreeMap<u64, [Value; 4]> = BTreeMap::new();
    let outbox_whole =
        from_both_ends(old, "SELECT sequence, priority, set_aside, refusals, reason FROM outbox", "sequence", |row| {
            pending.insert(row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]);
            Ok(true)
        })?;
    found.whole &= outbox_whole;
    found.highest = pending.keys().last().copied().unwrap_or(0);
    // What was acknowledged stays in the store that is set aside, but for what stands among the rest and the last link.
    let floor = match (outbox_whole, pending.keys().next()) {
        (true, Some(first)) => *first,
        (true, None) => last_of(old),
        (false, _) => 0,
    };
    found.whole &= records(old, new, floor, &mut found.highest)?;
    found.missing = pending.keys().copied().filter(|sequence| !has(new, *sequence)).collect();
    if deep || !found.whole || !found.missing.is_empty() {
        for file in files.iter().filter(|file| file.exists()) {
            let mut outcome = Ok(());
            let wanted = |sequence: u64| sequence >= floor && !has(new, sequence);
            let carved = super::carve::carve(file, wanted, |proven, bytes| {
                found.highest = found.highest.max(proven.sequence);
                if outcome.is_ok() {
                    outcome = insert(new, &proven, bytes, None);
                }
            });
            outcome?;
            found.whole &= carved.is_ok();
        }
        found.missing.retain(|sequence| !has(new, *sequence));
    }
    let mut known = new.prepare("SELECT sequence, priority FROM event WHERE acked_ms IS NULL ORDER BY sequence")?;
    let mut place = new
        .prepare("INSERT INTO outbox (sequence, priority, set_aside, refusals, reason) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut rows = known.query([])?;
    while let Some(row) = rows.next()? {
        let (sequence, priority): (u64, Value) = (row.get(0)?, row.get(1)?);
        let fresh = [priority, Value::Integer(0), Value::Integer(0), Value::Null];
        let [priority, set_aside, refusals, reason] = pending.get(&sequence).cloned().unwrap_or(fresh);
        place.execute(params![sequence, priority, set_aside, refusals, reason])?;
    }
    Ok(found)
}

/// Hands over rows in the order of `key`, and where that breaks off, those from the other end too. `take` says whether a row was sound.
/// True if all were read and sound.
fn from_both_ends(
    old: &Connection,
    select: &str,
    key: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<bool> {
    let mut sound = true;
    for backwards in ["", " DESC"] {
        let order: Vec<String> = key.split(", ").map(|column| format!("{column}{backwards}")).collect();
        let Ok(mut statement) = old.prepare(&format!("{select} ORDER BY {}", order.join(", "))) else {
            return Ok(false);
        };
        let Ok(mut rows) = statement.query([]) else { return Ok(false) };
        loop {
            match rows.next() {
                Ok(Some(row)) => sound &= take(row).unwrap_or(false),
                Ok(None) if backwards.is_empty() => return Ok(sound),
                Ok(None) | Err(_) => break,
            }
        }
    }
    Ok(false)
}

fn copy(old: &Connection, new: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let columns = table.columns.join(", ");
    let marks: Vec<String> = (1..=table.columns.len()).map(|number| format!("?{number}")).collect();
    let insert = format!("INSERT OR IGNORE INTO {} ({columns}) VALUES ({})", table.name, marks.join(", "));
    let mut insert = new.prepare(&insert)?;
    from_both_ends(old, &format!("SELECT {columns} FROM {}", table.name), table.key, |row| {
        let values = (0..table.columns.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()?;
        // A row of the wrong types is refused by the new table.
        Ok((table.sound)(&values) && insert.execute(params_from_iter(&values)).is_ok())
    })
}

fn records(old: &Connection, new: &Connection, floor: u64, highest: &mut u64) -> rusqlite::Result<bool> {
    let select = format!("SELECT sequence, body, acked_ms FROM event WHERE sequence >= {floor}");
    from_both_ends(old, &select, "sequence", |row| {
        let (sequence, acked): (u64, Option<i64>) = (row.get(0)?, row.get(2)?);
        *highest = sequence.max(*highest);
        let bytes: Vec<u8> = row.get(1)?;
        match chain::prove(&bytes) {
            Ok(proven) if proven.sequence == sequence => insert(new, &proven, &bytes, acked)?,
            // It stays where it was set aside. If it is in the outbox, it is missed there.
            _ => {}
        }
        Ok(true)
    })
}

fn insert(new: &Connection, proven: &Proven, bytes: &[u8], acked: Option<i64>) -> rusqlite::Result<()> {
    const EVENT: &str = "INSERT OR IGNORE INTO event (sequence, id, kind, time_ms, priority, hash, acked_ms, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Proven { sequence, hash, id, kind, time, .. } = proven;
    let priority = Record::priority_of(kind);
    new.prepare_cached(EVENT)?
        .execute(params![sequence, id.to_string(), kind, time.unix_ms(), priority, hash, acked, bytes])
        .map(|_| ())
}

fn has(new: &Connection, sequence: u64) -> bool {
    new.prepare_cached("SELECT 1 FROM event WHERE sequence = ?1")
        .and_then(|mut statement| statement.exists([sequence]))
        .unwrap_or(false)
}

fn last_of(old: &Connection) -> u64 {
    old.query_row("SELECT max(sequence) FROM event", [], |row| row.get::<_, Option<u64>>(0)).ok().flatten().unwrap_or(0)
}
