//! The state machine of a two-wire head over the pump behind it. Two-wire sheet, section 9.

use super::quirks::Quirks;
use super::words::{self, Meters, Order, Sale};
use crate::dispenser::calculator::{AmountDigits, VolumeDigits};
use crate::dispenser::physics::{Limit, Pump, PumpEvent};
use crate::dispenser::record::{EndCause, Moment, ReleasedBy, Violation, Wrong};
use crate::dispenser::{Action, Address, Condition, Moments, NozzleIndex};
use core::time::Duration;
use forecourt::time::Instant;

/// A word that came twice follows itself so soon.
const DOUBLED: Duration = Duration::from_millis(5);

/// A state of a head; its code is the high nibble of the status word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum State {
    /// Handle in.
    Idle = 6,
    /// Handle out, not authorised.
    Call = 7,
    /// Authorised, not delivering.
    Authorised = 8,
    /// Delivering.
    Busy = 9,
    /// Complete by its preset, the handle still out.
    PresetEnd = 0xA,
    /// Complete.
    FinalEnd = 0xB,
    /// Stopped.
    Stopped = 0xC,
}

impl State {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

#[derive(Clone, Copy, Debug)]
struct Preset {
    limit: Limit,
    grade: Option<u8>,
}

/// A head.
#[derive(Debug)]
pub struct Head {
    pub(super) pump: Pump,
    pub(super) quirks: Quirks,
    pub(super) state: State,
    preset: Option<Preset>,
    record: Option<Sale>,
    /// The record before the last sale, and how often it is told yet.
    old_record: Option<(Option<Sale>, u8)>,
    /// The record was read since the sale ended.
    record_read: bool,
    /// The state was told since the last authorise.
    looked: bool,
    authorised_at: Option<Instant>,
    /// The end of a sale was not told yet.
    end_untold: bool,
    /// Totals before the last sale, and how often they are told yet.
    old_totals: Option<(Vec<Meters>, u8)>,
    pub(super) moments: Moments,
    pub(super) violations: Vec<Violation>,
}

impl Head {
    /// A head with power, at rest.
    #[must_use]
    pub fn new(pump: Pump, quirks: Quirks) -> Self {
        Self {
            pump,
            quirks,
            state: State::Idle,
            preset: None,
            record: None,
            old_record: None,
            record_read: true,
            looked: true,
            authorised_at: None,
            end_untold: false,
            old_totals: None,
            moments: Moments::new(),
            violations: Vec::new(),
        }
    }

    /// Its state in words of any protocol.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self.state {
            _ if !self.pump.powered() => Condition::Off,
            State::Idle | State::FinalEnd => Condition::Idle,
            State::Call => Condition::Calling,
            State::Authorised => Condition::Released,
            State::Busy => Condition::Fuelling,
            State::PresetEnd => Condition::Finished,
            State::Stopped if self.pump.is_released() => Condition::Suspended,
            State::Stopped => Condition::Finished,
        }
    }

    /// Whether a block may come now.
    #[must_use]
    pub const fn takes_data(&self) -> bool {
        matches!(self.state, State::Idle | State::Call)
    }

    /// Its state as a poll is told, and whether that tells the end of a sale, the handle being in, for the first time.
    pub fn tell_state(&mut self) -> (State, bool) {
        let state = self.state;
        self.looked = true;
        if state == State::FinalEnd {
            self.state = State::Idle;
        }
        let over = matches!(state, State::Idle | State::FinalEnd) && core::mem::take(&mut self.end_untold);
        (state, over)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump.handle_timeout(now);
        self.follow(now);
    }

    /// Someone does something at the pump.
    pub fn act(&mut self, action: Action, now: Instant) {
        self.handle_timeout(now);
        match action {
            Action::Lift(_) | Action::HangUp | Action::Squeeze(_) => self.pump.handle_hand(action, now),
            Action::Power(on) if on == self.pump.powered() => {}
            Action::Power(on) => {
                let ended = self.pump.fuellings().len();
                self.pump.power(on, now);
                self.follow(now);
                if self.pump.fuellings().len() > ended {
                    self.ended(EndCause::PowerCut, now);
                }
                self.preset = None;
                self.end_untold = false;
                self.state = if self.pump.nozzle_out().is_some() { State::Call } else { State::Idle };
            }
            // the protocol tells no alarms
            Action::Alarm(_) => {}
            Action::ReleaseByHand if self.state == State::Call => self.release(Limit::Head, Vec::new(), now),
            Action::ReleaseByHand => {}
        }
        self.follow(now);
    }

    /// Releases one sale, or lets a stopped one go on.
    pub fn authorise(&mut self, word: u8, now: Instant) {
        self.handle_timeout(now);
        // one that follows the last without a pause is a word that came twice: no controller says it so soon again
        let doubled = self.authorised_at.replace(now).is_some_and(|at| now.since(at) <= DOUBLED);
        if !core::mem::replace(&mut self.looked, false) && !doubled {
            self.note(Wrong::AuthoriseBlind, &[word], now);
        }
        match self.state {
            State::Call => {
                let Some(out) = self.pump.nozzle_out() else { return };
                let preset = self.preset.take();
                if preset.is_some_and(|preset| preset.grade.is_some_and(|grade| grade + 1 != out.0)) {
                    self.note(Wrong::AuthoriseWithoutNozzle, &[word], now);
                    return;
                }
                if preset.is_none() {
                    self.note(Wrong::AuthoriseWithoutPreset, &[word], now);
                }
                if !self.record_read {
                    self.note(Wrong::SaleNotRead, &[word], now);
                }
                self.moments.push_back((now, Moment::AuthoriseArrived));
                self.release(preset.map_or(Limit::Head, |preset| preset.limit), vec![word], now);
            }
            State::Stopped if self.quirks.resumes => {
                self.pump.suspend(false, now);
                self.state = State::Busy;
            }
            State::Idle | State::PresetEnd | State::FinalEnd => self.note(Wrong::AuthoriseOutOfState, &[word], now),
            State::Authorised | State::Busy | State::Stopped => {}
        }
        self.follow(now);
    }

    fn release(&mut self, limit: Limit, frame: Vec<u8>, now: Instant) {
        let Some(out) = self.pump.nozzle_out() else { return };
        self.old_totals = Some((self.meters(now), self.quirks.late_totals));
        let by = ReleasedBy { at: now, frame, limit };
        self.state = if self.quirks.shows_authorised { State::Authorised } else { State::Busy };
        self.pump.release(vec![out], limit, by, now);
    }

    /// Stops this pump.
    pub fn stop(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.moments.push_back((now, Moment::StopArrived));
        match self.state {
            _ if self.quirks.ignores_stop => {}
            State::Busy if self.quirks.resumes => {
                self.pump.suspend(true, now);
                self.state = State::Stopped;
            }
            State::Busy => {
                self.pump.stop(now);
                self.state = State::Stopped;
            }
            State::Authorised => {
                self.pump.stop(now);
                self.state = State::Idle;
            }
            _ => {}
        }
        self.follow(now);
    }

    /// Does what a block orders. False if it is refused.
    pub fn execute(&mut self, order: &Order, frame: &[u8], now: Instant) -> bool {
        if !self.takes_data() {
            return false;
        }
        let decimals = self.pump.config().decimals;
        match *order {
            Order::Price(1, grade, price) if usize::from(grade) < self.pump.nozzle_count() => {
                self.pump.set_price(NozzleIndex(grade + 1), price);
            }
            Order::PresetVolume(_, grade, value) => {
                let finer = u32::from(decimals.volume.saturating_sub(self.quirks.preset_decimals));
                let limit = Limit::Volume(VolumeDigits(value.saturating_mul(10_u32.pow(finer))));
                return self.set_preset(Preset { limit, grade }, frame, now);
            }
            Order::PresetMoney(_, grade, value) => {
                return self.set_preset(Preset { limit: Limit::Amount(AmountDigits(value)), grade }, frame, now);
            }
            Order::Level(1) => {}
            Order::Price(..) | Order::Level(_) | Order::ExtendedStatus => return false,
        }
        true
    }

    fn set_preset(&mut self, preset: Preset, frame: &[u8], now: Instant) -> bool {
        let unknown = preset.grade.is_some_and(|grade| usize::from(grade) >= self.pump.nozzle_count());
        if unknown || self.quirks.refuses_presets {
            return false;
        }
        if self.preset.replace(preset).is_some() && self.state == State::Idle {
            self.note(Wrong::PresetReplaced, frame, now);
        }
        true
    }

    fn has_record(&self) -> bool {
        !matches!(self.state, State::Authorised | State::Busy)
    }

    /// The record of the last sale, where it can be read now.
    pub fn record(&mut self, address: Address, now: Instant) -> Option<Vec<u8>> {
        self.handle_timeout(now);
        if !self.has_record() {
            return None;
        }
        self.record_read |= !self.pump.is_released();
        let mut record = self.record;
        if let Some((old, left)) = self.old_record.as_mut().filter(|(_, left)| *left > 0) {
            *left -= 1;
            record = *old;
        }
        let none = Sale { grade: 0, price: 0, volume: 0, money: 0 };
        Some(words::transaction(address, &record.unwrap_or(none), self.quirks.large))
    }

    /// The totals, where they can be read now.
    pub fn totals(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.handle_timeout(now);
        if !self.has_record() {
            return None;
        }
        let held = self.quirks.held_totals && self.pump.nozzle_out().is_some() && self.state != State::Call;
        if let Some((old, left)) = self.old_totals.as_mut().filter(|(_, left)| held || *left > 0) {
            *left = left.saturating_sub(1);
            return Some(words::totals(old, self.quirks.large));
        }
        Some(words::totals(&self.meters(now), self.quirks.large))
    }

    fn meters(&self, now: Instant) -> Vec<Meters> {
        let unit = 10_i64.pow(3 - u32::from(self.quirks.totals_decimals.min(3)));
        let count = u8::try_from(self.pump.nozzle_count()).unwrap_or(0);
        let nozzles = (1..=count).map(NozzleIndex);
        nozzles
            .map(|nozzle| Meters {
                volume: self
                    .pump
                    .totaliser(nozzle, now)
                    .and_then(|v| u64::try_from(v.get() / unit).ok())
                    .unwrap_or_default(),
                money: self.pump.amount_totaliser(nozzle, now).unwrap_or_default(),
                price: self.pump.price(nozzle).unwrap_or_default().0,
            })
            .collect()
    }

    /// Money so far, while it delivers.
    pub fn money(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.handle_timeout(now);
        let digits = if self.quirks.large { 8 } else { 6 };
        (self.state == State::Busy).then(|| words::number(self.pump.figures(now).amount.0.into(), digits))
    }

    /// Takes up what happened at the pump.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.pump.poll_event() {
            match event {
                PumpEvent::FlowBegan => {
                    self.moments.push_back((now, Moment::FlowBegan));
                    self.state = State::Busy;
                }
                PumpEvent::NozzleMoved => self.nozzle_moved(now),
                PumpEvent::Ended(cause) => self.ended(cause, now),
            }
        }
    }

    fn nozzle_moved(&mut self, now: Instant) {
        self.moments.push_back((now, Moment::NozzleMoved));
        if self.pump.nozzle_out().is_some() {
            if matches!(self.state, State::Idle | State::FinalEnd) {
                self.state = State::Call;
            }
            return;
        }
        match self.state {
            State::Call => {
                self.preset = self.preset.filter(|_| self.quirks.keeps_preset);
                self.state = State::Idle;
            }
            State::Authorised | State::Busy if self.pump.is_released() => {
                // no fuel flowed, or the pump would have ended with this
                self.pump.stop(now);
                self.state = State::Idle;
            }
            State::Authorised | State::Busy | State::PresetEnd | State::Stopped => {
                if self.pump.is_released() {
                    self.pump.stop(now);
                }
                self.state = if self.quirks.shows_final_end { State::FinalEnd } else { State::Idle };
            }
            State::Idle | State::FinalEnd => {}
        }
    }

    fn ended(&mut self, cause: EndCause, now: Instant) {
        self.moments.push_back((now, Moment::Ended));
        self.end_untold = true;
        if cause == EndCause::LimitReached {
            self.state = State::PresetEnd;
        }
        let Some(sale) = self.pump.fuellings().last() else { return };
        let grade = sale.nozzle.map_or(0, |nozzle| nozzle.0.saturating_sub(1));
        let price = sale.price.or_else(|| self.pump.price(NozzleIndex(grade + 1))).unwrap_or_default().0;
        let figures = sale.figures;
        if figures.volume.0 > 0 {
            self.record_read = false;
        }
        if figures.volume.0 > 0 || self.quirks.records_zero_sale {
            self.old_record = Some((self.record, self.quirks.late_record));
            self.record = Some(Sale { grade, price, volume: figures.volume.0, money: figures.amount.0 });
        }
    }

    pub(super) fn note(&mut self, wrong: Wrong, frame: &[u8], now: Instant) {
        self.violations.push(Violation { at: now, wrong, frame: frame.to_vec() });
    }
}
