//! Rows of prices: sets and what stands at each nozzle.

use crate::store::fault::StoreFault;
use crate::store::reader::{all, parse};
use crate::store::writes::{Pen, json, word};
use forecourt::ids::NozzleId;
use forecourt::ledger::Memory;
use forecourt::price::{KnownPriceSet, NozzlePrice};
use rusqlite::{Connection, params};
use std::path::Path;

const WHAT: &str = "read the prices";
const SET: &str = "INSERT INTO price_set (name, effective_ms, stage, body) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (name) DO UPDATE SET effective_ms = ?2, stage = ?3, body = ?4";
const SETS: &str = "SELECT body FROM price_set WHERE stage <> 'past' ORDER BY effective_ms, name";
const NOZZLE: &str = "INSERT INTO nozzle_price (nozzle, body) VALUES (?1, ?2) ON CONFLICT (nozzle) DO UPDATE SET body = ?2";
const NOZZLES: &str = "SELECT nozzle, body FROM nozzle_price";

impl Pen<'_> {
    pub(super) fn price_set(&self, known: &KnownPriceSet) -> Result<(), StoreFault> {
        let set = &known.set;
        let values =
            params![set.price_set.as_str(), set.effective_at.unix_ms(), word(&known.stage)?, json(known)?];
        self.run(SET, values)
    }

    pub(super) fn nozzle_price(&self, nozzle: NozzleId, price: &NozzlePrice) -> Result<(), StoreFault> {
        self.run(NOZZLE, params![nozzle.0, json(price)?])
    }
}

pub(super) fn recall(connection: &Connection, path: &Path, memory: &mut Memory) -> Result<(), StoreFault> {
    for body in all(connection, path, WHAT, SETS, [], |row| row.get::<_, String>(0))? {
        memory.price_sets.push(parse(WHAT, &body)?);
    }
    let nozzles = all(connection, path, WHAT, NOZZLES, [], |row| Ok((NozzleId(row.get(0)?), row.get::<_, String>(1)?)))?;
    for (nozzle, body) in nozzles {
        memory.prices.insert(nozzle, parse(WHAT, &body)?);
    }
    Ok(())
}
