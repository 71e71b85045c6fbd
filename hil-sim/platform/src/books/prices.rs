//! Price sets: sent to a station with the time they take effect, and each nozzle's own confirmation. Shows: one posted price for all at
//! a nozzle; a price counts when the pump says so.

use super::{Act, Trouble};
use crate::contract::command::{Command, PriceSet};
use crate::refusal::Refusal;
use forecourt::ids::Grade;
use forecourt::time::UtcTime;
use forecourt::units::UnitPrice;
use rusqlite::params;
use serde_json::{Value, json};

/// A price set is taken up to a day after its time (contract section 9).
const PRICE_AGE_MS: i64 = 24 * 3_600_000;

impl Act<'_> {
    /// Sends a price set.
    ///
    /// # Errors
    /// `unknown_station`; `malformed` for what is no grade.
    pub fn set_prices(
        &mut self,
        station_id: &str,
        effective: UtcTime,
        prices: &[(&str, UnitPrice)],
    ) -> Result<String, Trouble> {
        self.station_position(station_id)?;
        let price_set = self.name("PS");
        let list: Value =
            prices.iter().map(|(grade, price)| json!({"grade": grade, "unit_price_micros": price.get()})).collect();
        let grade = |grade: &str| Grade::new(grade).map_err(|error| Refusal::new("malformed", error.to_string()));
        let by_grade = prices.iter().map(|(name, price)| Ok((grade(name)?, *price))).collect::<Result<_, Refusal>>()?;
        let set = PriceSet { name: price_set.clone(), effective_at: effective, prices: by_grade };
        let command = Command::SetPrices(Box::new(set));
        let (id, _) = self.issue(station_id, &command, None, Some(effective.plus_ms(PRICE_AGE_MS)))?;
        let sql = "INSERT INTO price_set (price_set, station_id, effective_ms, prices, command_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.run(sql, params![price_set, station_id, effective.unix_ms(), list.to_string(), id.to_string()])?;
        Ok(price_set)
    }

    /// The newest price sets of a station, with its answer and what each nozzle has said of them since.
    ///
    /// # Errors
    /// [`Trouble::Books`]; [`Trouble::Unreadable`] for what was stored otherwise.
    pub fn price_sets(&self, station_id: &str) -> Result<Vec<Value>, Trouble> {
        let sql = "SELECT price_set, effective_ms, prices, reply FROM price_set WHERE station_id = ?1 ORDER BY rowid DESC LIMIT 5";
        let sets = self.rows(sql, [station_id], |row| {
            let texts: (String, String, Option<String>) = (row.get(0)?, row.get(2)?, row.get(3)?);
            Ok((texts, UtcTime::from_unix_ms(row.get(1)?)))
        })?;
        let view = |((name, prices, reply), effective): ((String, String, Option<String>), UtcTime)| {
            let sql = "SELECT nozzle, unit_price_micros, status FROM price_applied WHERE price_set = ?1 AND station_id = ?2 ORDER BY nozzle";
            let nozzles = self.rows(sql, [name.as_str(), station_id], |row| {
                let (nozzle, price, status): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(json!({"nozzle": nozzle, "unit_price_micros": price, "status": status}))
            })?;
            let prices: Value = serde_json::from_str(&prices)?;
            let reply: Value = reply.map_or(Ok(Value::Null), |reply| serde_json::from_str(&reply))?;
            Ok(
                json!({"price_set": name, "effective_at": effective.to_string(), "prices": prices, "result": reply["result"],
                "detail": reply["detail"], "nozzles": nozzles}),
            )
        };
        sets.into_iter().map(view).collect()
    }

    /// A nozzle's confirmation.
    pub(super) fn take_price_applied(&self, station_id: &str, data: &Value) -> Result<(), Trouble> {
        let text = |name: &str| data[name].as_str().unwrap_or("");
        let row = params![
            text("price_set"),
            station_id,
            data["nozzle"].as_i64(),
            data["unit_price_micros"].as_i64(),
            text("status"),
            self.now_ms()
        ];
        let sql = "INSERT INTO price_applied VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT DO UPDATE SET unit_price_micros = ?4, status = ?5, at_ms = ?6";
        self.run(sql, row)?;
        Ok(())
    }
}
