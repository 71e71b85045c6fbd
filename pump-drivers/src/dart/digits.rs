//! Packed decimal digits and their scaling to our units by the decimals of a head (DART sheet, section 9).

use core::fmt;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde::{Deserialize, Serialize};

/// `N` bytes of packed decimal digits, most significant first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digits<const N: usize>(pub [u8; N]);

impl<const N: usize> Digits<N> {
    /// Packs a number. `None` where it has more than `2 N` digits.
    #[must_use]
    pub fn pack(mut number: u64) -> Option<Self> {
        let mut bytes = [0; N];
        for byte in bytes.iter_mut().rev() {
            let pair = number % 100;
            number /= 100;
            *byte = u8::try_from(pair / 10 * 16 + pair % 10).ok()?;
        }
        (number == 0).then_some(Self(bytes))
    }

    /// The number. `None` where a nibble is no decimal digit.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.0.iter().try_fold(0_i64, |number, byte| {
            let (tens, ones) = (i64::from(byte >> 4), i64::from(byte & 0x0F));
            (tens < 10 && ones < 10).then(|| number.checked_mul(100)?.checked_add(tens * 10 + ones))?
        })
    }

    /// The digits as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

impl<const N: usize> fmt::Debug for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

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
    /// Volume of 8 digits.
    #[must_use]
    pub fn read_volume(self, digits: Digits<4>) -> Option<Volume> {
        digits.number()?.checked_mul(power(3_u8.checked_sub(self.volume)?)).map(Volume::new)
    }

    /// Volume total of 10 digits.
    #[must_use]
    pub fn read_total(self, digits: Digits<5>) -> Option<Volume> {
        digits.number()?.checked_mul(power(3_u8.checked_sub(self.totals)?)).map(Volume::new)
    }

    /// Amount of 8 digits.
    #[must_use]
    pub fn read_amount(self, digits: Digits<4>, currency: Currency) -> Option<Money> {
        digits.number()?.checked_mul(power(currency.decimals().checked_sub(self.amount)?)).map(Money::new)
    }

    /// Price of 6 digits.
    #[must_use]
    pub fn read_price(self, digits: Digits<3>) -> Option<UnitPrice> {
        digits.number()?.checked_mul(power(6_u8.checked_sub(self.price)?)).map(UnitPrice::new)
    }

    /// A price in digits, exact or not at all.
    #[must_use]
    pub fn write_price(self, price: UnitPrice) -> Option<Digits<3>> {
        let step = power(6_u8.checked_sub(self.price)?);
        (price.get() > 0 && price.get() % step == 0).then(|| Digits::pack(u64::try_from(price.get() / step).ok()?))?
    }

    /// A volume limit in digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn write_volume_limit(self, volume: Volume) -> Option<Digits<4>> {
        limit(volume.get(), power(3_u8.checked_sub(self.volume)?))
    }

    /// An amount limit in digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn write_amount_limit(self, amount: Money, currency: Currency) -> Option<Digits<4>> {
        limit(amount.get(), power(currency.decimals().checked_sub(self.amount)?))
    }

    /// The smallest step of a volume shown.
    #[must_use]
    pub fn volume_step(self) -> Volume {
        Volume::new(power(3_u8.saturating_sub(self.volume)))
    }
}

fn limit(value: i64, step: i64) -> Option<Digits<4>> {
    let number = u64::try_from(value / step).ok()?;
    if number == 0 { None } else { Digits::pack(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOMBIA: Decimals = Decimals { volume: 3, price: 0, amount: 0, totals: 2 };
    const GREECE: Decimals = Decimals { volume: 2, price: 3, amount: 2, totals: 2 };

    #[test]
    fn digits_are_scaled_by_the_decimals_of_the_head() {
        let eur = Currency::from_code("EUR").expect("known");
        // DART sheet, section 9: 9.35 × 1.069 = 10.00 and 0.428 × 8123 = 3477
        assert_eq!(GREECE.read_volume(Digits([0, 0, 0x09, 0x35])), Some(Volume::new(9_350)));
        assert_eq!(GREECE.read_price(Digits([0, 0x10, 0x69])), Some(UnitPrice::new(1_069_000)));
        assert_eq!(GREECE.read_amount(Digits([0, 0, 0x10, 0]), eur), Some(Money::new(1_000)));
        assert_eq!(COLOMBIA.read_volume(Digits([0, 0, 0x04, 0x28])), Some(Volume::new(428)));
        assert_eq!(COLOMBIA.read_amount(Digits([0, 0, 0x34, 0x77]), eur), Some(Money::new(347_700)));
        assert_eq!(COLOMBIA.read_total(Digits([0, 0, 0x28, 0x12, 0x49])), Some(Volume::new(2_812_490)));
    }

    #[test]
    fn a_nibble_above_nine_is_no_number() {
        assert_eq!(Digits([0x1A, 0]).number(), None);
        assert_eq!(Digits([0x00, 0xA0]).number(), None);
    }

    #[test]
    fn a_limit_is_rounded_down_and_a_price_is_exact_or_refused() {
        let cny = Currency::CNY;
        assert_eq!(GREECE.write_volume_limit(Volume::new(19_999)).map(|d| d.text()), Some("00001999".into()));
        assert_eq!(COLOMBIA.write_amount_limit(Money::new(20_099), cny).map(|d| d.text()), Some("00000200".into()));
        assert_eq!(COLOMBIA.write_amount_limit(Money::new(99), cny), None);
        assert_eq!(GREECE.write_volume_limit(Volume::new(1_000_000_000)), None);
        assert_eq!(GREECE.write_price(UnitPrice::new(7_450_000)).map(|d| d.text()), Some("007450".into()));
        assert_eq!(GREECE.write_price(UnitPrice::new(7_450_500)), None);
        assert_eq!(GREECE.write_price(UnitPrice::new(1_000_000_000)), None);
        assert_eq!(GREECE.write_price(UnitPrice::ZERO), None);
    }
}
