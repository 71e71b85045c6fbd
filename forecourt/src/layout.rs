//! What stands on the forecourt and by which rules: read from the configuration, never changed while running.

use crate::ids::{FuellingPointId, Grade, NozzleId, PriceSetId};
use crate::price::PriceDigits;
use crate::pump::Capabilities;
use crate::units::{Currency, Money, UnitPrice, Volume};
use core::time::Duration;
use std::collections::BTreeMap;

/// One fuelling point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuellingPointLayout {
    /// What its dispenser can do.
    pub capabilities: Capabilities,
    /// Another controller drives it, and we only listen.
    pub another_drives: bool,
    /// Prices that its head can show.
    pub price_digits: PriceDigits,
    /// Its nozzles.
    pub nozzles: Vec<NozzleId>,
}

/// One nozzle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NozzleLayout {
    /// Where it hangs.
    pub fp: FuellingPointId,
    /// What it delivers.
    pub grade: Grade,
}

/// Rules of a grade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradeRules {
    /// Price until a price set brings another.
    pub price: UnitPrice,
    /// No price set may go above this.
    pub ceiling: Option<UnitPrice>,
    /// Largest fuelling.
    pub max_volume: Volume,
    /// Longest fuelling.
    pub max_fill: Duration,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerSettings {
    /// Armed until lifted, unless the order says otherwise.
    pub lift: Duration,
    /// From the release to the first fuel.
    pub first_flow: Duration,
    /// Without fuel while fuelling.
    pub no_flow: Duration,
    /// An order in review is given up after this.
    pub review: Duration,
    /// People are told of a price that is not in force this long after its moment.
    pub price_overdue: Duration,
}

impl Default for TimerSettings {
    fn default() -> Self {
        Self {
            lift: Duration::from_secs(120),
            first_flow: Duration::from_secs(60),
            no_flow: Duration::from_secs(60),
            review: Duration::from_secs(24 * 3600),
            price_overdue: Duration::from_secs(600),
        }
    }
}

/// Limits of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most money for one order.
    pub amount: Money,
    /// Most money for one customer token and business day: dispensed, and on orders that wait.
    pub customer_day_amount: Money,
    /// Least volume for one order: the minimum measured quantity (OIML R 117).
    pub minimum_volume: Volume,
    /// Orders that may stand at one fuelling point, the armed one included.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            amount: Money::new(500_000),
            customer_day_amount: Money::new(500_000),
            minimum_volume: Volume::new(2_000),
            queue: 4,
        }
    }
}

/// The station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Of all money here.
    pub currency: Currency,
    /// Name of the prices below, until a price set brings others.
    pub price_set: PriceSetId,
    /// Local time for shifts, minutes east of UTC.
    pub utc_offset_minutes: i16,
    /// By number.
    pub fuelling_points: BTreeMap<FuellingPointId, FuellingPointLayout>,
    /// By the number painted on the pump.
    pub nozzles: BTreeMap<NozzleId, NozzleLayout>,
    /// By code.
    pub grades: BTreeMap<Grade, GradeRules>,
    /// Times.
    pub timers: TimerSettings,
    /// Limits.
    pub limits: Limits,
}

impl Layout {
    /// The rules of what a nozzle delivers; `None` for a nozzle or grade that is not here.
    #[must_use]
    pub fn rules_of(&self, nozzle: NozzleId) -> Option<&GradeRules> {
        self.grades.get(&self.nozzles.get(&nozzle)?.grade)
    }

    /// Nozzles that deliver a grade.
    pub fn nozzles_with(&self, grade: &Grade) -> impl Iterator<Item = NozzleId> {
        self.nozzles.iter().filter(move |(_, nozzle)| nozzle.grade == *grade).map(|(id, _)| *id)
    }

    /// The local day of business that a moment belongs to.
    #[must_use]
    pub fn business_day(&self, at: crate::time::UtcTime) -> crate::customer::BusinessDay {
        crate::customer::BusinessDay::of(at, self.utc_offset_minutes)
    }

    /// The shift that a moment belongs to: one a day, named by the local date.
    #[must_use]
    pub fn shift_of(&self, at: crate::time::UtcTime) -> String {
        let local = at.plus_ms(i64::from(self.utc_offset_minutes) * 60_000).to_string();
        format!("{}-A", &local[..10])
    }
}
