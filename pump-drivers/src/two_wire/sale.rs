//! What is asked of a two-wire head when, and what its answers mean: reading in, and the running sale (two-wire sheet,
//! sections 8, 9 and 13).

use super::block::{GradeTotals, Transaction};
use super::driver::{TwoWireDriver, alarm};
use super::ending::Ending;
use super::figures;
use super::prices::{MOST_PRICE_TRIES, PRICE_RETRY, PRICE_SETTLES};
use super::release::{AUTHORISE_SHOWS, COPIES, LOOKS, Releasing, Step};
use super::talk::Answer;
use super::word::Status;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::pump::{Authorise, PumpEvent, Reading, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};

/// Readings of a record or of totals until two must agree.
pub(super) const MOST_READINGS: u8 = 5;
/// How old the word on the hose may be.
const HOSE_FRESH: Duration = Duration::from_millis(1_000);
/// What any dispenser may deliver beyond its limit.
const OVERRUN: Volume = Volume::new(20);

/// One thing that is asked of a pump besides its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Extended status: the hose.
    Extended,
    /// The price of a nozzle, by its place in the settings.
    Price(usize),
    /// The limit of the order at hand.
    Preset,
    /// Release, or let a stopped sale go on.
    Authorise,
    /// Real-time money.
    Money,
    /// The record of the last sale.
    Transaction,
    /// Totals and prices.
    Totals,
}

/// Reads until two readings in a row agree: a check of four bits alone lets too much through.
#[derive(Clone, Debug)]
pub struct Twice<T> {
    last: Option<T>,
    same: u8,
    readings: u8,
}

impl<T> Default for Twice<T> {
    fn default() -> Self {
        Self { last: None, same: 0, readings: 0 }
    }
}

impl<T: PartialEq> Twice<T> {
    pub fn take(&mut self, read: T) {
        self.same = if self.last.as_ref() == Some(&read) { self.same + 1 } else { 0 };
        self.last = Some(read);
        self.readings += 1;
    }

    pub fn miss(&mut self) {
        self.readings += 1;
    }

    /// The reading, once so many more have repeated it.
    pub fn agreed(&self, repeats: u8) -> Option<&T> {
        self.last.as_ref().filter(|_| self.same >= repeats)
    }

    pub fn is_given_up(&self) -> bool {
        self.readings >= MOST_READINGS
    }
}

/// Where the talk stands.
pub enum Phase {
    /// Everything is read before anything is written.
    ReadIn(Box<ReadIn>),
    /// At rest, or a handle is out.
    Ready,
    /// A release is being written.
    Releasing(Releasing),
    /// Released, by us or found so.
    Running(Running),
    /// Over; record and totals are being read.
    Ending(Box<Ending>),
}

#[derive(Default)]
pub struct ReadIn {
    record: Twice<Transaction>,
    totals: Twice<Vec<GradeTotals>>,
    money: Twice<u64>,
    hose_asked: u8,
}

/// A sale under way.
#[derive(Clone, Debug)]
pub struct Running {
    pub nozzle: Option<NozzleId>,
    /// Totals before it; `None` where it was found under way.
    pub before: Option<Vec<GradeTotals>>,
    /// The record before it.
    pub record_before: Option<Transaction>,
    /// The limit in money, to watch that the preset stands.
    limit: Option<Money>,
    price: Option<UnitPrice>,
    busy_since: Option<Instant>,
    /// It was seen to deliver, or to have delivered.
    pub delivered: bool,
    /// The busy state was seen since the last question for money.
    money_due: bool,
    /// The last reading of money; one word more than one error away from it is none.
    money_read: Option<u64>,
    pub money: u64,
}

impl Running {
    /// Fuel was seen to flow.
    pub fn has_flowed(&self) -> bool {
        self.money > 0
    }
}

impl Phase {
    pub fn read_in() -> Self {
        Self::ReadIn(Box::default())
    }

    pub fn is_active(&self) -> bool {
        matches!(self, Self::Releasing(_) | Self::Running(_) | Self::Ending(_))
    }
}

impl TwoWireDriver {
    // ---- what to ask ----

    /// The handle that is out. A head with one nozzle needs no extended status for it.
    pub(super) fn lifted(&self, now: Instant) -> Option<NozzleId> {
        let out = |nozzle: Option<NozzleId>| nozzle.or_else(|| self.only_nozzle());
        match (&self.phase, self.state) {
            (_, None | Some(Status::Idle | Status::FinalEnd)) => None,
            (Phase::Running(running), _) => out(running.nozzle),
            (Phase::Ending(ending), _) => out(ending.running.nozzle),
            (_, Some(Status::Call)) => match self.only_nozzle() {
                None => self
                    .hose
                    .filter(|(_, at)| now.since(*at) <= HOSE_FRESH * 5)
                    .and_then(|(hose, _)| self.settings.nozzles.iter().find(|n| n.logical == hose).map(|n| n.nozzle)),
                only => only,
            },
            // over, and the handle still out
            _ => out(self.record.and_then(|record| self.nozzle_of(record.grade))),
        }
    }

    fn only_nozzle(&self) -> Option<NozzleId> {
        match self.settings.nozzles.as_slice() {
            [only] => Some(only.nozzle),
            _ => None,
        }
    }

    pub(super) fn hose_is_wanted(&self, now: Instant) -> bool {
        let fresh = self.hose.is_some_and(|(_, at)| now.since(at) <= HOSE_FRESH);
        self.settings.nozzles.len() > 1 && self.state == Some(Status::Call) && !fresh && now >= self.data_next_at
    }

    /// What is to be asked besides the state.
    pub(super) fn wanted(&self, now: Instant) -> Option<Task> {
        let state = self.state?;
        if self.rest_until > now {
            return None;
        }
        match &self.phase {
            Phase::ReadIn(read_in) => match state {
                Status::Busy => Some(Task::Money),
                state if !state.is_over() => None,
                _ if read_in.record.agreed(1).is_none() && !read_in.record.is_given_up() => Some(Task::Transaction),
                _ if read_in.totals.agreed(1).is_none() && !read_in.totals.is_given_up() => Some(Task::Totals),
                _ => self.hose_is_wanted(now).then_some(Task::Extended),
            },
            Phase::Ready if self.hose_is_wanted(now) => Some(Task::Extended),
            Phase::Ready => self.wanted_for_prices(state, now),
            Phase::Releasing(releasing) => self.wanted_for_release(releasing, state, now),
            Phase::Running(running) => {
                let first = running.busy_since.is_some_and(|since| now >= since + self.habits.first_money);
                let looked = self.seen_at >= self.resumed_at + AUTHORISE_SHOWS;
                if state == Status::Stopped && self.resumes_left > 0 && self.stop.is_none() && looked {
                    Some(Task::Authorise)
                } else {
                    (state == Status::Busy && running.money_due && first).then_some(Task::Money)
                }
            }
            Phase::Ending(ending) => ending.wanted(state),
        }
    }

    /// Whether one question is to follow another at once.
    pub(super) fn is_urgent(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Running(_) => false,
            Phase::Releasing(_) => true,
            Phase::Ending(_) => self.rest_until <= now,
            Phase::ReadIn(_) | Phase::Ready => self.task.is_some() || self.wanted(now).is_some(),
        }
    }

    // ---- what went out ----

    /// A block without an answer went out.
    pub(super) fn handle_written(&mut self, task: Task, now: Instant) {
        if let Task::Price(_) = task {
            self.price_tries += 1;
            self.price_check_at = Some(now + PRICE_SETTLES);
        }
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.step = match task {
                Task::Preset => {
                    releasing.presets += u8::from(releasing.copies == 0);
                    releasing.copies += 1;
                    releasing.preset_at = Some(now);
                    if releasing.copies < COPIES { Step::Preset } else { Step::Authorise }
                }
                _ => Step::Look,
            };
        }
        self.pursue();
    }

    // ---- what came back ----

    /// The state has changed.
    pub(super) fn handle_state(&mut self, state: Status, before: Option<Status>, now: Instant) {
        if state != Status::Call {
            self.hose = None;
        }
        if matches!(self.phase, Phase::Ready) && before == Some(Status::PresetEnd) && state == Status::Call {
            // only a handle that was in leads from the end to a call
            self.told.hung_up();
        }
        match &mut self.phase {
            Phase::ReadIn(_) => self.phase = Phase::read_in(),
            Phase::Ready if !state.is_over() => {
                if self.disowned {
                    self.order_stop();
                }
                self.begin_running(None, None, now);
            }
            Phase::Releasing(releasing) if !state.is_over() => {
                let order = releasing.order.clone();
                if releasing.sent.is_some() {
                    self.note_released(&order, now);
                } else {
                    let why = Refusal::Unsettled;
                    self.told.emit(PumpEvent::Refused { release: order.release, why });
                    self.begin_running(None, None, now);
                }
            }
            Phase::Releasing(releasing) if state != Status::Call && releasing.sent.is_some() => {
                releasing.step = Step::Check;
            }
            Phase::Releasing(_) if state != Status::Call => self.refuse(Refusal::NotCalling),
            Phase::Running(_) if state.is_over() => self.begin_ending(now),
            Phase::Running(running) => {
                running.delivered |= matches!(state, Status::Busy | Status::Stopped);
                running.busy_since = (state == Status::Busy).then(|| running.busy_since.unwrap_or(now));
                if state == Status::Busy {
                    self.resumes_left = 0;
                }
            }
            Phase::Ending(ending) if !state.is_over() => {
                // it was not over, or the next one has begun by hand
                self.phase = Phase::Running(ending.running.clone());
            }
            Phase::Ready | Phase::Releasing(_) | Phase::Ending(_) => {}
        }
        if let Phase::Ending(ending) = &mut self.phase {
            ending.note(state);
        }
        self.pursue();
    }

    pub(super) fn begin_running(&mut self, order: Option<&Authorise>, limit: Option<Money>, now: Instant) {
        let lifted = order.map(|order| order.nozzle).or_else(|| self.only_nozzle());
        self.drop_task();
        self.phase = Phase::Running(Running {
            nozzle: lifted,
            before: self.totals.clone(),
            record_before: self.record,
            limit,
            price: order.map(|order| order.price),
            busy_since: (self.state == Some(Status::Busy)).then_some(now),
            delivered: self.state == Some(Status::Busy),
            money_due: false,
            money_read: None,
            money: 0,
        });
    }

    /// An answer that is no state came.
    pub(super) fn handle_answered(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Extended(extended) => {
                if let Phase::ReadIn(read_in) = &mut self.phase {
                    read_in.hose_asked += 1;
                }
                self.hose = Some((extended.hose, now));
            }
            Answer::Money(money) => self.handle_money(money.value()),
            Answer::Transaction(record) => match &mut self.phase {
                Phase::ReadIn(read_in) => read_in.record.take(record),
                Phase::Ending(ending) => ending.records.take(record),
                _ => {}
            },
            Answer::Totals(totals) => self.handle_totals(totals, now),
            Answer::Status(_) => {}
        }
        self.pursue();
    }

    fn handle_totals(&mut self, totals: Vec<GradeTotals>, now: Instant) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => read_in.totals.take(totals),
            Phase::Ending(ending) => ending.totals.take(totals),
            Phase::Releasing(releasing) if matches!(releasing.step, Step::Check | Step::Again) => {
                self.check_unseen(totals, now);
            }
            Phase::Releasing(_) => {
                if self.believe(totals) {
                    self.price_check_at = None;
                    self.tell_prices();
                    self.check_price(now);
                }
            }
            Phase::Ready => {
                if !self.believe(totals) {
                    return;
                }
                let checked = self.price_check_at.take().is_some();
                self.tell_prices();
                if self.wrong_price().is_none() {
                    self.prices_due = false;
                } else if checked && self.price_tries >= MOST_PRICE_TRIES {
                    self.prices_due = false;
                    let text = "a price was written three times and does not read back: set it at the pump".to_owned();
                    self.told.raise(alarm::PRICE, text, false);
                } else if checked {
                    self.rest_until = now + PRICE_RETRY;
                }
            }
            Phase::Running(_) => {}
        }
    }

    fn handle_money(&mut self, read: u64) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => read_in.money.take(read),
            Phase::Running(running) => {
                running.money_due = false;
                // the digits carry no check: what two readings in a row have reached is true
                let Some(reached) = running.money_read.replace(read).map(|before| before.min(read)) else { return };
                if reached < running.money {
                    return;
                }
                running.money = reached;
                let number = i64::try_from(reached).unwrap_or(i64::MAX);
                let Some(amount) = self.settings.decimals.amount(number, self.settings.currency) else { return };
                let slack = running.price.and_then(|price| price.cost_of(OVERRUN, self.settings.currency));
                let most = running.limit.zip(slack).and_then(|(limit, slack)| limit.checked_add(slack));
                if amount.is_positive() {
                    self.told.running_amount(amount);
                }
                if most.is_some_and(|most| amount > most) && self.stop.is_none() {
                    let text = "more was delivered than the limit: the preset was lost, and the pump is stopped".into();
                    self.told.raise(alarm::OVERRUN, text, false);
                    self.order_stop();
                }
            }
            _ => {}
        }
    }

    /// A question came to nothing: silence, or another word than D.
    pub(super) fn handle_unanswered(&mut self, task: Task, now: Instant) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => match task {
                Task::Transaction => read_in.record.miss(),
                Task::Totals => read_in.totals.miss(),
                Task::Money => read_in.money.miss(),
                _ => read_in.hose_asked += 1,
            },
            Phase::Ending(ending) => match task {
                Task::Transaction => ending.records.miss(),
                _ => ending.totals.miss(),
            },
            Phase::Releasing(releasing) => {
                releasing.failures += 1;
                if releasing.failures > MOST_READINGS {
                    self.give_up_asking(now);
                }
            }
            Phase::Running(running) => running.money_due = false,
            Phase::Ready => {}
        }
        if matches!(task, Task::Extended | Task::Price(_) | Task::Preset) {
            self.data_next_at = now + self.habits.data_next_spacing.max(PRICE_SETTLES);
        }
        self.pursue();
        self.go_on(now);
    }

    /// Takes the next step where one is due.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.is_in_doubt() {
            return;
        }
        let Some(state) = self.state else { return };
        match &mut self.phase {
            Phase::ReadIn(_) => self.go_on_reading(state),
            Phase::Releasing(releasing) if releasing.step == Step::Judge => {
                let shown = releasing.sent.is_some_and(|sent| now >= sent + AUTHORISE_SHOWS) && self.seen_at == now;
                if shown && state == Status::Call {
                    // one word may be noise, and an authorise is not said again blind
                    releasing.looks += 1;
                    if releasing.looks >= LOOKS {
                        releasing.step = Step::Again;
                    }
                    self.pursue();
                }
            }
            // whether fuel flowed unseen is found out first
            Phase::Releasing(releasing) if matches!(releasing.step, Step::Check | Step::Again) => {}
            Phase::Releasing(releasing) if releasing.cancelled => self.refuse(Refusal::NoEffect),
            Phase::Running(running) => running.money_due |= state == Status::Busy && self.seen_at == now,
            Phase::Ending(_) => self.go_on_ending(state, now),
            Phase::Ready | Phase::Releasing(_) => {}
        }
        if self.examine_due && matches!(self.phase, Phase::Ready) {
            self.begin_read_in();
        }
    }

    // ---- reading in ----

    fn go_on_reading(&mut self, state: Status) {
        let Phase::ReadIn(read_in) = &self.phase else { return };
        let hose_open = self.settings.nozzles.len() > 1 && state == Status::Call && self.hose.is_none();
        let done = match state {
            Status::Busy => read_in.money.agreed(0).is_some() || read_in.money.is_given_up(),
            state if !state.is_over() => true,
            _ => {
                (read_in.record.agreed(1).is_some() || read_in.record.is_given_up())
                    && (read_in.totals.agreed(1).is_some() || read_in.totals.is_given_up())
                    && (!hose_open || read_in.hose_asked >= 3)
            }
        };
        if !done {
            return;
        }
        let over = state.is_over();
        self.record = read_in.record.agreed(1).copied();
        self.totals = read_in.totals.agreed(1).cloned();
        let money = read_in.money.agreed(0).copied();
        let totalisers = self.totals.iter().flatten().filter_map(|t| self.totaliser(t)).collect();
        let reading = self.record.filter(|_| over).and_then(|record| self.reading(&record));
        if over {
            self.phase = Phase::Ready;
        } else {
            self.begin_running(None, None, self.seen_at);
            if let Phase::Running(running) = &mut self.phase {
                running.before = None;
                running.record_before = None;
                // where it does not say, fuel may flow
                running.money = money.unwrap_or(1);
            }
        }
        self.prices_due = true;
        self.price_tries = 0;
        let (state, lifted) = (self.core_state(), self.lifted(self.seen_at));
        self.told.snapshot(state, lifted, reading, totalisers, false);
        self.tell_prices();
    }

    pub(super) fn totaliser(&self, totals: &GradeTotals) -> Option<(NozzleId, Volume)> {
        figures::totaliser(&self.settings, totals)
    }

    pub(super) fn reading(&self, record: &Transaction) -> Option<Reading> {
        figures::reading(&self.settings, record)
    }

    // ---- reports ----

    fn core_state(&self) -> State {
        let flowed = matches!(&self.phase, Phase::Running(running) if running.has_flowed());
        match self.state {
            None => State::Inoperative,
            Some(Status::Idle | Status::FinalEnd | Status::DataError | Status::Ready) => State::Idle,
            Some(Status::Call | Status::PresetEnd) => State::Calling,
            Some(Status::Busy) if flowed => State::Fuelling,
            Some(Status::Authorised | Status::Busy) => State::Started,
            Some(Status::Stopped) => State::SuspendedFuelling,
        }
    }

    /// Reports what changed.
    pub(super) fn report(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::ReadIn(_) | Phase::Ending(_)) {
            let (state, lifted) = (self.core_state(), self.lifted(now));
            self.told.state(state, lifted);
        }
    }
}
