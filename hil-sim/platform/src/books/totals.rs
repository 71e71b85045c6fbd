//! What all orders come to, for a board that shows it while it moves.

use super::{Act, Trouble};
use forecourt::units::{Money, Volume};

/// Sums over every order in the books.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Orders that were placed.
    pub orders: u64,
    /// Of those, paid and without an end.
    pub open: u64,
    /// Paid.
    pub paid: Money,
    /// Charged for fuel.
    pub charged: Money,
    /// Given back, or on its way.
    pub given_back: Money,
    /// Commission booked.
    pub commission: Money,
}

/// What was sold of a grade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoldOf {
    /// The contract's code.
    pub grade: String,
    /// How many sales.
    pub sales: u64,
    /// The pumps'.
    pub volume: Volume,
    /// The pumps'.
    pub amount: Money,
}

/// How orders ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// `completed`, `released`, `cancelled` or `expired`.
    pub state: String,
    /// Why no fuel was taken, where the station said so.
    pub reason: Option<String>,
    /// How many.
    pub orders: u64,
}

impl Act<'_> {
    /// What was sold of each grade, the most first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn sold_by_grade(&self) -> Result<Vec<SoldOf>, Trouble> {
        let sql =
            "SELECT grade, count(*), sum(volume_ml), sum(amount_minor) FROM sale GROUP BY grade ORDER BY 4 DESC, 1";
        self.rows(sql, [], |row| {
            Ok(SoldOf {
                grade: row.get(0)?,
                sales: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                volume: Volume::new(row.get(2)?),
                amount: Money::new(row.get(3)?),
            })
        })
    }

    /// How orders ended, the most frequent first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn endings(&self) -> Result<Vec<Ending>, Trouble> {
        let sql = "SELECT state, reason, count(*) FROM fuel_order WHERE state IN ('completed', 'released', 'cancelled', 'expired')
                   GROUP BY state, reason ORDER BY 3 DESC, 1, 2";
        self.rows(sql, [], |row| {
            let orders = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            Ok(Ending { state: row.get(0)?, reason: row.get(1)?, orders })
        })
    }

    /// The sums now. What is not charged and not given back is held for open orders.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn totals(&self) -> Result<Totals, Trouble> {
        let sql = "SELECT count(*), sum(jws IS NOT NULL AND state NOT IN ('completed', 'released')),
                          sum(CASE WHEN jws IS NOT NULL THEN payable_minor END), sum(s.charged_minor),
                          sum(CASE WHEN state = 'completed' THEN payable_minor - s.charged_minor WHEN state = 'released' THEN payable_minor END),
                          (SELECT sum(amount_minor - clawed_back_minor) FROM commission)
                   FROM fuel_order AS o LEFT JOIN sale AS s ON s.sale_id = o.sale_id";
        let sums = self.row(sql, [], |row| {
            let count = |column: usize| {
                Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, Option<i64>>(column)?.unwrap_or(0)).unwrap_or(0))
            };
            let money =
                |column: usize| Ok::<_, rusqlite::Error>(Money::new(row.get::<_, Option<i64>>(column)?.unwrap_or(0)));
            Ok(Totals {
                orders: count(0)?,
                open: count(1)?,
                paid: money(2)?,
                charged: money(3)?,
                given_back: money(4)?,
                commission: money(5)?,
            })
        })?;
        Ok(sums.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::Rehearsal;
    use forecourt::order::Limit;
    use forecourt::units::{Money, Volume};

    #[test]
    fn paid_is_charged_given_back_and_held_for_open_orders() {
        let mut play = Rehearsal::new().expect("books");
        let member = play.member(1).expect("a member");
        for _ in 0..3 {
            let wanted = play.wanted(1, Limit::Amount(Money::new(20_000))).expect("an order");
            let order = play.buy(&member, &wanted).expect("bought");
            let before = play.act(|act| act.totals()).expect("sums");
            let held = before.paid.get() - before.charged.get() - before.given_back.get();
            assert_eq!((before.open, held), (1, 20_000));
            match before.orders {
                1 => {
                    let record = play.sale(Some(&order), 1, Volume::new(10_000));
                    play.send(&record).expect("booked");
                }
                _ => play.release(&order, "not_lifted").expect("booked"),
            }
        }
        let all = play.act(|act| act.totals()).expect("sums");
        let sums = [all.paid, all.charged, all.given_back].map(Money::get);
        assert_eq!((all.orders, all.open, sums), (3, 0, [60_000, 7_450, 52_550]));
        let (sold, ends) = play.act(|act| Ok((act.sold_by_grade()?, act.endings()?))).expect("sums");
        let sold: Vec<_> =
            sold.iter().map(|of| (of.grade.as_str(), of.sales, of.volume.get(), of.amount.get())).collect();
        assert_eq!(sold, [("92", 1, 10_000, 7_450)]);
        let ends: Vec<_> = ends.iter().map(|end| (end.state.as_str(), end.reason.as_deref(), end.orders)).collect();
        assert_eq!(ends, [("released", Some("not_lifted"), 2), ("completed", None, 1)]);
    }
}
