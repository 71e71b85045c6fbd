//! The device side of DART: a pump that hears polls and blocks and answers them. Written from the DART sheet alone; it shares
//! no code with the controller's driver, so that one misreading cannot hide the other.

pub mod changes;
pub mod frame;
pub mod head;
pub mod link;
pub mod message;
pub mod quirks;

use super::physics::{Pump, PumpConfig, Totalisers};
use super::record::{Moment, Violation, Wrong};
use super::{Action, Address, Condition, Dispenser, Transmission};
use changes::Meaning;
use core::time::Duration;
use forecourt::time::Instant;
use frame::{BlockNumber, Heard, Receiver};
use head::Head;
use link::{Link, Verdict};
use quirks::Quirks;
use std::collections::VecDeque;

/// High nibbles of the frames a pump sends without data (section 2).
const NAK: u8 = 0x5;
const END_OF_TRANSMISSION: u8 = 0x7;
const ACK: u8 = 0xC;

/// A DART dispenser as it was installed.
#[derive(Clone, Debug)]
pub struct DartConfig {
    /// 50 to 6F (section 1).
    pub address: Address,
    /// From the last bit heard to the first bit sent.
    pub turnaround: Duration,
    /// Its character.
    pub quirks: Quirks,
    /// What is behind it.
    pub pump: PumpConfig,
}

impl DartConfig {
    /// The usual turnaround of the simulation.
    pub const TURNAROUND: Duration = Duration::from_millis(5);
}

/// A DART dispenser.
#[derive(Debug)]
pub struct DartDispenser {
    address: Address,
    turnaround: Duration,
    quirks: Quirks,
    receiver: Receiver,
    link: Link,
    head: Head,
    /// What the block that waits for its ACK means.
    waiting_means: Meaning,
    outgoing: VecDeque<Transmission>,
    frames_heard: u64,
    last_block: Option<Vec<u8>>,
}

impl DartDispenser {
    /// A dispenser with power.
    #[must_use]
    pub fn new(config: DartConfig) -> Self {
        Self {
            address: config.address,
            turnaround: config.turnaround,
            quirks: config.quirks,
            receiver: Receiver::new(config.address),
            link: Link::new(config.quirks.numbering),
            head: Head::new(Pump::new(config.pump), config.quirks),
            waiting_means: Meaning::PLAIN,
            outgoing: VecDeque::new(),
            frames_heard: 0,
            last_block: None,
        }
    }

    /// Goes on with this number for its next block, as a pump does that has talked before.
    pub const fn continue_numbers_at(&mut self, next: BlockNumber) {
        self.link.continue_at(next);
    }

    /// Its status (DC1).
    #[must_use]
    pub const fn status(&self) -> message::Status {
        self.head.status()
    }

    fn handle_frame(&mut self, heard: Heard, raw: Vec<u8>, now: Instant) {
        self.frames_heard += 1;
        match heard {
            Heard::Poll => self.answer_poll(now),
            Heard::Ack(number) => self.acknowledged(number),
            Heard::AckPoll(number) => {
                self.acknowledged(number);
                self.answer_poll(now);
            }
            Heard::Nak(_) => self.link.handle_nak(),
            Heard::Damaged(number) if self.quirks.naks_damaged => self.send_short(NAK, number, now),
            Heard::Damaged(_) => {}
            Heard::Block(number, transactions) => self.handle_block(number, &transactions, raw, now),
        }
    }

    fn acknowledged(&mut self, number: BlockNumber) {
        if self.link.handle_ack(number) && self.waiting_means.final_figures {
            self.head.handle_figures_acknowledged();
        }
    }

    fn handle_block(&mut self, number: BlockNumber, transactions: &[u8], raw: Vec<u8>, now: Instant) {
        let verdict = self.link.judge(number);
        if verdict == Verdict::Refuse {
            self.send_short(NAK, number, now);
            return;
        }
        self.send_short(ACK, number, now);
        if verdict == Verdict::Execute {
            for order in message::orders(transactions) {
                self.head.execute(&order, &raw, now);
            }
        } else if self.last_block.as_ref().is_some_and(|last| *last != raw) {
            let violation = Violation { at: now, wrong: Wrong::NumberRepeated, frame: raw.clone() };
            self.head.violations.push(violation);
        }
        self.last_block = Some(raw);
    }

    fn answer_poll(&mut self, now: Instant) {
        if let Some((number, transactions)) = self.link.waiting() {
            let bytes = frame::block(self.address, number, transactions);
            self.send(bytes, None, now);
            return;
        }
        self.head.add_running_figures(now);
        let Some((transactions, meaning)) = self.head.changes.take_block() else {
            self.send_short(END_OF_TRANSMISSION, BlockNumber::ZERO, now);
            return;
        };
        self.waiting_means = meaning;
        let number = self.link.send(transactions.clone());
        let bytes = frame::block(self.address, number, &transactions);
        self.send(bytes, meaning.end.then_some(Moment::EndReported), now);
    }

    fn send_short(&mut self, high_nibble: u8, number: BlockNumber, now: Instant) {
        self.send(frame::short(self.address, high_nibble, number), None, now);
    }

    fn send(&mut self, bytes: Vec<u8>, moment: Option<Moment>, now: Instant) {
        self.outgoing.push_back(Transmission { at: now + self.turnaround, bytes, moment });
    }
}

impl Dispenser for DartDispenser {
    fn address(&self) -> Address {
        self.address
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        self.head.handle_timeout(now);
        if !self.head.pump.powered() {
            return;
        }
        if let Some((heard, raw)) = self.receiver.push(byte, now) {
            self.handle_frame(heard, raw, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        if let Action::Power(on) = action
            && on != self.head.pump.powered()
        {
            self.receiver.clear();
            self.outgoing.clear();
            self.link = Link::new(self.quirks.numbering);
            self.last_block = None;
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
