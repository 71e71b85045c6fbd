//! What is asked of a register map when, and what the answers mean: reading in, polling and reports. The release is in `release.rs`,
//! the end of a fuelling in `ending.rs` (Modbus sheet, sections 6 and 9.5 to 9.7).

use super::driver::{Activity, Aim, ModbusDriver, StopJob, alarm};
use super::ending::Ending;
use super::image::{Doing, Image};
use super::order::{Outcome, Verb};
use super::pass::Purpose;
use super::point::{Raw, ValueType};
use super::profile::{Kind, Role};
use super::release::Releasing;
use super::write::Write;
use forecourt::ids::NozzleId;
use forecourt::pump::{PumpEvent, Reading, State};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};
use std::collections::BTreeMap;

/// A STOP that is taken and shows no effect is sent so often.
const MOST_STOPS: u8 = 5;
/// A counter so near its end begins anew by itself; further from it the device lost power.
const WRAPS_WITHIN: i64 = 1_000;

/// Where the talk stands.
pub(super) enum Phase {
    /// Everything is read before anything is written.
    ReadIn(ReadIn),
    /// At rest, or a nozzle is out.
    Ready,
    /// A release is being written.
    Releasing(Releasing),
    /// Released, by us or found so.
    Running(Running),
    /// Ended; its figures are being confirmed.
    Ending(Ending),
}

pub(super) struct ReadIn {
    step: usize,
    power_cycled: bool,
    totals: BTreeMap<NozzleId, Volume>,
}

#[derive(Clone, Copy)]
pub(super) struct Running {
    pub nozzle: Option<NozzleId>,
    pub last: Reading,
    was_out: bool,
}

pub(super) const NO_READING: Reading = Reading { nozzle: None, volume: Volume::ZERO, amount: Money::ZERO, price: None };

impl Phase {
    pub const fn read_in(power_cycled: bool) -> Self {
        Self::ReadIn(ReadIn { step: 0, power_cycled, totals: BTreeMap::new() })
    }

    pub const fn is_sequence(&self) -> bool {
        matches!(self, Self::ReadIn(_) | Self::Releasing(_) | Self::Ending(_))
    }

    pub const fn is_active(&self) -> bool {
        !matches!(self, Self::ReadIn(_) | Self::Ready)
    }
}

impl ModbusDriver {
    // ---- words of the core ----

    pub(super) fn order_stop(&mut self) {
        let stop = self.stop.get_or_insert_with(StopJob::default);
        stop.send = stop.taken == 0 || stop.send;
        self.hold = None;
    }

    pub(super) fn order_stop_now(&mut self) {
        self.withdraw();
        self.order_stop();
    }

    pub(super) fn examine(&mut self) {
        if matches!(self.phase, Phase::Releasing(_) | Phase::Ending(_)) {
            self.examine_due = true;
        } else {
            self.begin_read_in(false);
        }
    }

    pub(super) fn set_prices(&mut self, prices: &BTreeMap<NozzleId, UnitPrice>) {
        // What is shown from now on is told, also where it stays as it was.
        self.told.forget_prices();
        for at in 0..self.settings.nozzles.len() {
            let nozzle = self.settings.nozzles[at].nozzle;
            let Some(price) = prices.get(&nozzle) else { continue };
            if self.price_counts(*price).is_none() {
                let text = format!("price {price:?} of nozzle {nozzle} cannot be written in the counts of set-price");
                self.told.raise(alarm::PRICE, text, false);
                continue;
            }
            self.settings.nozzles[at].price = *price;
            self.price_due = true;
        }
    }

    /// The writes that make a price stand; none where the map has no place for one.
    pub(super) fn price_counts(&self, price: UnitPrice) -> Option<Vec<(Role, Raw)>> {
        let Some(point) = self.habits.profile.point(Role::SetPrice) else { return Some(Vec::new()) };
        let raw = point.scale.counts_exact(price.get()).filter(|_| price.is_positive())?;
        point.registers(raw)?;
        Some(vec![(Role::SetPrice, raw)])
    }

    // ---- what to ask ----

    fn read_in_purposes(&self) -> Vec<Purpose> {
        [Purpose::Identity, Purpose::Whole, Purpose::Totals, Purpose::Command]
            .into_iter()
            .filter(|purpose| self.pass(*purpose).is_some())
            .collect()
    }

    pub(super) fn ack_is_due(&self) -> bool {
        self.ack.is_some_and(|(token, _)| self.told.is_stored(token))
    }

    pub(super) fn next_activity(&mut self, now: Instant) -> Option<Activity> {
        let poll = self.pass(Purpose::Live).or_else(|| self.pass(Purpose::Totals));
        let slow_due = self.slow_at <= now;
        let rests = self.rest_until > now;
        match &self.phase {
            Phase::ReadIn(read_in) => {
                let step = read_in.step;
                self.read_in_purposes().get(step).and_then(|purpose| self.pass(*purpose))
            }
            _ if rests => poll,
            Phase::Ready if self.ack_is_due() => {
                let (_, raw) = self.ack?;
                let write = Write::new(&self.habits.profile, vec![(Role::SaleAck, raw)], false);
                write.map(|write| Activity::Write(write, Aim::Ack)).or(poll)
            }
            Phase::Ready => self.at_rest(slow_due, now).or(poll),
            Phase::Releasing(releasing) => match releasing.wants() {
                Some(Verb::Clear) => {
                    let write = Write::new(&self.habits.profile, releasing.setup.clone(), true);
                    let first = releasing.reads_setup_first();
                    let write = write.map(|write| if first { write.reading_first() } else { write });
                    write.map(|write| Activity::Write(write, Aim::Preset)).or(poll)
                }
                Some(verb) => self.order(verb, now),
                None => poll,
            },
            Phase::Running(_) if slow_due => {
                self.slow_at = now + self.habits.slow_poll;
                self.pass(Purpose::Slow).or(poll)
            }
            Phase::Running(_) => poll,
            Phase::Ending(ending) if !ending.is_read() => self.pass(Purpose::Whole).or(poll),
            Phase::Ending(ending) if ending.attempts >= self.settings.total_attempts => {
                self.finish(None);
                poll
            }
            Phase::Ending(_) => {
                if let Phase::Ending(ending) = &mut self.phase {
                    ending.attempts += 1;
                }
                self.pass(Purpose::Totals).or(poll)
            }
        }
    }

    /// What there is to do while nothing is released.
    fn at_rest(&mut self, slow_due: bool, now: Instant) -> Option<Activity> {
        let doing = self.image.doing(&self.habits.profile).ok();
        let settled = self.told.is_settled() && self.ack.is_none();
        if settled && self.command_unknown && self.habits.profile.kind == Kind::Dispenser {
            return self.order(Verb::Clear, now);
        }
        let hung_up = self.image.raw(Role::Nozzle) == Some(Raw(0));
        if settled && doing == Some(Doing::Finished) && hung_up && !self.let_go {
            self.let_go = true;
            let order = self.order(Verb::Release, now);
            if order.is_some() {
                return order;
            }
        }
        if settled
            && self.price_due
            && doing == Some(Doing::Idle)
            && let [only] = self.settings.nozzles.as_slice()
        {
            self.price_due = false;
            let counts = self.price_counts(only.price).unwrap_or_default();
            let write = Write::new(&self.habits.profile, counts, true);
            if let Some(write) = write {
                return Some(Activity::Write(write, Aim::Price));
            }
        }
        if !slow_due {
            return None;
        }
        self.slow_at = now + self.habits.slow_poll;
        let collects = self.habits.profile.kind == Kind::Collect;
        self.pass(if collects { Purpose::Totals } else { Purpose::Slow })
    }

    // ---- what came back ----

    pub(super) fn handle_read(&mut self, purpose: Purpose, image: Image, now: Instant) {
        match purpose {
            Purpose::Identity => {
                let point = self.habits.profile.point(Role::Identity);
                let (expected, found) = (point.and_then(|point| point.expect), image.raw(Role::Identity));
                if expected == found {
                    self.advance_read_in(now);
                } else {
                    let text = format!(
                        "identity is {found:?} and not {expected:?}: this is another device than that of profile \"{}\"",
                        self.habits.profile.name
                    );
                    self.told.raise(alarm::IDENTITY, text, true);
                }
            }
            Purpose::Live | Purpose::Whole => {
                self.image.update(image);
                self.handle_figures(purpose, now);
            }
            Purpose::Slow => self.handle_slow(image),
            Purpose::Totals => self.handle_totals(&image, now),
            Purpose::Command => {
                self.command_unknown = image.raw(Role::Command) != Some(Raw(0));
                self.advance_read_in(now);
            }
        }
    }

    /// The device refuses a reading.
    pub(super) fn handle_unreadable(&mut self, purpose: Purpose, unfit: bool, now: Instant) {
        if unfit && purpose == Purpose::Totals && matches!(self.phase, Phase::ReadIn(_)) {
            self.advance_read_in(now);
        }
    }

    fn handle_totals(&mut self, image: &Image, now: Instant) {
        let profile = self.habits.profile.clone();
        let total = |logical: u8| {
            let role = Role::TOTALS.get(usize::from(logical).checked_sub(1)?)?;
            image.units(&profile, *role).map(Volume::new)
        };
        let totals: BTreeMap<NozzleId, Volume> =
            self.settings.nozzles.iter().filter_map(|n| Some((n.nozzle, total(n.logical)?))).collect();
        match &mut self.phase {
            Phase::ReadIn(read_in) => {
                read_in.totals = totals;
                self.advance_read_in(now);
            }
            Phase::Ending(ending) => {
                let total = ending.nozzle.and_then(|nozzle| totals.get(&nozzle).copied());
                self.finish(total);
            }
            _ => {
                for (nozzle, volume) in totals {
                    self.told.emit(PumpEvent::Totaliser { nozzle, volume });
                }
            }
        }
    }

    fn handle_slow(&mut self, image: Image) {
        let before = self.image.raw(Role::Heartbeat);
        self.image.update(image);
        if let Some(Raw(code)) = self.image.raw(Role::ErrorCode).filter(|raw| raw.0 != 0) {
            let number = alarm::FAULT + u16::from(code.to_le_bytes()[0]);
            self.told.raise(number, format!("the dispenser reports fault {code}"), true);
        }
        let most = match self.habits.profile.point(Role::Heartbeat).map(|point| point.kind) {
            Some(ValueType::U32) => 0xFFFF_FFFF,
            _ => 0xFFFF,
        };
        if let (Some(Raw(before)), Some(Raw(beat))) = (before, self.image.raw(Role::Heartbeat))
            && beat < before
            && before < most - WRAPS_WITHIN
        {
            self.begin_read_in(true);
        }
    }

    fn advance_read_in(&mut self, now: Instant) {
        self.pursue();
        let steps = self.read_in_purposes().len();
        let Phase::ReadIn(read_in) = &mut self.phase else { return };
        read_in.step += 1;
        if read_in.step < steps {
            return;
        }
        let (totals, power_cycled) = (core::mem::take(&mut read_in.totals), read_in.power_cycled);
        self.phase = Phase::Ready;
        let released = self.doing().is_some_and(Doing::is_released);
        self.sequence = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        let unread = self.unread();
        let record = self.sequence.filter(|number| *number > 0).and_then(|_| self.record(None));
        let reading = if released { self.live_reading() } else { record };
        self.end_told = true;
        let token = self.told.snapshot(self.state(), self.lifted(), reading, totals, power_cycled);
        self.slow_at = now;
        if released {
            self.begin_running(None);
        } else if let Some((number, missed)) = unread {
            self.owe_ack(token, number);
            self.note_gap(missed);
        }
    }

    /// The number of a sale that was not acknowledged, and how many before it were not either.
    fn unread(&self) -> Option<(Raw, i64)> {
        let (number, acknowledged) = (self.image.raw(Role::SaleSequence)?, self.image.raw(Role::SaleAck)?);
        (number.0 > 0 && number != acknowledged).then_some((number, number.0 - acknowledged.0 - 1))
    }

    /// A sale is to be acknowledged when its token is stored, if the core can book it at all: without a totaliser it cannot book
    /// what it did not release, and an acknowledged record is gone.
    pub(super) fn owe_ack(&mut self, token: forecourt::pump::Token, number: Raw) {
        if !self.habits.profile.has(Role::SaleAck) {
            return;
        }
        if self.habits.profile.has(Role::TotalVolume) {
            self.ack = Some((token, number));
        } else {
            let text = format!(
                "record {} waits in the device: its map has no totaliser that would let it be booked",
                number.0
            );
            self.told.raise(alarm::RECORDS, text, false);
        }
    }

    pub(super) fn note_gap(&mut self, missed: i64) {
        // numbers that went far or back are another device's
        if self.habits.profile.kind == Kind::Dispenser && (1..=WRAPS_WITHIN).contains(&missed) {
            let text = format!(
                "{missed} sales were overwritten in the dispenser before they were read: compare the totalisers"
            );
            self.told.raise(alarm::GAP, text, false);
        }
    }

    /// State and figures were read.
    fn handle_figures(&mut self, purpose: Purpose, now: Instant) {
        let collects = self.habits.profile.kind == Kind::Collect;
        match self.image.doing(&self.habits.profile) {
            Ok(Doing::Fault) => self.told.raise(alarm::FAULT, "the dispenser is out of order".into(), true),
            Ok(_) => {}
            Err(Some(Raw(count))) => {
                self.told.raise(alarm::STATE, format!("state {count} has no word in the profile"), true);
            }
            // an invalid marker is no reading
            Err(None) if !collects => return,
            Err(None) => {}
        }
        if matches!(self.phase, Phase::ReadIn(_)) {
            if purpose == Purpose::Whole {
                self.advance_read_in(now);
            }
            return;
        }
        let number = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        if let (Some(number), Some(before)) = (number, self.sequence)
            && number < before
            && !collects
        {
            // begun anew: all that is known of it is old
            self.begin_read_in(false);
            return;
        }
        self.judge_stop();
        let numbered_anew = number.is_some() && number != self.sequence;
        let doing = self.doing();
        self.look_for_hang_up();
        match &self.phase {
            Phase::Ready => {
                if doing.is_some_and(Doing::is_released) {
                    if self.disowned {
                        self.order_stop();
                    }
                    self.begin_running(None);
                    self.follow(now);
                } else if numbered_anew && number != Some(0) && self.ack.is_none()
                    || doing == Some(Doing::Finished) && !self.end_told && number.is_none()
                {
                    self.begin_ending(None, NO_READING, now);
                } else if doing != Some(Doing::Finished) {
                    (self.end_told, self.let_go) = (false, false);
                }
            }
            Phase::Releasing(_) => self.look(now),
            Phase::Running(_) => self.follow(now),
            Phase::Ending(_) if purpose == Purpose::Whole => self.confirm(now),
            Phase::Ending(_) | Phase::ReadIn(_) => {}
        }
        self.report();
    }

    fn judge_stop(&mut self) {
        let released = self.doing().is_some_and(Doing::is_released);
        let Some(stop) = self.stop.as_mut().filter(|stop| stop.judge) else { return };
        stop.judge = false;
        if !released {
            self.stop = None;
        } else if stop.taken < MOST_STOPS {
            stop.send = true;
        } else {
            self.stop = None;
            self.told.raise(alarm::STOP, "STOP had no effect: fuel may still flow".into(), true);
        }
    }

    pub(super) fn handle_written(&mut self, aim: Aim, stands: bool, now: Instant) {
        match aim {
            Aim::Preset => self.handle_preset(stands),
            Aim::Ack if stands => self.ack = None,
            Aim::Ack | Aim::Price => {
                if !stands {
                    let what = if aim == Aim::Ack { "the number of a stored sale" } else { "a price" };
                    let text = format!("{what} does not stand in the device after it was written");
                    self.told.raise(alarm::WRITE, text, false);
                    self.rest_until = now + self.habits.slow_poll;
                }
            }
        }
    }

    pub(super) fn handle_ordered(&mut self, verb: Verb, outcome: Outcome, now: Instant) {
        if matches!(outcome, Outcome::Silent) {
            self.command_unknown = true;
        } else if verb == Verb::Clear {
            self.command_unknown = false;
        }
        match verb {
            Verb::Authorise => self.handle_authorised(outcome, now),
            Verb::Stop => {
                if let Some(stop) = self.stop.as_mut() {
                    if outcome == Outcome::Silent {
                        stop.unheard = true;
                    } else {
                        stop.taken += 1;
                        stop.judge = true;
                        self.pursue();
                    }
                }
            }
            Verb::Pause | Verb::Resume | Verb::Release | Verb::Clear => {}
        }
    }

    pub(super) fn note_order_dropped(&mut self, verb: Verb) {
        match verb {
            Verb::Authorise => self.handle_authorised(Outcome::NoResult, Instant::START),
            Verb::Stop => {
                if let Some(stop) = self.stop.as_mut() {
                    stop.send = true;
                }
            }
            _ => {}
        }
    }

    // ---- a fuelling ----

    pub(super) fn begin_running(&mut self, nozzle: Option<NozzleId>) {
        let nozzle = self.lifted().or(nozzle).or_else(|| self.only_nozzle());
        let last = self.live_reading().unwrap_or(NO_READING);
        self.told.begin_running((last.volume, last.amount));
        self.phase = Phase::Running(Running { nozzle, last: Reading { nozzle, ..NO_READING }, was_out: false });
        self.pursue();
    }

    /// News of a fuelling.
    pub(super) fn follow(&mut self, now: Instant) {
        let (out, live, doing) = (self.lifted(), self.live_reading(), self.doing());
        let number = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        let Phase::Running(running) = &mut self.phase else { return };
        running.nozzle = out.or(running.nozzle);
        running.was_out |= out.is_some();
        if let Some(live) = live.filter(|live| live.volume >= running.last.volume) {
            running.last = Reading { nozzle: running.nozzle, ..live };
        }
        let running = *running;
        let numbered_anew = number.is_some() && number != self.sequence;
        let at_rest = matches!(doing, Some(Doing::Idle | Doing::Calling | Doing::Finished));
        if at_rest || numbered_anew && !doing.is_some_and(Doing::is_released) {
            self.begin_ending(running.nozzle, running.last, now);
            return;
        }
        self.told.running(running.last.volume, running.last.amount);
        let hung_unused = doing == Some(Doing::Authorised) && running.was_out && out.is_none();
        if hung_unused && self.habits.profile.has(Role::Nozzle) && self.stop.is_none() {
            self.order_stop();
        }
    }

    pub(super) fn become_ready(&mut self) {
        self.phase = Phase::Ready;
        if self.examine_due {
            self.begin_read_in(false);
        }
    }

    // ---- what it means ----

    pub(super) fn doing(&self) -> Option<Doing> {
        self.image.doing(&self.habits.profile).ok()
    }

    pub(super) fn only_nozzle(&self) -> Option<NozzleId> {
        match self.settings.nozzles.as_slice() {
            [only] => Some(only.nozzle),
            _ => None,
        }
    }

    /// The nozzle that is out.
    pub(super) fn lifted(&self) -> Option<NozzleId> {
        if self.habits.profile.has(Role::Nozzle) {
            let Raw(logical) = self.image.raw(Role::Nozzle)?;
            return self.settings.nozzles.iter().find(|n| i64::from(n.logical) == logical).map(|n| n.nozzle);
        }
        let out = matches!(self.doing()?, Doing::Calling | Doing::Authorised | Doing::Fuelling | Doing::Paused);
        self.only_nozzle().filter(|_| out)
    }

    pub(super) fn shown_price(&self) -> Option<UnitPrice> {
        self.image.units(&self.habits.profile, Role::Price).map(UnitPrice::new).filter(|price| price.is_positive())
    }

    /// The running or last figures of the display.
    pub(super) fn live_reading(&self) -> Option<Reading> {
        let profile = &self.habits.profile;
        let volume = Volume::new(self.image.units(profile, Role::Volume)?);
        let amount = match profile.point(Role::Amount) {
            Some(_) => Money::new(self.image.units(profile, Role::Amount)?),
            None => Money::ZERO,
        };
        Some(Reading {
            nozzle: self.lifted().or_else(|| self.only_nozzle()),
            volume,
            amount,
            price: self.shown_price(),
        })
    }

    /// The record of the last sale.
    pub(super) fn record(&self, nozzle: Option<NozzleId>) -> Option<Reading> {
        let profile = &self.habits.profile;
        let volume = Volume::new(self.image.units(profile, Role::SaleVolume)?);
        let amount = match profile.point(Role::SaleAmount) {
            Some(_) => Money::new(self.image.units(profile, Role::SaleAmount)?),
            // a column that counts litres only: its money is not ours to reckon
            None => Money::ZERO,
        };
        let price = self.image.units(profile, Role::SalePrice).map(UnitPrice::new).filter(|price| price.is_positive());
        Some(Reading { nozzle: nozzle.or_else(|| self.only_nozzle()), volume, amount, price })
    }

    fn state(&self) -> State {
        let flowed = self.image.raw(Role::Volume).is_some_and(|raw| raw.0 > 0);
        match self.doing() {
            Some(Doing::Authorised) if self.habits.profile.has(Role::Nozzle) && self.lifted().is_some() => {
                State::Started
            }
            Some(Doing::Authorised) => State::Authorised,
            Some(Doing::Fuelling) => State::Fuelling,
            Some(Doing::Paused) if flowed => State::SuspendedFuelling,
            Some(Doing::Paused) => State::SuspendedStarted,
            Some(Doing::Calling) => State::Calling,
            Some(Doing::Idle | Doing::Finished) => State::Idle,
            Some(Doing::Fault) | None => State::Closed,
        }
    }

    /// Reports what changed of state and price.
    pub(super) fn report(&mut self) {
        if matches!(self.phase, Phase::ReadIn(_) | Phase::Ending(_)) || !self.told.is_read_in() {
            return;
        }
        let state = self.state();
        let lifted = if state == State::Idle || state == State::Closed { None } else { self.lifted() };
        if let (Some(nozzle), Some(price)) = (lifted.or_else(|| self.only_nozzle()), self.shown_price()) {
            let anew = lifted.is_some() && self.told.lifted() != lifted;
            self.told.price(nozzle, price, anew);
        }
        self.told.state(state, lifted);
    }
}
