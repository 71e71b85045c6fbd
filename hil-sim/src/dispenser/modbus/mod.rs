//! The device side of Modbus: a dispenser with the example map of the sheet, over RTU or TCP. Written from the Modbus sheet alone; it
//! shares no code with the controller's driver, so that one misreading cannot hide the other.

pub mod frame;
mod head;
pub mod map;
pub mod quirks;
pub mod retrofit;

use super::physics::{Pump, PumpConfig, Totalisers};
use super::record::{Moment, Violation};
use super::{Action, Address, Condition, Dispenser, Transmission};
use core::time::Duration;
use forecourt::time::Instant;
use frame::{Framing, Heard, Receiver};
use head::Head;
use map::Request;
use quirks::Quirks;
use std::collections::VecDeque;

/// A dispenser with the example map as it was installed.
#[derive(Clone, Debug)]
pub struct ModbusConfig {
    /// Unit, 1 to 247.
    pub address: Address,
    /// From the last bit heard to the first bit sent.
    pub turnaround: Duration,
    /// RTU or TCP.
    pub framing: Framing,
    /// Its character.
    pub quirks: Quirks,
    /// What is behind it.
    pub pump: PumpConfig,
}

impl ModbusConfig {
    /// The usual turnaround of the simulation.
    pub const TURNAROUND: Duration = Duration::from_millis(5);
}

/// A dispenser with the example map.
#[derive(Debug)]
pub struct ModbusDispenser {
    address: Address,
    turnaround: Duration,
    framing: Framing,
    receiver: Receiver,
    head: Head,
    outgoing: VecDeque<Transmission>,
    frames_heard: u64,
}

impl ModbusDispenser {
    /// A dispenser with power that has sold nothing.
    #[must_use]
    pub fn new(config: ModbusConfig) -> Self {
        Self {
            address: config.address,
            turnaround: config.turnaround,
            framing: config.framing,
            receiver: Receiver::new(config.framing),
            head: Head::new(Pump::new(config.pump), config.quirks),
            outgoing: VecDeque::new(),
            frames_heard: 0,
        }
    }

    /// Goes on with this number for the last sale, which is acknowledged, as a dispenser does that has sold before.
    pub const fn continue_sales_at(&mut self, number: u16) {
        self.head.continue_sales_at(number);
    }

    fn handle_request(&mut self, heard: &Heard, now: Instant) {
        self.frames_heard += 1;
        let function = heard.pdu.first().copied().unwrap_or_default();
        let seen = self.head.moments.len();
        let pdu = match map::request(&heard.pdu) {
            Request::Read(first, count) => {
                let values = self.head.read(first, count, now);
                let mut pdu = vec![function, u8::try_from(values.len() * 2).unwrap_or(u8::MAX)];
                pdu.extend(values.iter().flat_map(|value| value.to_be_bytes()));
                pdu
            }
            Request::Write(first, values) => {
                self.head.write(first, &values, &heard.raw, now);
                // the request up to the count, or all of function 6
                heard.pdu[..5].to_vec()
            }
            Request::Exception(code) => vec![function | 0x80, code],
        };
        let bytes = frame::answer(self.framing, heard, &pdu);
        // the end counts as reported when the answer is out
        let reported = self.head.moments.iter().skip(seen).position(|(_, moment)| *moment == Moment::EndReported);
        let moment = reported.and_then(|at| self.head.moments.remove(seen + at)).map(|(_, moment)| moment);
        self.outgoing.push_back(Transmission { at: now + self.turnaround, bytes, moment });
    }
}

impl Dispenser for ModbusDispenser {
    fn address(&self) -> Address {
        self.address
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        self.head.handle_timeout(now);
        if !self.head.pump.powered() {
            return;
        }
        if let Some(heard) = self.receiver.push(byte, now)
            && heard.unit == self.address.0
        {
            self.handle_request(&heard, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        if let Action::Power(on) = action {
            if on == self.head.pump.powered() {
                return;
            }
            self.receiver.clear();
            self.outgoing.clear();
        }
        self.head.act(action, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.head.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.head.poll_timeout()
    }

    fn poll_transmission(&mut self) -> Option<Transmission> {
        self.outgoing.pop_front()
    }

    fn poll_moment(&mut self) -> Option<(Instant, Moment)> {
        self.head.moments.pop_front()
    }

    fn pump(&self) -> &Pump {
        &self.head.pump
    }

    fn condition(&self) -> Condition {
        self.head.condition()
    }

    fn frames_heard(&self) -> u64 {
        self.frames_heard
    }

    fn violations(&self) -> &[Violation] {
        &self.head.violations
    }

    fn restore(&mut self, kept: &Totalisers) {
        self.head.pump.restore(kept);
    }
}
