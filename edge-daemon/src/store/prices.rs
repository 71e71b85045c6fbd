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
const NOZZLE: &str =
    "INSERT INTO nozzle_price (nozzle, body) VALUES (?1, ?2) ON CONFLICT (nozzle) DO UPDATE SET body = ?2";
const NOZZLES: &str = "SELECT nozzle, body FROM nozzle_price";

impl Pen<'_> {
    pub(super) fn price_set(&self, known: &KnownPriceSet) -> Result<(), StoreFault> {
        let set = &known.set;
        let values = params![set.price_set.as_str(), set.effective_at.unix_ms(), word(&known.stage)?, json(known)?];
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
    let nozzles =
        all(connection, path, WHAT, NOZZLES, [], |row| Ok((NozzleId(row.get(0)?), row.get::<_, String>(1)?)))?;
    for (nozzle, body) in nozzles {
        memory.prices.insert(nozzle, parse(WHAT, &body)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::store::{FILE_NAME, Store};
    use forecourt::ids::{Grade, NozzleId, PriceSetId, StationId};
    use forecourt::ledger::Write;
    use forecourt::price::{AppliedStatus, KnownPriceSet, NozzlePrice, PriceSet, SetStage, Target};
    use forecourt::time::UtcTime;
    use forecourt::units::UnitPrice;
    use std::path::Path;
    use uuid::Uuid;

    fn open(directory: &Path) -> Store {
        let station = StationId::new("st-1").expect("an id");
        Store::open(&directory.join(FILE_NAME), station, Uuid::from_u128(7)).expect("opens")
    }

    fn name(text: &str) -> PriceSetId {
        PriceSetId::new(text).expect("a name")
    }

    fn set(text: &str, at_ms: i64, stage: SetStage) -> KnownPriceSet {
        let set = PriceSet {
            price_set: name(text),
            effective_at: UtcTime::from_unix_ms(at_ms),
            prices: [(Grade::new("92").expect("a grade"), UnitPrice::new(7_600_000))].into(),
            ceiling: Some(UnitPrice::new(8_000_000)),
        };
        KnownPriceSet { set, stage, base: name("PS-1") }
    }

    #[test]
    fn sets_that_wait_or_stand_and_what_nozzles_show_outlive_the_process() {
        let home = tempfile::tempdir().expect("a directory");
        let target = Target {
            price: UnitPrice::new(7_600_000),
            set: name("PS-3"),
            told: true,
            status: Some(AppliedStatus::Pending),
            alarmed: false,
        };
        let price = NozzlePrice {
            price: UnitPrice::new(7_450_000),
            set: name("PS-2"),
            since: UtcTime::from_unix_ms(5),
            target: Some(target),
            base: name("PS-1"),
        };
        let write = |set: KnownPriceSet| Write::PriceSet(Box::new(set));
        let shows = |price: &NozzlePrice| Write::NozzlePrice { nozzle: NozzleId(3), price: Box::new(price.clone()) };
        let writes = [
            write(set("PS-4", 40, SetStage::Scheduled)),
            write(set("PS-2", 20, SetStage::InForce)),
            shows(&NozzlePrice { target: None, ..price.clone() }),
            write(set("PS-2", 20, SetStage::Past)),
            write(set("PS-3", 30, SetStage::InForce)),
            shows(&price),
        ];
        open(home.path()).apply(&[&writes]).expect("stores");
        let memory = open(home.path()).memory().expect("reads");
        let known = [set("PS-3", 30, SetStage::InForce), set("PS-4", 40, SetStage::Scheduled)];
        assert_eq!(memory.price_sets, known);
        assert_eq!(memory.prices, [(NozzleId(3), price)].into());
    }
}
