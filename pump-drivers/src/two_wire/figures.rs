//! Records and totals of a head in our units.

use super::block::{Digits, GradeIndex, GradeTotals, Transaction};
use crate::head::HeadSettings;
use forecourt::ids::NozzleId;
use forecourt::pump::Reading;
use forecourt::units::Volume;

/// The nozzle that sells a grade.
pub(super) fn nozzle_of(settings: &HeadSettings, grade: GradeIndex) -> Option<NozzleId> {
    settings.nozzles.iter().find(|n| n.logical == grade.0 + 1).map(|n| n.nozzle)
}

/// Where the meter of a grade stands.
pub(super) fn totaliser(settings: &HeadSettings, totals: &GradeTotals) -> Option<(NozzleId, Volume)> {
    let number = i64::try_from(totals.volume.value()).ok()?;
    Some((nozzle_of(settings, totals.grade)?, settings.decimals.total(number)?))
}

/// The figures of a record.
pub(super) fn reading(settings: &HeadSettings, record: &Transaction) -> Option<Reading> {
    let number = |digits: Digits| i64::try_from(digits.value()).ok();
    let decimals = settings.decimals;
    Some(Reading {
        nozzle: nozzle_of(settings, record.grade),
        volume: decimals.volume(number(record.volume)?)?,
        amount: decimals.amount(number(record.money)?, settings.currency)?,
        price: decimals.price(number(record.price)?).filter(|price| price.is_positive()),
    })
}

/// Whether volume × price and money of a reading agree.
pub(super) fn agrees(settings: &HeadSettings, reading: &Reading) -> bool {
    let (step, currency) = (settings.decimals.volume_step(), settings.currency);
    reading.price.is_none_or(|price| price.agrees(reading.volume, reading.amount, step, currency))
}

/// What the meter of a grade counted from one reading to the next, over its roll-over too.
pub(super) fn moved(
    settings: &HeadSettings,
    before: &[GradeTotals],
    after: &[GradeTotals],
    grade: GradeIndex,
) -> Option<Volume> {
    let of_grade = |all: &[GradeTotals]| all.iter().find(|t| t.grade == grade).copied();
    let (old, new) = of_grade(before).zip(of_grade(after))?;
    let (from, to, count) = (old.volume.value(), new.volume.value(), new.volume.text().len());
    let rolled = if to < from { 10_u64.checked_pow(u32::try_from(count).ok()?)? } else { 0 };
    settings.decimals.total(i64::try_from((to + rolled).checked_sub(from)?).ok()?)
}

/// Whether a volume sold and what the meter counted are the same but for the step of the meter.
pub(super) fn same(settings: &HeadSettings, sold: Volume, counted: Volume) -> bool {
    let unit = settings.decimals.total(1).unwrap_or(Volume::ZERO);
    counted.checked_sub(sold).is_some_and(|d| d.get().abs() <= unit.get())
}
