//! The calculator of a dispenser's head: digits as shown, and how an amount comes of a volume and a price.

use core::fmt;
use forecourt::units::Volume;
use serde::{Deserialize, Serialize};

/// Largest figure that eight digits show.
const EIGHT_DIGITS: u32 = 99_999_999;

macro_rules! digits {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

digits!(
    /// A volume as the head shows it, without its decimal point. One unit is one pulse of the meter.
    VolumeDigits
);
digits!(
    /// An amount as the head shows it, without its decimal point.
    AmountDigits
);
digits!(
    /// A unit price as the head shows it, without its decimal point.
    PriceDigits
);

impl VolumeDigits {
    /// The most that the head shows.
    pub const MAX: Self = Self(EIGHT_DIGITS);
}

impl AmountDigits {
    /// The most that the head shows.
    pub const MAX: Self = Self(EIGHT_DIGITS);
}

/// Where the decimal points of a head are. DART sheet, section 9: 2/3/2 most, 3/0/0 Colombia, 2/0/0 Uzbekistan and others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decimals {
    /// Decimals of the volume in litres, 0 to 3; more count as 3.
    pub volume: u8,
    /// Decimals of the price.
    pub price: u8,
    /// Decimals of the amount.
    pub amount: u8,
}

impl Decimals {
    /// Two decimals everywhere, as a Chinese station has them.
    pub const TWO: Self = Self { volume: 2, price: 2, amount: 2 };

    /// The smallest volume shown: 10 ml at two decimals.
    #[must_use]
    pub fn step(self) -> Volume {
        Volume::new(10_i64.pow(3 - u32::from(self.volume.min(3))))
    }

    /// A volume at the meter.
    #[must_use]
    pub fn volume(self, shown: VolumeDigits) -> Volume {
        Volume::new(i64::from(shown.0) * self.step().get())
    }

    /// The digits of a volume, cut to the step.
    #[must_use]
    pub fn volume_digits(self, volume: Volume) -> VolumeDigits {
        VolumeDigits(u32::try_from(volume.get() / self.step().get()).unwrap_or(0).min(EIGHT_DIGITS))
    }

    /// What a volume costs: half a unit of the last shown digit rounded up, at most what the head shows.
    #[must_use]
    pub fn amount_of(self, volume: VolumeDigits, price: PriceDigits) -> AmountDigits {
        let exact = u128::from(volume.0) * u128::from(price.0) * 10_u128.pow(u32::from(self.amount));
        let scale = 10_u128.pow(u32::from(self.volume.min(3)) + u32::from(self.price));
        AmountDigits(u32::try_from((exact + scale / 2) / scale).unwrap_or(EIGHT_DIGITS).min(EIGHT_DIGITS))
    }

    /// The largest volume that costs no more than an amount, as far as the head shows volumes.
    #[must_use]
    pub fn volume_within(self, amount: AmountDigits, price: PriceDigits) -> VolumeDigits {
        if price.0 == 0 {
            return VolumeDigits::MAX;
        }
        // The cost only grows with the volume, so the last volume that fits is found by halving.
        let (mut fits, mut beyond) = (0, EIGHT_DIGITS + 1);
        while beyond - fits > 1 {
            let middle = fits + (beyond - fits) / 2;
            if self.exceeds(VolumeDigits(middle), price, amount) {
                beyond = middle;
            } else {
                fits = middle;
            }
        }
        VolumeDigits(fits)
    }

    /// Whether a volume costs more than an amount; unlike [`Self::amount_of`] this is not capped by the digits shown.
    fn exceeds(self, volume: VolumeDigits, price: PriceDigits, amount: AmountDigits) -> bool {
        let exact = u128::from(volume.0) * u128::from(price.0) * 10_u128.pow(u32::from(self.amount));
        let scale = 10_u128.pow(u32::from(self.volume.min(3)) + u32::from(self.price));
        (exact + scale / 2) / scale > u128::from(amount.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_agree_with_the_proofs_of_the_sheet() {
        // DART sheet, section 9: volume, price, amount, and the decimals of the head.
        for (decimals, volume, price, amount) in [
            ((2, 3, 2), 935, 1_069, 1_000),
            ((3, 3, 2), 1_211, 1_539, 186),
            ((3, 0, 0), 428, 8_123, 3_477),
            ((2, 0, 0), 492, 10_500, 51_660),
            ((2, 0, 0), 154, 4_600, 7_084),
            ((2, 0, 0), 482, 500, 2_410),
        ] {
            let head = Decimals { volume: decimals.0, price: decimals.1, amount: decimals.2 };
            assert_eq!(head.amount_of(VolumeDigits(volume), PriceDigits(price)), AmountDigits(amount));
        }
    }

    #[test]
    fn an_amount_limit_is_the_last_volume_that_costs_no_more() {
        let head = Decimals { volume: 2, price: 0, amount: 0 };
        assert_eq!(head.volume_within(AmountDigits(50_000), PriceDigits(10_500)), VolumeDigits(476));
        assert_eq!(head.volume_within(AmountDigits(50), PriceDigits(10_500)), VolumeDigits(0));
        assert_eq!(head.volume_within(AmountDigits(50), PriceDigits(0)), VolumeDigits::MAX);
    }
}
