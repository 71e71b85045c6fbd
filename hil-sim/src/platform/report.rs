//! What the books come to: every order with its money, every nozzle with its litres, and all that does not agree.

use super::desk::{Counts, Desk};
use forecourt::ids::NozzleId;
use forecourt::units::{Money, Volume};
use serde::Serialize;
use std::collections::BTreeMap;

/// The state of the books at a moment. Meaningful as a final word once the station is idle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// One row for each order, by id.
    pub orders: Vec<OrderLine>,
    /// One row for each nozzle that sold.
    pub nozzles: BTreeMap<NozzleId, NozzleLine>,
    /// Money taken.
    pub paid_minor: Money,
    /// Money kept for fuel.
    pub captured_minor: Money,
    /// Money given back.
    pub refunded_minor: Money,
    /// Orders without an end.
    pub open: Vec<String>,
    /// Everything in which the station broke the contract or its figures disagree.
    pub violations: Vec<String>,
    /// How often things happened.
    pub counts: Counts,
}

/// An order's line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OrderLine {
    /// Its name.
    pub order_id: String,
    /// Where it ended.
    pub nozzle: NozzleId,
    /// Its end, in words.
    pub end: Option<String>,
    /// Sold.
    pub volume_ml: Volume,
    /// As the pump showed it.
    pub amount_minor: Money,
    /// Money taken.
    pub paid_minor: Money,
    /// Money kept.
    pub captured_minor: Money,
    /// Money given back.
    pub refunded_minor: Money,
}

/// A nozzle's line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NozzleLine {
    /// Sales.
    pub count: u64,
    /// Sold.
    pub volume_ml: Volume,
    /// Sold.
    pub amount_minor: Money,
    /// Last totaliser heard of.
    pub totaliser_ml: Option<Volume>,
    /// Movement that no sale explains.
    pub unaccounted_ml: Volume,
}

impl Report {
    /// Whether everything agrees: each order has its end, no record is missing and nothing was wrong.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.open.is_empty() && self.violations.is_empty()
    }
}

impl Desk {
    /// Draws up the report. Gaps in the chain and breaks between totalisers count among the violations here, since only at the
    /// end is it known that nothing more will fill them.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut violations = self.violations.clone();
        violations.extend(self.gaps());
        if !self.terms.joined_late {
            violations.extend(self.papers.differences(&self.sales, &self.chain));
        }
        let nozzles = self.nozzle_lines(&mut violations);
        let orders: Vec<OrderLine> = self
            .accounts
            .values()
            .map(|account| {
                let sale = account.sale();
                OrderLine {
                    order_id: account.spec.order_id.to_string(),
                    nozzle: account.nozzle,
                    end: account.end.as_ref().map(super::account::End::word),
                    volume_ml: sale.map_or(Volume::ZERO, |sale| sale.volume_ml),
                    amount_minor: sale.map_or(Money::ZERO, |sale| sale.amount_minor),
                    paid_minor: account.paid,
                    captured_minor: account.captured,
                    refunded_minor: account.refunded,
                }
            })
            .collect();
        let total = |pick: fn(&OrderLine) -> Money| {
            orders.iter().map(pick).try_fold(Money::ZERO, Money::checked_add).unwrap_or(Money::ZERO)
        };
        let open: Vec<String> =
            orders.iter().filter(|order| order.end.is_none()).map(|order| order.order_id.clone()).collect();
        let (paid, captured, refunded) =
            (total(|o| o.paid_minor), total(|o| o.captured_minor), total(|o| o.refunded_minor));
        if open.is_empty() && captured.checked_add(refunded) != Some(paid) {
            violations.push(format!("{paid:?} paid is not {captured:?} captured and {refunded:?} refunded"));
        }
        Report {
            nozzles,
            paid_minor: paid,
            captured_minor: captured,
            refunded_minor: refunded,
            open,
            violations,
            counts: self.counts,
            orders,
        }
    }

    fn gaps(&self) -> Vec<String> {
        let gaps = self.chain.gaps();
        gaps.iter()
            .filter(|gap| !(self.terms.joined_late && *gap.start() == 1))
            .map(|gap| format!("records {} to {} never came", gap.start(), gap.end()))
            .collect()
    }

    /// Follows each nozzle's totaliser from sale to sale.
    fn nozzle_lines(&self, violations: &mut Vec<String>) -> BTreeMap<NozzleId, NozzleLine> {
        let mut lines: BTreeMap<NozzleId, NozzleLine> = BTreeMap::new();
        let mut last: BTreeMap<NozzleId, (u64, Volume)> = BTreeMap::new();
        for (sequence, sale) in &self.sales {
            let sale = &sale.data;
            // Contract section 5: movement of this nozzle since its last sale that no sale explains, up to the end of this one.
            if let (Some((before, ended)), Some(end)) = (last.get(&sale.nozzle), sale.totaliser_end_ml) {
                let moved = end.get() - ended.get() - sale.volume_ml.get();
                let reported: i64 = self
                    .unaccounted
                    .range(before..sequence)
                    .filter(|(_, unaccounted)| unaccounted.nozzle == sale.nozzle)
                    .map(|(_, unaccounted)| unaccounted.volume_ml.get())
                    .sum();
                // The contract leaves open whether a movement that had its own record is told again in the next sale.
                let told = sale.unaccounted_ml.get();
                if moved != told && moved != told + reported {
                    violations.push(format!(
                        "nozzle {}: totaliser {ended:?} after record {before}, {end:?} after record {sequence} of {:?}; \
                         told unaccounted: {:?}",
                        sale.nozzle, sale.volume_ml, sale.unaccounted_ml
                    ));
                }
            }
            match (sale.totaliser_end_ml, last.get_mut(&sale.nozzle)) {
                (Some(end), _) => {
                    last.insert(sale.nozzle, (*sequence, end));
                }
                // It could not be read: by now it must have moved by that sale.
                (None, Some((_, ended))) => *ended = Volume::new(ended.get() + sale.volume_ml.get()),
                (None, None) => {}
            }
            let line = lines.entry(sale.nozzle).or_default();
            line.count += 1;
            line.volume_ml = Volume::new(line.volume_ml.get() + sale.volume_ml.get());
            line.amount_minor = Money::new(line.amount_minor.get() + sale.amount_minor.get());
            line.totaliser_ml = sale.totaliser_end_ml.or(line.totaliser_ml);
            line.unaccounted_ml = Volume::new(line.unaccounted_ml.get() + sale.unaccounted_ml.get());
        }
        lines
    }
}
