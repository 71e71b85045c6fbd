//! Coupons such as 200 − 10 and 300 − 20. Shows: a discount is settled here and never touches the pump, and its condition is looked at
//! again on what was dispensed.

use super::{Act, Trouble};
use crate::refusal::Refusal;
use forecourt::time::UtcTime;
use forecourt::units::Money;
use rusqlite::params;
use serde_json::{Value, json};

/// What a coupon is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coupon {
    /// From this amount on.
    pub threshold: Money,
    /// It takes off this much.
    pub discount: Money,
}

impl Coupon {
    /// Its worth on an amount: whole from the threshold on, below it in proportion (discount × amount ÷ threshold), rounded down to a minor
    /// unit. So nobody pays more for less fuel, and what was held always suffices.
    #[must_use]
    pub fn discount_on(self, amount: Money) -> Money {
        if amount >= self.threshold {
            return self.discount;
        }
        let share =
            i128::from(self.discount.get()) * i128::from(amount.get().max(0)) / i128::from(self.threshold.get());
        Money::new(i64::try_from(share).unwrap_or(0))
    }
}

impl Act<'_> {
    /// Gives a member a coupon.
    ///
    /// # Errors
    /// [`Trouble::Books`] for one that would give more than it asks.
    pub fn give_coupon(&mut self, member_id: &str, coupon: Coupon, expires: UtcTime) -> Result<String, Trouble> {
        let id = self.name("cp");
        self.run(
            "INSERT INTO coupon (coupon_id, member_id, threshold_minor, discount_minor, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, member_id, coupon.threshold.get(), coupon.discount.get(), expires.unix_ms()],
        )?;
        Ok(id)
    }

    pub(super) fn coupon(&self, coupon_id: &str) -> Result<Option<Coupon>, Trouble> {
        self.row("SELECT threshold_minor, discount_minor FROM coupon WHERE coupon_id = ?1", [coupon_id], |row| {
            Ok(Coupon { threshold: Money::new(row.get(0)?), discount: Money::new(row.get(1)?) })
        })
    }

    /// Takes a member's free coupon for an order of this amount.
    pub(super) fn reserve_coupon(&self, member_id: &str, coupon_id: &str, gross: Money) -> Result<Money, Trouble> {
        let no = |why: &str| Refusal::new("coupon_not_usable", why);
        let sql = "UPDATE coupon SET state = 'reserved' WHERE coupon_id = ?1 AND member_id = ?2 AND state = 'free' AND expires_ms > ?3";
        if self.run(sql, params![coupon_id, member_id, self.now_ms()])? != 1 {
            return Err(no("it is not this member's, used, or past its time").into());
        }
        let coupon = self.coupon(coupon_id)?.ok_or_else(|| no("there is no such coupon"))?;
        if gross < coupon.threshold {
            return Err(no("the order is below its threshold").into());
        }
        Ok(coupon.discount_on(gross))
    }

    pub(super) fn end_coupon(&self, coupon_id: &str, used: bool) -> Result<(), Trouble> {
        let state = if used { "used" } else { "free" };
        self.run("UPDATE coupon SET state = ?2 WHERE coupon_id = ?1 AND state = 'reserved'", [coupon_id, state])?;
        Ok(())
    }

    pub(super) fn coupons_of(&self, member_id: &str) -> Result<Vec<Value>, Trouble> {
        let sql = "SELECT coupon_id, threshold_minor, discount_minor, expires_ms FROM coupon
                   WHERE member_id = ?1 AND state = 'free' AND expires_ms > ?2 ORDER BY discount_minor DESC, coupon_id";
        self.rows(sql, params![member_id, self.now_ms()], |row| {
            let (id, threshold, discount): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (from, off) = (threshold / 100, discount / 100);
            Ok(json!({
                "coupon_id": id, "threshold_minor": threshold, "discount_minor": discount,
                "text": {"zh": format!("满{from}减{off}"), "en": format!("{off} off {from}")},
                "expires_at": UtcTime::from_unix_ms(row.get(3)?).to_string(),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_looked_at_again_on_what_was_dispensed() {
        let coupon = Coupon { threshold: Money::new(20_000), discount: Money::new(1_000) };
        for (dispensed, discount) in [(30_000, 1_000), (20_000, 1_000), (19_999, 999), (18_000, 900), (1, 0), (0, 0)] {
            assert_eq!(coupon.discount_on(Money::new(dispensed)).get(), discount, "{dispensed}");
        }
    }

    #[test]
    fn more_fuel_never_costs_less() {
        let coupon = Coupon { threshold: Money::new(30_000), discount: Money::new(2_000) };
        let net = |amount| amount - coupon.discount_on(Money::new(amount)).get();
        assert!((0..40_000).all(|amount| net(amount) <= net(amount + 1)));
    }
}
