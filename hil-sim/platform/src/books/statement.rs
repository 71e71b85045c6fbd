//! The books of one day, as reconciliation and the dashboard want them.

use super::{Act, Trouble};
use crate::calendar::Day;
use crate::reconcile::{DayBooks, MoneyLine, OrderLine, PumpLine};
use forecourt::units::{Money, UnitPrice, Volume};
use serde_json::{Value, json};

impl Act<'_> {
    /// All books of a day. Sales by when they ended; an order belongs to the day of its sale, or of its making where it has none; payments and
    /// refunds to the day of their order.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn day_books(&self, day: Day) -> Result<DayBooks, Trouble> {
        let pumps = self.rows(
            "SELECT sale_id, station_id, nozzle, sequence, order_id, unit_price_micros, volume_ml, amount_minor, totaliser_start_ml,
                    totaliser_end_ml, unaccounted_ml FROM sale WHERE day = ?1",
            [day.0],
            |row| {
                let totaliser: [Option<i64>; 2] = [row.get(8)?, row.get(9)?];
                Ok(PumpLine {
                    sale_id: row.get(0)?,
                    station_id: row.get(1)?,
                    nozzle: row.get(2)?,
                    sequence: row.get(3)?,
                    order_id: row.get(4)?,
                    price: UnitPrice::new(row.get(5)?),
                    volume: Volume::new(row.get(6)?),
                    amount: Money::new(row.get(7)?),
                    totaliser: totaliser[0].zip(totaliser[1]).map(|(start, end)| (Volume::new(start), Volume::new(end))),
                    unaccounted: Volume::new(row.get(10)?),
                })
            },
        )?;
        let before = self.rows(
            "SELECT station_id, nozzle, totaliser_end_ml, max(sequence) FROM sale
             WHERE day < ?1 AND totaliser_end_ml IS NOT NULL GROUP BY station_id, nozzle",
            [day.0],
            |row| Ok(((row.get(0)?, row.get(1)?), Volume::new(row.get(2)?))),
        )?;
        let orders = self.rows(
            "WITH entries AS MATERIALIZED (
                SELECT m.order_id, f.kind AS source, t.kind AS target, sum(e.amount_minor) AS amount FROM entry AS e
                JOIN movement AS m ON m.movement_id = e.movement_id
                JOIN account AS f ON f.account_id = e.from_account JOIN account AS t ON t.account_id = e.to_account
                WHERE m.order_id IS NOT NULL GROUP BY 1, 2, 3)
             SELECT order_id, sale_id, state IN ('completed', 'released', 'cancelled', 'expired'),
                (SELECT sum(amount) FROM entries WHERE order_id = o.order_id AND target = 'station'),
                (SELECT sum(amount) FROM entries WHERE order_id = o.order_id AND target = 'held'),
                (SELECT sum(amount) FROM entries WHERE order_id = o.order_id AND source = 'held' AND target = 'station'),
                (SELECT sum(amount) FROM entries WHERE order_id = o.order_id AND source = 'held' AND target IN ('refunding', 'card'))
             FROM fuel_order AS o WHERE coalesce((SELECT day FROM sale WHERE sale_id = o.sale_id), day) = ?1",
            [day.0],
            |row| {
                let sum = |column: usize| Ok::<_, rusqlite::Error>(Money::new(row.get::<_, Option<i64>>(column)?.unwrap_or(0)));
                Ok(OrderLine {
                    order_id: row.get(0)?,
                    sale_id: row.get(1)?,
                    ended: row.get(2)?,
                    credited: sum(3)?,
                    paid: sum(4)?,
                    charged: sum(5)?,
                    refunded: sum(6)?,
                })
            },
        )?;
        let lines = |table: &str, name: &str| {
            let sql = format!(
                "SELECT {name}, t.amount_minor FROM {table} AS t
                 WHERE coalesce((SELECT coalesce((SELECT day FROM sale WHERE sale_id = o.sale_id), day) FROM fuel_order AS o
                                 WHERE o.order_id = order_ref), ?1) = ?1"
            );
            self.rows(&sql, [day.0], |row| Ok(MoneyLine { name: row.get(0)?, amount: Money::new(row.get(1)?) }))
        };
        Ok(DayBooks {
            day,
            pumps,
            totalisers_before: before.into_iter().collect(),
            orders,
            payments: [
                lines("(SELECT *, order_id AS order_ref FROM payment)", "payment_ref")?,
                lines("(SELECT *, order_id AS order_ref FROM channel_payment)", "payment_ref")?,
            ],
            refunds: [
                lines("(SELECT *, order_id AS order_ref FROM refund)", "refund_id")?,
                lines(
                    "(SELECT *, (SELECT order_id FROM channel_payment AS p WHERE p.payment_ref = r.payment_ref) AS order_ref
                      FROM channel_refund AS r)",
                    "refund_id",
                )?,
            ],
        })
    }

    /// Days that have sales or orders, newest first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn days(&self) -> Result<Vec<Day>, Trouble> {
        let sql = "SELECT day FROM sale UNION SELECT day FROM fuel_order ORDER BY day DESC LIMIT 31";
        self.rows(sql, [], |row| Ok(Day(row.get(0)?)))
    }

    /// Balances by kind of account, largest first, for the dashboard.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn balances(&self) -> Result<Vec<(String, Money)>, Trouble> {
        let sql = "SELECT kind, sum(balance_minor) FROM account GROUP BY kind ORDER BY 2 DESC";
        self.rows(sql, [], |row| Ok((row.get(0)?, Money::new(row.get(1)?))))
    }

    /// The newest orders of all members, for the dashboard.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn newest_orders(&self) -> Result<Vec<Value>, Trouble> {
        let sql = "SELECT o.order_id, o.state, o.station_id, o.nozzle, o.grade, o.payable_minor, s.amount_minor, s.volume_ml, s.charged_minor, o.reason
                   FROM fuel_order AS o LEFT JOIN sale AS s ON s.sale_id = o.sale_id ORDER BY o.number DESC LIMIT 100";
        self.rows(sql, [], |row| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?];
            let numbers: [Option<i64>; 4] = [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
            Ok(json!({"order_id": texts[0], "state": texts[1], "station_id": texts[2], "grade": texts[3],
                "nozzle": row.get::<_, i64>(3)?, "payable_minor": numbers[0], "amount_minor": numbers[1],
                "volume_ml": numbers[2], "charged_minor": numbers[3], "reason": row.get::<_, Option<String>>(9)?}))
        })
    }

    /// What a person must look at, newest first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn disputes(&self) -> Result<Vec<(String, String)>, Trouble> {
        let sql = "SELECT station_id, what FROM dispute ORDER BY dispute_id DESC LIMIT 100";
        self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }
}
