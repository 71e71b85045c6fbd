//! From the digits of a head to our units and back. Most protocols send bare digits; where the point stands is a site setting.

use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde::{Deserialize, Serialize};

/// Where a head puts the decimal points: a site setting, for nothing on the wire tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decimals {
    /// Of volumes in litres, at most 3.
    pub volume: u8,
    /// Of unit prices in major units, at most 6.
    pub price: u8,
    /// Of amounts in major units, at most those of the currency.
    pub amount: u8,
    /// Of volume totals in litres, at most 3; mostly as `volume`.
    pub totals: u8,
}

const fn power(exponent: u8) -> i64 {
    10_i64.pow(exponent as u32)
}

impl Decimals {
    /// The volume that a head means by this number. `None` where it cannot be kept.
    #[must_use]
    pub fn volume(self, number: i64) -> Option<Volume> {
        number.checked_mul(power(3_u8.checked_sub(self.volume)?)).map(Volume::new)
    }

    /// The volume total that a head means by this number.
    #[must_use]
    pub fn total(self, number: i64) -> Option<Volume> {
        number.checked_mul(power(3_u8.checked_sub(self.totals)?)).map(Volume::new)
    }

    /// The amount that a head means by this number.
    #[must_use]
    pub fn amount(self, number: i64, currency: Currency) -> Option<Money> {
        number.checked_mul(power(currency.decimals().checked_sub(self.amount)?)).map(Money::new)
    }

    /// The unit price that a head means by this number.
    #[must_use]
    pub fn price(self, number: i64) -> Option<UnitPrice> {
        number.checked_mul(power(6_u8.checked_sub(self.price)?)).map(UnitPrice::new)
    }

    /// A price as the head's number of at most `digits` digits: exact, above zero, or not at all.
    #[must_use]
    pub fn price_number(self, price: UnitPrice, digits: u32) -> Option<u64> {
        let step = power(6_u8.checked_sub(self.price)?);
        if price.get() % step == 0 { fitting(price.get() / step, digits) } else { None }
    }

    /// A volume limit as the head's number of at most `digits` digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn volume_limit(self, volume: Volume, digits: u32) -> Option<u64> {
        fitting(volume.get() / power(3_u8.checked_sub(self.volume)?), digits)
    }

    /// An amount limit as the head's number of at most `digits` digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn amount_limit(self, amount: Money, currency: Currency, digits: u32) -> Option<u64> {
        fitting(amount.get() / power(currency.decimals().checked_sub(self.amount)?), digits)
    }

    /// The smallest step of a volume total.
    #[must_use]
    pub fn total_step(self) -> Volume {
        Volume::new(power(3_u8.saturating_sub(self.totals)))
    }

    /// The smallest step of a volume shown.
    #[must_use]
    pub fn volume_step(self) -> Volume {
        Volume::new(power(3_u8.saturating_sub(self.volume)))
    }
}

fn fitting(number: i64, digits: u32) -> Option<u64> {
    let number = u64::try_from(number).ok()?;
    (number > 0 && number < 10_u64.checked_pow(digits)?).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOMBIA: Decimals = Decimals { volume: 3, price: 0, amount: 0, totals: 2 };
    const GREECE: Decimals = Decimals { volume: 2, price: 3, amount: 2, totals: 2 };

    #[test]
    fn numbers_are_scaled_by_the_decimals_of_the_head() {
        let eur = Currency::from_code("EUR").expect("known");
        // DART sheet, section 9: 9.35 × 1.069 = 10.00 and 0.428 × 8123 = 3477
        assert_eq!(GREECE.volume(935), Some(Volume::new(9_350)));
        assert_eq!(GREECE.price(1_069), Some(UnitPrice::new(1_069_000)));
        assert_eq!(GREECE.amount(1_000, eur), Some(Money::new(1_000)));
        assert_eq!(COLOMBIA.volume(428), Some(Volume::new(428)));
        assert_eq!(COLOMBIA.amount(3_477, eur), Some(Money::new(347_700)));
        assert_eq!(COLOMBIA.total(281_249), Some(Volume::new(2_812_490)));
    }

    #[test]
    fn a_limit_is_rounded_down_and_a_price_is_exact_or_refused() {
        let cny = Currency::CNY;
        assert_eq!(GREECE.volume_limit(Volume::new(19_999), 8), Some(1_999));
        assert_eq!(COLOMBIA.amount_limit(Money::new(20_099), cny, 8), Some(200));
        assert_eq!(COLOMBIA.amount_limit(Money::new(99), cny, 8), None);
        assert_eq!(GREECE.volume_limit(Volume::new(1_000_000_000), 8), None);
        assert_eq!(GREECE.volume_limit(Volume::new(-10), 8), None);
        assert_eq!(GREECE.price_number(UnitPrice::new(7_450_000), 6), Some(7_450));
        assert_eq!(GREECE.price_number(UnitPrice::new(7_450_500), 6), None);
        assert_eq!(GREECE.price_number(UnitPrice::new(1_000_000_000), 6), None);
        assert_eq!(GREECE.price_number(UnitPrice::ZERO, 6), None);
    }
}
