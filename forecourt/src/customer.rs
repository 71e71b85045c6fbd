//! What each customer was sold on a business day: the one thing the station remembers of a customer, for the limit per day, and gone
//! with the day.

use crate::ids::CustomerToken;
use crate::time::UtcTime;
use crate::units::Money;
use std::collections::BTreeMap;

/// A local day of business, as the number of days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BusinessDay(i64);

impl BusinessDay {
    /// The day of a moment at a place so many minutes east of UTC.
    #[must_use]
    pub fn of(at: UtcTime, utc_offset_minutes: i16) -> Self {
        let local = at.plus_ms(i64::from(utc_offset_minutes) * 60_000);
        Self(local.unix_ms().div_euclid(24 * 60 * 60 * 1_000))
    }

    /// From the number of days since 1970-01-01.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number of days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// One customer's day: one stored row, replaced by the next day's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomerDay {
    /// Whose.
    pub customer: CustomerToken,
    /// Which.
    pub day: BusinessDay,
    /// Dispensed by the sales that ended on it.
    pub sold: Money,
}

/// All customers of the day.
#[derive(Clone, Debug, Default)]
pub struct CustomerDays {
    days: BTreeMap<CustomerToken, (BusinessDay, Money)>,
    last: Option<BusinessDay>,
}

impl CustomerDays {
    /// What earlier runs left.
    #[must_use]
    pub fn recall(rows: impl IntoIterator<Item = CustomerDay>) -> Self {
        let days = rows.into_iter().map(|row| (row.customer, (row.day, row.sold))).collect();
        Self { days, last: None }
    }

    /// What a customer was sold on a day. A clock that is set back gives nobody a second day.
    #[must_use]
    pub fn sold(&self, customer: &CustomerToken, today: BusinessDay) -> Money {
        self.days.get(customer).filter(|(day, _)| *day >= today).map_or(Money::ZERO, |(_, sold)| *sold)
    }

    /// Counts a sale; returns the row that must be stored with it.
    pub fn add(&mut self, customer: &CustomerToken, today: BusinessDay, amount: Money) -> CustomerDay {
        if self.last.is_none_or(|last| last < today) {
            self.days.retain(|_, (day, _)| *day >= today);
            self.last = Some(today);
        }
        let sold = self.sold(customer, today);
        let sold = sold.checked_add(amount).unwrap_or(sold);
        let day = self.days.get(customer).map_or(today, |(day, _)| (*day).max(today));
        self.days.insert(customer.clone(), (day, sold));
        CustomerDay { customer: customer.clone(), day, sold }
    }

    /// Forgets a customer (`fuel.privacy.erase.v1`). True if there was something to forget; the stored row goes separately.
    pub fn forget(&mut self, customer: &CustomerToken) -> bool {
        self.days.remove(customer).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> CustomerToken {
        CustomerToken::new(text).unwrap()
    }

    const TODAY: BusinessDay = BusinessDay::new(20_000);
    const TOMORROW: BusinessDay = BusinessDay::new(20_001);

    #[test]
    fn a_day_begins_at_local_midnight() {
        let day = |text: &str| BusinessDay::of(UtcTime::parse(text).unwrap(), 480).number();
        assert_eq!(day("2026-11-21T15:59:59.999Z") + 1, day("2026-11-21T16:00:00.000Z"));
        assert_eq!(day("2026-11-21T16:00:00.000Z"), day("2026-11-22T15:59:59.999Z"));
    }

    #[test]
    fn sales_of_one_day_add_up_and_the_next_day_begins_at_nothing() {
        let mut days = CustomerDays::default();
        days.add(&token("a"), TODAY, Money::new(300));
        let row = days.add(&token("a"), TODAY, Money::new(50));
        assert_eq!((row.sold, row.day), (Money::new(350), TODAY));
        assert_eq!(days.sold(&token("a"), TODAY), Money::new(350));
        assert_eq!(days.sold(&token("b"), TODAY), Money::ZERO);
        assert_eq!(days.sold(&token("a"), TOMORROW), Money::ZERO);
        days.add(&token("b"), TOMORROW, Money::new(1));
        assert!(!days.forget(&token("a")), "yesterday is forgotten by itself");
    }

    #[test]
    fn a_clock_set_back_gives_nobody_a_second_day() {
        let mut days = CustomerDays::default();
        days.add(&token("a"), TOMORROW, Money::new(300));
        assert_eq!(days.add(&token("a"), TODAY, Money::new(1)).sold, Money::new(301));
        assert_eq!(days.sold(&token("a"), TOMORROW), Money::new(301));
    }

    #[test]
    fn a_customer_is_recalled_and_forgotten() {
        let row = CustomerDay { customer: token("a"), day: TODAY, sold: Money::new(7) };
        let mut days = CustomerDays::recall([row]);
        assert_eq!(days.sold(&token("a"), TODAY), Money::new(7));
        assert!(days.forget(&token("a")));
        assert_eq!(days.sold(&token("a"), TODAY), Money::ZERO);
    }
}
