//! Quantities as integers. No floating point, no bare integers across a function.
//!
//! A dispenser computes volume, price and amount; we copy its numbers. Arithmetic here serves checks and limits,
//! never a figure that is charged (OIML R 117: the price is calculated in the dispenser).

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            #[doc = concat!("From a count of ", $unit, ".")]
            #[must_use]
            pub const fn new(value: i64) -> Self {
                Self(value)
            }

            #[doc = concat!("As a count of ", $unit, ".")]
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }

            /// Sum, or `None` if it does not fit.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Difference, or `None` if it does not fit. May be negative.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// Whether this is more than nothing.
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.0 > 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    };
}

quantity!(
    /// Volume at the meter in millilitres.
    Volume,
    "ml"
);
quantity!(
    /// Money in minor units of the station's currency, such as fen for CNY.
    Money,
    "minor"
);
quantity!(
    /// Price of one litre in millionths of the major unit: 7.45 CNY/L = 7 450 000.
    UnitPrice,
    "micros"
);

impl Volume {
    /// Litres with three decimals, for people.
    #[must_use]
    pub fn litres(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ml = self.0.unsigned_abs();
        format!("{sign}{}.{:03}", ml / 1_000, ml % 1_000)
    }
}

/// An ISO 4217 currency: its code and how many decimals its minor unit stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: [u8; 3],
    decimals: u8,
}

/// The text is no ISO 4217 code that we know the decimals of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a currency known here: use an ISO 4217 code such as CNY, EUR, USD, UZS or CLP")]
pub struct UnknownCurrency(pub String);

/// Currencies whose minor unit is the major unit (ISO 4217 list one, minor unit 0), where dispensers are sold.
const NO_DECIMALS: [&str; 9] = ["CLP", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "ISK"];
/// Currencies with three decimals (ISO 4217 list one, minor unit 3).
const THREE_DECIMALS: [&str; 6] = ["BHD", "IQD", "JOD", "KWD", "OMR", "TND"];

impl Currency {
    /// The Chinese yuan, the default of the contract's examples.
    pub const CNY: Self = Self { code: *b"CNY", decimals: 2 };

    /// The currency of an ISO 4217 code.
    ///
    /// # Errors
    /// [`UnknownCurrency`] unless the code is three capital letters.
    pub fn from_code(code: &str) -> Result<Self, UnknownCurrency> {
        let bytes: [u8; 3] = code.as_bytes().try_into().map_err(|_| UnknownCurrency(code.into()))?;
        if !bytes.iter().all(u8::is_ascii_uppercase) {
            return Err(UnknownCurrency(code.into()));
        }
        let decimals = if NO_DECIMALS.contains(&code) {
            0
        } else if THREE_DECIMALS.contains(&code) {
            3
        } else {
            2
        };
        Ok(Self { code: bytes, decimals })
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn code(&self) -> &str {
        core::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Decimals of the minor unit: 2 for CNY.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// Millionths of the major unit in one minor unit: 10 000 for two decimals.
    #[must_use]
    pub const fn micros_per_minor(self) -> i64 {
        10_i64.pow(6 - self.decimals as u32)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code).map_err(serde::de::Error::custom)
    }
}

impl Money {
    /// Major units with the currency's decimals, for people.
    #[must_use]
    pub fn major(self, currency: Currency) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let minor = self.0.unsigned_abs();
        let scale = 10_u64.pow(u32::from(currency.decimals));
        match currency.decimals {
            0 => format!("{sign}{minor}"),
            decimals => format!("{sign}{}.{:0width$}", minor / scale, minor % scale, width = usize::from(decimals)),
        }
    }
}

impl UnitPrice {
    /// What a volume costs at this price, half a minor unit rounded up. `None` if the amount does not fit.
    ///
    /// For limits and plausibility only: what is charged is the dispenser's own amount.
    #[must_use]
    pub fn cost_of(self, volume: Volume, currency: Currency) -> Option<Money> {
        let scale = 1_000 * i128::from(currency.micros_per_minor());
        let exact = i128::from(self.0) * i128::from(volume.0);
        i64::try_from((exact + scale / 2).div_euclid(scale)).ok().map(Money)
    }

    /// The volume that money buys at this price, rounded down to a millilitre. `None` at price zero.
    #[must_use]
    pub fn volume_for(self, money: Money, currency: Currency) -> Option<Volume> {
        if self.0 <= 0 {
            return None;
        }
        let exact = i128::from(money.0) * 1_000 * i128::from(currency.micros_per_minor());
        i64::try_from(exact.div_euclid(i128::from(self.0))).ok().map(Volume)
    }

    /// Whether an amount agrees with volume × this price within one volume step × price plus one minor unit
    /// (contract section 9, `amount_mismatch`).
    #[must_use]
    pub fn agrees(self, volume: Volume, amount: Money, step: Volume, currency: Currency) -> bool {
        let scale = 1_000 * i128::from(currency.micros_per_minor());
        let exact = i128::from(self.0) * i128::from(volume.0);
        let stated = i128::from(amount.0) * scale;
        let allowed = i128::from(self.0) * i128::from(step.0) + scale;
        (exact - stated).abs() <= allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_to_the_nearest_minor_unit() {
        let price = UnitPrice::new(7_450_000);
        assert_eq!(price.cost_of(Volume::new(26_846), Currency::CNY), Some(Money::new(20_000)));
        assert_eq!(price.cost_of(Volume::new(26_840), Currency::CNY), Some(Money::new(19_996)));
        assert_eq!(UnitPrice::new(i64::MAX).cost_of(Volume::new(i64::MAX), Currency::CNY), None);
    }

    #[test]
    fn a_dispenser_may_differ_by_one_volume_step_and_one_minor_unit() {
        let currency = Currency::from_code("UZS").expect("known");
        let price = UnitPrice::new(10_500_000_000);
        // dart.md section 12 B: 4.76 L at 10500 shows 50000
        assert!(price.agrees(Volume::new(4_760), Money::new(5_000_000), Volume::new(10), currency));
        assert!(!price.agrees(Volume::new(4_760), Money::new(5_020_000), Volume::new(10), currency));
    }

    #[test]
    fn money_is_shown_with_the_decimals_of_its_currency() {
        assert_eq!(Money::new(20_005).major(Currency::CNY), "200.05");
        assert_eq!(Money::new(-5).major(Currency::CNY), "-0.05");
        assert_eq!(Money::new(51_660).major(Currency::from_code("CLP").expect("known")), "51660");
    }
}
