//! The device side of GasKitLink (Censtar): a post that answers each request of the host. Written from the GasKitLink sheet alone;
//! it shares no code with the controller's driver, so that one misreading cannot hide the other.

pub mod frame;
pub mod head;
pub mod message;
pub mod quirks;

use super::physics::{Pump, PumpConfig, Totalisers};
use super::record::{Moment, Violation};
use super::{Action, Address, Condition, Dispenser, Transmission};
use core::time::Duration;
use forecourt::time::Instant;
use frame::{CHANNEL, Heard, Receiver};
use head::Head;
use message::{Request, request};
use quirks::Quirks;
use std::collections::VecDeque;

/// A GasKitLink post as it was installed.
#[derive(Clone, Debug)]
pub struct GasKitLinkConfig {
    /// 01 to 20, hexadecimal (section 2); the high byte on the wire is 0.
    pub address: Address,
    /// From the last bit heard to the first bit sent: 3 ms or more (section 1).
    pub turnaround: Duration,
    /// Its character.
    pub quirks: Quirks,
    /// What is behind it. Volumes go over the wire with its decimals; the sheet knows two.
    pub pump: PumpConfig,
}

impl GasKitLinkConfig {
    /// The usual turnaround of the simulation.
    pub const TURNAROUND: Duration = Duration::from_millis(5);
}

/// A GasKitLink post.
#[derive(Debug)]
pub struct GasKitLinkDispenser {
    address: Address,
    turnaround: Duration,
    receiver: Receiver,
    head: Head,
    outgoing: VecDeque<Transmission>,
    frames_heard: u64,
}

impl GasKitLinkDispenser {
    /// A post with power.
    #[must_use]
    pub fn new(config: GasKitLinkConfig) -> Self {
        Self {
            address: config.address,
            turnaround: config.turnaround,
            receiver: Receiver::default(),
            head: Head::new(Pump::new(config.pump), config.quirks),
            outgoing: VecDeque::new(),
            frames_heard: 0,
        }
    }

    /// Its state digit (section 4).
    #[must_use]
    pub const fn state(&self) -> message::State {
        self.head.state()
    }

    /// Goes on with this transaction letter, as a post does that has sold before.
    pub const fn continue_letters_at(&mut self, letter: message::Letter) {
        self.head.continue_letters_at(letter);
    }

    fn handle_frame(&mut self, heard: &Heard, now: Instant) {
        let request = request(&heard.body);
        let for_all = heard.address == CHANNEL && matches!(request, Request::Channel(_));
        if heard.address != u16::from(self.address.0) && !for_all {
            return;
        }
        self.frames_heard += 1;
        let Some((reply, moment)) = self.head.answer(&request, &heard.raw, now) else { return };
        let bytes = frame::frame(heard.address, &reply.body());
        self.outgoing.push_back(Transmission { at: now + self.turnaround, bytes, moment });
    }
}

impl Dispenser for GasKitLinkDispenser {
    fn address(&self) -> Address {
        self.address
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        self.head.handle_timeout(now);
        if !self.head.pump().powered() {
            return;
        }
        if let Some(heard) = self.receiver.push(byte, now) {
            self.handle_frame(&heard, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        if matches!(action, Action::Power(on) if on != self.head.pump().powered()) {
            self.receiver = Receiver::default();
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
        self.head.poll_moment()
    }

    fn pump(&self) -> &Pump {
        self.head.pump()
    }

    fn condition(&self) -> Condition {
        self.head.condition()
    }

    fn frames_heard(&self) -> u64 {
        self.frames_heard
    }

    fn violations(&self) -> &[Violation] {
        self.head.violations()
    }

    fn restore(&mut self, kept: &Totalisers) {
        self.head.restore(kept);
    }
}
