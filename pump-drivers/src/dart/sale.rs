//! What is asked of a head when, and what its answers mean: reading in, release, fuelling and end (DART sheet, sections 7 and 10).

use super::driver::{DartDriver, StopJob, alarm};
use super::head::{Block, Filling, Head};
use super::message::Status;
use super::settings::Recipe;
use super::task::{Task, is_released, preset};
use crate::head::HeadSettings;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::pump::{Authorise, PumpEvent, Reading, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, UnitPrice, Volume};
use std::collections::{BTreeMap, VecDeque};

/// Blocks of an old talk that are let go before the first question.
const MOST_DRAINED: u8 = 16;
/// Readings of the end until two must agree.
const MOST_READINGS: u8 = 3;
/// AUTHORIZE blocks of one release, each after a look at the status.
const MOST_AUTHORISES: u8 = 3;
/// How old the word on the nozzle may be when AUTHORIZE goes out.
const NOZZLE_FRESH: Duration = Duration::from_millis(1_000);
/// Fuelling without figures for so long is asked for them.
const FIGURES_DUE: Duration = Duration::from_millis(2_000);
const SHORT_REST: Duration = Duration::from_millis(300);
const LONG_REST: Duration = Duration::from_millis(1_000);

/// Why a task came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Acknowledged, and nothing happened.
    NoEffect,
    /// Nobody knows whether the pump has it.
    Doubt,
    /// The pump refuses it.
    GivenUp,
}

/// Where the talk stands.
pub enum Phase {
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

pub struct ReadIn {
    step: ReadStep,
    power_cycled: bool,
    /// Figures of an end that an old block told before the zeros of a RESET.
    sale: Option<Filling>,
    totals: BTreeMap<NozzleId, Volume>,
    left: VecDeque<(u8, NozzleId)>,
    attempts: u8,
    drained: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadStep {
    Drain,
    State,
    Totals,
}

pub struct Releasing {
    order: Authorise,
    logical: u8,
    step: ReleaseStep,
    prepares: u8,
    looks: u8,
    authorises: u8,
    repriced: bool,
    /// When the first AUTHORIZE went out.
    sent: Option<Instant>,
    /// The last AUTHORIZE was not acknowledged.
    doubt: bool,
    /// Taken back: never sent again.
    cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReleaseStep {
    Look,
    Reprice,
    Prepare,
    Release,
    /// AUTHORIZE is out: read the status, then decide.
    Judge,
}

#[derive(Clone, Copy)]
pub struct Running {
    nozzle: Option<NozzleId>,
    fuelled: bool,
    was_out: bool,
    stopped: bool,
    last: Reading,
}

pub struct Ending {
    nozzle: Option<NozzleId>,
    reading: Reading,
    readings: u8,
    confirmed: bool,
    attempts: u8,
    /// Somebody fuelled again before this end was written down: what the pump shows since is not of this fuelling. It is read in by
    /// itself afterwards.
    superseded: bool,
    /// The nozzle was in since it was released.
    hung_up: bool,
}

const NO_READING: Reading = Reading { nozzle: None, volume: Volume::ZERO, amount: Money::ZERO, price: None };

impl Phase {
    pub fn read_in(settings: &HeadSettings, power_cycled: bool) -> Self {
        Self::ReadIn(ReadIn {
            step: ReadStep::Drain,
            power_cycled,
            sale: None,
            totals: BTreeMap::new(),
            left: settings.nozzles.iter().map(|n| (n.logical, n.nozzle)).collect(),
            attempts: 0,
            drained: 0,
        })
    }

    pub fn is_active(&self) -> bool {
        matches!(self, Self::Releasing(_) | Self::Running(_) | Self::Ending(_))
    }
}

impl DartDriver {
    // ---- commands ----

    pub(super) fn authorise(&mut self, order: Authorise, now: Instant) {
        match self.may_release(&order) {
            Ok(logical) => {
                let fresh = self.head.nozzle_at.is_some_and(|at| now.since(at) <= NOZZLE_FRESH);
                let price_fits = self.head.shown_price(&self.settings) == Some(order.price);
                let step = match self.habits.recipe {
                    Recipe::TwoBlocks => ReleaseStep::Prepare,
                    Recipe::OneBlock if !price_fits => ReleaseStep::Reprice,
                    Recipe::OneBlock if fresh => ReleaseStep::Release,
                    Recipe::OneBlock => ReleaseStep::Look,
                };
                self.interrupt();
                self.disowned = false;
                self.rest_until = now;
                self.phase = Phase::Releasing(Releasing {
                    order,
                    logical,
                    step,
                    prepares: 0,
                    looks: 0,
                    authorises: 0,
                    repriced: step != ReleaseStep::Look && step != ReleaseStep::Release,
                    sent: None,
                    doubt: false,
                    cancelled: false,
                });
                self.pursue();
            }
            Err(why) => self.told.emit(PumpEvent::Refused { release: order.release, why }),
        }
    }

    /// The logical nozzle to release, or why not.
    fn may_release(&self, order: &Authorise) -> Result<u8, Refusal> {
        if !matches!(self.phase, Phase::Ready) || !self.told.is_settled() || self.stop.is_some() {
            return Err(Refusal::Unsettled);
        }
        if let Some(alarm) = self.told.alarm() {
            return Err(Refusal::Faulty(alarm.to_owned()));
        }
        match self.head.status {
            Some(Status::Completed | Status::Reset) => {}
            Some(Status::MaxReached) => return Err(Refusal::Unsettled),
            status => {
                let words = status.map_or("not read", Status::words).to_lowercase();
                return Err(Refusal::Faulty(format!("the pump is {words}")));
            }
        }
        if self.head.lifted(&self.settings) != Some(order.nozzle) {
            return Err(Refusal::NotCalling);
        }
        let nozzle = self.settings.nozzles.iter().find(|n| n.nozzle == order.nozzle).ok_or(Refusal::NotCalling)?;
        if preset(&self.settings, order.preset).is_none() {
            return Err(Refusal::PresetUnsupported);
        }
        let shown = self.head.shown_price(&self.settings).unwrap_or(UnitPrice::ZERO);
        // writing our prices helps only if ours is the order's
        if shown != order.price && nozzle.price != order.price {
            return Err(Refusal::PriceMismatch { shown });
        }
        Ok(nozzle.logical)
    }

    pub(super) fn withdraw(&mut self) {
        let sent = match &mut self.phase {
            Phase::Releasing(releasing) => {
                releasing.cancelled = true;
                releasing.sent.is_some()
            }
            _ => false,
        };
        if sent || matches!(self.phase, Phase::Running(_)) || is_released(self.head.status) {
            self.order_stop();
        } else if matches!(self.phase, Phase::Releasing(_)) {
            self.refuse(Refusal::NoEffect);
        }
    }

    pub(super) fn stop(&mut self) {
        self.withdraw();
        self.order_stop();
    }

    fn order_stop(&mut self) {
        let stop = self.stop.get_or_insert_with(StopJob::default);
        stop.send = stop.accepted == 0 || stop.send;
        stop.silent = 0;
        self.hold = None;
    }

    pub(super) fn set_prices(&mut self, prices: &BTreeMap<NozzleId, UnitPrice>) {
        // What is shown from now on is told, also where it stays as it was.
        self.told.forget_prices();
        for at in 0..self.settings.nozzles.len() {
            let nozzle = self.settings.nozzles[at].nozzle;
            let Some(price) = prices.get(&nozzle) else { continue };
            if self.settings.decimals.write_price(*price).is_none() {
                let text = format!("price {price:?} of nozzle {nozzle} cannot be written in the digits of this head");
                self.told.raise(alarm::PRICE, text, false);
                continue;
            }
            self.settings.nozzles[at].price = *price;
            self.prices_due = true;
            self.price_tried = false;
        }
    }

    pub(super) fn examine(&mut self) {
        if matches!(self.phase, Phase::Releasing(_) | Phase::Ending(_)) {
            self.examine_due = true;
        } else {
            self.begin_read_in(false);
        }
    }

    /// Another word goes first: what was under way is dropped, and judged later if it was an AUTHORIZE.
    pub(super) fn interrupt(&mut self) {
        let dropped = self.task.take();
        self.link.withdraw();
        if let (Some(dropped), Phase::Releasing(releasing)) = (dropped, &mut self.phase)
            && dropped.task == Task::Release
        {
            releasing.step = ReleaseStep::Judge;
            releasing.doubt = true;
        }
    }

    /// The pump is lost while a release was being written and AUTHORIZE never went out. If it did, only a new look can tell.
    pub(super) fn give_up_release(&mut self) {
        if let Phase::Releasing(Releasing { sent: None, .. }) = self.phase {
            self.refuse(Refusal::Faulty("the pump fell silent before it was released".into()));
        }
    }

    // ---- what to ask ----

    pub(super) fn order(&self) -> Option<(&Authorise, u8)> {
        match &self.phase {
            Phase::Releasing(releasing) => Some((&releasing.order, releasing.logical)),
            _ => None,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(&self.phase, Phase::ReadIn(ReadIn { step: ReadStep::Drain, .. }))
    }

    pub(super) fn wanted(&self, now: Instant) -> Option<Task> {
        match &self.phase {
            Phase::ReadIn(read_in) => match read_in.step {
                ReadStep::Drain => None,
                ReadStep::State => Some(Task::StatusAndFilling),
                ReadStep::Totals => read_in.left.front().map(|(logical, _)| Task::Total(*logical)),
            },
            Phase::Ready => {
                let writable =
                    matches!(self.head.status, Some(Status::NotProgrammed | Status::Completed | Status::Reset));
                if self.look {
                    Some(Task::Status)
                } else if self.prices_due && writable && self.told.is_settled() && !self.head.is_out() {
                    Some(Task::Program)
                } else {
                    None
                }
            }
            Phase::Releasing(releasing) => Some(match releasing.step {
                ReleaseStep::Look | ReleaseStep::Judge => Task::Status,
                ReleaseStep::Reprice => Task::Program,
                ReleaseStep::Prepare => Task::Prepare,
                ReleaseStep::Release => Task::Release,
            }),
            Phase::Running(running) => {
                if self.look {
                    Some(Task::Status)
                } else if running.fuelled && now.since(self.filling_at) >= FIGURES_DUE {
                    Some(Task::Filling)
                } else {
                    None
                }
            }
            Phase::Ending(ending) => {
                if ending.confirmed || ending.readings >= MOST_READINGS {
                    self.logical(ending.nozzle).map(Task::Total)
                } else {
                    Some(Task::Filling)
                }
            }
        }
    }

    fn logical(&self, nozzle: Option<NozzleId>) -> Option<u8> {
        let nozzle = nozzle?;
        self.settings.nozzles.iter().find(|n| n.nozzle == nozzle).map(|n| n.logical)
    }

    /// The block in line goes out now.
    pub(super) fn note_sent(&mut self, now: Instant) {
        if let (Some(underway), Phase::Releasing(releasing)) = (&self.task, &mut self.phase)
            && underway.task == Task::Release
        {
            releasing.authorises += 1;
            releasing.sent.get_or_insert(now);
            releasing.doubt = false;
        }
    }

    pub(super) fn note_stop_accepted(&mut self) {
        if let Phase::Running(running) = &mut self.phase {
            running.stopped = true;
        }
    }

    // ---- what came back ----

    /// A poll was answered: old news is being let go.
    pub(super) fn note_drained(&mut self) {
        let owes = self.link.owes_ack();
        if let Phase::ReadIn(read_in) = &mut self.phase
            && read_in.step == ReadStep::Drain
        {
            read_in.drained += 1;
            if !owes || read_in.drained >= MOST_DRAINED {
                read_in.step = ReadStep::State;
            }
            self.pursue();
        }
    }

    /// The pump began to number anew: it lost power since.
    pub(super) fn handle_restart(&mut self) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => read_in.power_cycled = true,
            _ => self.begin_read_in(true),
        }
    }

    pub(super) fn handle_news(&mut self, block: &Block, now: Instant) {
        if !matches!(self.phase, Phase::ReadIn(_)) && self.programmed && self.head.status == Some(Status::NotProgrammed)
        {
            self.begin_read_in(true);
        }
        let out = self.head.is_out();
        match &mut self.phase {
            Phase::ReadIn(read_in) => {
                read_in.sale = block.filling_at_end.filter(|filling| !filling.is_zero()).or(read_in.sale);
            }
            Phase::Ready if block.shows_release() => {
                if self.disowned {
                    self.order_stop();
                }
                self.begin_running(None);
            }
            Phase::Releasing(releasing) if block.shows_release() => {
                let (release, nozzle) = (releasing.order.release, releasing.order.nozzle);
                let event = match releasing.sent {
                    Some(_) => PumpEvent::Released { release },
                    None => PumpEvent::Refused { release, why: Refusal::Unsettled },
                };
                self.told.emit(event);
                self.task.take_if(|underway| underway.task != Task::Stop);
                self.begin_running(Some(nozzle));
            }
            Phase::Releasing(Releasing { sent: None, .. }) if block.nozzle_told && !out => {
                self.interrupt();
                self.refuse(Refusal::NotCalling);
            }
            Phase::Ending(ending) => {
                ending.hung_up |= block.nozzle_in || !out;
                if block.shows_release() {
                    ending.superseded = true;
                    self.examine_due = true;
                }
            }
            Phase::Ready | Phase::Releasing(_) | Phase::Running(_) => {}
        }
        if matches!(self.phase, Phase::Running(_)) {
            self.follow(block, now);
        }
    }

    fn begin_running(&mut self, nozzle: Option<NozzleId>) {
        self.told.begin_running((Volume::ZERO, Money::ZERO));
        let nozzle = self.head.lifted(&self.settings).or(nozzle);
        let stopped = self.stop.is_some_and(|stop| stop.accepted > 0);
        self.phase = Phase::Running(Running {
            nozzle,
            fuelled: false,
            was_out: self.head.is_out(),
            stopped,
            last: Reading { nozzle, ..NO_READING },
        });
        self.pursue();
    }

    /// News of a fuelling.
    fn follow(&mut self, block: &Block, now: Instant) {
        let Phase::Running(mut running) = self.phase else { return };
        running.fuelled |= block.has(Status::Filling);
        running.was_out |= self.head.is_out();
        running.nozzle = self.head.lifted(&self.settings).or(running.nozzle).or(self.head.selected(&self.settings));
        let ended = self.has_ended(block, &running);
        let filling = if ended { block.filling_at_end.or(self.head.filling) } else { self.head.filling };
        let told = block.filling_told || ended;
        if let Some(filling) = filling.filter(|_| told) {
            match self.head.reading(filling, &self.settings) {
                // zeros after figures are a RESET's, never the sale
                Some(reading) if reading.volume.is_positive() || !running.last.volume.is_positive() => {
                    running.last = Reading { nozzle: reading.nozzle.or(running.nozzle), ..reading };
                    running.fuelled |= reading.volume.is_positive();
                }
                Some(_) => {}
                None => self.told.raise(alarm::DIGITS, "the figures of a fuelling are no digits".into(), false),
            }
        }
        self.phase = Phase::Running(running);
        if ended {
            self.end(&running, block.nozzle_in || !self.head.is_out(), now);
            return;
        }
        let figures = (running.last.volume, running.last.amount);
        if block.filling_told {
            self.told.running(figures.0, figures.1);
        }
        let hung_unused = self.head.status == Some(Status::Authorized) && running.was_out && !self.head.is_out();
        if hung_unused && self.stop.is_none() {
            self.order_stop();
        }
    }

    /// Nozzle in and status 5, or 6, after a release (DART sheet, section 7.3). One that never fuelled and was stopped has ended
    /// with the nozzle still out.
    fn has_ended(&self, block: &Block, running: &Running) -> bool {
        let at_rest = |s: &Status| matches!(s, Status::Completed | Status::MaxReached);
        let last_release = block.statuses.iter().rposition(|s| is_released(Some(*s)));
        let since = &block.statuses[last_release.map_or(0, |at| at + 1)..];
        let rests = since.iter().any(at_rest) || self.head.status.is_some_and(|s| at_rest(&s) || s == Status::Reset);
        let hung = !self.head.is_out() || (block.nozzle_in && since.iter().any(at_rest));
        let unused = running.stopped && !running.fuelled && self.head.status == Some(Status::Completed);
        rests && (hung || unused) && !is_released(self.head.status)
    }

    fn end(&mut self, running: &Running, hung_up: bool, now: Instant) {
        let token = self.told.end_seen(running.last);
        // the pump repeats its block until it is acknowledged, and so keeps the figures over a crash of ours
        self.ack_hold = Some((token, now + self.habits.store_wait));
        self.phase = Phase::Ending(Ending {
            nozzle: running.nozzle,
            reading: running.last,
            readings: 0,
            confirmed: false,
            attempts: 0,
            superseded: false,
            hung_up,
        });
        self.task.take_if(|underway| underway.task != Task::Stop);
        self.pursue();
    }

    pub(super) fn handle_effect(&mut self, task: &Task, block: &Block, now: Instant) {
        match &mut self.phase {
            Phase::ReadIn(read_in) => match task {
                Task::StatusAndFilling => {
                    read_in.step = ReadStep::Totals;
                    self.go_on_reading();
                }
                Task::Total(_) => {
                    let total = block.totals.last().and_then(|(_, total)| self.settings.decimals.read_total(*total));
                    if let (Some((_, nozzle)), Some(total)) = (read_in.left.pop_front(), total) {
                        read_in.totals.insert(nozzle, total);
                    }
                    read_in.attempts = 0;
                    self.go_on_reading();
                }
                _ => {}
            },
            Phase::Ready | Phase::Running(_) => match task {
                Task::Status => self.look = false,
                Task::Program => {
                    self.prices_due = false;
                    self.told.forget_prices();
                    self.look = true;
                }
                _ => {}
            },
            Phase::Releasing(releasing) => match (task, releasing.step) {
                (Task::Status, ReleaseStep::Judge) => self.judge(now),
                (Task::Status, _) => self.check_before_release(),
                (Task::Program, _) => {
                    releasing.step = ReleaseStep::Look;
                    self.told.forget_prices();
                }
                (Task::Prepare, _) => {
                    releasing.prepares += 1;
                    releasing.repriced = true;
                    releasing.step = ReleaseStep::Look;
                    if block.nozzle_told {
                        self.check_before_release();
                    }
                }
                _ => {}
            },
            Phase::Ending(ending) => match task {
                Task::Filling => self.confirm(),
                Task::Total(_) => {
                    let total = block.totals.last().and_then(|(_, total)| self.settings.decimals.read_total(*total));
                    let reading = ending.reading;
                    self.finish(reading, total);
                }
                _ => {}
            },
        }
    }

    pub(super) fn handle_failure(&mut self, task: &Task, failure: Failure, now: Instant) {
        let rest = if failure == Failure::GivenUp { LONG_REST * 5 } else { LONG_REST };
        let attempts = self.settings.total_attempts;
        match &mut self.phase {
            Phase::ReadIn(read_in) => match task {
                Task::Total(_) => {
                    read_in.attempts += 1;
                    if read_in.attempts >= attempts {
                        read_in.attempts = 0;
                        read_in.left.pop_front();
                    }
                    self.go_on_reading();
                }
                // a head in 0 may not answer RETURN FILLING INFORMATION
                _ if failure == Failure::NoEffect && self.head.status.is_some() => {
                    read_in.step = ReadStep::Totals;
                    self.go_on_reading();
                }
                _ => self.rest_until = now + rest,
            },
            Phase::Ready | Phase::Running(_) => {
                self.filling_at = now;
                self.rest_until = now + rest;
            }
            Phase::Releasing(releasing) => match (task, releasing.step) {
                (Task::Release, _) => {
                    releasing.doubt = failure != Failure::NoEffect;
                    releasing.step = ReleaseStep::Judge;
                    self.pursue();
                }
                (_, ReleaseStep::Judge) => self.rest_until = now + SHORT_REST,
                (_, _) if failure == Failure::GivenUp => {
                    self.refuse(Refusal::Faulty("the pump refuses our blocks".into()));
                }
                (Task::Prepare, _) => {
                    releasing.prepares += 1;
                    releasing.step = ReleaseStep::Look;
                    self.pursue();
                }
                (_, _) => {
                    releasing.looks += 1;
                    if releasing.looks >= 3 {
                        self.refuse(Refusal::NoEffect);
                    } else {
                        releasing.step = ReleaseStep::Look;
                    }
                }
            },
            Phase::Ending(ending) => {
                if matches!(task, Task::Total(_)) {
                    ending.attempts += 1;
                    if ending.attempts >= attempts {
                        let reading = ending.reading;
                        self.finish(reading, None);
                    }
                } else {
                    ending.readings += 1;
                    self.finish_without_total();
                }
                self.rest_until = now + SHORT_REST;
            }
        }
    }

    // ---- reading in ----

    fn go_on_reading(&mut self) {
        self.pursue();
        let Phase::ReadIn(read_in) = &mut self.phase else { return };
        if read_in.step != ReadStep::Totals || !read_in.left.is_empty() {
            return;
        }
        let totalisers = core::mem::take(&mut read_in.totals);
        let restarted = self.head.status == Some(Status::NotProgrammed) && self.programmed;
        let power_cycled = read_in.power_cycled || restarted;
        let held = self.head.filling.filter(|filling| !filling.is_zero()).or(read_in.sale).or(self.head.filling);
        let reading = held.and_then(|filling| self.head.reading(filling, &self.settings));
        let open = is_released(self.head.status)
            || self.head.suspended
            || self.head.status == Some(Status::MaxReached) && self.head.is_out();
        self.phase = Phase::Ready;
        if open {
            self.begin_running(None);
            if let Phase::Running(running) = &mut self.phase {
                running.fuelled =
                    self.head.status != Some(Status::Authorized) || reading.is_some_and(|r| r.volume.is_positive());
                running.last = reading.unwrap_or(running.last);
                if let Some(reading) = reading {
                    self.told.begin_running((reading.volume, reading.amount));
                }
            }
        }
        self.programmed = self.head.status != Some(Status::NotProgrammed);
        self.prices_due = true;
        self.price_tried = false;
        let (state, lifted) = (self.state(), self.head.lifted(&self.settings));
        self.told.snapshot(state, lifted, reading, totalisers, power_cycled);
    }

    // ---- release ----

    fn refuse(&mut self, why: Refusal) {
        if let Phase::Releasing(releasing) = &self.phase {
            let release = releasing.order.release;
            self.disowned = releasing.sent.is_some();
            self.told.emit(PumpEvent::Refused { release, why });
            self.become_ready();
        }
    }

    fn become_ready(&mut self) {
        self.phase = Phase::Ready;
        self.task.take_if(|underway| underway.task != Task::Stop);
        if self.task.is_none() {
            self.link.withdraw();
        }
        if self.examine_due {
            self.begin_read_in(false);
        }
    }

    /// All that must be seen right before AUTHORIZE.
    fn check_before_release(&mut self) {
        let shown = self.head.shown_price(&self.settings).unwrap_or(UnitPrice::ZERO);
        let lifted = self.head.lifted(&self.settings);
        let (status, two_blocks) = (self.head.status, self.habits.recipe == Recipe::TwoBlocks);
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if lifted != Some(releasing.order.nozzle) {
            self.refuse(Refusal::NotCalling);
        } else if two_blocks && status != Some(Status::Reset) {
            if releasing.prepares < 2 && status == Some(Status::Completed) {
                releasing.step = ReleaseStep::Prepare;
            } else {
                self.refuse(Refusal::NoEffect);
            }
        } else if !matches!(status, Some(Status::Reset | Status::Completed)) {
            self.refuse(Refusal::NoEffect);
        } else if shown != releasing.order.price {
            if releasing.repriced {
                self.refuse(Refusal::PriceMismatch { shown });
            } else {
                releasing.repriced = true;
                releasing.step = ReleaseStep::Reprice;
            }
        } else {
            releasing.step = ReleaseStep::Release;
        }
        self.pursue();
    }

    /// AUTHORIZE went out and the status was read since: the pump is not released. Whether to try again.
    fn judge(&mut self, now: Instant) {
        let out = self.head.is_out();
        let slow = self.habits.slow_effect;
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        let waited = releasing.sent.map_or(Duration::ZERO, |sent| now.since(sent));
        let retries = if releasing.doubt { MOST_AUTHORISES } else { 2 };
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if !out {
            self.refuse(Refusal::NotCalling);
        } else if !releasing.doubt && waited < slow {
            // acknowledged: some heads are slow
            self.rest_until = now + SHORT_REST;
        } else if releasing.authorises >= retries {
            self.refuse(Refusal::NoEffect);
        } else {
            self.check_before_release();
        }
    }

    // ---- end ----

    /// The figures were read again.
    fn confirm(&mut self) {
        let read = self.head.filling.and_then(|filling| self.head.reading(filling, &self.settings));
        let Phase::Ending(ending) = &mut self.phase else { return };
        ending.readings += 1;
        let of_another = read.and_then(|read| read.nozzle).zip(ending.nozzle).is_some_and(|(read, ours)| read != ours);
        if of_another || ending.superseded {
            ending.confirmed = true;
            self.examine_due = true;
        } else if let Some(read) = read {
            let same = (read.volume, read.amount) == (ending.reading.volume, ending.reading.amount);
            let zeroed = !read.volume.is_positive() && ending.reading.volume.is_positive();
            ending.confirmed = same;
            if !zeroed {
                ending.reading = Reading {
                    nozzle: ending.nozzle.or(read.nozzle),
                    price: read.price.or(ending.reading.price),
                    ..read
                };
            }
        }
        self.pursue();
        self.finish_without_total();
    }

    /// Where no nozzle is known there is no total to read.
    fn finish_without_total(&mut self) {
        if let Phase::Ending(ending) = &self.phase
            && (ending.confirmed || ending.readings >= MOST_READINGS)
            && self.logical(ending.nozzle).is_none()
        {
            let reading = ending.reading;
            self.finish(reading, None);
        }
    }

    fn finish(&mut self, reading: Reading, totaliser: Option<Volume>) {
        if !Head::agrees(&reading, &self.settings) {
            self.told.raise(
                alarm::DECIMALS,
                "volume × price and amount of a fuelling differ: check the decimals set for this head".into(),
                false,
            );
        }
        let hung_up = matches!(&self.phase, Phase::Ending(Ending { hung_up: true, .. }));
        self.told.ended(reading, totaliser);
        if hung_up {
            self.told.hung_up();
        }
        self.become_ready();
    }

    // ---- reports ----

    fn state(&self) -> State {
        let out = self.head.is_out();
        if let Phase::Running(running) = &self.phase {
            let suspended = self.head.suspended;
            return match (self.head.status, running.fuelled) {
                (_, true) if suspended => State::SuspendedFuelling,
                (_, false) if suspended => State::SuspendedStarted,
                (Some(Status::Authorized), _) if out => State::Started,
                (Some(Status::Authorized), _) => State::Authorised,
                (Some(Status::Filling), _) | (_, true) => State::Fuelling,
                _ => State::Started,
            };
        }
        match self.head.status {
            None => State::Inoperative,
            Some(Status::NotProgrammed | Status::SwitchedOff) => State::Closed,
            Some(_) if out => State::Calling,
            Some(_) => State::Idle,
        }
    }

    /// Reports what changed of state and price.
    pub(super) fn report(&mut self) {
        if matches!(self.phase, Phase::ReadIn(_) | Phase::Ending(_)) || !self.told.is_read_in() {
            return;
        }
        let lifted = self.head.lifted(&self.settings);
        self.report_price(lifted.is_some() && self.told.lifted() != lifted);
        self.told.state(self.state(), lifted);
    }

    fn report_price(&mut self, lifted_anew: bool) {
        let shown = self.head.shown_price(&self.settings).filter(|price| price.is_positive());
        let (Some(nozzle), Some(price)) = (self.head.selected(&self.settings), shown) else { return };
        self.told.price(nozzle, price, lifted_anew);
        let ours = self.settings.nozzles.iter().find(|n| n.nozzle == nozzle).map(|n| n.price);
        if ours == Some(price) {
            self.price_tried = false;
        } else if ours.is_some() && !self.prices_due && !self.price_tried {
            self.prices_due = true;
            self.price_tried = true;
        }
    }
}
