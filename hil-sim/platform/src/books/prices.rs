//! Price sets: sent to a station with the time they take effect, and each nozzle's own confirmation. Shows: one posted price for all at
//! a nozzle; a price counts when the pump says so.

use super::{Act, Trouble};
use crate::contract::command::Command;
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
    /// `unknown_station`.
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
        let data = json!({"price_set": price_set, "effective_at": effective.to_string(), "prices": list});
        let command = Command::Other("fuel.price.set.v1".into(), data);
        let (id, _) = self.issue(station_id, &command, None, Some(effective.plus_ms(PRICE_AGE_MS)))?;
        let sql = "INSERT INTO price_set (price_set, station_id, effective_ms, prices, command_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.run(sql, params![price_set, station_id, effective.unix_ms(), list.to_string(), id.to_string()])?;
        Ok(price_set)
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
