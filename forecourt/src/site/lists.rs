//! Lists of the platform, and what a customer has taken today.

use super::{Points, Site};
use crate::authorisation;
use crate::command::Outcome;
use crate::desk::Turn;
use crate::fuelling_point::FuellingPoint;
use crate::ids::CustomerToken;
use crate::ledger::Write;
use crate::list::{ListUpdate, ListVersion, Lists, MOST_ENTRIES, Updated};
use crate::order::OrderRequest;
use crate::units::Money;
use std::collections::BTreeMap;

impl Site {
    /// Versions of the lists that stand, by their word.
    #[must_use]
    pub fn list_versions(&self) -> BTreeMap<&'static str, ListVersion> {
        self.lists.versions()
    }

    /// Forgets what the core knows of a customer beyond the orders that are open (`fuel.privacy.erase.v1`). Returns how many entries;
    /// the stored rows go separately.
    pub fn forget_customer(&mut self, customer: &CustomerToken) -> usize {
        usize::from(self.desk.customers.forget(customer)) + self.lists.forget(customer)
    }
}

/// Takes an update, in one commit with its answer.
pub(super) fn update(lists: &mut Lists, update: ListUpdate, turn: &mut Turn<'_>) -> Outcome {
    match lists.update(&update) {
        Updated::Changed => {
            let version = update.version;
            turn.write(Write::List(Box::new(update)));
            Outcome::Updated { version }
        }
        Updated::Known => Outcome::Updated { version: update.version },
        Updated::Gap(version) => Outcome::VersionGap { version },
        Updated::TooLong => {
            let problem = format!("the list would have more than {MOST_ENTRIES} entries: take some off first");
            Outcome::Refused { problems: vec![problem] }
        }
    }
}

/// What the customer of an order was sold today, and what other orders of the same customer may still come to.
pub(super) fn today_of(points: &Points, request: &OrderRequest, turn: &Turn<'_>) -> Money {
    let Some(customer) = &request.customer else { return Money::ZERO };
    let others = points.values().flat_map(FuellingPoint::orders).map(|order| &order.request);
    let others = others.filter(|other| other.customer.as_ref() == Some(customer) && other.order_id != request.order_id);
    let currency = turn.layout().currency;
    let asked = others.map(|other| authorisation::money_of(other.limit, other.unit_price, currency));
    asked.fold(turn.sold_today(customer), |sum, money| sum.checked_add(money).unwrap_or(Money::new(i64::MAX)))
}
