//! The prices of a fuelling point's nozzles: when a new one may be written, when it counts as shown, and what is said of it.
//!
//! ```text
//!            at rest                      shown by the dispenser
//! target ──────────────► told ──────────────────────────────────► in force (5 s without a release)
//!    │ in use: pending     │ shown otherwise after a while: refused, held, written again
//! ```
//!
//! At rest means: heard, idle, hung up, nothing released and no order armed at any nozzle of the head, which shares one calculator. A
//! dispenser whose prices are set by hand goes from target to in force when it is seen to show the price; one that takes the price
//! with every release does so at once; one whose price can neither be written nor read refuses it.

use super::{FuellingPoint, Timer};
use crate::desk::{After, Turn};
use crate::hold::Hold;
use crate::ids::{NozzleId, PriceSetId};
use crate::layout::Layout;
use crate::ledger::Write;
use crate::order::{Order, OrderPhase, ReleaseReason};
use crate::price::{AppliedStatus, NEW_PRICE_SHOWS, NozzlePrice, PriceApplied, PriceSet, Target, litre};
use crate::pump::{PumpCommand, State};
use crate::record::{AlarmState, Record};
use crate::time::{Now, UtcTime};
use crate::units::UnitPrice;
use core::time::Duration;
use std::collections::BTreeMap;

/// How long a dispenser may take to show a price that it was given: longer than any driver tries.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
/// From a price that was not taken to the next attempt.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// What a fuelling point knows of its prices.
#[derive(Debug, Clone, Default)]
pub(super) struct Prices {
    by_nozzle: BTreeMap<NozzleId, NozzlePrice>,
    /// What the dispenser was last seen to show, since it was last given prices.
    shown: BTreeMap<NozzleId, UnitPrice>,
    /// Place of an order that an earlier run had armed: it was promised the price in force.
    promised: Option<u64>,
}

impl Prices {
    /// Those of the configuration.
    pub fn of(nozzles: &[NozzleId], layout: &Layout, at: UtcTime) -> Self {
        let price = |nozzle: &NozzleId| {
            let price = layout.rules_of(*nozzle).map_or(UnitPrice::ZERO, |rules| rules.price);
            let (set, base) = (layout.price_set.clone(), layout.price_set.clone());
            (*nozzle, NozzlePrice { price, set, since: at, target: None, base })
        };
        Self { by_nozzle: nozzles.iter().map(price).collect(), ..Self::default() }
    }
}

impl FuellingPoint {
    // ---- what an earlier run left ------------------------------------------------------------------------------------------

    pub(crate) fn recall_price(&mut self, nozzle: NozzleId, known: NozzlePrice, layout: &Layout, now: &Now) {
        // Another name in the configuration: a person has set other prices there since.
        if known.base != layout.price_set {
            return;
        }
        if now.utc.ms_since(known.since).unsigned_abs() < u64::try_from(NEW_PRICE_SHOWS.as_millis()).unwrap_or(0) {
            self.timers.set(Timer::NewPrice(nozzle), now.mono + NEW_PRICE_SHOWS);
        }
        if let Some(target) = &known.target {
            self.timers.set(Timer::PriceOverdue(nozzle), now.mono + layout.timers.price_overdue);
            if target.told {
                self.timers.set(Timer::PriceCheck(nozzle), now.mono + SHOWN_WITHIN);
            }
        }
        self.prices.by_nozzle.insert(nozzle, known);
    }

    pub(super) fn promise_price(&mut self, order: &Order) {
        if order.phase == OrderPhase::Armed {
            self.prices.promised = Some(order.place);
        }
    }

    /// Tells the dispenser the prices that count, where its driver was made with others.
    pub(crate) fn remind_of_prices(&self, turn: &mut Turn<'_>) {
        let configured = |nozzle: &NozzleId| turn.layout().rules_of(*nozzle).map(|rules| rules.price);
        let prices = self.prices_to_show();
        if self.able.price_write && prices.iter().any(|(nozzle, price)| configured(nozzle) != Some(*price)) {
            turn.pump(self.id, PumpCommand::SetPrices(prices));
        }
    }

    // ---- views -------------------------------------------------------------------------------------------------------------

    /// The price in force at a nozzle: what its dispenser shows.
    #[must_use]
    pub fn price(&self, nozzle: NozzleId) -> UnitPrice {
        self.prices.by_nozzle.get(&nozzle).map_or(UnitPrice::ZERO, |known| known.price)
    }

    /// The price set that the price in force belongs to.
    #[must_use]
    pub fn price_set(&self, nozzle: NozzleId) -> Option<&PriceSetId> {
        self.prices.by_nozzle.get(&nozzle).map(|known| &known.set)
    }

    /// The price that has come for a nozzle and that its dispenser was not yet seen to show.
    #[must_use]
    pub fn price_target(&self, nozzle: NozzleId) -> Option<&Target> {
        self.prices.by_nozzle.get(&nozzle)?.target.as_ref()
    }

    /// The price by which an order is judged: what the nozzle will show when the order's turn comes. Where people set the price at the
    /// pump nobody knows when that is, so the higher one counts.
    #[must_use]
    pub fn order_price(&self, nozzle: NozzleId) -> UnitPrice {
        let present = self.price(nozzle);
        match self.price_target(nozzle) {
            Some(target) if self.able.price_write => target.price,
            Some(target) => present.max(target.price),
            None => present,
        }
    }

    // ---- a new price -------------------------------------------------------------------------------------------------------

    /// The moment of a price set has come.
    pub(crate) fn take_prices(&mut self, set: &PriceSet, turn: &mut Turn<'_>) {
        for nozzle in self.nozzles.clone() {
            let grade = turn.layout().nozzles.get(&nozzle).map(|nozzle| nozzle.grade.clone());
            let Some(price) = grade.and_then(|grade| set.prices.get(&grade).copied()) else { continue };
            self.take_price(nozzle, price, &set.price_set, turn);
        }
        self.write_prices(turn);
        for nozzle in self.nozzles.clone() {
            if self.price_target(nozzle).is_some_and(|target| !target.told && target.status.is_none()) {
                self.tell_status(nozzle, AppliedStatus::Pending, turn);
            }
        }
        turn.changed(&self.nozzles);
    }

    fn take_price(&mut self, nozzle: NozzleId, price: UnitPrice, set: &PriceSetId, turn: &mut Turn<'_>) {
        let overtaken = self.price_target(nozzle).cloned();
        if let Some(target) = &overtaken {
            if target.status != Some(AppliedStatus::Refused) {
                self.tell_status(nozzle, AppliedStatus::Refused, turn);
            }
            self.clear_price_alarm(nozzle, target, "another price set came first", turn);
        }
        let held = self.holds(nozzle).contains(&Hold::PriceMismatch);
        let Some(known) = self.prices.by_nozzle.get_mut(&nozzle) else { return };
        known.target = Some(Target { price, set: set.clone(), told: false, status: None, alarmed: false });
        let shows_it = known.price == price && !held && overtaken.is_none_or(|target| !target.told);
        self.timers.clear(Timer::PriceCheck(nozzle));
        if shows_it {
            self.price_in_force(nozzle, turn);
        } else if self.able.price_write || self.able.price_read_back {
            self.timers.set(Timer::PriceOverdue(nozzle), turn.now.mono + turn.layout().timers.price_overdue);
            self.store_price(nozzle, turn);
        } else {
            self.tell_status(nozzle, AppliedStatus::Refused, turn);
            let text = format!(
                "the price of nozzle {nozzle} can neither be written nor read: set {} at the pump, then in the configuration under a \
                 new price-set",
                litre(&price)
            );
            turn.alarm("price_refused", self.place(), AlarmState::Raised, turn.now.utc, text);
            if let Some(known) = self.prices.by_nozzle.get_mut(&nozzle) {
                known.target = None;
            }
            self.store_price(nozzle, turn);
        }
    }

    /// Nothing is released or armed here and nobody holds a nozzle.
    fn is_at_rest(&self) -> bool {
        let waiting = self.queue.first();
        let promised =
            waiting.is_some_and(|order| order.phase == OrderPhase::Armed || self.prices.promised == Some(order.place));
        self.heard && self.current.is_none() && self.state == State::Idle && self.lifted.is_none() && !promised
    }

    /// Gives the dispenser the prices that wait for it, if it is at rest.
    pub(super) fn write_prices(&mut self, turn: &mut Turn<'_>) {
        let waits = |known: &NozzlePrice| known.target.as_ref().is_some_and(|target| !target.told);
        if !self.able.price_write || !self.is_at_rest() || !self.prices.by_nozzle.values().any(waits) {
            return;
        }
        let mut told = Vec::new();
        for (nozzle, known) in &mut self.prices.by_nozzle {
            if let Some(target) = known.target.as_mut().filter(|target| !target.told) {
                target.told = true;
                told.push(*nozzle);
            }
        }
        self.prices.shown.clear();
        turn.after(After::Pump(self.id, PumpCommand::SetPrices(self.prices_to_show())));
        for nozzle in told {
            if self.able.price_read_back {
                self.timers.set(Timer::PriceCheck(nozzle), turn.now.mono + SHOWN_WITHIN);
                self.store_price(nozzle, turn);
            } else {
                // It goes with every release from now on; there is nothing else to see.
                self.price_in_force(nozzle, turn);
            }
        }
    }

    fn prices_to_show(&self) -> BTreeMap<NozzleId, UnitPrice> {
        let to_show = |(nozzle, known): (&NozzleId, &NozzlePrice)| {
            let target = known.target.as_ref().filter(|target| target.told);
            (*nozzle, target.map_or(known.price, |target| target.price))
        };
        self.prices.by_nozzle.iter().map(to_show).collect()
    }

    /// Prices are given anew after a power cut; the same price again is no change.
    pub(super) fn restore_prices(&self, turn: &mut Turn<'_>) {
        if self.able.price_write && self.able.takes_releases() {
            turn.after(After::Pump(self.id, PumpCommand::SetPrices(self.prices_to_show())));
        }
    }

    /// A release must wait: the price has not been seen yet, or not for long enough.
    pub(super) fn awaits_price(&self, nozzle: NozzleId) -> bool {
        let unseen = self.able.price_read_back && self.price_target(nozzle).is_some_and(|target| target.told);
        unseen || self.timers.due(Timer::NewPrice(nozzle)).is_some()
    }

    /// Ends the orders at the head of the queue that agreed on less than the nozzle will show.
    pub(super) fn refuse_outpriced(&mut self, turn: &mut Turn<'_>) {
        while let Some(order) = self.queue.first() {
            let agreed = order.request.unit_price;
            let promised = order.phase == OrderPhase::Armed || self.prices.promised == Some(order.place);
            let price =
                if promised { self.price(order.request.nozzle) } else { self.order_price(order.request.nozzle) };
            if agreed >= price {
                return;
            }
            let order = self.queue.remove(0);
            self.timers.clear(Timer::Expiry(order.place));
            turn.release_order(order, ReleaseReason::Refused("price_changed".into()));
            turn.changed(&self.nozzles);
        }
    }

    // ---- what the dispenser shows ------------------------------------------------------------------------------------------

    pub(super) fn on_price(&mut self, nozzle: NozzleId, shown: UnitPrice, turn: &mut Turn<'_>) {
        let Some(known) = self.prices.by_nozzle.get(&nozzle) else { return };
        self.prices.shown.insert(nozzle, shown);
        let held = self.holds(nozzle).contains(&Hold::PriceMismatch);
        match &known.target {
            Some(target) if shown == target.price && (target.told || !self.able.price_write) => {
                self.price_in_force(nozzle, turn);
            }
            // Not written yet; the check tells whether it ever is.
            Some(target) if target.told && shown == known.price => {}
            _ if shown == known.price => self.agree(nozzle, turn),
            _ if held => {}
            _ => {
                let agreed = litre(&known.price);
                let text = format!("nozzle {nozzle} shows {} a litre, the station's price is {agreed}", litre(&shown));
                self.disagree(nozzle, text, turn);
                self.correct_price(nozzle, turn);
            }
        }
    }

    /// Gives the prices again to a dispenser that shows another: now if it is at rest, and then again until it agrees.
    pub(super) fn correct_price(&mut self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        if !self.able.price_write || !self.able.takes_releases() {
            return;
        }
        if self.is_at_rest() {
            turn.pump(self.id, PumpCommand::SetPrices(self.prices_to_show()));
        }
        self.timers.set(Timer::PriceCheck(nozzle), turn.now.mono + TRY_AGAIN);
    }

    fn agree(&mut self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        if self.unhold(nozzle, Hold::PriceMismatch, turn) {
            let text = format!("nozzle {nozzle} shows {} a litre, as it should", litre(&self.price(nozzle)));
            turn.alarm("price_mismatch", self.place(), AlarmState::Cleared, turn.now.utc, text);
        }
    }

    fn disagree(&mut self, nozzle: NozzleId, text: String, turn: &mut Turn<'_>) {
        if !self.holds(nozzle).contains(&Hold::PriceMismatch) {
            self.hold(nozzle, Hold::PriceMismatch, turn);
            turn.alarm("price_mismatch", self.place(), AlarmState::Raised, turn.now.utc, text);
        }
    }

    /// The target of a nozzle is what it shows from now on.
    fn price_in_force(&mut self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        let Some(known) = self.prices.by_nozzle.get_mut(&nozzle) else { return };
        let Some(target) = known.target.clone() else { return };
        let is_new = known.price != target.price;
        self.tell_status(nozzle, AppliedStatus::Applied, turn);
        if let Some(known) = self.prices.by_nozzle.get_mut(&nozzle) {
            known.price = target.price;
            known.set = target.set.clone();
            known.target = None;
            known.base = turn.layout().price_set.clone();
            if is_new {
                known.since = turn.now.utc;
            }
        }
        self.store_price(nozzle, turn);
        self.timers.clear(Timer::PriceCheck(nozzle));
        if is_new {
            self.timers.set(Timer::NewPrice(nozzle), turn.now.mono + NEW_PRICE_SHOWS);
        }
        self.clear_price_alarm(nozzle, &target, "the price has come through", turn);
        turn.changed(&self.nozzles);
        self.agree(nozzle, turn);
    }

    fn clear_price_alarm(&mut self, nozzle: NozzleId, target: &Target, why: &str, turn: &mut Turn<'_>) {
        self.timers.clear(Timer::PriceOverdue(nozzle));
        if target.alarmed {
            let text = format!("nozzle {nozzle}: {why}");
            turn.alarm("price_overdue", self.place(), AlarmState::Cleared, turn.now.utc, text);
        }
    }

    /// Records how far the target of a nozzle is.
    fn tell_status(&mut self, nozzle: NozzleId, status: AppliedStatus, turn: &mut Turn<'_>) {
        let Some(target) = self.prices.by_nozzle.get_mut(&nozzle).and_then(|known| known.target.as_mut()) else {
            return;
        };
        target.status = Some(status);
        let (price_set, unit_price, at) = (target.set.clone(), target.price, turn.now.utc);
        turn.record(Record::PriceApplied(PriceApplied { price_set, nozzle, unit_price, status, at }));
        self.store_price(nozzle, turn);
    }

    fn store_price(&self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        if let Some(known) = self.prices.by_nozzle.get(&nozzle) {
            turn.write(Write::NozzlePrice { nozzle, price: Box::new(known.clone()) });
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------------------

    /// A price that was given should be shown by now.
    pub(super) fn on_price_check(&mut self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        let Some(target) = self.price_target(nozzle).filter(|target| target.told).cloned() else {
            if self.holds(nozzle).contains(&Hold::PriceMismatch) {
                self.correct_price(nozzle, turn);
            }
            return;
        };
        let others = self.prices.shown.get(&nozzle).filter(|shown| **shown != target.price).copied();
        if let Some(shown) = others.filter(|_| self.is_at_rest()) {
            if target.status != Some(AppliedStatus::Refused) {
                self.tell_status(nozzle, AppliedStatus::Refused, turn);
            }
            let text = format!(
                "nozzle {nozzle} was given {} a litre and shows {}: set it at the pump, or have it looked at",
                litre(&target.price),
                litre(&shown)
            );
            self.disagree(nozzle, text, turn);
            turn.pump(self.id, PumpCommand::SetPrices(self.prices_to_show()));
        } else if target.status.is_none() {
            // Some heads tell the price of a nozzle only once that is lifted.
            self.tell_status(nozzle, AppliedStatus::Pending, turn);
        }
        self.timers.set(Timer::PriceCheck(nozzle), turn.now.mono + TRY_AGAIN);
    }

    /// A price that should long be in force is not.
    pub(super) fn on_price_overdue(&mut self, nozzle: NozzleId, turn: &mut Turn<'_>) {
        let advice = match (self.able.price_write, self.is_at_rest()) {
            (false, _) => "set it at the pump",
            (true, true) => "lift the nozzle once and look at its price",
            (true, false) => "it is written as soon as the pump is free",
        };
        let Some(known) = self.prices.by_nozzle.get_mut(&nozzle) else { return };
        let Some(target) = known.target.as_mut().filter(|target| !target.alarmed) else { return };
        target.alarmed = true;
        let text = format!(
            "nozzle {nozzle} was not yet seen to show {} a litre of price set {}: {advice}",
            litre(&target.price),
            target.set
        );
        turn.alarm("price_overdue", self.place(), AlarmState::Raised, turn.now.utc, text);
        self.store_price(nozzle, turn);
    }
}
