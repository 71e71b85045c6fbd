//! The head of a dispenser with the example map: what its registers show, and what a command does to the pump.

use super::map;
use super::quirks::Quirks;
use crate::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};
use crate::dispenser::physics::{Limit, Pump, PumpEvent};
use crate::dispenser::record::{Moment, ReleasedBy, Violation, Wrong};
use crate::dispenser::{Action, Condition, Figures, Moments, NozzleIndex};
use forecourt::time::Instant;

const AUTHORISE: u16 = 1;
const STOP: u16 = 2;
const RELEASE: u16 = 3;
const PAUSE: u16 = 4;
const RESUME: u16 = 5;

const PENDING: u16 = 0;
const DONE: u16 = 1;
const REFUSED: u16 = 2;

/// The record of the last sale, kept over a power cut.
#[derive(Clone, Copy, Debug, Default)]
struct Sale {
    number: u16,
    figures: Figures,
    price: PriceDigits,
}

/// See the module.
#[derive(Debug)]
pub struct Head {
    pub pump: Pump,
    quirks: Quirks,
    sale: Sale,
    acknowledged: u16,
    /// The whole record of the last sale was read.
    sale_read: bool,
    kind: u16,
    value: u32,
    price: u32,
    /// A limit was written since the last release.
    preset_written: bool,
    command: u16,
    result: u16,
    /// A command that takes effect later.
    pending: Option<(Instant, u16, Vec<u8>)>,
    began: bool,
    paused: bool,
    finished: bool,
    error: u16,
    powered_at: Instant,
    /// Fuellings that are in the record.
    recorded: usize,
    pub moments: Moments,
    pub violations: Vec<Violation>,
    /// The end of the last fuelling is still to be seen by the controller.
    end_unseen: bool,
}

impl Head {
    pub fn new(pump: Pump, quirks: Quirks) -> Self {
        Self {
            pump,
            quirks,
            sale: Sale::default(),
            acknowledged: 0,
            sale_read: true,
            kind: 0,
            value: 0,
            price: 0,
            preset_written: false,
            command: 0,
            result: PENDING,
            pending: None,
            began: false,
            paused: false,
            finished: false,
            error: 0,
            powered_at: Instant::START,
            recorded: 0,
            moments: Moments::new(),
            violations: Vec::new(),
            end_unseen: false,
        }
    }

    /// Goes on with this number for the last sale, as a dispenser does that has sold before; it is acknowledged.
    pub const fn continue_sales_at(&mut self, number: u16) {
        self.sale.number = number;
        self.acknowledged = number;
    }

    fn state(&self) -> u16 {
        if self.error != 0 {
            9
        } else if self.pump.is_released() {
            match (self.paused, self.began) {
                (true, _) => 4,
                (false, true) => 3,
                (false, false) => 2,
            }
        } else if self.finished {
            5
        } else {
            u16::from(self.pump.nozzle_out().is_some())
        }
    }

    pub fn condition(&self) -> Condition {
        match self.state() {
            _ if !self.pump.powered() => Condition::Off,
            9 => Condition::Off,
            1 => Condition::Calling,
            2 => Condition::Released,
            3 => Condition::Fuelling,
            4 => Condition::Suspended,
            5 if self.pump.nozzle_out().is_some() => Condition::Finished,
            _ => Condition::Idle,
        }
    }

    /// Registers from one on, as many as asked for.
    pub fn read(&mut self, first: u16, count: u16, now: Instant) -> Vec<u16> {
        self.handle_timeout(now);
        if first <= map::SALE_SEQUENCE && first + count >= map::SALE_PRICE + 2 {
            self.sale_read = true;
            if core::mem::take(&mut self.end_unseen) {
                self.moments.push_back((now, Moment::EndReported));
            }
        }
        let all = self.registers(now);
        all.into_iter().skip(usize::from(first)).take(usize::from(count)).collect()
    }

    fn registers(&self, now: Instant) -> Vec<u16> {
        let mut all = vec![0_u16; usize::from(map::END)];
        let mut one = |at: u16, value: u16| all[usize::from(at)] = value;
        let figures = self.pump.figures(now);
        let out = self.pump.nozzle_out();
        let selected = out.or(self.pump.selected()).unwrap_or(NozzleIndex(1));
        one(map::STATE, self.state());
        one(map::NOZZLE, out.map_or(0, |nozzle| u16::from(nozzle.0)));
        one(map::SALE_SEQUENCE, self.sale.number);
        one(map::SALE_ACK, self.acknowledged);
        one(map::ERROR, self.error);
        let beats = now.since(self.powered_at).as_secs() % 0xFFFF;
        one(map::HEARTBEAT, u16::try_from(beats).unwrap_or(0));
        one(map::PRESET_KIND, self.kind);
        one(map::COMMAND, self.command);
        one(map::RESULT, self.result);
        let mut two = |at: u16, value: u32| {
            one(at, u16::try_from(value >> 16).unwrap_or(0));
            one(at + 1, u16::try_from(value & 0xFFFF).unwrap_or(0));
        };
        two(map::VOLUME, self.millilitres(figures.volume));
        two(map::AMOUNT, figures.amount.0);
        two(map::PRICE, self.pump.price(selected).unwrap_or_default().0);
        two(map::SALE_VOLUME, self.millilitres(self.sale.figures.volume));
        two(map::SALE_AMOUNT, self.sale.figures.amount.0);
        two(map::SALE_PRICE, self.sale.price.0);
        two(map::PRESET_VALUE, self.value);
        two(map::SET_PRICE, self.price);
        let total = |nozzle: u8| {
            let volume = self.pump.totaliser(NozzleIndex(nozzle), now).map_or(0, |volume| volume.get());
            u32::try_from(volume % 0xFFFF_FFFF).unwrap_or(0)
        };
        two(map::TOTAL, total(1));
        for (at, nozzle) in (map::MORE_TOTALS..).step_by(2).zip(2..=4) {
            two(at, total(nozzle));
        }
        all
    }

    fn millilitres(&self, shown: VolumeDigits) -> u32 {
        u32::try_from(self.pump.config().decimals.volume(shown).get()).unwrap_or(u32::MAX)
    }

    /// Registers are written, low address first.
    pub fn write(&mut self, first: u16, values: &[u16], frame: &[u8], now: Instant) {
        self.handle_timeout(now);
        for (register, value) in (first..).zip(values) {
            let high = |whole: u32| u32::from(*value) << 16 | whole & 0xFFFF;
            let low = |whole: u32| whole & 0xFFFF_0000 | u32::from(*value);
            match register {
                map::SALE_ACK => self.acknowledge(*value, frame, now),
                map::PRESET_KIND => self.kind = *value,
                map::PRESET_VALUE => self.value = high(self.value),
                22 => self.value = low(self.value),
                map::SET_PRICE => self.price = high(self.price),
                24 => self.price = low(self.price),
                map::COMMAND => self.take_command(*value, frame, now),
                _ => {}
            }
        }
        let touches = |from: u16, to: u16| first < to && usize::from(first) + values.len() > usize::from(from);
        if touches(map::SET_PRICE, map::COMMAND) {
            self.set_price(frame, now);
        }
        if touches(map::PRESET_VALUE, map::SET_PRICE) {
            if self.pump.is_released() {
                self.note(Wrong::PresetReplaced, frame, now);
            }
            self.preset_written = true;
        }
    }

    fn acknowledge(&mut self, number: u16, frame: &[u8], now: Instant) {
        if number != self.sale.number {
            self.note(Wrong::Malformed, frame, now);
        } else if !self.sale_read {
            self.note(Wrong::ResetBeforeSaleAcknowledged, frame, now);
        }
        self.acknowledged = number;
    }

    fn set_price(&mut self, frame: &[u8], now: Instant) {
        if self.pump.is_released() {
            self.note(Wrong::PriceDuringFilling, frame, now);
            return;
        }
        let nozzle = self.pump.nozzle_out().or(self.pump.selected()).unwrap_or(NozzleIndex(1));
        self.pump.set_price(nozzle, PriceDigits(self.price));
    }

    /// An edge counts: the same number again is none.
    fn take_command(&mut self, command: u16, frame: &[u8], now: Instant) {
        if command == self.command {
            return;
        }
        self.command = command;
        if command == 0 {
            self.result = PENDING;
            return;
        }
        if command == STOP {
            self.moments.push_back((now, Moment::StopArrived));
        }
        if self.quirks.result_delay.is_zero() {
            self.carry_out(command, frame, now);
        } else {
            self.result = PENDING;
            self.pending = Some((now + self.quirks.result_delay, command, frame.to_vec()));
        }
    }

    fn carry_out(&mut self, command: u16, frame: &[u8], now: Instant) {
        if self.quirks.refuses || self.quirks.ignores {
            self.result = if self.quirks.refuses { REFUSED } else { DONE };
            return;
        }
        let done = match command {
            AUTHORISE => self.authorise(frame, now),
            STOP => {
                let stops = self.pump.is_released();
                self.pump.stop(now);
                self.follow(now);
                stops
            }
            RELEASE => core::mem::take(&mut self.finished),
            PAUSE | RESUME => {
                self.paused = command == PAUSE && self.pump.is_released();
                self.pump.suspend(self.paused, now);
                self.pump.is_released()
            }
            _ => {
                self.note(Wrong::Malformed, frame, now);
                false
            }
        };
        self.result = if done { DONE } else { REFUSED };
    }

    fn authorise(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some(nozzle) = self.pump.nozzle_out().filter(|_| self.state() == 1) else {
            self.note(Wrong::AuthoriseOutOfState, frame, now);
            return false;
        };
        let step = u32::try_from(self.pump.config().decimals.step().get()).unwrap_or(1);
        let limit = match self.kind {
            1 if self.value > 0 => Limit::Volume(VolumeDigits(self.value / step)),
            2 if self.value > 0 => Limit::Amount(AmountDigits(self.value)),
            _ => Limit::Head,
        };
        if limit == Limit::Head || !self.preset_written {
            self.note(Wrong::AuthoriseWithoutPreset, frame, now);
            return false;
        }
        if self.acknowledged != self.sale.number {
            self.note(Wrong::ResetBeforeSaleAcknowledged, frame, now);
        }
        self.preset_written = false;
        self.moments.push_back((now, Moment::AuthoriseArrived));
        self.release(vec![nozzle], limit, frame, now);
        true
    }

    fn release(&mut self, nozzles: Vec<NozzleIndex>, limit: Limit, frame: &[u8], now: Instant) {
        (self.began, self.paused, self.finished) = (false, false, false);
        let by = ReleasedBy { at: now, frame: frame.to_vec(), limit };
        self.pump.release(nozzles, limit, by, now);
    }

    pub fn act(&mut self, action: Action, now: Instant) {
        self.handle_timeout(now);
        match action {
            Action::Lift(_) | Action::HangUp | Action::Squeeze(_) => self.pump.handle_hand(action, now),
            Action::Power(on) => self.power(on, now),
            Action::Alarm(code) => {
                self.error = u16::from(code);
                self.pump.stop(now);
            }
            Action::ReleaseByHand => {
                if self.pump.powered() && !self.pump.is_released() {
                    let count = u8::try_from(self.pump.nozzle_count()).unwrap_or(u8::MAX);
                    self.release((1..=count).map(NozzleIndex).collect(), Limit::Head, &[], now);
                }
            }
        }
        self.follow(now);
    }

    fn power(&mut self, on: bool, now: Instant) {
        self.pump.power(on, now);
        self.record();
        (self.command, self.result, self.pending) = (0, PENDING, None);
        (self.kind, self.value, self.preset_written) = (0, 0, false);
        (self.began, self.paused, self.finished, self.error) = (false, false, false, 0);
        if on {
            self.powered_at = now;
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.pending.as_ref().map(|(due, ..)| *due), self.pump.poll_timeout()].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump.handle_timeout(now);
        self.follow(now);
        if let Some((_, command, frame)) = self.pending.take_if(|(due, ..)| *due <= now) {
            self.carry_out(command, &frame, now);
            self.follow(now);
        }
    }

    /// Takes up what happened at the pump.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.pump.poll_event() {
            match event {
                PumpEvent::FlowBegan => {
                    self.began = true;
                    self.moments.push_back((now, Moment::FlowBegan));
                }
                PumpEvent::NozzleMoved => {
                    self.moments.push_back((now, Moment::NozzleMoved));
                    let hung_up = self.pump.nozzle_out().is_none();
                    if hung_up && self.pump.is_released() && !self.began && !self.quirks.stays_authorised {
                        self.pump.stop(now);
                    }
                    if hung_up && !self.quirks.waits_for_release {
                        self.finished = false;
                    }
                }
                PumpEvent::Ended(_) => {
                    self.moments.push_back((now, Moment::Ended));
                    let out = self.pump.nozzle_out().is_some();
                    self.finished = self.began && out || self.quirks.waits_for_release;
                    (self.end_unseen, self.paused) = (true, false);
                    self.record();
                }
            }
        }
    }

    /// Puts fuellings that have ended into the record.
    fn record(&mut self) {
        let all = self.pump.fuellings();
        for fuelling in &all[self.recorded..] {
            if fuelling.figures.volume.0 > 0 || self.quirks.numbers_zero_sales {
                let number = if self.sale.number >= 0xFFFE { 1 } else { self.sale.number + 1 };
                self.sale = Sale { number, figures: fuelling.figures, price: fuelling.price.unwrap_or_default() };
                self.sale_read = false;
            }
        }
        self.recorded = all.len();
    }

    fn note(&mut self, wrong: Wrong, frame: &[u8], now: Instant) {
        self.violations.push(Violation { at: now, wrong, frame: frame.to_vec() });
    }
}
