//! How fuellings come into the books: the end of a release, what happened while nobody listened, and what remains unexplained.

use super::{Current, FuellingPoint, IfNothing, LastSale, Stage, Timer};
use crate::desk::{After, Turn};
use crate::hold::Hold;
use crate::ids::NozzleId;
use crate::ledger::{KnownTotaliser, Release, Write};
use crate::order::{Basis, OrderEnd, OrderPhase, ReleaseReason};
use crate::preset;
use crate::pump::{EndRecord, PumpCommand, Reading, Snapshot, State, Token};
use crate::record::{AlarmState, Evidence, Finish, Flag, OrderReview, Record, Sale, Unaccounted};
use crate::settlement::{self, Fuel, Known, Settlement};
use crate::time::{ClockQuality, Instant};
use crate::units::Volume;
use core::time::Duration;

impl FuellingPoint {
    /// Everything was read and nothing written yet: settle what is open, account for what happened, then go on.
    pub(super) fn on_snapshot(&mut self, snapshot: &Snapshot, turn: &mut Turn<'_>) {
        self.heard = true;
        let settled = self.settle_by_snapshot(snapshot, turn);
        for (nozzle, total) in &snapshot.totalisers {
            let running = snapshot.state.is_released() && snapshot.lifted.is_none_or(|lifted| lifted == *nozzle);
            let at_hand = self
                .current
                .as_ref()
                .is_some_and(|current| current.release.nozzle == *nozzle && current.stage != Stage::Recording);
            if settled != Some(*nozzle) && !at_hand && !running {
                self.reconcile(*nozzle, *total, snapshot, turn);
            }
        }
        turn.after(After::Pump(self.id, PumpCommand::Stored(snapshot.token)));
        if let Some(since) = self.lost_at.take() {
            let text = format!("fuelling point {} answers again", self.id);
            turn.alarm("comm_lost", self.place(), AlarmState::Cleared, since, text);
        }
        self.set_state(snapshot.state, snapshot.lifted, turn);
        if snapshot.power_cycled {
            self.restore_prices(turn);
        }
        for nozzle in self.nozzles.clone() {
            self.unhold(nozzle, Hold::Fault, turn);
            self.unhold(nozzle, Hold::CommLost, turn);
        }
        self.on_state(snapshot.state, snapshot.lifted, turn);
    }

    /// Settles the release at hand if the dispenser shows that it is over. Returns the nozzle it accounted for.
    fn settle_by_snapshot(&mut self, snapshot: &Snapshot, turn: &mut Turn<'_>) -> Option<NozzleId> {
        let current = self.current.as_mut().filter(|current| current.stage != Stage::Recording)?;
        // Fuel at another nozzle of this dispenser, as when somebody released that by hand: what we released is over.
        let another = current.ours && snapshot.lifted.is_some_and(|lifted| lifted != current.release.nozzle);
        if snapshot.state.is_released() && !another {
            if current.stage != Stage::Review {
                current.stage = Stage::InForce;
                current.gap = true;
            }
            return None;
        }
        let mut current = self.current.take()?;
        if self.is_anothers(&current) {
            // Its figures are not certain: with the others of the snapshot they are booked only if the totaliser bears them out.
            self.let_go(&current, turn);
            return None;
        }
        current.recovered = true;
        if snapshot.power_cycled {
            current.finish.get_or_insert(Finish::PowerLoss);
        }
        let nozzle = current.release.nozzle;
        let end = snapshot.totalisers.get(&nozzle).copied();
        let running = snapshot.state.is_released();
        let of_this = |reading: &Reading| !running && reading.nozzle.is_none_or(|named| named == nozzle);
        let reading = current.release.end_seen.or_else(|| snapshot.reading.filter(of_this));
        let certain = current.release.end_seen.is_some();
        let outcome = settlement::settle(&self.known_of(&current, reading, end, certain, turn));
        let outcome = against_what_was_seen(&current, outcome);
        let accounted = !matches!(outcome, Settlement::Review(_));
        self.conclude(current, outcome, end, turn);
        accounted.then_some(nozzle)
    }

    /// A fuelling that another controller released, where we only listen: nothing of it is reckoned, only what it showed is copied.
    fn is_anothers(&self, current: &Current) -> bool {
        !current.ours && !self.able.takes_releases()
    }

    /// Forgets a fuelling of another without a sale; the totaliser accounts for it.
    fn let_go(&mut self, current: &Current, turn: &mut Turn<'_>) {
        self.clear_fuelling_timers();
        turn.write(Write::ReleaseClosed(current.release.release));
        turn.changed(&self.nozzles);
    }

    fn known_of(
        &self,
        current: &Current,
        reading: Option<Reading>,
        end: Option<Volume>,
        certain: bool,
        turn: &Turn<'_>,
    ) -> Known {
        Known {
            preset: current.ours.then_some(current.release.preset),
            price: current.release.price,
            currency: turn.layout().currency,
            step: self.able.volume_step,
            total_step: self.able.total_step,
            start: current.release.totaliser_start,
            end,
            reading,
            certain,
        }
    }

    /// The dispenser reports the end of a fuelling.
    pub(super) fn on_ended(&mut self, token: Token, reading: &Reading, total: Option<Volume>, turn: &mut Turn<'_>) {
        let followed = |current: &mut Current| matches!(current.stage, Stage::Sent | Stage::InForce);
        let elsewhere =
            |current: &Current| current.ours && reading.nozzle.is_some_and(|named| named != current.release.nozzle);
        if self.current.as_ref().is_some_and(elsewhere) {
            // Not what we released: its end was missed. Everything is read again to find what became of ours.
            if let Some((nozzle, total)) = reading.nozzle.zip(total) {
                self.reconcile_reading(nozzle, total, Some(*reading), turn);
            }
            turn.after(After::Pump(self.id, PumpCommand::Stored(token)));
            turn.after(After::Pump(self.id, PumpCommand::Examine));
            return;
        }
        let no_figures = !self.able.takes_releases() && !reading.volume.is_positive();
        if let Some(current) = self.current.take_if(|current| no_figures && !current.ours) {
            // No figures were shown, so there is no sale to copy.
            self.let_go(&current, turn);
            if let Some((nozzle, total)) = reading.nozzle.or(self.only_nozzle()).zip(total) {
                self.reconcile_reading(nozzle, total, None, turn);
            }
        } else if let Some(mut current) = self.current.take_if(followed) {
            if let (false, Some(named)) = (current.ours, reading.nozzle.filter(|named| self.nozzles.contains(named))) {
                current.release.nozzle = named;
                current.release.totaliser_start = self.known.get(&named).map(|known| known.volume);
            }
            let reading = borne_out(&current.release, *reading, total);
            // After a silence somebody else's fuelling may run where ours did: then the totaliser must bear the figures out.
            // So must it where the dispenser may still show the fuelling before.
            let own = self.able.end_record == EndRecord::UntilCleared && !current.gap;
            let certain = own || total.is_none();
            let outcome = settlement::settle(&self.known_of(&current, Some(reading), total, certain, turn));
            let outcome = against_what_was_seen(&current, outcome);
            self.conclude(current, outcome, total, turn);
        } else if let (Some(nozzle), Some(total)) = (reading.nozzle.or(self.only_nozzle()), total) {
            self.reconcile_reading(nozzle, total, Some(*reading), turn);
        }
        turn.after(After::Pump(self.id, PumpCommand::Stored(token)));
        self.arm_next(turn);
    }

    fn only_nozzle(&self) -> Option<NozzleId> {
        match self.nozzles.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Writes what a release came to.
    fn conclude(&mut self, mut current: Current, outcome: Settlement, end: Option<Volume>, turn: &mut Turn<'_>) {
        let nozzle = current.release.nozzle;
        let flowed = self.flowing(nozzle, turn.layout(), turn.now.mono);
        self.clear_fuelling_timers();
        self.timers.clear(Timer::Lift);
        self.lift_spent = self.lift_spent || !current.lift_over;
        if self.state.is_released() {
            // The dispenser says next what it is now; certainly no longer this.
            self.set_state(State::Idle, None, turn);
        }
        if !matches!(outcome, Settlement::Review(_)) {
            // Else it keeps the deadline that it may have.
            self.timers.clear(Timer::Review);
        }
        match outcome {
            Settlement::Review(why) => {
                self.review(current, why, turn);
                return;
            }
            Settlement::Fuel(fuel) => {
                let start = current.release.totaliser_start;
                // Where the totaliser could not be read, what it must show by now stands in for it.
                let expected = start.and_then(|start| start.checked_add(fuel.volume));
                let order = current.order.take();
                let sale = self.sale(&current, order.as_ref().map(|order| &order.request), &fuel, end, turn);
                let (sale_id, ended_at) = (sale.sale_id, sale.ended_at);
                self.last_sale.insert(nozzle, LastSale { sale_id, volume: fuel.volume, amount: fuel.amount, ended_at });
                turn.record(Record::Sale(Box::new(sale)));
                if flowed > Duration::ZERO {
                    self.mean_fill.add(flowed);
                }
                if let Some(customer) = order.as_ref().and_then(|order| order.request.customer.as_ref()) {
                    turn.count_sale(customer, fuel.amount);
                }
                if let Some(order) = order {
                    turn.end_order(order, OrderEnd::Sale { id: sale_id });
                }
                self.set_totaliser(nozzle, end.or(expected), turn);
            }
            Settlement::Nothing { unaccounted } => {
                if let (Some(end), Some(_)) = (end, current.release.totaliser_start) {
                    self.unexplained(nozzle, unaccounted, end, turn);
                }
                self.set_totaliser(nozzle, end, turn);
                let order = current.order.take();
                self.finish_order_without_fuel(order, current.if_nothing.clone(), turn);
            }
        }
        if current.stage == Stage::Review {
            self.unhold(nozzle, Hold::Review, turn);
        }
        turn.write(Write::ReleaseClosed(current.release.release));
        turn.changed(&self.nozzles);
    }

    fn review(&mut self, mut current: Current, why: &str, turn: &mut Turn<'_>) {
        let nozzle = current.release.nozzle;
        let Some(order) = &mut current.order else {
            // Nobody's money hangs on it; the totaliser will tell the rest.
            let text = format!("a fuelling at nozzle {nozzle} could not be booked: {why}");
            turn.alarm("unbooked", self.place(), AlarmState::Raised, turn.now.utc, text);
            turn.write(Write::ReleaseClosed(current.release.release));
            return;
        };
        if current.stage != Stage::Review {
            let wait = turn.layout().timers.review;
            order.phase = OrderPhase::Review;
            let deadline = turn.now.utc.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
            let review = OrderReview {
                order_id: order.request.order_id.clone(),
                nozzle,
                why: why.into(),
                totaliser_start: current.release.totaliser_start,
                deadline,
            };
            turn.step(order, "review", None);
            turn.write_order(order);
            turn.record(Record::Review(review));
            self.timers.set(Timer::Review, turn.now.mono + wait);
            current.stage = Stage::Review;
        }
        self.current = Some(current);
        self.hold(nozzle, Hold::Review, turn);
    }

    /// When a review that an earlier run began is given up: the full time again, as nobody counted in between.
    pub(super) fn resume_review(&mut self, now: Instant, wait: Duration) {
        self.timers.set(Timer::Review, now + wait);
        if let Some(nozzle) = self.current.as_ref().map(|current| current.release.nozzle) {
            self.holds.entry(nozzle).or_default().insert(Hold::Review);
        }
    }

    pub(super) fn give_up_review(&mut self, turn: &mut Turn<'_>) {
        if let Some(current) = self.current.take_if(|current| current.stage == Stage::Review) {
            let nozzle = current.release.nozzle;
            turn.write(Write::ReleaseClosed(current.release.release));
            self.finish_order_without_fuel(current.order, IfNothing::Release(ReleaseReason::Fault), turn);
            self.unhold(nozzle, Hold::Review, turn);
            // What the totaliser moved has no sale now: it is read once more and told as unaccounted.
            turn.after(After::Pump(self.id, PumpCommand::Examine));
            self.arm_next(turn);
        }
    }

    /// A totaliser was read while no fuelling of that nozzle is at hand.
    pub(super) fn on_totaliser(&mut self, nozzle: NozzleId, total: Volume, turn: &mut Turn<'_>) {
        let at_hand = self.current.as_ref().is_some_and(|current| current.release.nozzle == nozzle);
        if self.heard && !at_hand && !self.state.is_released() {
            self.reconcile_reading(nozzle, total, None, turn);
        }
    }

    fn reconcile(&mut self, nozzle: NozzleId, total: Volume, snapshot: &Snapshot, turn: &mut Turn<'_>) {
        let reading = snapshot.reading.filter(|reading| reading.nozzle.is_none_or(|named| named == nozzle));
        self.reconcile_reading(nozzle, total, reading, turn);
    }

    /// Accounts for movement since the last known totaliser: a sale taken without us if the dispenser's record bears it out to the
    /// millilitre, else unaccounted fuel.
    fn reconcile_reading(&mut self, nozzle: NozzleId, total: Volume, reading: Option<Reading>, turn: &mut Turn<'_>) {
        let Some(known) = self.known.get(&nozzle).copied() else {
            self.set_totaliser(nozzle, Some(total), turn);
            return;
        };
        let moved = total.checked_sub(known.volume).unwrap_or(Volume::ZERO);
        if moved == Volume::ZERO {
            return;
        }
        let (step, total_step) = (self.able.volume_step, self.able.total_step);
        match reading.filter(|reading| settlement::same(reading.volume, moved, step, total_step)) {
            Some(reading) => self.book_manual(nozzle, known, total, &reading, turn),
            None => self.unexplained(nozzle, moved, total, turn),
        }
        self.set_totaliser(nozzle, Some(total), turn);
    }

    fn book_manual(
        &mut self,
        nozzle: NozzleId,
        known: KnownTotaliser,
        total: Volume,
        reading: &Reading,
        turn: &mut Turn<'_>,
    ) {
        let (price, price_set) = (self.price(nozzle), self.price_set(nozzle).cloned());
        let release = Release {
            release: turn.next_release(),
            order_id: None,
            fp: self.id,
            nozzle,
            preset: crate::pump::Preset::Volume(Volume::ZERO),
            price,
            price_set,
            totaliser_start: Some(known.volume),
            at: known.at,
            end_seen: None,
        };
        let current = Current {
            ours: false,
            recovered: true,
            finish: Some(Finish::Unknown),
            // Told to be in: nobody holds it who took that fuel.
            lift_over: self.lifted.is_none() && matches!(self.state, State::Idle | State::Closed),
            ..Current::new(release, None, ReleaseReason::NoFlow)
        };
        let outcome = settlement::settle(&self.known_of(&current, Some(*reading), Some(total), true, turn));
        self.conclude(current, outcome, Some(total), turn);
    }

    fn unexplained(&mut self, nozzle: NozzleId, moved: Volume, total: Volume, turn: &mut Turn<'_>) {
        let Some(known) = self.known.get(&nozzle).copied() else { return };
        if moved.is_positive() {
            turn.record(Record::Unaccounted(Unaccounted {
                nozzle,
                volume: moved,
                from: known.at,
                to: turn.now.utc,
                totaliser_start: known.volume,
                totaliser_end: total,
            }));
        } else if moved != Volume::ZERO {
            let text = format!(
                "the totaliser of nozzle {nozzle} went back from {} L to {} L: has the head or its memory been exchanged?",
                known.volume.litres(),
                total.litres()
            );
            turn.alarm("totaliser_back", self.place(), AlarmState::Raised, turn.now.utc, text);
        }
    }

    fn set_totaliser(&mut self, nozzle: NozzleId, total: Option<Volume>, turn: &mut Turn<'_>) {
        let Some(volume) = total else { return };
        let at = turn.now.utc;
        self.known.insert(nozzle, KnownTotaliser { volume, at });
        turn.write(Write::Totaliser { nozzle, volume, at });
    }

    fn sale(
        &self,
        current: &Current,
        request: Option<&crate::order::OrderRequest>,
        fuel: &Fuel,
        end: Option<Volume>,
        turn: &mut Turn<'_>,
    ) -> Sale {
        let release = &current.release;
        let layout = turn.layout();
        let mut flags = fuel.flags.clone();
        if current.gap {
            flags.push(Flag::Gap);
        }
        let ended_at = turn.now.utc;
        let began_at = current.started_at.unwrap_or(release.at);
        // Set back meanwhile: one of the two times is wrong and nobody can tell which, so no negative time is told.
        if turn.now.clock == ClockQuality::Unset || began_at > ended_at {
            flags.push(Flag::ClockUnsure);
        }
        flags.sort_unstable();
        flags.dedup();
        let reached = current.ours
            && preset::reached(
                release.preset,
                release.price,
                layout.currency,
                self.able.volume_step,
                fuel.volume,
                fuel.amount,
            );
        let finish = match current.finish {
            // Nothing flowed any more because nothing was left to flow: the customer only stood there.
            Some(Finish::NoFlow) if reached => Finish::LimitReached,
            Some(finish) => finish,
            None if fuel.evidence == Evidence::Totaliser => Finish::Unknown,
            None if reached => Finish::LimitReached,
            None => Finish::HungUp,
        };
        let grade = layout.nozzles.get(&release.nozzle).map(|nozzle| nozzle.grade.clone());
        let grade = request.map(|request| request.grade.clone()).or(grade);
        Sale {
            order_id: request.map(|request| request.order_id.clone()),
            basis: request.map_or(Basis::Manual, |request| request.basis),
            fuelling_point: self.id,
            nozzle: release.nozzle,
            grade: grade.expect("a nozzle of the layout has a grade"),
            currency: layout.currency,
            unit_price: fuel.price,
            price_set: release
                .price_set
                .clone()
                .or_else(|| self.price_set(release.nozzle).cloned())
                .unwrap_or_else(|| layout.price_set.clone()),
            volume: fuel.volume,
            amount: fuel.amount,
            limit: request.map(|request| request.limit),
            totaliser_start: release.totaliser_start,
            totaliser_end: end,
            unaccounted: fuel.unaccounted,
            started_at: began_at.min(ended_at),
            ended_at,
            finish,
            evidence: fuel.evidence,
            offline: !turn.online(),
            recovered: current.recovered,
            clock: turn.now.clock,
            attendant: None,
            shift: Some(turn.shift()),
            flags,
            context: request.map_or_else(|| "{}".into(), |request| request.context.clone()),
            sale_id: turn.new_id(),
        }
    }
}

/// Fuel that was seen to flow does not become nothing because a display and a totaliser lag behind. A dispenser that tells no volume
/// shows it by the amount.
fn against_what_was_seen(current: &Current, outcome: Settlement) -> Settlement {
    match outcome {
        Settlement::Nothing { .. } if current.volume.is_positive() || current.amount.is_positive() => {
            Settlement::Review("fuel was seen to flow, but neither the record nor the totaliser shows it")
        }
        outcome => outcome,
    }
}

/// The reading of the end that stands. Between the first and the last another fuelling may have begun at the same head, as when the store
/// was slow and somebody fuelled by hand: the totaliser tells which of the two it is, and without it that a filling only grows.
fn borne_out(release: &Release, last: Reading, total: Option<Volume>) -> Reading {
    let Some(first) = release.end_seen else { return last };
    let moved = release.totaliser_start.zip(total).and_then(|(start, end)| end.checked_sub(start));
    match moved {
        Some(moved) if last.volume != moved && first.volume == moved => first,
        None if last.volume < first.volume => first,
        _ => last,
    }
}
