//! Price sets at the station: judged when they come, made the target of every nozzle when their moment comes.

use super::{Points, Site};
use crate::command::Outcome;
use crate::desk::Turn;
use crate::fuelling_point::FuellingPoint;
use crate::ids::{Grade, PriceSetId};
use crate::ledger::Write;
use crate::price::{Direction, GradeBounds, KnownPriceSet, PriceBook, PriceSet, SetStage, litre};
use crate::record::{Audit, Record};
use crate::time::Now;
use crate::units::UnitPrice;
use std::collections::BTreeMap;

impl Site {
    /// The last price set whose moment came; before the first, that of the configuration.
    #[must_use]
    pub fn price_set(&self) -> &PriceSetId {
        self.price_book.in_force().map_or(&self.desk.layout.price_set, |set| &set.price_set)
    }

    /// Price sets whose moment is to come, the next one first.
    #[must_use]
    pub fn price_sets_waiting(&self) -> &[PriceSet] {
        self.price_book.waiting()
    }

    /// Gives the nozzles the prices whose moment has come.
    pub(super) fn take_due_prices(&mut self, now: Now) {
        if self.price_book.poll_timeout().is_none_or(|due| due > now.mono) {
            return;
        }
        while let Some((set, before)) = self.price_book.take_due(&now) {
            let mut turn = self.desk.turn(now);
            let base = turn.layout().price_set.clone();
            if let Some(set) = before {
                turn.write(known(set, SetStage::Past, base.clone()));
            }
            turn.write(known(set.clone(), SetStage::InForce, base));
            turn.finish();
            for point in self.points.values_mut() {
                let mut turn = self.desk.turn(now);
                point.take_prices(&set, &mut turn);
                turn.finish();
            }
        }
    }
}

fn known(set: PriceSet, stage: SetStage, base: PriceSetId) -> Write {
    Write::PriceSet(Box::new(KnownPriceSet { set, stage, base }))
}

/// Judges a price set and keeps it for its moment.
pub(super) fn schedule(book: &mut PriceBook, points: &Points, set: PriceSet, turn: &mut Turn<'_>) -> Outcome {
    let bounds = bounds(points, turn);
    if let Err(wrong) = book.judge(&set, &bounds) {
        return Outcome::Refused { problems: wrong.iter().map(ToString::to_string).collect() };
    }
    let last_of = |grade: &Grade| {
        let present = bounds.get(grade).map_or(UnitPrice::ZERO, |bounds| bounds.last);
        book.last_of(grade, set.effective_at, present)
    };
    let moves: Vec<(&Grade, UnitPrice, UnitPrice)> =
        set.prices.iter().map(|(grade, price)| (grade, last_of(grade), *price)).collect();
    let directions = moves.iter().map(|(grade, last, next)| ((*grade).clone(), Direction::of(*last, *next))).collect();
    let words = |prices: Vec<(&Grade, UnitPrice)>| {
        prices.iter().map(|(grade, price)| format!("{grade} {}", litre(price))).collect::<Vec<_>>().join(", ")
    };
    let old = words(moves.iter().map(|(grade, last, _)| (*grade, *last)).collect());
    let new = words(moves.iter().map(|(grade, _, next)| (*grade, *next)).collect());
    if book.schedule(set.clone(), &turn.now) {
        turn.record(Record::Audit(Audit {
            who: "platform".into(),
            did: "price_set".into(),
            on: set.price_set.to_string(),
            old: Some(old),
            new: Some(format!("{new} from {}", set.effective_at)),
        }));
        let base = turn.layout().price_set.clone();
        turn.write(known(set, SetStage::Scheduled, base));
    }
    Outcome::Scheduled { directions }
}

/// What each grade sold here is judged by.
fn bounds(points: &Points, turn: &Turn<'_>) -> BTreeMap<Grade, GradeBounds> {
    let layout = turn.layout();
    let of = |(grade, rules): (&Grade, &crate::layout::GradeRules)| {
        let heads: Vec<_> = layout
            .nozzles_with(grade)
            .filter_map(|nozzle| {
                let fp = layout.nozzles.get(&nozzle)?.fp;
                Some((nozzle, layout.fuelling_points.get(&fp)?.price_digits))
            })
            .collect();
        // Where nozzles differ because one still waits, the newest counts.
        let shows = |point: &FuellingPoint, nozzle| match point.price_target(nozzle) {
            Some(target) => target.price,
            None => point.price(nozzle),
        };
        let prices = heads.iter().filter_map(|(nozzle, _)| {
            let fp = layout.nozzles.get(nozzle)?.fp;
            let point = points.get(&fp)?;
            Some((point.price_target(*nozzle).is_some(), shows(point, *nozzle)))
        });
        let last = prices.max_by_key(|(waits, _)| *waits).map_or(rules.price, |(_, price)| price);
        (grade.clone(), GradeBounds { last, ceiling: rules.ceiling, heads })
    };
    layout.grades.iter().map(of).collect()
}
