//! What all orders come to, for a board that shows it while it moves.

use super::{Act, Trouble};
use forecourt::units::Money;

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

impl Act<'_> {
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
    }
}
