//! Prices: sets of them with the moment from which they hold, what makes a set refused, and what stands at a nozzle.
//!
//! A set is judged when it comes, waits for its moment, and then becomes the target of every nozzle that sells one of its grades. What
//! the dispenser shows is the price in force there, until it shows the target.

use crate::ids::{Grade, NozzleId, PriceSetId};
use crate::time::{ClockQuality, Instant, Now, UtcTime};
use crate::units::UnitPrice;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A price may differ from the last one by this much (rules of price changes: ±20 %).
const MOST_CHANGE_PERCENT: i128 = 20;
/// Sets that may wait for their moment.
const MOST_WAITING: usize = 16;
/// While a set waits, the wall clock is looked at this often: it may be set.
const LOOK: Duration = Duration::from_secs(30);
/// Least time from the first showing of a new price to the next release (OIML R 117-1, unit prices from a peripheral).
pub const NEW_PRICE_SHOWS: Duration = Duration::from_secs(5);

/// `fuel.price.set.v1`: prices that come into force together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PriceSet {
    /// Its name, which sales bear.
    pub price_set: PriceSetId,
    /// From when on.
    pub effective_at: UtcTime,
    /// By grade; grades that are not named keep their price.
    pub prices: BTreeMap<Grade, UnitPrice>,
    /// No price may be above this.
    #[serde(rename = "ceiling_micros")]
    pub ceiling: Option<UnitPrice>,
}

/// How a price moves. The customer never pays more than the sign says: on a raise the sign goes first, on a cut the pumps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up: change the sign before.
    Raise,
    /// Down: change the sign once the pumps have confirmed.
    Lower,
    /// As it was.
    Same,
}

impl Direction {
    /// From one price to the next.
    #[must_use]
    pub fn of(last: UnitPrice, next: UnitPrice) -> Self {
        match next.cmp(&last) {
            core::cmp::Ordering::Greater => Self::Raise,
            core::cmp::Ordering::Less => Self::Lower,
            core::cmp::Ordering::Equal => Self::Same,
        }
    }
}

/// How far a nozzle has come with a price set (contract section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AppliedStatus {
    /// The dispenser shows the price, or takes it with every release.
    Applied,
    /// Not yet: the nozzle is in use, or the price was not seen there.
    Pending,
    /// The dispenser did not take it, or another set came first.
    Refused,
}

/// `fuel.price.applied.v1`: what became of a price set at one nozzle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PriceApplied {
    /// Which set.
    pub price_set: PriceSetId,
    /// Where.
    pub nozzle: NozzleId,
    /// Its price there.
    #[serde(rename = "unit_price_micros")]
    pub unit_price: UnitPrice,
    /// How far it is.
    pub status: AppliedStatus,
    /// Since when.
    pub at: UtcTime,
}

/// Prices that a head can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriceDigits {
    step: i64,
    most: i64,
}

impl PriceDigits {
    /// So many digits, so many of them (at most 6) decimals of the major unit.
    #[must_use]
    pub fn new(digits: u32, decimals: u8) -> Self {
        let step = 10_i64.pow(6_u32.saturating_sub(decimals.into()));
        let most = 10_i64.checked_pow(digits).and_then(|most| (most - 1).checked_mul(step)).unwrap_or(i64::MAX);
        Self { step, most }
    }

    /// Whether the head shows this price exactly.
    #[must_use]
    pub const fn fit(self, price: UnitPrice) -> bool {
        price.get() > 0 && price.get() % self.step == 0 && price.get() <= self.most
    }
}

/// What a nozzle shows, and what it shall show: one stored row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NozzlePrice {
    /// The price in force: the last that the dispenser and we agreed on.
    pub price: UnitPrice,
    /// The set it belongs to.
    pub set: PriceSetId,
    /// Since when.
    pub since: UtcTime,
    /// The price to come.
    pub target: Option<Target>,
    /// The configuration's own price set when this was written: once a person gives that another name, its prices count.
    pub base: PriceSetId,
}

/// A price whose moment has come and that the dispenser was not yet seen to show.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Which.
    pub price: UnitPrice,
    /// Of which set.
    pub set: PriceSetId,
    /// It was given to the dispenser, or is about to be.
    pub told: bool,
    /// What was last recorded of it.
    pub status: Option<AppliedStatus>,
    /// People were told that it does not come through.
    pub alarmed: bool,
}

/// A set as stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownPriceSet {
    /// Its content.
    pub set: PriceSet,
    /// How far it has come.
    pub stage: SetStage,
    /// See [`NozzlePrice::base`].
    pub base: PriceSetId,
}

/// How far a set has come at the station.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetStage {
    /// Waits for its moment.
    Scheduled,
    /// The last whose moment came.
    InForce,
    /// Another came after it.
    Past,
}

/// Why a set is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WrongPrice {
    /// Not sold here.
    #[error("grade {0} is not sold here: leave it out")]
    UnknownGrade(Grade),
    /// Nothing is sold for nothing.
    #[error("the price of {0} is zero or less: send the price of a litre")]
    Zero(Grade),
    /// Above a ceiling.
    #[error("the price of {grade}, {} a litre, is above the ceiling of {}: send a lower one", litre(.price), litre(.ceiling))]
    OverCeiling {
        /// Of what.
        grade: Grade,
        /// As sent.
        price: UnitPrice,
        /// Of the set or of the configuration.
        ceiling: UnitPrice,
    },
    /// Too far from the last.
    #[error(
        "the price of {grade}, {} a litre, is more than 20 % from the last, {}: check its decimals, or go there in steps",
        litre(.price), litre(.last)
    )]
    TooFar {
        /// Of what.
        grade: Grade,
        /// As sent.
        price: UnitPrice,
        /// The one before.
        last: UnitPrice,
    },
    /// A head has fewer decimals or digits.
    #[error("the price of {grade}, {} a litre, does not fit the digits of nozzle {nozzle}: send one that its head can show", litre(.price))]
    Decimals {
        /// Of what.
        grade: Grade,
        /// As sent.
        price: UnitPrice,
        /// Where.
        nozzle: NozzleId,
    },
    /// The name stands for other prices.
    #[error("the name {0} stands for other prices already: give the set a new name")]
    NameTaken(PriceSetId),
    /// A later one is in force.
    #[error(
        "price set {in_force}, of {since}, is in force and later than {at}: send these prices under a new name with a later moment"
    )]
    Overtaken {
        /// Which.
        in_force: PriceSetId,
        /// Its moment.
        since: UtcTime,
        /// The moment of the set that is refused.
        at: UtcTime,
    },
    /// Too many wait.
    #[error("{MOST_WAITING} price sets wait for their time already: send this one later")]
    TooMany,
}

/// A price for people, in major units with as many decimals as it has.
#[must_use]
pub fn litre(price: &UnitPrice) -> String {
    let micros = price.get().unsigned_abs();
    let sign = if price.get() < 0 { "-" } else { "" };
    let decimals = format!("{:06}", micros % 1_000_000);
    let kept = decimals.trim_end_matches('0');
    format!("{sign}{}.{kept:0<2}", micros / 1_000_000)
}

/// What a grade is judged by.
#[derive(Clone, Debug)]
pub struct GradeBounds {
    /// The last price.
    pub last: UnitPrice,
    /// Of the configuration.
    pub ceiling: Option<UnitPrice>,
    /// Heads that sell it, with what they can show.
    pub heads: Vec<(NozzleId, PriceDigits)>,
}

/// The sets that wait for their moment, and the last whose moment came.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    /// By moment, of equal ones in the order they came.
    waiting: Vec<PriceSet>,
    in_force: Option<PriceSet>,
    look: Option<Instant>,
}

impl PriceBook {
    /// What earlier runs left. A set that was in force counts no more once the configuration names other prices than `base`.
    #[must_use]
    pub fn recall(known: Vec<KnownPriceSet>, base: &PriceSetId, now: &Now) -> Self {
        let mut book = Self::default();
        for KnownPriceSet { set, stage, base: of } in known {
            match stage {
                SetStage::Scheduled => book.insert(set),
                SetStage::InForce if of == *base => book.in_force = Some(set),
                SetStage::InForce | SetStage::Past => {}
            }
        }
        book.wind(now);
        book
    }

    /// The last set whose moment came.
    #[must_use]
    pub const fn in_force(&self) -> Option<&PriceSet> {
        self.in_force.as_ref()
    }

    /// Sets whose moment is to come.
    #[must_use]
    pub fn waiting(&self) -> &[PriceSet] {
        &self.waiting
    }

    /// The last price that a grade has by a moment: of a set that waits, else `present`.
    #[must_use]
    pub fn last_of(&self, grade: &Grade, by: UtcTime, present: UnitPrice) -> UnitPrice {
        let before = self.waiting.iter().filter(|set| set.effective_at <= by);
        before.filter_map(|set| set.prices.get(grade)).next_back().copied().unwrap_or(present)
    }

    /// Judges a set; `bounds` names the grades sold here. Everything that is wrong is told at once.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn judge(&self, set: &PriceSet, bounds: &BTreeMap<Grade, GradeBounds>) -> Result<(), Vec<WrongPrice>> {
        let mut wrong = Vec::new();
        for (grade, price) in &set.prices {
            let Some(bounds) = bounds.get(grade) else {
                wrong.push(WrongPrice::UnknownGrade(grade.clone()));
                continue;
            };
            let (grade, price) = (grade.clone(), *price);
            if !price.is_positive() {
                wrong.push(WrongPrice::Zero(grade));
                continue;
            }
            let ceiling = [set.ceiling, bounds.ceiling].into_iter().flatten().min();
            if let Some(ceiling) = ceiling.filter(|ceiling| price > *ceiling) {
                wrong.push(WrongPrice::OverCeiling { grade: grade.clone(), price, ceiling });
            }
            let last = self.last_of(&grade, set.effective_at, bounds.last);
            if is_far(last, price) {
                wrong.push(WrongPrice::TooFar { grade: grade.clone(), price, last });
            }
            if let Some((nozzle, _)) = bounds.heads.iter().find(|(_, digits)| !digits.fit(price)) {
                wrong.push(WrongPrice::Decimals { grade, price, nozzle: *nozzle });
            }
        }
        let namesake = self.waiting.iter().chain(&self.in_force).find(|known| known.price_set == set.price_set);
        if namesake.is_some_and(|known| known != set) {
            wrong.push(WrongPrice::NameTaken(set.price_set.clone()));
        }
        // Late, or sent anew after its successor: prices do not go back by themselves.
        if let Some(last) =
            self.in_force.as_ref().filter(|last| namesake.is_none() && set.effective_at < last.effective_at)
        {
            let (in_force, since) = (last.price_set.clone(), last.effective_at);
            wrong.push(WrongPrice::Overtaken { in_force, since, at: set.effective_at });
        }
        if namesake.is_none() && self.waiting.len() >= MOST_WAITING {
            wrong.push(WrongPrice::TooMany);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Takes a set that was judged. False if it is known already.
    pub fn schedule(&mut self, set: PriceSet, now: &Now) -> bool {
        if self.waiting.iter().chain(&self.in_force).any(|known| known.price_set == set.price_set) {
            return false;
        }
        self.insert(set);
        self.wind(now);
        true
    }

    fn insert(&mut self, set: PriceSet) {
        let at = self.waiting.partition_point(|other| other.effective_at <= set.effective_at);
        self.waiting.insert(at, set);
    }

    /// Takes the next set whose moment has come, with the one that it follows; call until `None`.
    ///
    /// By a clock that was never set no moment comes: it is waited until somebody sets it.
    pub fn take_due(&mut self, now: &Now) -> Option<(PriceSet, Option<PriceSet>)> {
        let due =
            now.clock != ClockQuality::Unset && self.waiting.first().is_some_and(|set| set.effective_at <= now.utc);
        if !due {
            self.wind(now);
            return None;
        }
        let set = self.waiting.remove(0);
        let before = self.in_force.replace(set.clone());
        Some((set, before))
    }

    fn wind(&mut self, now: &Now) {
        self.look = self.waiting.first().map(|set| {
            let left = u64::try_from(set.effective_at.ms_since(now.utc)).unwrap_or(0);
            let left = if now.clock == ClockQuality::Unset { LOOK } else { Duration::from_millis(left) };
            now.mono + left.min(LOOK)
        });
    }

    /// When the clock must be looked at.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.look
    }
}

fn is_far(last: UnitPrice, next: UnitPrice) -> bool {
    let (last, next) = (i128::from(last.get()), i128::from(next.get()));
    (next - last).abs() * 100 > last * MOST_CHANGE_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_250_000_000;

    fn grade(code: &str) -> Grade {
        Grade::new(code).unwrap()
    }

    fn now(ms: i64, clock: ClockQuality) -> Now {
        let mono = Instant::from_micros(u64::try_from(ms * 1_000).unwrap());
        Now { mono, utc: UtcTime::from_unix_ms(NOW + ms), clock }
    }

    fn set(name: &str, after_ms: i64, price: i64) -> PriceSet {
        PriceSet {
            price_set: PriceSetId::new(name).unwrap(),
            effective_at: UtcTime::from_unix_ms(NOW + after_ms),
            prices: [(grade("92"), UnitPrice::new(price))].into(),
            ceiling: None,
        }
    }

    fn bounds() -> BTreeMap<Grade, GradeBounds> {
        let heads = vec![(NozzleId(1), PriceDigits::new(6, 3)), (NozzleId(2), PriceDigits::new(4, 2))];
        [(grade("92"), GradeBounds { last: UnitPrice::new(7_450_000), ceiling: None, heads })].into()
    }

    fn wrong(set: &PriceSet) -> Vec<String> {
        let found = PriceBook::default().judge(set, &bounds()).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_price_of_nothing_another_grade_or_finer_than_a_head_is_refused_with_a_sentence() {
        assert_eq!(wrong(&set("a", 0, 7_600_000)), [""; 0]);
        assert_eq!(wrong(&set("a", 0, 0)), ["the price of 92 is zero or less: send the price of a litre"]);
        assert!(wrong(&set("a", 0, 7_455_000))[0].contains("does not fit the digits of nozzle 2"));
        let mut other = set("a", 0, 7_450_000);
        other.prices = [(grade("98"), UnitPrice::new(7_450_000))].into();
        assert_eq!(wrong(&other), ["grade 98 is not sold here: leave it out"]);
    }

    #[test]
    fn twenty_percent_is_the_most_that_a_price_moves_at_once() {
        assert_eq!(wrong(&set("a", 0, 8_940_000)), [""; 0]);
        assert_eq!(wrong(&set("a", 0, 5_960_000)), [""; 0]);
        assert!(wrong(&set("a", 0, 8_950_000))[0].contains("8.95 a litre, is more than 20 % from the last, 7.45"));
        assert!(wrong(&set("a", 0, 5_950_000))[0].contains("more than 20 %"));
    }

    #[test]
    fn the_lower_of_two_ceilings_counts() {
        let mut over = set("a", 0, 7_600_000);
        over.ceiling = Some(UnitPrice::new(7_500_000));
        assert!(wrong(&over)[0].contains("above the ceiling of 7.50"), "{:?}", wrong(&over));
        let mut bounds = bounds();
        bounds.get_mut(&grade("92")).unwrap().ceiling = Some(UnitPrice::new(7_480_000));
        let found = PriceBook::default().judge(&over, &bounds).unwrap_err();
        assert!(found[0].to_string().contains("above the ceiling of 7.48"), "{found:?}");
    }

    #[test]
    fn a_price_is_judged_against_the_one_before_it_in_time() {
        let mut book = PriceBook::default();
        let at = now(0, ClockQuality::Synced);
        assert!(book.schedule(set("a", 1_000, 8_900_000), &at));
        assert!(book.judge(&set("b", 2_000, 10_600_000), &bounds()).is_ok());
        assert!(book.judge(&set("b", 500, 10_600_000), &bounds()).is_err());
        assert!(book.judge(&set("b", 2_000, 7_000_000), &bounds()).is_err());
    }

    #[test]
    fn a_name_stands_for_one_set_of_prices() {
        let mut book = PriceBook::default();
        let at = now(0, ClockQuality::Synced);
        assert!(book.schedule(set("a", 0, 7_500_000), &at));
        assert!(!book.schedule(set("a", 0, 7_500_000), &at), "the same again");
        assert!(book.judge(&set("a", 0, 7_510_000), &bounds()).is_err());
        assert!(book.take_due(&at).is_some());
        assert!(book.judge(&set("a", 0, 7_510_000), &bounds()).is_err(), "also once in force");
    }

    #[test]
    fn a_set_that_comes_after_its_successor_is_refused_and_prices_do_not_go_back() {
        let mut book = PriceBook::default();
        let at = now(60_000, ClockQuality::Synced);
        for set in [set("old", 10_000, 7_500_000), set("new", 20_000, 7_600_000)] {
            assert!(book.judge(&set, &bounds()).is_ok());
            book.schedule(set, &at);
            assert!(book.take_due(&at).is_some());
        }
        let late = book.judge(&set("old", 10_000, 7_500_000), &bounds()).unwrap_err();
        assert!(late[0].to_string().contains("price set new, of"), "{late:?}");
        assert!(book.judge(&set("new", 20_000, 7_600_000), &bounds()).is_ok(), "the one in force is known");
        assert!(book.judge(&set("same-moment", 20_000, 7_550_000), &bounds()).is_ok());
    }

    #[test]
    fn sets_come_into_force_in_the_order_of_their_moments_and_never_by_a_clock_that_was_not_set() {
        let mut book = PriceBook::default();
        let start = now(0, ClockQuality::Synced);
        book.schedule(set("late", 90_000, 7_600_000), &start);
        book.schedule(set("soon", 10_000, 7_500_000), &start);
        assert_eq!(book.poll_timeout(), Some(Instant::from_micros(10_000_000)));
        assert!(book.take_due(&now(9_999, ClockQuality::Synced)).is_none());
        assert!(book.take_due(&now(100_000, ClockQuality::Unset)).is_none());
        let (first, before) = book.take_due(&now(100_000, ClockQuality::Holdover)).unwrap();
        assert_eq!((first.price_set.as_str(), before), ("soon", None));
        let (second, before) = book.take_due(&now(100_000, ClockQuality::Holdover)).unwrap();
        assert_eq!((second.price_set.as_str(), before), ("late", Some(first)));
        assert_eq!(book.poll_timeout().map(|_| ()), Some(()), "looked at until it is found empty");
        assert!(book.take_due(&now(100_001, ClockQuality::Synced)).is_none());
        assert_eq!(book.poll_timeout(), None);
    }

    #[test]
    fn while_a_set_waits_the_clock_is_looked_at_every_half_minute() {
        let mut book = PriceBook::default();
        book.schedule(set("a", 3_600_000, 7_500_000), &now(0, ClockQuality::Synced));
        assert_eq!(book.poll_timeout(), Some(Instant::from_micros(30_000_000)));
        assert!(book.take_due(&now(30_000, ClockQuality::Synced)).is_none());
        assert_eq!(book.poll_timeout(), Some(Instant::from_micros(60_000_000)));
    }

    #[test]
    fn a_configuration_with_another_name_takes_over_from_the_set_in_force() {
        let old = PriceSetId::new("PS-1").unwrap();
        let known = |stage| KnownPriceSet { set: set("a", 0, 7_500_000), stage, base: old.clone() };
        let at = now(0, ClockQuality::Synced);
        let recall = |stage, base: &PriceSetId| PriceBook::recall(vec![known(stage)], base, &at);
        assert!(recall(SetStage::InForce, &old).in_force().is_some());
        let new = PriceSetId::new("PS-2").unwrap();
        assert!(recall(SetStage::InForce, &new).in_force().is_none());
        assert_eq!(recall(SetStage::Scheduled, &new).waiting().len(), 1);
    }

    #[test]
    fn prices_are_told_with_the_decimals_they_have() {
        for (micros, text) in [(7_450_000, "7.45"), (7_455_000, "7.455"), (8_000_000, "8.00"), (500_000, "0.50")] {
            assert_eq!(litre(&UnitPrice::new(micros)), text);
        }
    }
}
