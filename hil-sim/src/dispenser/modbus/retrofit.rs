//! A pump without a head of its own: a module that counts the meter's pulses and a board whose first relay opens the valve, two units
//! on one wire (Modbus sheet, sections 3, 4 and 9.1 to 9.3). Written from the sheet alone, as the dispenser beside it.
//!
//! One pulse is a millilitre. Energise to run: without power the valve is shut. While it is open, fuel flows to whoever squeezes.

use super::frame::{self, Framing, Heard, Receiver};
use crate::dispenser::physics::{Limit, Pump, PumpConfig, PumpEvent, Totalisers};
use crate::dispenser::record::{Moment, ReleasedBy, Violation, Wrong};
use crate::dispenser::{Action, Address, Condition, Dispenser, Moments, NozzleIndex, Transmission};
use core::time::Duration;
use forecourt::time::Instant;
use forecourt::units::Volume;
use std::collections::VecDeque;

/// The one nozzle.
const ONE: NozzleIndex = NozzleIndex(1);
/// Spare register of the counter.
const OVERFLOW: u16 = 8;
/// Pulses, two registers, high word first.
const COUNTER: u16 = 10;
/// Relays and inputs of the board.
const PINS: u16 = 8;

const FUNCTION: u8 = 1;
const ADDRESS: u8 = 2;
const VALUE: u8 = 3;

/// A retrofit as it was installed.
#[derive(Clone, Debug)]
pub struct RetrofitConfig {
    /// Unit of the counter.
    pub counter: Address,
    /// Unit of the board.
    pub board: u8,
    /// From the last bit heard to the first bit sent.
    pub turnaround: Duration,
    /// RTU or TCP.
    pub framing: Framing,
    /// The counter begins at 0 with its power.
    pub forgets_count: bool,
    /// The relay sticks where it is.
    pub sticks: bool,
    /// What is behind them.
    pub pump: PumpConfig,
}

/// A pulse counter and a valve's relay.
#[derive(Debug)]
pub struct Retrofit {
    counter: Address,
    board: u8,
    turnaround: Duration,
    framing: Framing,
    forgets_count: bool,
    sticks: bool,
    receiver: Receiver,
    pump: Pump,
    open: bool,
    overflow: u16,
    /// Where the totaliser stood when the counter was at 0.
    zero: Volume,
    /// What the controller has last read.
    read: Option<u32>,
    moments: Moments,
    violations: Vec<Violation>,
    outgoing: VecDeque<Transmission>,
    frames_heard: u64,
}

impl Retrofit {
    /// One with power that has its valve shut.
    #[must_use]
    pub fn new(config: RetrofitConfig) -> Self {
        Self {
            counter: config.counter,
            board: config.board,
            turnaround: config.turnaround,
            framing: config.framing,
            forgets_count: config.forgets_count,
            sticks: config.sticks,
            receiver: Receiver::new(config.framing),
            pump: Pump::new(config.pump),
            open: false,
            overflow: 0,
            zero: Volume::ZERO,
            read: None,
            moments: Moments::new(),
            violations: Vec::new(),
            outgoing: VecDeque::new(),
            frames_heard: 0,
        }
    }

    fn total(&self, now: Instant) -> Volume {
        self.pump.totaliser(ONE, now).unwrap_or(Volume::ZERO)
    }

    /// Pulses since the counter began, modulo its 32 bits.
    fn pulses(&self, now: Instant) -> u32 {
        let ml = self.total(now).get() - self.zero.get();
        u32::try_from(ml.rem_euclid(1 << 32)).unwrap_or(0)
    }

    fn answer(&mut self, heard: &Heard, now: Instant) -> Result<Vec<u8>, u8> {
        let word = |at: usize| heard.pdu.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let (Some(function), Some(first), Some(second)) = (heard.pdu.first().copied(), word(1), word(3)) else {
            return Err(FUNCTION);
        };
        match (heard.unit == self.board, function) {
            (false, 3) => self.registers(first, second, now),
            (false, 6) if first == OVERFLOW => {
                self.overflow = second;
                Ok(heard.pdu[..5].to_vec())
            }
            (false, 6) => Err(ADDRESS),
            (true, 1 | 2) if !(1..=PINS).contains(&second) => Err(VALUE),
            (true, 1 | 2) if u32::from(first) + u32::from(second) > u32::from(PINS) => Err(ADDRESS),
            (true, 1 | 2) => {
                let on = if function == 1 { self.open } else { self.pump.nozzle_out().is_some() };
                Ok(vec![function, 1, u8::from(on && first == 0)])
            }
            (true, 5) if first >= PINS => Err(ADDRESS),
            (true, 5) if !matches!(second, 0 | 0xFF00) => Err(VALUE),
            (true, 5) => {
                if first == 0 {
                    self.switch(second != 0, &heard.raw, now);
                }
                Ok(heard.pdu[..5].to_vec())
            }
            _ => Err(FUNCTION),
        }
    }

    fn registers(&mut self, first: u16, count: u16, now: Instant) -> Result<Vec<u8>, u8> {
        let pulses = self.pulses(now);
        let [high, low] = [pulses >> 16, pulses & 0xFFFF].map(|half| u16::try_from(half).unwrap_or(0));
        let held = [self.overflow, 0, high, low];
        let from = usize::from(first.checked_sub(OVERFLOW).ok_or(ADDRESS)?);
        let values = held.get(from..from + usize::from(count)).filter(|values| !values.is_empty()).ok_or(ADDRESS)?;
        if first <= COUNTER && first + count >= COUNTER + 2 {
            self.read = Some(pulses);
        }
        let bytes = u8::try_from(values.len() * 2).map_err(|_| VALUE)?;
        Ok([vec![3, bytes], values.iter().flat_map(|value| value.to_be_bytes()).collect()].concat())
    }

    fn switch(&mut self, on: bool, frame: &[u8], now: Instant) {
        if self.sticks || on == self.open {
            return;
        }
        self.open = on;
        if on {
            if self.read != Some(self.pulses(now)) {
                // the start count is to be known before the valve opens
                self.violations.push(Violation { at: now, wrong: Wrong::SaleNotRead, frame: frame.to_vec() });
            }
            self.moments.push_back((now, Moment::AuthoriseArrived));
            self.pump.release(
                vec![ONE],
                Limit::Head,
                ReleasedBy { at: now, frame: frame.to_vec(), limit: Limit::Head },
                now,
            );
        } else {
            self.moments.push_back((now, Moment::StopArrived));
            self.pump.stop(now);
        }
        self.follow(now);
    }

    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.pump.poll_event() {
            match event {
                PumpEvent::NozzleMoved => self.moments.push_back((now, Moment::NozzleMoved)),
                PumpEvent::FlowBegan => self.moments.push_back((now, Moment::FlowBegan)),
                PumpEvent::Ended(_) => self.moments.push_back((now, Moment::Ended)),
            }
        }
        if self.open && !self.pump.is_released() {
            // an open valve knows of no hang-up: whoever lifts next gets fuel
            let by = ReleasedBy { at: now, frame: Vec::new(), limit: Limit::Head };
            self.pump.release(vec![ONE], Limit::Head, by, now);
        }
    }
}

impl Dispenser for Retrofit {
    fn address(&self) -> Address {
        self.counter
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        self.handle_timeout(now);
        if !self.pump.powered() {
            return;
        }
        let Some(heard) = self.receiver.push(byte, now) else { return };
        if heard.unit != self.counter.0 && heard.unit != self.board {
            return;
        }
        self.frames_heard += 1;
        let function = heard.pdu.first().copied().unwrap_or_default();
        let pdu = self.answer(&heard, now).unwrap_or_else(|code| vec![function | 0x80, code]);
        let bytes = frame::answer(self.framing, &heard, &pdu);
        self.outgoing.push_back(Transmission { at: now + self.turnaround, bytes, moment: None });
    }

    fn act(&mut self, action: Action, now: Instant) {
        self.handle_timeout(now);
        match action {
            Action::Power(on) if on != self.pump.powered() => {
                self.receiver.clear();
                self.outgoing.clear();
                self.open = false;
                self.pump.power(on, now);
                if on && self.forgets_count {
                    self.zero = self.total(now);
                    self.overflow = 0;
                }
            }
            // there is no head to raise an alarm or to be released at
            Action::Power(_) | Action::Alarm(_) | Action::ReleaseByHand => {}
            Action::Lift(_) | Action::HangUp | Action::Squeeze(_) => self.pump.handle_hand(action, now),
        }
        self.follow(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.pump.handle_timeout(now);
        self.follow(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.pump.poll_timeout()
    }

    fn poll_transmission(&mut self) -> Option<Transmission> {
        self.outgoing.pop_front()
    }

    fn poll_moment(&mut self) -> Option<(Instant, Moment)> {
        self.moments.pop_front()
    }

    fn pump(&self) -> &Pump {
        &self.pump
    }

    fn condition(&self) -> Condition {
        match (self.pump.powered(), self.open, self.pump.nozzle_out()) {
            (false, ..) => Condition::Off,
            (true, true, _) if self.pump.is_flowing() => Condition::Fuelling,
            (true, true, _) => Condition::Released,
            (true, false, Some(_)) => Condition::Calling,
            (true, false, None) => Condition::Idle,
        }
    }

    fn frames_heard(&self) -> u64 {
        self.frames_heard
    }

    fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn restore(&mut self, kept: &Totalisers) {
        self.pump.restore(kept);
    }
}
