//! Commission in two levels on what was dispensed, points, and taking both back. Shows: booked in the transaction of the sale, so within
//! seconds of the hang-up; nothing without fuel; never a third level; a duplicate sale gives no second one.

use super::{Account, Act, Trouble};
use crate::refusal::Refusal;
use forecourt::units::Money;
use rusqlite::params;

/// 5 % for who invited the driver, 0.8 % for who invited him, in basis points.
const RATES: [(i64, i64); 2] = [(1, 500), (2, 80)];
/// A yuan of commission is 100 points.
const POINTS_PER_MINOR: i64 = 1;

/// A share of an amount in basis points, half a minor unit rounded up.
#[must_use]
pub fn share(amount: Money, basis_points: i64) -> Money {
    let exact = i128::from(amount.get()) * i128::from(basis_points);
    Money::new(i64::try_from((exact + 5_000).div_euclid(10_000)).unwrap_or(0))
}

impl Act<'_> {
    /// Books the commission of a sale.
    pub(super) fn book_commission(
        &self,
        sale_id: &str,
        order_id: &str,
        buyer: &str,
        station_id: &str,
        dispensed: Money,
    ) -> Result<(), Trouble> {
        let mut below = buyer.to_owned();
        for (level, rate) in RATES {
            let Some(inviter) = self.inviter(&below, station_id)? else { break };
            let amount = share(dispensed, rate);
            let sql = "INSERT INTO commission (sale_id, level, member_id, amount_minor, points, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let points = amount.get() * POINTS_PER_MINOR;
            self.run(sql, params![sale_id, level, inviter, amount.get(), points, self.now_ms()])?;
            let key = format!("commission:{sale_id}:{level}");
            self.post(&key, Some(order_id), &[(Account::Marketing, Account::Wallet(&inviter), amount)])?;
            below = inviter;
        }
        self.step(order_id, "commission", None)
    }

    /// A person corrects what a sale is worth, once and only downwards: the record stays as it is, commission and points above the
    /// corrected amount are taken back. What was withdrawn already becomes a debt.
    ///
    /// # Errors
    /// `already_ended` if it was corrected before or there is no such sale, `malformed` if the amount is not below the sale's.
    pub fn correct_sale(&mut self, sale_id: &str, amount: Money, by_whom: &str, why: &str) -> Result<(), Trouble> {
        let sql = "SELECT amount_minor, order_id FROM sale WHERE sale_id = ?1
                   AND NOT EXISTS (SELECT 1 FROM correction WHERE sale_id = ?1)";
        let found = self.row(sql, [sale_id], |row| Ok((Money::new(row.get(0)?), row.get::<_, Option<String>>(1)?)))?;
        let (dispensed, order) =
            found.ok_or_else(|| Refusal::new("already_ended", "no such sale, or it was corrected before"))?;
        if amount >= dispensed || amount < Money::ZERO {
            return Err(Refusal::new("malformed", "a correction is below the sale").with("at", "/amount_minor").into());
        }
        let id = self.name("fix");
        let sql = "INSERT INTO correction VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(sql, params![id, sale_id, amount.get(), by_whom, why, self.now_ms()])?;
        for (level, rate) in RATES {
            let sql = "SELECT member_id, amount_minor FROM commission WHERE sale_id = ?1 AND level = ?2";
            let booked =
                self.row(sql, params![sale_id, level], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
            let Some((member, booked)) = booked else { continue };
            let back = booked - share(amount, rate).get();
            let there = self.balance(Account::Wallet(&member))?.get().min(back);
            let sql =
                "UPDATE commission SET clawed_back_minor = ?3, points = points - ?4 WHERE sale_id = ?1 AND level = ?2";
            self.run(sql, params![sale_id, level, back, back * POINTS_PER_MINOR])?;
            let entries = [
                (Account::Wallet(&member), Account::Marketing, Money::new(there)),
                (Account::Clawback(&member), Account::Marketing, Money::new(back - there)),
            ];
            self.post(&format!("clawback:{sale_id}:{level}"), order.as_deref(), &entries)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_the_dispensed_amount() {
        for (dispensed, first, second) in [(20_000, 1_000, 160), (21_740, 1_087, 174), (1, 0, 0), (10, 1, 0), (0, 0, 0)]
        {
            let shares = (share(Money::new(dispensed), 500).get(), share(Money::new(dispensed), 80).get());
            assert_eq!(shares, (first, second), "{dispensed}");
        }
    }
}
