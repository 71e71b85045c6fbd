//! The device side of Gilbarco two-wire: a pump that hears words and blocks and answers them. Written from the two-wire sheet alone; it
//! shares no code with the controller's driver, so that one misreading cannot hide the other.

pub mod head;
pub mod quirks;
pub mod words;

use super::physics::{Pump, PumpConfig, Totalisers};
use super::record::{Moment, Violation, Wrong};
use super::{Action, Address, Condition, Dispenser, Transmission};
use core::time::Duration;
use forecourt::time::Instant;
use head::Head;
use quirks::Quirks;
use std::collections::VecDeque;
use words::Order;

/// A pump that said D waits so long for the words of its block.
const BLOCK_WAIT: Duration = Duration::from_millis(250);
/// Longer than any block of a controller.
const LONGEST_BLOCK: usize = 24;

/// A two-wire dispenser as it was installed.
#[derive(Clone, Debug)]
pub struct TwoWireConfig {
    /// 1 to 16 (section 1).
    pub address: Address,
    /// From the last bit heard to the first bit sent: 0 to 68 ms.
    pub turnaround: Duration,
    /// Its character.
    pub quirks: Quirks,
    /// What is behind it.
    pub pump: PumpConfig,
}

impl TwoWireConfig {
    /// The usual turnaround of the simulation.
    pub const TURNAROUND: Duration = Duration::from_millis(10);
}

/// A two-wire dispenser.
#[derive(Debug)]
pub struct TwoWireDispenser {
    address: Address,
    turnaround: Duration,
    head: Head,
    /// The words of a block so far, and when it must be complete.
    block: Option<(Vec<u8>, Instant)>,
    /// The last block or command was refused; told once.
    refused: bool,
    outgoing: VecDeque<Transmission>,
    frames_heard: u64,
}

impl TwoWireDispenser {
    /// A dispenser with power.
    #[must_use]
    pub fn new(config: TwoWireConfig) -> Self {
        Self {
            address: config.address,
            turnaround: config.turnaround,
            head: Head::new(Pump::new(config.pump), config.quirks),
            block: None,
            refused: false,
            outgoing: VecDeque::new(),
            frames_heard: 0,
        }
    }

    /// The high nibble of its status word, 6 to C.
    #[must_use]
    pub const fn state(&self) -> u8 {
        self.head.state.code()
    }

    fn nibble(&self) -> u8 {
        self.address.0 & 0x0F
    }

    fn handle_command(&mut self, word: u8, now: Instant) {
        self.frames_heard += 1;
        match word >> 4 {
            0 => self.answer_status(now),
            1 => self.head.authorise(word, now),
            2 => {
                let nibble = if self.head.takes_data() {
                    self.block = Some((Vec::new(), now + BLOCK_WAIT));
                    0xD
                } else {
                    self.head.state.code()
                };
                self.send(vec![nibble << 4 | self.nibble()], None, now);
            }
            3 => self.head.stop(now),
            4 => {
                if let Some(record) = self.head.record(self.address, now) {
                    self.send(record, None, now);
                }
            }
            5 => {
                if let Some(totals) = self.head.totals(now) {
                    self.send(totals, None, now);
                }
            }
            6 => {
                if let Some(money) = self.head.money(now) {
                    self.send(money, None, now);
                }
            }
            _ => {}
        }
    }

    fn answer_status(&mut self, now: Instant) {
        if core::mem::take(&mut self.refused) {
            self.send(vec![self.nibble()], None, now);
            return;
        }
        let (state, reports_end) = self.head.tell_state();
        let word = state.code() << 4 | self.nibble();
        self.send(vec![word], reports_end.then_some(Moment::EndReported), now);
    }

    fn handle_block(&mut self, words: &[u8], now: Instant) {
        self.frames_heard += 1;
        let order = words::read(words, self.head.quirks.checks_length);
        match order {
            None => {
                self.refused = true;
                self.head.note(Wrong::Malformed, words, now);
            }
            Some(Order::ExtendedStatus) => {
                if self.head.takes_data() {
                    let hose = self.head.pump.nozzle_out().map_or(0, |nozzle| nozzle.0);
                    self.send(words::extended_status(self.address, hose), None, now);
                }
            }
            Some(order) => self.refused = !self.head.execute(&order, words, now),
        }
    }

    fn send(&mut self, bytes: Vec<u8>, moment: Option<Moment>, now: Instant) {
        self.outgoing.push_back(Transmission { at: now + self.turnaround, bytes, moment });
    }
}

impl Dispenser for TwoWireDispenser {
    fn address(&self) -> Address {
        self.address
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        self.head.handle_timeout(now);
        if !self.head.pump.powered() {
            return;
        }
        if let Some((words, until)) = &mut self.block {
            let waits = now <= *until && words.len() < LONGEST_BLOCK;
            if waits && (!words.is_empty() || byte == 0xFF) {
                words.push(byte);
                if byte == 0xF0 {
                    let words = core::mem::take(words);
                    self.block = None;
                    self.handle_block(&words, now);
                }
                return;
            }
            // it gave up waiting, or another word came instead
            self.block = None;
            self.refused = true;
        }
        if byte == 0xFC {
            self.head.stop(now);
        } else if byte >> 4 <= 6 && byte & 0x0F == self.nibble() {
            self.handle_command(byte, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        if let Action::Power(on) = action
            && on != self.head.pump.powered()
        {
            self.block = None;
            self.refused = false;
            self.outgoing.clear();
        }
        self.head.act(action, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.head.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.head.pump.poll_timeout()
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
