//! The state machine of a DART head over the pump behind it. DART sheet, sections 5 to 7.

use super::changes::{Changes, Meaning};
use super::message::{Order, Report, Status};
use super::quirks::{AmountTotals, Quirks, ResetHung, SuspendForm};
use crate::dispenser::calculator::PriceDigits;
use crate::dispenser::physics::{Limit, Pump, PumpEvent};
use crate::dispenser::record::{EndCause, Moment, ReleasedBy, Violation, Wrong};
use crate::dispenser::{Action, Condition, Figures, Moments, NozzleIndex};
use forecourt::time::Instant;
use forecourt::timers::Timers;

/// The alarm of an emergency stop (section 6).
const EMERGENCY_STOP: u8 = 0x09;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Programmed,
    Authorised,
}

/// A head.
#[derive(Debug)]
pub struct Head {
    pub(super) pump: Pump,
    quirks: Quirks,
    status: Status,
    allowed: Vec<NozzleIndex>,
    preset: Option<Limit>,
    alarm: Option<u8>,
    held: bool,
    /// A release has ended and the nozzle is still out.
    finished: bool,
    /// A fuelling has ended whose figures were not acknowledged yet.
    sale_unacknowledged: bool,
    authorising: Option<ReleasedBy>,
    timers: Timers<Timer>,
    pub(super) changes: Changes,
    pub(super) moments: Moments,
    pub(super) violations: Vec<Violation>,
}

impl Head {
    /// A head with power: at rest if every nozzle has a price, else not programmed.
    #[must_use]
    pub fn new(pump: Pump, quirks: Quirks) -> Self {
        let status = if pump.is_programmed() { Status::Completed } else { Status::NotProgrammed };
        Self {
            pump,
            quirks,
            status,
            allowed: Vec::new(),
            preset: None,
            alarm: None,
            held: false,
            finished: false,
            sale_unacknowledged: false,
            authorising: None,
            timers: Timers::default(),
            changes: Changes::default(),
            moments: Moments::new(),
            violations: Vec::new(),
        }
    }

    /// Its status code.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Its state in words of any protocol.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let is_out = self.pump.nozzle_out().is_some();
        match self.status {
            _ if !self.pump.powered() => Condition::Off,
            Status::SwitchedOff => Condition::Off,
            Status::NotProgrammed => Condition::NotProgrammed,
            Status::Suspended => Condition::Suspended,
            Status::Filling if self.held => Condition::Suspended,
            Status::Filling if self.pump.is_released() => Condition::Fuelling,
            Status::Authorised => Condition::Released,
            _ if is_out && self.finished => Condition::Finished,
            _ if is_out => Condition::Calling,
            _ => Condition::Idle,
        }
    }

    /// When something happens by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next().map(|(due, _)| due), self.pump.poll_timeout()].into_iter().flatten().min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump.handle_timeout(now);
        self.follow(now);
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Programmed => self.go(Status::Completed),
                Timer::Authorised => self.release(now),
            }
        }
        self.follow(now);
    }

    /// Someone does something at the pump.
    pub fn act(&mut self, action: Action, now: Instant) {
        self.handle_timeout(now);
        match action {
            Action::Lift(_) | Action::HangUp | Action::Squeeze(_) => self.pump.handle_hand(action, now),
            Action::Power(on) => self.power(on, now),
            Action::Alarm(code) => {
                self.alarm = Some(code);
                self.tell(Report::Alarm(code));
                if code == EMERGENCY_STOP {
                    self.stop(now);
                }
            }
            Action::ReleaseByHand => self.release_by_hand(now),
        }
        self.follow(now);
    }

    fn release_by_hand(&mut self, now: Instant) {
        let rests = matches!(self.status, Status::Completed | Status::Reset | Status::MaxReached);
        if !rests || !self.pump.powered() {
            return;
        }
        let nozzles = (1..=0x0F).map(NozzleIndex).take(self.pump.nozzle_count()).collect();
        let by = ReleasedBy { at: now, frame: Vec::new(), limit: Limit::Head };
        (self.authorising, self.finished) = (None, false);
        self.go(Status::Authorised);
        self.tell_nozzle(Meaning::PLAIN);
        self.pump.release(nozzles, Limit::Head, by, now);
    }

    fn power(&mut self, on: bool, now: Instant) {
        if on == self.pump.powered() {
            return;
        }
        self.pump.power(on, now);
        self.changes.clear();
        self.timers = Timers::default();
        self.allowed.clear();
        (self.preset, self.authorising, self.alarm) = (None, None, None);
        (self.held, self.finished) = (false, false);
        self.status = Status::NotProgrammed;
        if on && self.quirks.announces_power_up {
            self.tell(Report::Status(self.status));
            self.tell_nozzle(Meaning::PLAIN);
        }
    }

    /// The block with the final figures of the last fuelling was acknowledged.
    pub fn handle_figures_acknowledged(&mut self) {
        self.sale_unacknowledged = false;
    }

    /// Before a block is cut: a pump that delivers tells its figures with every answer.
    pub fn add_running_figures(&mut self, now: Instant) {
        let figures = self.pump.figures(now);
        let delivers = self.status == Status::Filling && self.pump.is_released() && figures.volume.0 > 0;
        if delivers && !self.changes.holds_figures() {
            self.tell_figures(figures, Meaning::PLAIN);
        }
    }

    /// Does what one transaction of a block orders.
    pub fn execute(&mut self, order: &Order, frame: &[u8], now: Instant) {
        match order {
            Order::ReturnStatus => {
                self.tell(Report::Status(self.status));
                self.tell_nozzle(Meaning::PLAIN);
                if let Some(code) = self.alarm {
                    self.tell(Report::Alarm(code));
                }
            }
            Order::ReturnParameters => {
                let decimals = self.pump.config().decimals;
                if self.quirks.tells_parameters {
                    self.tell(Report::Parameters(decimals.volume, decimals.amount, decimals.price));
                }
            }
            Order::ReturnIdentity => self.tell(Report::Identity(self.quirks.identity)),
            Order::ReturnFilling => {
                // Asked for between two fuellings these are the last one's, whatever the status says after a power cut.
                let meaning = if self.pump.is_released() { Meaning::PLAIN } else { Meaning::FINAL_FIGURES };
                self.tell_figures(self.pump.figures(now), meaning);
                self.tell_nozzle(Meaning::PLAIN);
            }
            Order::Reset => self.reset(frame, now),
            Order::Authorise => self.authorise(frame, now),
            Order::Stop => {
                self.moments.push_back((now, Moment::StopArrived));
                self.stop(now);
            }
            Order::SwitchOff => {
                self.pump.stop(now);
                self.go(Status::SwitchedOff);
            }
            Order::Allow(nozzles) => self.allowed.clone_from(nozzles),
            Order::PresetVolume(volume) => self.preset(Limit::Volume(*volume), frame, now),
            Order::PresetAmount(amount) => self.preset(Limit::Amount(*amount), frame, now),
            Order::Prices(prices) => self.set_prices(prices, frame, now),
            Order::Suspend(nozzle) => self.suspend(*nozzle, true, now),
            Order::Resume(nozzle) => self.suspend(*nozzle, false, now),
            Order::Totals(counter) => self.totals(*counter, now),
            Order::AmountTotals(counter) => {
                if self.quirks.amount_totals == AmountTotals::Transaction66 {
                    self.tell_total(0x66, *counter, NozzleIndex(*counter), true, now);
                }
            }
            Order::Unknown(_) => {}
            Order::Malformed(_) => self.note(Wrong::Malformed, frame, now),
        }
        self.follow(now);
    }

    fn reset(&mut self, frame: &[u8], now: Instant) {
        let is_out = self.pump.nozzle_out().is_some();
        if !matches!(self.status, Status::Completed | Status::MaxReached)
            || (!is_out && self.quirks.reset_hung == ResetHung::NotExecuted)
        {
            return;
        }
        if self.sale_unacknowledged {
            self.note(Wrong::ResetBeforeSaleAcknowledged, frame, now);
            self.sale_unacknowledged = false;
        }
        self.pump.clear();
        (self.preset, self.alarm, self.finished) = (None, None, false);
        self.tell_figures(Figures::default(), Meaning::PLAIN);
        self.go(Status::Reset);
        self.tell_nozzle(Meaning::PLAIN);
        if !is_out && self.quirks.reset_hung == ResetHung::BouncesBack {
            self.go(Status::Completed);
        }
    }

    fn authorise(&mut self, frame: &[u8], now: Instant) {
        if self.status != Status::Reset || self.authorising.is_some() {
            self.note(Wrong::AuthoriseOutOfState, frame, now);
            return;
        }
        if self.preset.is_none() {
            self.note(Wrong::AuthoriseWithoutPreset, frame, now);
        }
        if self.allowed.is_empty() {
            self.note(Wrong::AuthoriseWithoutNozzle, frame, now);
        }
        self.moments.push_back((now, Moment::AuthoriseArrived));
        let limit = self.preset.unwrap_or(Limit::Head);
        self.authorising = Some(ReleasedBy { at: now, frame: frame.to_vec(), limit });
        if self.quirks.authorise_time.is_zero() {
            self.release(now);
        } else {
            self.timers.set(Timer::Authorised, now + self.quirks.authorise_time);
        }
    }

    fn release(&mut self, now: Instant) {
        let Some(mut by) = self.authorising.take().filter(|_| self.status == Status::Reset) else { return };
        by.limit = self.preset.unwrap_or(Limit::Head);
        let limit = by.limit;
        self.go(Status::Authorised);
        self.tell_nozzle(Meaning::PLAIN);
        self.pump.release(self.allowed.clone(), limit, by, now);
    }

    fn stop(&mut self, now: Instant) {
        self.held = false;
        self.authorising = None;
        match self.status {
            Status::Authorised => {
                self.pump.stop(now);
                self.finished = self.pump.nozzle_out().is_some();
                self.go(Status::Completed);
                self.tell_figures(self.pump.figures(now), Meaning::PLAIN);
            }
            Status::Filling | Status::Suspended if self.pump.is_released() => {
                self.pump.stop(now);
                self.finished = true;
                if self.quirks.stop_reported_at_hang_up {
                    self.status = Status::Filling;
                } else {
                    self.tell_figures(self.pump.figures(now), Meaning::FINAL_FIGURES);
                    self.go(Status::Completed);
                }
            }
            _ => {}
        }
    }

    fn preset(&mut self, limit: Limit, frame: &[u8], now: Instant) {
        if self.pump.is_released() {
            self.note(Wrong::PresetReplaced, frame, now);
            self.pump.set_limit(limit, now);
        }
        self.preset = Some(limit);
    }

    fn set_prices(&mut self, prices: &[PriceDigits], frame: &[u8], now: Instant) {
        if prices.len() < self.pump.nozzle_count() {
            self.note(Wrong::TooFewPrices, frame, now);
            return;
        }
        if self.pump.is_released() || matches!(self.status, Status::Filling | Status::Suspended) {
            self.note(Wrong::PriceDuringFilling, frame, now);
            return;
        }
        let shown = self.selected();
        for (nozzle, price) in (1..).map(NozzleIndex).zip(prices) {
            self.pump.set_price(nozzle, *price);
        }
        if self.status == Status::NotProgrammed {
            if self.quirks.programming_time.is_zero() {
                self.go(Status::Completed);
            } else {
                self.timers.set(Timer::Programmed, now + self.quirks.programming_time);
            }
        } else if shown != self.selected() {
            self.tell_nozzle(Meaning::PLAIN);
        }
    }

    fn suspend(&mut self, nozzle: NozzleIndex, hold: bool, now: Instant) {
        let filling = matches!(self.status, Status::Filling | Status::Suspended) && self.pump.is_released();
        if self.quirks.suspend == SuspendForm::None || !filling || hold == self.held {
            return;
        }
        self.held = hold;
        self.pump.suspend(hold, now);
        match (self.quirks.suspend, hold) {
            (SuspendForm::Mark, true) => self.tell(Report::Suspended(nozzle)),
            (SuspendForm::Mark, false) => self.tell(Report::Resumed(nozzle)),
            (_, true) => self.go(Status::Suspended),
            (_, false) => self.go(Status::Filling),
        }
    }

    fn totals(&mut self, counter: u8, now: Instant) {
        match counter {
            0x01..=0x0F => self.tell_total(0x65, counter, NozzleIndex(counter), false, now),
            0x11..=0x1F if self.quirks.amount_totals == AmountTotals::Counter1n => {
                self.tell_total(0x65, counter, NozzleIndex(counter & 0x0F), true, now);
            }
            _ => {}
        }
    }

    fn tell_total(&mut self, trans: u8, counter: u8, nozzle: NozzleIndex, of_amount: bool, now: Instant) {
        let step = self.pump.config().decimals.step().get();
        let Some(volume) = self.pump.totaliser(nozzle, now) else { return };
        let volume = u64::try_from(volume.get() / step).unwrap_or(0);
        let amount = self.pump.amount_totaliser(nozzle, now).unwrap_or(0);
        let total = if of_amount { amount } else { volume };
        self.tell(Report::Totals { trans, counter, total, amount, form: self.quirks.totals });
    }

    /// Takes up what happened at the pump.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.pump.poll_event() {
            match event {
                PumpEvent::FlowBegan => {
                    self.moments.push_back((now, Moment::FlowBegan));
                    self.go(Status::Filling);
                }
                PumpEvent::NozzleMoved => self.nozzle_moved(now),
                PumpEvent::Ended(cause) => self.ended(cause, now),
            }
        }
    }

    fn nozzle_moved(&mut self, now: Instant) {
        self.moments.push_back((now, Moment::NozzleMoved));
        if self.pump.nozzle_out().is_some() {
            self.tell_nozzle(Meaning::PLAIN);
            return;
        }
        let finished = core::mem::take(&mut self.finished);
        let figures = self.pump.figures(now);
        match self.status {
            // The pump has ended a running fuelling with this, or after a STOP that was not told yet.
            Status::Filling | Status::Suspended => {
                self.held = false;
                if self.quirks.nozzle_first {
                    self.tell_nozzle(Meaning::PLAIN);
                    self.tell_figures(figures, Meaning::FINAL_FIGURES);
                } else {
                    self.tell_figures(figures, Meaning::FINAL_FIGURES);
                    self.tell_nozzle(Meaning::PLAIN);
                }
                self.status = Status::Completed;
                self.changes.push(Report::Status(self.status), Meaning::END);
            }
            Status::MaxReached => {
                self.tell_nozzle(Meaning::PLAIN);
                if !self.quirks.repeats_max_at_hang_up {
                    self.status = Status::Completed;
                }
                self.changes.push(Report::Status(self.status), Meaning::END);
            }
            Status::Authorised if !self.quirks.stays_authorised => {
                self.pump.stop(now);
                self.tell_nozzle(Meaning::PLAIN);
                self.status = Status::Completed;
                self.changes.push(Report::Status(self.status), Meaning::END);
            }
            Status::Reset if self.quirks.reset_hung != ResetHung::Stays => {
                self.tell_nozzle(Meaning::PLAIN);
                self.go(Status::Completed);
            }
            _ => self.tell_nozzle(if finished { Meaning::END } else { Meaning::PLAIN }),
        }
    }

    fn ended(&mut self, cause: EndCause, now: Instant) {
        self.moments.push_back((now, Moment::Ended));
        self.preset = None;
        let figures = self.pump.figures(now);
        self.sale_unacknowledged |= figures.volume.0 > 0;
        if cause == EndCause::LimitReached {
            self.held = false;
            self.finished = true;
            self.tell_figures(figures, Meaning::FINAL_FIGURES);
            self.go(Status::MaxReached);
        }
    }

    /// The nozzle that DC3 names, and its price.
    fn selected(&self) -> (PriceDigits, NozzleIndex) {
        self.pump
            .selected()
            .map_or((PriceDigits(0), NozzleIndex(0)), |nozzle| (self.pump.price(nozzle).unwrap_or_default(), nozzle))
    }

    fn go(&mut self, status: Status) {
        self.status = status;
        self.tell(Report::Status(status));
    }

    fn tell_nozzle(&mut self, meaning: Meaning) {
        let (price, nozzle) = self.selected();
        self.changes.push(Report::Nozzle(price, nozzle, self.pump.nozzle_out().is_some()), meaning);
    }

    fn tell_figures(&mut self, figures: Figures, meaning: Meaning) {
        self.changes.push(Report::Filling(figures.volume, figures.amount), meaning);
    }

    fn tell(&mut self, report: Report) {
        self.changes.push(report, Meaning::PLAIN);
    }

    fn note(&mut self, wrong: Wrong, frame: &[u8], now: Instant) {
        self.violations.push(Violation { at: now, wrong, frame: frame.to_vec() });
    }
}
