//! Unit prices: written while the pump is at rest, read back with the totals (two-wire sheet, sections 4 and 6).

use super::block::{Digits, GradeTotals, HostBlock};
use super::driver::{TwoWireDriver, alarm};
use super::sale::Task;
use super::word::Status;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::time::Instant;
use forecourt::units::UnitPrice;
use std::collections::BTreeMap;

/// Times that a price is written until it must read back.
pub(super) const MOST_PRICE_TRIES: u8 = 3;
/// From a price to its reading back.
pub(super) const PRICE_SETTLES: Duration = Duration::from_millis(1_000);
/// From a price that did not read back to the next try.
pub(super) const PRICE_RETRY: Duration = Duration::from_millis(2_000);

impl TwoWireDriver {
    pub(super) fn set_prices(&mut self, prices: &BTreeMap<NozzleId, UnitPrice>) {
        // What is shown from now on is told, also where it stays as it was.
        self.told.forget_prices();
        for nozzle in &mut self.settings.nozzles {
            let Some(price) = prices.get(&nozzle.nozzle) else { continue };
            if self.settings.decimals.price_number(*price, self.habits.width.price().into()).is_none() {
                let name = nozzle.nozzle;
                let text = format!("price {price:?} of nozzle {name} cannot be written in the digits of this head");
                self.told.raise(alarm::PRICE, text, false);
                continue;
            }
            nozzle.price = *price;
            self.prices_due = true;
            self.price_tries = 0;
        }
    }

    pub(super) fn wanted_for_prices(&self, state: Status, now: Instant) -> Option<Task> {
        let may = self.prices_due && state == Status::Idle && self.told.is_settled() && self.stop.is_none();
        if !may || self.price_check_at.is_some_and(|at| now < at) {
            return None;
        }
        let Some(wrong) = self.wrong_price().filter(|_| self.price_check_at.is_none()) else {
            return Some(Task::Totals);
        };
        (now >= self.data_next_at).then_some(Task::Price(wrong))
    }

    /// The first nozzle whose price is known not to be ours.
    pub(super) fn wrong_price(&self) -> Option<usize> {
        self.settings.nozzles.iter().position(|n| self.shown_price(n.nozzle).is_some_and(|shown| shown != n.price))
    }

    pub(super) fn price_block(&self, at: usize) -> Option<HostBlock> {
        let nozzle = self.settings.nozzles.get(at)?;
        let count = self.habits.width.price();
        let number = self.settings.decimals.price_number(nozzle.price, count.into())?;
        let grade = self.grade_of(nozzle.nozzle)?;
        Some(HostBlock::Price { level: self.habits.level, grade, price: Digits::new(number, count)? })
    }

    /// Totals count once they are what they were, or were read twice: their check has four bits.
    pub(super) fn believe(&mut self, totals: Vec<GradeTotals>) -> bool {
        let believed = self.totals.as_ref() == Some(&totals) || self.totals_read.as_ref() == Some(&totals);
        if believed {
            self.totals = Some(totals.clone());
        }
        self.totals_read = Some(totals);
        believed
    }

    pub(super) fn shown_price(&self, nozzle: NozzleId) -> Option<UnitPrice> {
        let grade = self.grade_of(nozzle)?;
        let totals = self.totals.as_ref()?.iter().find(|totals| totals.grade == grade)?;
        let number = i64::try_from(totals.price(self.habits.level).value()).ok()?;
        self.settings.decimals.price(number)
    }

    pub(super) fn tell_prices(&mut self) {
        for nozzle in self.settings.nozzles.clone() {
            if let Some(price) = self.shown_price(nozzle.nozzle) {
                self.told.price(nozzle.nozzle, price, false);
            }
        }
    }
}
