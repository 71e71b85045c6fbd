//! Packed decimal digits (DART sheet, section 9).

use crate::decimals::Decimals;
use core::fmt;
use forecourt::units::{Currency, Money, UnitPrice, Volume};

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

impl Decimals {
    /// Volume of 8 digits.
    #[must_use]
    pub fn read_volume(self, digits: Digits<4>) -> Option<Volume> {
        self.volume(digits.number()?)
    }

    /// Volume total of 10 digits.
    #[must_use]
    pub fn read_total(self, digits: Digits<5>) -> Option<Volume> {
        self.total(digits.number()?)
    }

    /// Amount of 8 digits.
    #[must_use]
    pub fn read_amount(self, digits: Digits<4>, currency: Currency) -> Option<Money> {
        self.amount(digits.number()?, currency)
    }

    /// Price of 6 digits.
    #[must_use]
    pub fn read_price(self, digits: Digits<3>) -> Option<UnitPrice> {
        self.price(digits.number()?)
    }

    /// A price in digits, exact or not at all.
    #[must_use]
    pub fn write_price(self, price: UnitPrice) -> Option<Digits<3>> {
        Digits::pack(self.price_number(price, 6)?)
    }

    /// A volume limit in digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn write_volume_limit(self, volume: Volume) -> Option<Digits<4>> {
        Digits::pack(self.volume_limit(volume, 8)?)
    }

    /// An amount limit in digits, rounded down. `None` where it does not fit or nothing is left.
    #[must_use]
    pub fn write_amount_limit(self, amount: Money, currency: Currency) -> Option<Digits<4>> {
        Digits::pack(self.amount_limit(amount, currency, 8)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_packed_with_its_leading_zeros_or_not_at_all() {
        assert_eq!(Digits::<4>::pack(1_999).map(|digits| digits.text()), Some("00001999".into()));
        assert_eq!(Digits::<3>::pack(1_000_000), None);
        assert_eq!(Digits([0, 0, 0x28, 0x12, 0x49]).number(), Some(281_249));
    }

    #[test]
    fn a_nibble_above_nine_is_no_number() {
        assert_eq!(Digits([0x1A, 0]).number(), None);
        assert_eq!(Digits([0x00, 0xA0]).number(), None);
    }
}
