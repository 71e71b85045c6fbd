//! The state machine of a GasKitLink post over the pump behind it. GasKitLink sheet, sections 3 to 5.

use super::message::{Letter, Most, Reply, Request, State};
use super::quirks::{AuthorisesIn, Cancelling, Quirks, StopForm};
use crate::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};
use crate::dispenser::physics::{Limit, Pump, PumpEvent, Totalisers};
use crate::dispenser::record::{EndCause, Moment, ReleasedBy, Violation, Wrong};
use crate::dispenser::{Action, Condition, Figures, Moments, NozzleIndex};
use forecourt::time::Instant;
use forecourt::timers::Timers;
use std::collections::BTreeMap;

const NONE: NozzleIndex = NozzleIndex(0);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// An authorised nozzle that is out starts the pump.
    Start,
    /// 8 becomes 9.
    HungUp,
    /// N takes effect.
    Closed,
}

/// The transaction that T tells: one deep.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    nozzle: NozzleIndex,
    letter: Letter,
    price: PriceDigits,
    figures: Figures,
}

/// A post.
#[derive(Debug)]
pub struct Head {
    pump: Pump,
    quirks: Quirks,
    state: State,
    transaction: Transaction,
    /// A transaction with fuel has begun and T was not answered since it ended.
    unread: bool,
    /// The end of the transaction, the nozzle being in, was told.
    end_told: bool,
    parameters: BTreeMap<[u8; 2], [u8; 4]>,
    timers: Timers<Timer>,
    moments: Moments,
    violations: Vec<Violation>,
}

impl Head {
    /// A post with power, at rest.
    #[must_use]
    pub fn new(pump: Pump, quirks: Quirks) -> Self {
        let price = pump.price(NozzleIndex(1)).unwrap_or_default();
        Self {
            pump,
            quirks,
            state: State::Idle,
            transaction: Transaction { nozzle: NozzleIndex(1), letter: Letter::A, price, figures: Figures::default() },
            unread: false,
            end_told: false,
            parameters: BTreeMap::new(),
            timers: Timers::default(),
            moments: Moments::new(),
            violations: Vec::new(),
        }
    }

    /// Its state digit.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The pump behind it.
    #[must_use]
    pub const fn pump(&self) -> &Pump {
        &self.pump
    }

    /// Goes on with this letter for the next transaction.
    pub const fn continue_letters_at(&mut self, letter: Letter) {
        self.transaction.letter = letter;
    }

    /// Puts totalisers back.
    pub fn restore(&mut self, kept: &Totalisers) {
        self.pump.restore(kept);
    }

    /// What the controller did wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The next moment.
    pub fn poll_moment(&mut self) -> Option<(Instant, Moment)> {
        self.moments.pop_front()
    }

    /// Its state in words of any protocol.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self.state {
            _ if !self.pump.powered() => Condition::Off,
            State::Error => Condition::Off,
            State::Idle | State::EndOfTransaction => Condition::Idle,
            State::Calling => Condition::Calling,
            State::Authorised | State::Started => Condition::Released,
            State::SuspendedStarted | State::SuspendedFuelling => Condition::Suspended,
            State::Fuelling => Condition::Fuelling,
            State::Stopped => Condition::Finished,
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
                Timer::Start if self.state == State::Authorised => self.state = State::Started,
                Timer::HungUp if self.state == State::Stopped => self.state = State::EndOfTransaction,
                Timer::Closed if self.state == State::EndOfTransaction => self.rest(),
                Timer::Start | Timer::HungUp | Timer::Closed => {}
            }
        }
    }

    /// At rest, or calling where a nozzle is out.
    fn rest(&mut self) {
        self.state = if self.pump.nozzle_out().is_some() { State::Calling } else { State::Idle };
    }

    /// Someone does something at the post.
    pub fn act(&mut self, action: Action, now: Instant) {
        self.handle_timeout(now);
        match action {
            Action::Lift(_) | Action::HangUp | Action::Squeeze(_) => self.pump.handle_hand(action, now),
            Action::Power(on) => self.power(on, now),
            // the only fault there is; code 0 ends it
            Action::Alarm(0) if self.state == State::Error => self.wake(),
            Action::Alarm(_) => {
                self.pump.stop(now);
                self.follow(now);
                self.timers = Timers::default();
                self.state = State::Error;
            }
            Action::ReleaseByHand if matches!(self.state, State::Idle | State::Calling) => {
                let nozzle = self.pump.nozzle_out().unwrap_or(self.transaction.nozzle);
                let price = self.pump.price(nozzle).unwrap_or_default();
                let by = ReleasedBy { at: now, frame: Vec::new(), limit: Limit::Head };
                self.release(nozzle, price, by, now);
            }
            Action::ReleaseByHand => {}
        }
        self.follow(now);
    }

    fn power(&mut self, on: bool, now: Instant) {
        if on == self.pump.powered() {
            return;
        }
        if !on && self.pump.is_released() {
            self.transaction.figures = self.pump.figures(now);
        }
        self.pump.power(on, now);
        self.timers = Timers::default();
        if on {
            self.wake();
        } else {
            self.unread |= self.transaction.figures.volume.0 > 0 && self.is_in_transaction();
            if !self.pump.config().keeps_sale {
                self.transaction.figures = Figures::default();
                self.unread = false;
                self.state = State::Idle;
            }
        }
    }

    const fn is_in_transaction(&self) -> bool {
        !matches!(self.state, State::Error | State::Idle | State::Calling)
    }

    /// After power came or a fault went: what was under way is over and waits for N.
    fn wake(&mut self) {
        let out = self.pump.nozzle_out().is_some();
        if self.is_in_transaction() && self.state != State::Authorised || self.unread {
            self.state = if out { State::Stopped } else { State::EndOfTransaction };
        } else {
            self.rest();
        }
    }

    /// Does what a command says. The reply, with the moment to be noted when it is out; `None` where a post is silent.
    pub fn answer(&mut self, request: &Request, raw: &[u8], now: Instant) -> Option<(Reply, Option<Moment>)> {
        self.handle_timeout(now);
        let Transaction { nozzle, letter, price, .. } = self.transaction;
        let figures = self.figures(now);
        Some(match request {
            Request::Status => self.status(),
            Request::Authorise { nozzle, most, price } => {
                self.authorise(*nozzle, *most, *price, raw, now);
                self.status()
            }
            Request::Close => {
                let before = self.status();
                self.close(raw, now);
                before
            }
            Request::Stop => {
                self.moments.push_back((now, Moment::StopArrived));
                self.stop(now);
                self.status()
            }
            Request::Resume => {
                self.hold(false, now);
                self.status()
            }
            Request::RunningVolume => (Reply::Volume(nozzle, letter, self.state, figures.volume), None),
            Request::RunningMoney => (Reply::Money(nozzle, letter, self.state, figures.amount), None),
            Request::Transaction => {
                if matches!(self.state, State::Stopped | State::EndOfTransaction) {
                    self.unread = false;
                }
                let (volume, money) = (figures.volume, figures.amount);
                (Reply::Transaction(nozzle, letter, self.state, money, volume, price), None)
            }
            Request::Totaliser(asked) => {
                let of = if *asked == NONE { nozzle } else { *asked };
                let step = self.pump.config().decimals.step().get().max(1);
                let total = self.pump.totaliser(of, now)?.get() / step;
                (Reply::Totaliser(*asked, u64::try_from(total).unwrap_or(0)), None)
            }
            Request::WriteParameter(number, value) => {
                self.parameters.insert(*number, *value);
                (Reply::Parameter(*number, *value), None)
            }
            Request::ReadParameter(number) => {
                (Reply::Parameter(*number, self.parameters.get(number).copied().unwrap_or(*b"0000")), None)
            }
            Request::Channel(channel) => (Reply::Channel(*channel), None),
            Request::Malformed => {
                self.note(Wrong::Malformed, raw, now);
                return None;
            }
        })
    }

    /// The figures of the present transaction, or of the last.
    fn figures(&self, now: Instant) -> Figures {
        if self.pump.is_released() { self.pump.figures(now) } else { self.transaction.figures }
    }

    fn status(&mut self) -> (Reply, Option<Moment>) {
        let out = self.pump.nozzle_out().unwrap_or(NONE);
        let nozzle = match self.state {
            State::Idle | State::EndOfTransaction => NONE,
            State::Error | State::Calling => out,
            _ => self.transaction.nozzle,
        };
        let ended = self.state == State::EndOfTransaction && !core::mem::replace(&mut self.end_told, true);
        (Reply::Status(self.state, nozzle), ended.then_some(Moment::EndReported))
    }

    fn authorise(&mut self, nozzle: NozzleIndex, most: Most, price: PriceDigits, raw: &[u8], now: Instant) {
        let fits = match self.quirks.authorises_in {
            AuthorisesIn::Idle => self.state == State::Idle,
            AuthorisesIn::Calling => self.state == State::Calling,
            AuthorisesIn::Either => matches!(self.state, State::Idle | State::Calling),
        };
        let other_out = self.pump.nozzle_out().is_some_and(|out| out != nozzle);
        if !fits || other_out || self.pump.price(nozzle).is_none() {
            self.note(Wrong::AuthoriseOutOfState, raw, now);
            return;
        }
        let limit = match most {
            Most::Volume(VolumeDigits(0)) | Most::Money(AmountDigits(0)) => {
                self.note(Wrong::AuthoriseWithoutPreset, raw, now);
                return;
            }
            Most::Volume(volume) => Limit::Volume(volume),
            Most::Money(money) => Limit::Amount(money),
        };
        self.moments.push_back((now, Moment::AuthoriseArrived));
        self.release(nozzle, price, ReleasedBy { at: now, frame: raw.to_vec(), limit }, now);
        self.follow(now);
    }

    fn release(&mut self, nozzle: NozzleIndex, price: PriceDigits, by: ReleasedBy, now: Instant) {
        let letter = self.transaction.letter.next();
        self.transaction = Transaction { nozzle, letter, price, figures: Figures::default() };
        (self.unread, self.end_told) = (false, false);
        self.pump.set_price(nozzle, price);
        self.state = State::Authorised;
        if self.pump.nozzle_out() == Some(nozzle) {
            self.timers.set(Timer::Start, now + self.quirks.start_time);
        }
        let limit = by.limit;
        self.pump.release(vec![nozzle], limit, by, now);
    }

    fn stop(&mut self, now: Instant) {
        match self.state {
            State::Authorised if self.quirks.cancelling == Cancelling::EndedByStop => {
                self.timers.clear(Timer::Start);
                self.pump.stop(now);
                self.follow(now);
                let out = self.pump.nozzle_out().is_some();
                self.state = if out { State::Stopped } else { State::EndOfTransaction };
            }
            State::Fuelling if self.quirks.stop == StopForm::Ends => {
                self.pump.stop(now);
                self.follow(now);
            }
            _ => self.hold(true, now),
        }
    }

    fn hold(&mut self, held: bool, now: Instant) {
        let next = match (held, self.state) {
            (true, State::Started) => State::SuspendedStarted,
            (true, State::Fuelling) => State::SuspendedFuelling,
            (false, State::SuspendedStarted) => State::Started,
            (false, State::SuspendedFuelling) => State::Fuelling,
            _ => return,
        };
        self.pump.suspend(held, now);
        self.state = next;
    }

    fn close(&mut self, raw: &[u8], now: Instant) {
        match self.state {
            State::EndOfTransaction => {
                if self.unread {
                    self.note(Wrong::ResetBeforeSaleAcknowledged, raw, now);
                }
                self.unread = false;
                if self.timers.due(Timer::Closed).is_none() {
                    self.timers.set(Timer::Closed, now + self.quirks.closing_time);
                }
            }
            State::Authorised if self.quirks.cancelling == Cancelling::TakenBackByClose => {
                self.timers.clear(Timer::Start);
                self.pump.stop(now);
                self.follow(now);
                self.rest();
            }
            State::Error | State::Idle | State::Calling | State::Authorised => {}
            _ => self.note(Wrong::ResetBeforeSaleAcknowledged, raw, now),
        }
    }

    /// Takes up what happened at the pump.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.pump.poll_event() {
            match event {
                PumpEvent::FlowBegan => {
                    self.moments.push_back((now, Moment::FlowBegan));
                    self.timers.clear(Timer::Start);
                    self.state = State::Fuelling;
                }
                PumpEvent::NozzleMoved => self.nozzle_moved(now),
                PumpEvent::Ended(cause) => self.ended(cause, now),
            }
        }
    }

    fn nozzle_moved(&mut self, now: Instant) {
        self.moments.push_back((now, Moment::NozzleMoved));
        let out = self.pump.nozzle_out();
        match (self.state, out) {
            (State::Idle | State::Calling, _) => self.rest(),
            (State::Authorised, Some(nozzle)) if nozzle == self.transaction.nozzle => self.state = State::Started,
            (State::Authorised, _) => self.timers.clear(Timer::Start),
            // without fuel the pump keeps its release: the post ends it
            (State::Started | State::SuspendedStarted, None) => {
                self.pump.stop(now);
                self.hung_up(now);
            }
            (State::Fuelling | State::SuspendedFuelling, None) => self.hung_up(now),
            (State::Stopped, None) => self.state = State::EndOfTransaction,
            _ => {}
        }
    }

    fn hung_up(&mut self, now: Instant) {
        if self.quirks.stopped_first.is_zero() {
            self.state = State::EndOfTransaction;
        } else {
            self.state = State::Stopped;
            self.timers.set(Timer::HungUp, now + self.quirks.stopped_first);
        }
    }

    fn ended(&mut self, cause: EndCause, now: Instant) {
        self.moments.push_back((now, Moment::Ended));
        self.transaction.figures = self.pump.figures(now);
        self.unread = self.transaction.figures.volume.0 > 0;
        let by_hang_up = matches!(self.state, State::Stopped | State::EndOfTransaction) || cause == EndCause::HungUp;
        if matches!(cause, EndCause::LimitReached | EndCause::Stopped) && !by_hang_up {
            self.state = State::Stopped;
        }
    }

    fn note(&mut self, wrong: Wrong, frame: &[u8], now: Instant) {
        self.violations.push(Violation { at: now, wrong, frame: frame.to_vec() });
    }
}
