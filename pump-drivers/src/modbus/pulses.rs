//! A pump without a head: a pulse counter tells the volume and a relay opens the valve (Modbus sheet, sections 3, 4 and 9.1 to 9.3).
//!
//! Money is not known here and never reckoned: orders in money are refused, and a sale is what the counter moved, told as a totaliser.
//! The limit is kept by closing the valve, only where the profile allows it. The valve is shut whenever nobody can watch the counter.

use super::driver::alarm;
use super::point::{Point, Raw};
use super::profile::{Profile, Role};
use super::wire::{Answer, Framing, Question, Taken, Talk};
use crate::contact::Contact;
use crate::driver::{Driver, Exchange, Expect, Progress, Urgency};
use crate::head::HeadSettings;
use crate::told::Told;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{Authorise, Capabilities, EndRecord, Preset, PumpCommand, PumpEvent, Reading, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Money, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The valve's relay is written anew so often (Modbus sheet, section 4).
const REFRESH: Duration = Duration::from_millis(500);
/// Questions in a row without an answer until the valve is shut: a limit cannot be kept blind.
const BLIND_AFTER: u32 = 2;
/// Questions without an answer until the device counts as lost, if the time is over too.
const LOST_AFTER: u32 = 3;
/// The valve's contactor follows its relay within this time (Modbus sheet, section 4).
const CONTACTOR_MOVES: Duration = Duration::from_millis(500);
/// Writes of the valve that show no effect.
const MOST_WRITES: u8 = 3;
/// A counter so near its end wraps; one that falls back from elsewhere was reset.
const WRAPS_WITHIN: u32 = 1 << 24;

/// Habits of one pulse counter with its valve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PulseHabits {
    /// Map of the counter, of kind pulses.
    pub profile: Arc<Profile>,
    /// Map of the relay board, of kind outputs.
    pub board: Arc<Profile>,
    /// Unit of the relay board on the same line.
    pub board_unit: u8,
    /// RTU or Modbus TCP.
    pub framing: Framing,
    /// What still flows when the valve shuts: part of the calibration.
    pub run_on: Volume,
    /// The counter stands still for so long before a fuelling has ended.
    pub settle: Duration,
    /// A nozzle switch counts when it stayed for so long.
    pub debounce: Duration,
}

impl PulseHabits {
    /// The sheet's habits: 50 ml of run-on, 3 s until the counter rests, 80 ms for a switch.
    #[must_use]
    pub fn new(profile: Arc<Profile>, board: Arc<Profile>, board_unit: u8) -> Self {
        Self {
            profile,
            board,
            board_unit,
            framing: Framing::Rtu,
            run_on: Volume::new(50),
            settle: Duration::from_secs(3),
            debounce: Duration::from_millis(80),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Valve,
    Nozzle,
    Esd,
    Contactor,
    Overflow,
    Counter,
    Open,
    Close,
    StoreOverflow,
}

impl Ask {
    /// 0 for the counter, 1 for the board.
    const fn device(self) -> usize {
        match self {
            Self::Overflow | Self::Counter | Self::StoreOverflow => 0,
            Self::Valve | Self::Nozzle | Self::Esd | Self::Contactor | Self::Open | Self::Close => 1,
        }
    }
}

enum Phase {
    ReadIn {
        power_cycled: bool,
    },
    Ready,
    /// Counter read, then the valve opened and read back.
    Opening {
        order: Authorise,
        limit: Volume,
        counted: bool,
        writes: u8,
    },
    Running {
        nozzle: NozzleId,
        limit: Volume,
        start: Volume,
    },
    /// The valve is shut, or about to be: the counter runs out.
    Closing {
        nozzle: NozzleId,
        start: Volume,
        /// The nozzle was seen in since it was released.
        hung_up: bool,
    },
}

/// The driver of one pulse counter and its valve.
pub struct PulseDriver {
    settings: HeadSettings,
    habits: PulseHabits,
    capabilities: Capabilities,
    talk: Talk,
    told: Told,
    phase: Phase,
    asked: Option<Ask>,
    /// The valve as read back since the last write; `None` where it must be read.
    valve: Option<bool>,
    wanted_open: bool,
    closes: u8,
    refreshed: Instant,
    overflow: Option<u32>,
    overflow_due: bool,
    counter: Option<u32>,
    told_total: Option<Volume>,
    /// The count and since when it stands.
    still: Option<(u32, Instant)>,
    /// The valve was found open while reading in: what runs out belongs to what nobody watched.
    found_open: bool,
    /// The switch, debounced, and the other value that it may have taken, since when.
    nozzle_out: Option<bool>,
    bouncing: Option<Instant>,
    esd_read: bool,
    tripped: bool,
    /// The contactor is not where the relay is, since then.
    contactor_off: Option<Instant>,
    turn: u8,
    /// With the counter and with the board.
    contacts: [Contact; 2],
}

impl PulseDriver {
    /// A driver that has not heard its devices yet. The head's address is the counter's unit.
    #[must_use]
    pub fn new(settings: HeadSettings, habits: PulseHabits) -> Self {
        let capabilities = Capabilities {
            live_volume: true,
            preset_amount: false,
            preset_volume: habits.profile.close_at_limit,
            reports_call: habits.board.has(Role::NozzleSwitch),
            price_write: false,
            price_read_back: false,
            totals: true,
            stop: true,
            suspend: false,
            end_record: EndRecord::None,
            decimals_known: true,
            sale_number: false,
            volume_step: Volume::new(habits.profile.point(Role::PulseCounter).map_or(1, |point| point.scale.step())),
            total_step: Volume::new(habits.profile.point(Role::PulseCounter).map_or(1, |point| point.scale.step())),
        };
        Self {
            talk: Talk::new(habits.framing, 0),
            capabilities,
            settings,
            habits,
            told: Told::default(),
            phase: Phase::ReadIn { power_cycled: false },
            asked: None,
            valve: None,
            wanted_open: false,
            closes: 0,
            refreshed: Instant::START,
            overflow: None,
            overflow_due: false,
            counter: None,
            told_total: None,
            still: None,
            found_open: false,
            nozzle_out: None,
            bouncing: None,
            esd_read: false,
            tripped: false,
            contactor_off: None,
            turn: 0,
            contacts: [Contact::default(); 2],
        }
    }

    fn begin_read_in(&mut self, power_cycled: bool) {
        self.phase = Phase::ReadIn { power_cycled };
        (self.wanted_open, self.valve, self.closes) = (false, None, 0);
        (self.overflow, self.overflow_due, self.counter) = (None, false, None);
        (self.nozzle_out, self.bouncing, self.esd_read) = (None, None, false);
        (self.still, self.found_open, self.contactor_off) = (None, false, None);
        self.told.begin_read_in();
    }

    fn only_nozzle(&self) -> Option<NozzleId> {
        self.settings.nozzles.first().map(|n| n.nozzle)
    }

    /// All that was ever counted. The fraction of a millilitre is cut off.
    fn total(&self) -> Option<Volume> {
        let overflows =
            if self.habits.profile.has(Role::PulseOverflow) { self.overflow? } else { self.overflow.unwrap_or(0) };
        let pulses = i64::from(overflows) << 32 | i64::from(self.counter?);
        self.habits.profile.point(Role::PulseCounter)?.scale.units(Raw(pulses)).map(Volume::new)
    }

    // ---- orders ----

    fn authorise(&mut self, order: Authorise) {
        let limit = match order.preset {
            Preset::Volume(volume) if self.habits.profile.close_at_limit && volume > self.habits.run_on => Ok(volume),
            // money is not known here, and a limit in litres is nobody's order
            Preset::Volume(_) | Preset::Amount(_) => Err(Refusal::PresetUnsupported),
        };
        let ready = matches!(self.phase, Phase::Ready) && self.told.is_settled() && self.valve == Some(false);
        let calls = self.nozzle_out != Some(false) && self.only_nozzle() == Some(order.nozzle);
        let refusal = match (limit.clone(), self.told.alarm()) {
            (Err(why), _) => Some(why),
            (_, Some(alarm)) => Some(Refusal::Faulty(alarm.into())),
            (Ok(_), None) if !ready => Some(Refusal::Unsettled),
            (Ok(_), None) if !calls => Some(Refusal::NotCalling),
            (Ok(_), None) => None,
        };
        match (refusal, limit) {
            (None, Ok(limit)) => self.phase = Phase::Opening { order, limit, counted: false, writes: 0 },
            (why, _) => {
                let why = why.unwrap_or(Refusal::PresetUnsupported);
                self.told.emit(PumpEvent::Refused { release: order.release, why });
            }
        }
    }

    fn refuse(&mut self, why: Refusal) {
        if let Phase::Opening { order, .. } = &self.phase {
            self.told.emit(PumpEvent::Refused { release: order.release, why });
            self.shut();
            self.phase = Phase::Ready;
        }
    }

    /// Nothing is heard any more. If the valve was written, only what is read later can tell.
    fn give_up_release(&mut self, why: &str) {
        if let Phase::Opening { writes: 0, .. } = self.phase {
            self.refuse(Refusal::Faulty(why.into()));
        }
    }

    fn shut(&mut self) {
        self.wanted_open = false;
        self.closes = 0;
        // what was read of an open valve is what is to be changed
        if self.valve != Some(false) {
            self.valve = Some(true);
        }
    }

    fn close(&mut self) {
        match self.phase {
            Phase::Opening { writes: 0, .. } => self.refuse(Refusal::NoEffect),
            // it may have opened for a moment: what flowed then is a fuelling
            Phase::Opening { ref order, .. } => {
                let (release, nozzle) = (order.release, order.nozzle);
                let start = self.total().unwrap_or(Volume::ZERO);
                self.told.emit(PumpEvent::Released { release });
                self.told.begin_running((Volume::ZERO, Money::ZERO));
                self.shut();
                self.still = None;
                self.phase = Phase::Closing { nozzle, start, hung_up: false };
            }
            Phase::Running { nozzle, start, .. } => {
                self.shut();
                self.still = None;
                self.phase = Phase::Closing { nozzle, start, hung_up: false };
            }
            _ if self.valve != Some(false) => self.shut(),
            _ => {}
        }
    }

    // ---- what to ask ----

    fn point(&self, role: Role) -> Option<(u8, &Point)> {
        let of_board = self.habits.board.point(role).map(|point| (self.habits.board_unit, point));
        of_board.or_else(|| self.habits.profile.point(role).map(|point| (self.settings.address, point)))
    }

    fn next_ask(&mut self, now: Instant) -> Ask {
        if !self.wanted_open && self.valve == Some(true) {
            return Ask::Close;
        }
        if self.valve.is_none() {
            return Ask::Valve;
        }
        if self.overflow_due {
            return Ask::StoreOverflow;
        }
        let has = |role: Role| self.point(role).is_some();
        if matches!(self.phase, Phase::ReadIn { .. }) {
            if self.overflow.is_none() && has(Role::PulseOverflow) {
                return Ask::Overflow;
            } else if self.counter.is_some() && self.nozzle_out.is_none() && has(Role::NozzleSwitch) {
                return Ask::Nozzle;
            } else if self.counter.is_some() && !self.esd_read && has(Role::EsdTripped) {
                return Ask::Esd;
            }
            return Ask::Counter;
        }
        if let Phase::Opening { counted: true, .. } = self.phase {
            return Ask::Open;
        }
        if matches!(self.phase, Phase::Running { .. }) && now.since(self.refreshed) >= REFRESH {
            return Ask::Open;
        }
        let turn = (self.turn + 1) % 5;
        let (switch, esd) = (has(Role::NozzleSwitch), has(Role::EsdTripped));
        let contactor = has(Role::ContactorFeedback);
        self.turn = turn;
        match turn {
            1 if switch && !matches!(self.phase, Phase::Opening { .. }) => Ask::Nozzle,
            2 if esd && !matches!(self.phase, Phase::Opening { .. }) => Ask::Esd,
            3 if matches!(self.phase, Phase::Ready) => Ask::Valve,
            4 if contactor && !matches!(self.phase, Phase::Opening { .. }) => Ask::Contactor,
            _ => Ask::Counter,
        }
    }

    fn question(&self, ask: Ask) -> Option<(u8, Question)> {
        let role = match ask {
            Ask::Valve | Ask::Open | Ask::Close => Role::ValveMain,
            Ask::Nozzle => Role::NozzleSwitch,
            Ask::Esd => Role::EsdTripped,
            Ask::Contactor => Role::ContactorFeedback,
            Ask::Overflow | Ask::StoreOverflow => Role::PulseOverflow,
            Ask::Counter => Role::PulseCounter,
        };
        let (unit, point) = self.point(role)?;
        Some((
            unit,
            match ask {
                Ask::Open => Question::WriteCoil { address: point.address, on: true },
                Ask::Close => Question::WriteCoil { address: point.address, on: false },
                Ask::StoreOverflow => {
                    let value = u16::try_from(self.overflow?).ok()?;
                    Question::WriteRegister { address: point.address, value }
                }
                _ => point.question(),
            },
        ))
    }

    // ---- what came back ----

    fn handle_good(&mut self, ask: Ask, answer: &Answer, now: Instant) {
        self.contacts[ask.device()].good(now);
        if self.contacts.iter().all(|contact| contact.misses() == 0) {
            self.told.heard();
        }
        let words: Vec<u16> = match answer {
            Answer::Registers(words) => words.clone(),
            Answer::Bits(bits) => bits.iter().map(|bit| u16::from(*bit)).collect(),
            Answer::Written => Vec::new(),
            Answer::Exception(code) => {
                let text =
                    format!("exception {code} to {ask:?}: the profile does not fit the device, or it is out of order");
                self.told.raise(alarm::EXCEPTION + u16::from(*code), text, true);
                self.close();
                return;
            }
        };
        let role = match ask {
            Ask::Nozzle => Role::NozzleSwitch,
            Ask::Esd => Role::EsdTripped,
            Ask::Contactor => Role::ContactorFeedback,
            Ask::Overflow => Role::PulseOverflow,
            Ask::Counter => Role::PulseCounter,
            _ => Role::ValveMain,
        };
        let raw = self.point(role).and_then(|(_, point)| point.raw(&words)).map(|raw| raw.0);
        match (ask, raw) {
            (Ask::Open | Ask::Close, _) => {
                self.valve = None;
                self.refreshed = now;
            }
            (Ask::StoreOverflow, _) => self.overflow_due = false,
            (Ask::Valve, Some(on)) => self.handle_valve(on == 1),
            (Ask::Nozzle, Some(on)) => self.handle_nozzle(on == 1, now),
            (Ask::Esd, Some(on)) => self.handle_esd(on == 1),
            (Ask::Contactor, Some(on)) => self.handle_contactor(on == 1, now),
            (Ask::Overflow, count) => {
                self.overflow = Some(count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0))
            }
            (Ask::Counter, Some(count)) => self.handle_counter(u32::try_from(count).unwrap_or(0), now),
            _ => {}
        }
        self.report(now);
    }

    fn handle_valve(&mut self, open: bool) {
        self.valve = Some(open);
        self.found_open |= open && matches!(self.phase, Phase::ReadIn { .. });
        if !self.wanted_open && open {
            self.closes += 1;
            if self.closes >= MOST_WRITES {
                self.told.raise(alarm::STOP, "the valve's relay stays on: fuel may still flow".into(), true);
            }
        }
        if let Phase::Opening { order, limit, writes, .. } = &self.phase {
            if open {
                let (release, nozzle, limit) = (order.release, order.nozzle, *limit);
                let start = self.total().unwrap_or(Volume::ZERO);
                self.told.emit(PumpEvent::Released { release });
                self.told.begin_running((Volume::ZERO, Money::ZERO));
                self.phase = Phase::Running { nozzle, limit, start };
            } else if *writes >= MOST_WRITES {
                self.refuse(Refusal::NoEffect);
            }
        } else if matches!(self.phase, Phase::Running { .. }) && !open {
            // a watchdog of the board, or a hand
            self.close();
        }
    }

    fn handle_nozzle(&mut self, out: bool, now: Instant) {
        let Some(before) = self.nozzle_out.filter(|before| *before != out) else {
            self.nozzle_out = Some(out);
            self.bouncing = None;
            return;
        };
        let since = *self.bouncing.get_or_insert(now);
        if now.since(since) < self.habits.debounce {
            return;
        }
        (self.nozzle_out, self.bouncing) = (Some(out), None);
        if before {
            self.close();
            if let Phase::Closing { hung_up, .. } = &mut self.phase {
                *hung_up = true;
            }
        }
    }

    fn handle_esd(&mut self, tripped: bool) {
        self.esd_read = true;
        self.tripped = tripped;
        if tripped {
            self.told.raise(alarm::FAULT, "the emergency stop is tripped: reset it on site, then examine".into(), true);
            self.close();
        }
    }

    /// The relay was read back before: the contactor behind it must be where it is.
    fn handle_contactor(&mut self, closed: bool, now: Instant) {
        if self.valve.is_none_or(|open| open == closed) {
            self.contactor_off = None;
            return;
        }
        let since = *self.contactor_off.get_or_insert(now);
        if now.since(since) < CONTACTOR_MOVES {
            return;
        }
        let text = if closed {
            "the valve's contactor stays on with its relay off: fuel may still flow"
        } else {
            "the valve's contactor does not follow its relay: look at its coil and wiring"
        };
        self.told.raise(alarm::CONTACTOR, text.into(), true);
        self.close();
    }

    fn handle_counter(&mut self, count: u32, now: Instant) {
        if let Some(before) = self.counter.replace(count).filter(|before| *before > count) {
            if before >= u32::MAX - WRAPS_WITHIN && count <= WRAPS_WITHIN {
                self.overflow = Some(self.overflow.unwrap_or(0) + 1);
                self.overflow_due = self.habits.profile.has(Role::PulseOverflow);
            } else {
                let text = format!("the pulse counter fell from {before} to {count}: the module was reset");
                self.told.raise(alarm::GAP, text, false);
                self.begin_read_in(true);
                return;
            }
        }
        if self.still.is_none_or(|(still, _)| still != count) || self.valve != Some(false) {
            self.still = Some((count, now));
        }
        let rests = self.still.is_some_and(|(_, since)| now.since(since) >= self.habits.settle);
        let Some(total) = self.total() else { return };
        match &mut self.phase {
            Phase::ReadIn { .. } | Phase::Ready => self.handle_rest(total),
            Phase::Opening { counted, .. } => {
                if self.told_total == Some(total) {
                    *counted = true;
                } else {
                    // it moved since the count that is durable: the core must know the start before the valve opens
                    self.refuse(Refusal::Unsettled);
                    self.handle_rest(total);
                }
            }
            Phase::Running { limit, start, .. } => {
                let (limit, start) = (*limit, *start);
                let flowed = total.checked_sub(start).unwrap_or(Volume::ZERO);
                self.told.running(flowed, Money::ZERO);
                let shuts_at = limit.checked_sub(self.habits.run_on).unwrap_or(Volume::ZERO);
                if flowed >= shuts_at {
                    self.close();
                }
            }
            Phase::Closing { nozzle, start, hung_up } => {
                let flowed = total.checked_sub(*start).unwrap_or(Volume::ZERO);
                let reading = Reading { nozzle: Some(*nozzle), volume: Volume::ZERO, amount: Money::ZERO, price: None };
                self.told.running(flowed, Money::ZERO);
                if rests {
                    self.told.ended(reading, Some(total));
                    if *hung_up {
                        self.told.hung_up();
                    }
                    self.told_total = Some(total);
                    self.phase = Phase::Ready;
                }
            }
        }
    }

    /// Nothing is released: what the counter moved all the same is told.
    fn handle_rest(&mut self, total: Volume) {
        let Some(nozzle) = self.only_nozzle() else { return };
        if matches!(self.phase, Phase::Ready) && self.told_total != Some(total) {
            self.told_total = Some(total);
            self.told.emit(PumpEvent::Totaliser { nozzle, volume: total });
        }
    }

    fn finish_read_in(&mut self, now: Instant) {
        let Phase::ReadIn { power_cycled } = self.phase else { return };
        let read = (self.nozzle_out.is_some() || !self.habits.board.has(Role::NozzleSwitch))
            && (self.esd_read || !self.habits.board.has(Role::EsdTripped));
        let rests = self.still.is_some_and(|(_, since)| now.since(since) >= self.habits.settle);
        let read = read && (rests || !self.found_open);
        let (Some(total), Some(nozzle), true) = (self.total(), self.only_nozzle(), read) else { return };
        self.phase = Phase::Ready;
        self.told_total = Some(total);
        let lifted = self.nozzle_out.filter(|out| *out).map(|_| nozzle);
        self.told.snapshot(self.state(), lifted, None, BTreeMap::from([(nozzle, total)]), power_cycled);
    }

    fn state(&self) -> State {
        match &self.phase {
            Phase::Running { start, .. } | Phase::Closing { start, .. } => {
                if self.total().is_some_and(|total| total > *start) { State::Fuelling } else { State::Started }
            }
            _ if self.tripped => State::Closed,
            _ if self.nozzle_out == Some(true) => State::Calling,
            _ => State::Idle,
        }
    }

    fn report(&mut self, now: Instant) {
        self.finish_read_in(now);
        if self.told.is_read_in() {
            let active = matches!(self.phase, Phase::Running { .. } | Phase::Closing { .. });
            let lifted = self.only_nozzle().filter(|_| active || self.nozzle_out == Some(true));
            self.told.state(self.state(), lifted);
        }
    }
}

impl Driver for PulseDriver {
    fn fp(&self) -> FuellingPointId {
        self.settings.fp
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn handle_command(&mut self, command: PumpCommand, _now: Instant) {
        match command {
            PumpCommand::Authorise(order) => self.authorise(order),
            PumpCommand::Withdraw | PumpCommand::Stop => self.close(),
            PumpCommand::Stored(token) => self.told.handle_stored(token),
            PumpCommand::Examine => {
                self.told.examine();
                if matches!(self.phase, Phase::Ready | Phase::ReadIn { .. }) {
                    self.begin_read_in(false);
                }
            }
            PumpCommand::Suspend | PumpCommand::Resume | PumpCommand::SetPrices(_) => {}
        }
    }

    fn handle_link(&mut self, up: bool, now: Instant) {
        self.contacts.iter_mut().for_each(|contact| contact.link(up, now));
        if !up {
            self.give_up_release("the port is gone");
            self.told.lose();
        }
        self.begin_read_in(false);
    }

    fn urgency(&self, now: Instant) -> Urgency {
        let contacts = &self.contacts;
        if contacts.iter().any(|contact| !contact.is_up()) {
            return Urgency::Silent;
        }
        let unheard = contacts.iter().all(|contact| !contact.is_heard());
        if unheard || contacts.iter().any(|contact| contact.misses() > BLIND_AFTER) || self.told.is_lost() {
            return Urgency::Idle;
        }
        let shutting = !self.wanted_open && self.valve != Some(false) && self.told.is_read_in();
        match self.phase {
            _ if shutting && self.closes < MOST_WRITES => Urgency::Stop,
            Phase::Opening { .. } | Phase::ReadIn { .. } => Urgency::Sequence,
            // a limit is kept by looking in time
            Phase::Running { .. } if now.since(self.refreshed) >= REFRESH => Urgency::Sequence,
            Phase::Running { .. } | Phase::Closing { .. } => Urgency::Active,
            Phase::Ready if self.nozzle_out == Some(true) => Urgency::Active,
            Phase::Ready => Urgency::Idle,
        }
    }

    fn next_exchange(&mut self, now: Instant) -> Option<Exchange> {
        let ask = self.next_ask(now);
        if ask == Ask::Open
            && let Phase::Opening { writes, .. } = &mut self.phase
        {
            *writes += 1;
            self.wanted_open = true;
        }
        let (unit, question) = self.question(ask)?;
        self.asked = Some(ask);
        let bytes = self.talk.ask(unit, question).ok()?;
        Some(Exchange { bytes, expect: Expect::Answer })
    }

    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress {
        let mut bad = None;
        for (at, byte) in bytes.iter().enumerate() {
            match self.talk.take(*byte) {
                Taken::More => {}
                Taken::Answer(Answer::Exception(code @ (10 | 11))) => {
                    return Progress::Garbage(format!("exception {code}: the gateway hears nothing of the device"));
                }
                Taken::Answer(answer) => {
                    if let Some(ask) = self.asked.take() {
                        self.handle_good(ask, &answer, now);
                    }
                    return Progress::Complete { used: at + 1 };
                }
                Taken::Bad(why) => bad = Some(why),
            }
        }
        bad.map_or(Progress::Incomplete, Progress::Garbage)
    }

    fn handle_silence(&mut self, now: Instant) {
        self.talk.forget();
        let Some(ask) = self.asked.take() else { return };
        let device = ask.device();
        self.contacts[device].miss();
        if matches!(ask, Ask::Open | Ask::Close) {
            // read back before anything else; a write of the same value may then be repeated
            self.valve = None;
        }
        if self.contacts[device].misses() >= BLIND_AFTER && matches!(self.phase, Phase::Running { .. }) {
            self.close();
        }
        if !self.told.is_lost() && self.contacts[device].is_gone(LOST_AFTER, self.settings.comm_lost, now) {
            self.give_up_release("the counter or the board fell silent before the valve was opened");
            self.told.lose();
            self.begin_read_in(false);
        }
    }

    fn handle_unasked(&mut self, bytes: &[u8], _now: Instant) -> bool {
        let own = [self.settings.address, self.habits.board_unit];
        bytes.windows(2).any(|pair| own.contains(&pair[0]) && matches!(pair[1] & 0x7F, 1..=6 | 15 | 16))
    }

    fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }
}
