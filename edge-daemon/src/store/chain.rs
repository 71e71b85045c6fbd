//! The hash chain as stored: its head, and a check of all of it.

use crate::store::fault::StoreFault;
use cloud_sync::wire::chain::{self, ChainFault, Head};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

pub(super) const LAST: &str = "SELECT sequence, hash FROM event ORDER BY sequence DESC LIMIT 1";
pub(super) const ALL: &str = "SELECT sequence, id, hash, body FROM event ORDER BY sequence";
const PRUNED: &str = "SELECT pruned_sequence, pruned_hash FROM station";
pub(super) const LAST_GAP: &str = "SELECT last, hash FROM gap ORDER BY first DESC LIMIT 1";
pub(super) const GAP_AT: &str = "SELECT last, hash FROM gap WHERE first = ?1";

fn head_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head { sequence: row.get(0)?, hash: row.get(1)? })
}

/// The last link: of the newest record, or of the last one that retention took away, or of a gap that a rescue left after them.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let head = match connection.prepare_cached(LAST)?.query_row([], head_from).optional()? {
        Some(head) => head,
        None => connection.query_row(PRUNED, [], head_from)?,
    };
    let gap = connection.prepare_cached(LAST_GAP)?.query_row([], head_from).optional()?;
    Ok(gap.filter(|gap| gap.sequence > head.sequence).unwrap_or(head))
}

/// What a check of the chain found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainReport {
    /// Records that are whole and follow one another, from the oldest kept.
    pub good: u64,
    /// The head of the good part.
    pub head: Head,
    /// The first bad sequence and what is wrong there.
    pub broken: Option<(u64, ChainFault)>,
}

/// Checks every stored record against its hash, the one before it, and the columns it is found by.
pub(super) fn verify(connection: &Connection, path: &Path) -> Result<ChainReport, StoreFault> {
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite("check the chain of records", path, &error);
    let head = connection.query_row(PRUNED, [], head_from).map_err(fault)?;
    let mut report = ChainReport { good: 0, head, broken: None };
    let mut statement = connection.prepare(ALL).map_err(fault)?;
    let mut rows = statement.query([]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let sequence: u64 = row.get(0).map_err(fault)?;
        let id: String = row.get(1).map_err(fault)?;
        let hash: String = row.get(2).map_err(fault)?;
        let body: Vec<u8> = row.get(3).map_err(fault)?;
        if let Some(gap) = gap_after(connection, &report.head).map_err(fault)? {
            report.head = gap;
        }
        let due = report.head.sequence + 1;
        if sequence != due {
            report.broken = Some((due, ChainFault::OutOfPlace { expected: due, found: sequence }));
            break;
        }
        match chain::verify(&body, &report.head) {
            Ok(head) if head.hash == hash && holds_id(&body, &id) => {
                report.good += 1;
                report.head = head;
            }
            Ok(_) => {
                report.broken = Some((sequence, ChainFault::WrongHash { sequence }));
                break;
            }
            Err(why) => {
                report.broken = Some((sequence, why));
                break;
            }
        }
    }
    Ok(report)
}

/// Where the chain goes on if a rescue left a gap after this link.
fn gap_after(connection: &Connection, head: &Head) -> rusqlite::Result<Option<Head>> {
    connection.prepare_cached(GAP_AT)?.query_row([head.sequence + 1], head_from).optional()
}

/// Whether the record names itself as its row does.
fn holds_id(body: &[u8], id: &str) -> bool {
    let event: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    event.is_some_and(|event| event.get("id").and_then(serde_json::Value::as_str) == Some(id))
}
