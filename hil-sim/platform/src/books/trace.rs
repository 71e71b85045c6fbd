//! One order's whole way with its times: from the tap to the booked commission under one name.

use super::{Act, Trouble};
use crate::refusal::{Refusal, litres};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, Volume};

/// One stage of an order's way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// What happened.
    pub step: String,
    /// When, by the clock of `whose`.
    pub at: UtcTime,
    /// `platform` or `station`.
    pub whose: &'static str,
    /// More about it.
    pub detail: Option<String>,
}

impl Act<'_> {
    /// All stages in the order of their times.
    ///
    /// # Errors
    /// `unknown_order`.
    pub fn trace(&self, order_id: &str) -> Result<Vec<Stage>, Trouble> {
        let mut stages = self.rows(
            "SELECT step, at_ms, detail FROM step WHERE order_id = ?1 ORDER BY at_ms, rowid",
            [order_id],
            |row| {
                Ok(Stage {
                    step: row.get(0)?,
                    at: UtcTime::from_unix_ms(row.get(1)?),
                    whose: "platform",
                    detail: row.get(2)?,
                })
            },
        )?;
        if stages.is_empty() {
            return Err(Refusal::new("unknown_order", format!("no order {order_id}")).into());
        }
        let sql = "SELECT started_ms, ended_ms, volume_ml, amount_minor FROM sale WHERE order_id = ?1";
        let sales = self.rows(sql, [order_id], |row| {
            let [started, ended, volume, amount]: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            let stage = |step: &str, at, detail| Stage {
                step: step.into(),
                at: UtcTime::from_unix_ms(at),
                whose: "station",
                detail,
            };
            Ok([
                stage("fuel_began", started, None),
                stage(
                    "hung_up",
                    ended,
                    Some(format!(
                        "{} L, {} yuan",
                        litres(Volume::new(volume)),
                        Money::new(amount).major(Currency::CNY)
                    )),
                ),
            ])
        })?;
        stages.extend(sales.into_iter().flatten());
        stages.sort_by_key(|stage| stage.at);
        Ok(stages)
    }
}
