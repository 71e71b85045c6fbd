//! What a site says about a dispenser that hangs on a line by an address, and what can be wrong with it.

use crate::decimals::Decimals;
use core::ops::RangeInclusive;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::units::{Currency, UnitPrice};
use std::collections::BTreeMap;

/// One nozzle of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NozzleSettings {
    /// Number within the head, from 1.
    pub logical: u8,
    /// Number at the station.
    pub nozzle: NozzleId,
    /// Price to be written.
    pub price: UnitPrice,
}

/// One head: one fuelling point at one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadSettings {
    /// Which fuelling point.
    pub fp: FuellingPointId,
    /// Address byte on the line.
    pub address: u8,
    /// Where its decimal points are.
    pub decimals: Decimals,
    /// In which its amounts are.
    pub currency: Currency,
    /// Its nozzles; logical numbers 1 to n without a gap.
    pub nozzles: Vec<NozzleSettings>,
    /// Whether it takes suspend and resume. Unproven in the field: off unless tried at the site.
    pub suspend: bool,
    /// How often a totaliser is asked for in all.
    pub total_attempts: u8,
    /// Silence after which nothing of the pump is believed any more.
    pub comm_lost: Duration,
}

impl HeadSettings {
    /// A head with the usual defaults and no nozzle yet.
    #[must_use]
    pub fn new(fp: FuellingPointId, address: u8, decimals: Decimals, currency: Currency) -> Self {
        Self {
            fp,
            address,
            decimals,
            currency,
            nozzles: Vec::new(),
            suspend: false,
            total_attempts: 3,
            comm_lost: Duration::from_millis(1_500),
        }
    }

    /// The same with one more nozzle.
    #[must_use]
    pub fn with_nozzle(mut self, logical: u8, nozzle: NozzleId, price: UnitPrice) -> Self {
        self.nozzles.push(NozzleSettings { logical, nozzle, price });
        self
    }
}

/// What is wrong with the heads of one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsProblem {
    /// No pump has it.
    #[error("fp {fp}: address {address:02X} is outside {first:02X} to {last:02X} (hex), which this protocol has")]
    Address {
        /// Where.
        fp: FuellingPointId,
        /// As set.
        address: u8,
        /// Lowest there is.
        first: u8,
        /// Highest there is.
        last: u8,
    },
    /// Two pumps would answer at once.
    #[error("fp {fp}: address {address:02X} is already that of fp {other} on this line")]
    SameAddress {
        /// Where.
        fp: FuellingPointId,
        /// The first that has it.
        other: FuellingPointId,
        /// As set.
        address: u8,
    },
    /// One fuelling point twice.
    #[error("fp {fp} is set twice on this line")]
    SameFuellingPoint {
        /// Which.
        fp: FuellingPointId,
    },
    /// One nozzle of the station twice.
    #[error("fp {fp}: nozzle {nozzle} is set twice on this line")]
    SameNozzle {
        /// Where.
        fp: FuellingPointId,
        /// Which.
        nozzle: NozzleId,
    },
    /// Prices are written by position.
    #[error("fp {fp}: logical nozzles are {found:?}; they must be 1 to n without gap or repeat")]
    Logical {
        /// Where.
        fp: FuellingPointId,
        /// As set, sorted.
        found: Vec<u8>,
    },
    /// None, or more than the protocol has room for.
    #[error("fp {fp}: {count} nozzles; a head has 1 to {most}")]
    NozzleCount {
        /// Where.
        fp: FuellingPointId,
        /// As set.
        count: usize,
        /// As can be.
        most: usize,
    },
    /// Finer than we keep.
    #[error("fp {fp}: {what} has {decimals} decimals, at most {most} can be kept exactly")]
    Decimals {
        /// Where.
        fp: FuellingPointId,
        /// Which.
        what: &'static str,
        /// As set.
        decimals: u8,
        /// As can be.
        most: u8,
    },
    /// The head cannot show it.
    #[error(
        "fp {fp}: price {price:?} of nozzle {nozzle} cannot be shown exactly with {decimals} decimals and {digits} digits"
    )]
    Price {
        /// Where.
        fp: FuellingPointId,
        /// Of which nozzle.
        nozzle: NozzleId,
        /// As set.
        price: UnitPrice,
        /// Of the head.
        decimals: u8,
        /// Of the head.
        digits: u32,
    },
}

/// What a protocol has room for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Address bytes.
    pub addresses: RangeInclusive<u8>,
    /// Nozzles of one head.
    pub most_nozzles: usize,
    /// Digits of a unit price.
    pub price_digits: u32,
}

/// All that is wrong with the heads of one line; empty if nothing is.
#[must_use]
pub fn validate(heads: &[HeadSettings], rules: &Rules) -> Vec<SettingsProblem> {
    let mut problems = Vec::new();
    let mut addresses: BTreeMap<u8, FuellingPointId> = BTreeMap::new();
    let mut points: Vec<FuellingPointId> = Vec::new();
    let mut nozzles: Vec<NozzleId> = Vec::new();
    for head in heads {
        let fp = head.fp;
        if points.contains(&fp) {
            problems.push(SettingsProblem::SameFuellingPoint { fp });
        }
        points.push(fp);
        if !rules.addresses.contains(&head.address) {
            let (first, last) = (*rules.addresses.start(), *rules.addresses.end());
            problems.push(SettingsProblem::Address { fp, address: head.address, first, last });
        }
        match addresses.get(&head.address) {
            Some(other) => {
                problems.push(SettingsProblem::SameAddress { fp, other: *other, address: head.address });
            }
            None => {
                addresses.insert(head.address, fp);
            }
        }
        for nozzle in head.nozzles.iter().map(|n| n.nozzle) {
            if nozzles.contains(&nozzle) {
                problems.push(SettingsProblem::SameNozzle { fp, nozzle });
            }
            nozzles.push(nozzle);
        }
        problems.extend(one_head(head, rules));
    }
    problems
}

fn one_head(head: &HeadSettings, rules: &Rules) -> Vec<SettingsProblem> {
    let fp = head.fp;
    let mut problems = Vec::new();
    let count = head.nozzles.len();
    let most = rules.most_nozzles;
    if !(1..=most).contains(&count) {
        problems.push(SettingsProblem::NozzleCount { fp, count, most });
    }
    let mut found: Vec<u8> = head.nozzles.iter().map(|n| n.logical).collect();
    found.sort_unstable();
    if found.iter().zip(1_u8..).any(|(logical, expected)| *logical != expected) {
        problems.push(SettingsProblem::Logical { fp, found });
    }
    let decimals = head.decimals;
    for (what, decimals, most) in [
        ("volume", decimals.volume, 3),
        ("price", decimals.price, 6),
        ("amount", decimals.amount, head.currency.decimals()),
        ("totals", decimals.totals, 3),
    ] {
        if decimals > most {
            problems.push(SettingsProblem::Decimals { fp, what, decimals, most });
        }
    }
    if decimals.price <= 6 {
        let digits = rules.price_digits;
        for nozzle in head.nozzles.iter().filter(|n| decimals.price_number(n.price, digits).is_none()) {
            problems.push(SettingsProblem::Price {
                fp,
                nozzle: nozzle.nozzle,
                price: nozzle.price,
                decimals: decimals.price,
                digits,
            });
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { addresses: 0x50..=0x6F, most_nozzles: 12, price_digits: 6 };

    #[test]
    fn all_problems_are_told_at_once() {
        let decimals = Decimals { volume: 4, price: 2, amount: 3, totals: 2 };
        let good = Decimals { volume: 2, price: 2, amount: 2, totals: 2 };
        let price = UnitPrice::new(7_450_000);
        let heads = [
            HeadSettings::new(FuellingPointId(1), 0x50, decimals, Currency::CNY).with_nozzle(1, NozzleId(1), price),
            HeadSettings::new(FuellingPointId(1), 0x50, good, Currency::CNY)
                .with_nozzle(1, NozzleId(1), UnitPrice::new(7_455_000))
                .with_nozzle(3, NozzleId(2), price),
            HeadSettings::new(FuellingPointId(2), 0x70, good, Currency::CNY),
        ];
        let texts: Vec<String> = validate(&heads, &RULES).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 9, "{texts:#?}");
        let one = HeadSettings::new(FuellingPointId(9), 0x6F, good, Currency::CNY).with_nozzle(1, NozzleId(9), price);
        assert_eq!(validate(&[one], &RULES), []);
    }
}
