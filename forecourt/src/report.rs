//! Shift and day reports (contract section 5, `fuel.report.v1`): what was sold in a period, added up from the sales themselves.

use crate::ids::{Grade, NozzleId};
use crate::order::Basis;
use crate::period::{Period, Scope};
use crate::time::UtcTime;
use crate::units::{Currency, Money, Volume};
use serde::Serialize;
use std::collections::BTreeMap;

/// Largest figure of a report: integers of the contract are below 2^53.
const LARGEST: i64 = (1 << 53) - 1;

/// Sales added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// As the dispensers showed them.
    #[serde(rename = "volume_ml")]
    pub volume: Volume,
    /// As the dispensers showed them.
    #[serde(rename = "amount_minor")]
    pub amount: Money,
}

impl Sum {
    fn add(&mut self, volume: Volume, amount: Money) {
        self.count += 1;
        self.volume = Volume::new(plus(self.volume.get(), volume.get()));
        self.amount = Money::new(plus(self.amount.get(), amount.get()));
    }
}

fn plus(one: i64, other: i64) -> i64 {
    one.saturating_add(other).clamp(-LARGEST, LARGEST)
}

/// One nozzle and what it sold of one grade.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NozzleRow {
    /// Which.
    pub nozzle: NozzleId,
    /// What.
    pub grade: Grade,
    /// Sold.
    #[serde(flatten)]
    pub sold: Sum,
    /// For verification, returned to the tank: not among what was sold.
    pub test: Sum,
    /// Its totaliser when the period began; null where it was never read.
    #[serde(rename = "totaliser_start_ml")]
    pub totaliser_start: Option<Volume>,
    /// When the period ended.
    #[serde(rename = "totaliser_end_ml")]
    pub totaliser_end: Option<Volume>,
    /// Movement in the period that no sale explains.
    #[serde(rename = "unaccounted_ml")]
    pub unaccounted: Volume,
}

/// One grade over all nozzles.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GradeRow {
    /// Which.
    pub grade: Grade,
    /// Sold.
    #[serde(flatten)]
    pub sold: Sum,
    /// For verification.
    pub test: Sum,
}

/// The outbox when the report was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutboxCounters {
    /// Records that wait for the platform, this report not among them.
    pub pending: u64,
    /// Records set aside after refusals.
    pub set_aside: u64,
    /// Event time of the oldest that waits.
    pub oldest_at: Option<UtcTime>,
}

/// `fuel.report.v1`
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Shift or day.
    pub scope: Scope,
    /// Its name; that of a shift stands in its sales.
    pub period: String,
    /// 1. Higher only where the clock was set back into a period that was closed.
    pub part: u32,
    /// The period begins here.
    pub from: UtcTime,
    /// And is over here.
    pub to: UtcTime,
    /// Of the amounts.
    pub currency: Currency,
    /// Sales of the period are among the records after this one.
    pub after_sequence: String,
    /// And this one is the last of them.
    pub through_sequence: String,
    /// Records of this range that a damaged store has lost: what they sold is not in the sums.
    pub missing_records: u64,
    /// Sold by all nozzles.
    pub total: Sum,
    /// By nozzle and grade.
    pub nozzles: Vec<NozzleRow>,
    /// By grade.
    pub grades: Vec<GradeRow>,
    /// Records on their way.
    pub outbox: OutboxCounters,
}

/// `fuel.anchor.v1`: the chain up to here, for whoever wants to prove later that nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Anchor {
    /// As records carry it, 12 digits.
    pub through_sequence: String,
    /// Of that record.
    pub hash: String,
}

/// What of a sale is added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sold {
    /// Where.
    pub nozzle: NozzleId,
    /// What.
    pub grade: Grade,
    /// On what ground.
    pub basis: Basis,
    /// As shown.
    pub volume: Volume,
    /// As shown.
    pub amount: Money,
    /// Unexplained before it.
    pub unaccounted: Volume,
}

/// Where in the chain a period lies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// Its records come after this sequence, 12 digits as records carry it.
    pub after: String,
    /// And this is the last.
    pub through: String,
    /// Records of the range that are not in the store.
    pub missing: u64,
}

/// Adds up one period.
#[derive(Clone, Debug)]
pub struct Tally {
    rows: BTreeMap<(NozzleId, Grade), NozzleRow>,
    now_sells: BTreeMap<NozzleId, Grade>,
}

impl Tally {
    /// With a row for each nozzle and what it sells now, sold or not.
    #[must_use]
    pub fn new(nozzles: &BTreeMap<NozzleId, Grade>) -> Self {
        let mut tally = Self { rows: BTreeMap::new(), now_sells: nozzles.clone() };
        for (nozzle, grade) in nozzles {
            tally.row(*nozzle, grade);
        }
        tally
    }

    fn row(&mut self, nozzle: NozzleId, grade: &Grade) -> &mut NozzleRow {
        self.rows.entry((nozzle, grade.clone())).or_insert_with(|| NozzleRow {
            nozzle,
            grade: grade.clone(),
            sold: Sum::default(),
            test: Sum::default(),
            totaliser_start: None,
            totaliser_end: None,
            unaccounted: Volume::ZERO,
        })
    }

    /// One sale of the period.
    pub fn take_sale(&mut self, sale: &Sold) {
        let row = self.row(sale.nozzle, &sale.grade);
        if sale.basis == Basis::Test { &mut row.test } else { &mut row.sold }.add(sale.volume, sale.amount);
        row.unaccounted = Volume::new(plus(row.unaccounted.get(), sale.unaccounted.get()));
    }

    /// One movement of the period that no sale explains.
    pub fn take_unaccounted(&mut self, nozzle: NozzleId, volume: Volume) {
        if let Some(row) = self.main_row(nozzle) {
            row.unaccounted = Volume::new(plus(row.unaccounted.get(), volume.get()));
        }
    }

    /// A nozzle's totaliser at both ends of the period.
    pub fn take_totalisers(&mut self, nozzle: NozzleId, start: Option<Volume>, end: Option<Volume>) {
        if let Some(row) = self.main_row(nozzle) {
            (row.totaliser_start, row.totaliser_end) = (start, end);
        }
    }

    /// The row of a nozzle for what belongs to no sale: that of the grade it sells now.
    fn main_row(&mut self, nozzle: NozzleId) -> Option<&mut NozzleRow> {
        let grade = match self.now_sells.get(&nozzle) {
            Some(grade) => grade.clone(),
            // No longer here: its last sale tells what it sold.
            None => self.rows.keys().rev().find(|(known, _)| *known == nozzle).map(|(_, grade)| grade.clone())?,
        };
        Some(self.row(nozzle, &grade))
    }

    /// The report.
    #[must_use]
    pub fn finish(self, of: &Period, part: u32, currency: Currency, range: Range, outbox: OutboxCounters) -> Report {
        let mut grades: BTreeMap<Grade, GradeRow> = BTreeMap::new();
        let mut total = Sum::default();
        for row in self.rows.values() {
            let grade = grades.entry(row.grade.clone()).or_insert_with(|| GradeRow {
                grade: row.grade.clone(),
                sold: Sum::default(),
                test: Sum::default(),
            });
            join(&mut grade.sold, row.sold);
            join(&mut grade.test, row.test);
            join(&mut total, row.sold);
        }
        Report {
            scope: of.scope,
            period: of.name.clone(),
            part,
            from: of.start,
            to: of.end,
            currency,
            after_sequence: range.after,
            through_sequence: range.through,
            missing_records: range.missing,
            total,
            nozzles: self.rows.into_values().collect(),
            grades: grades.into_values().collect(),
            outbox,
        }
    }
}

fn join(sum: &mut Sum, more: Sum) {
    sum.count += more.count;
    sum.volume = Volume::new(plus(sum.volume.get(), more.volume.get()));
    sum.amount = Money::new(plus(sum.amount.get(), more.amount.get()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn period() -> Period {
        let at = UtcTime::from_unix_ms(0);
        Period { scope: Scope::Day, name: "1970-01-01".into(), start: at, end: at }
    }

    fn sold() -> impl Strategy<Value = Sold> {
        let basis = prop_oneof![Just(Basis::Prepaid), Just(Basis::Manual), Just(Basis::Test)];
        (1_u16..5, "[a-c]", basis, 0_i64..500_000, 0_i64..400_000, 0_i64..5_000).prop_map(
            |(nozzle, grade, basis, volume, amount, unaccounted)| Sold {
                nozzle: NozzleId(nozzle),
                grade: Grade::new(grade).expect("a grade"),
                basis,
                volume: Volume::new(volume),
                amount: Money::new(amount),
                unaccounted: Volume::new(unaccounted),
            },
        )
    }

    fn finish(tally: Tally) -> Report {
        tally.finish(&period(), 1, Currency::CNY, Range::default(), OutboxCounters::default())
    }

    proptest! {
        /// Every way of adding up gives the sum of the sales: by nozzle, by grade, and over all.
        #[test]
        fn all_sums_agree_with_the_sales(sales in proptest::collection::vec(sold(), 0..60)) {
            let nozzles = [(NozzleId(1), Grade::new("a").expect("a grade"))].into();
            let mut tally = Tally::new(&nozzles);
            sales.iter().for_each(|sale| tally.take_sale(sale));
            let report = finish(tally);
            let mut sum = Sum::default();
            sales.iter().filter(|sale| sale.basis != Basis::Test).for_each(|sale| sum.add(sale.volume, sale.amount));
            prop_assert_eq!(report.total, sum);
            for test in [false, true] {
                let of = |sold: Sum, tested: Sum| if test { tested } else { sold };
                let counted = sales.iter().filter(|sale| (sale.basis == Basis::Test) == test);
                let (volume, amount) = counted.fold((0, 0), |(volume, amount), sale| (volume + sale.volume.get(), amount + sale.amount.get()));
                let nozzles = report.nozzles.iter().map(|row| of(row.sold, row.test));
                prop_assert_eq!(nozzles.fold((0, 0), |(v, a), sum| (v + sum.volume.get(), a + sum.amount.get())), (volume, amount));
                let grades = report.grades.iter().map(|row| of(row.sold, row.test));
                prop_assert_eq!(grades.fold((0, 0), |(v, a), sum| (v + sum.volume.get(), a + sum.amount.get())), (volume, amount));
            }
            let unexplained: i64 = sales.iter().map(|sale| sale.unaccounted.get()).sum();
            prop_assert_eq!(report.nozzles.iter().map(|row| row.unaccounted.get()).sum::<i64>(), unexplained);
        }
    }

    #[test]
    fn a_nozzle_without_sales_has_its_row_and_its_totalisers() {
        let grade = Grade::new("92").expect("a grade");
        let mut tally = Tally::new(&[(NozzleId(3), grade)].into());
        tally.take_totalisers(NozzleId(3), Some(Volume::new(5)), Some(Volume::new(9)));
        tally.take_unaccounted(NozzleId(3), Volume::new(4));
        tally.take_unaccounted(NozzleId(77), Volume::new(4));
        let report = finish(tally);
        assert_eq!(report.nozzles.len(), 1);
        let row = serde_json::to_value(&report.nozzles[0]).expect("JSON");
        let none = serde_json::json!({"count":0,"volume_ml":0,"amount_minor":0});
        let expected = serde_json::json!({"nozzle":3,"grade":"92","count":0,"volume_ml":0,"amount_minor":0,"test":none,
            "totaliser_start_ml":5,"totaliser_end_ml":9,"unaccounted_ml":4});
        assert_eq!(row, expected);
    }
}
