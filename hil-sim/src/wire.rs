//! One line with several devices: pacing, echo, noise, silence and collisions. Pure and deterministic, on an invented clock.
//!
//! The same wire stands behind a pty in real time and inside a simulated day. Devices hear the controller only, not one
//! another: what a pump says can never be taken for an order.

mod faults;

pub use faults::{Counters, Faults};

use crate::dispenser::record::Moment;
use crate::dispenser::{Action, Address, Dispenser, Transmission};
use crate::prng::{PerMillion, Prng};
use core::time::Duration;
use faults::{Noise, TURNAROUND_JUNK};
use forecourt::time::Instant;
use std::collections::VecDeque;

/// Moments kept if nobody takes them; the oldest go first.
const MOST_MOMENTS: usize = 200_000;

/// How fast characters go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    character: Duration,
}

impl Pace {
    /// Characters of 11 bits (8 data, parity, start and stop) at a rate in bits a second.
    #[must_use]
    pub const fn baud(bits_per_second: u32) -> Self {
        Self::characters(bits_per_second, 11)
    }

    /// Characters of so many bits at a rate in bits a second. A rate of 0 counts as 1.
    #[must_use]
    pub const fn characters(bits_per_second: u32, bits: u32) -> Self {
        let rate = if bits_per_second == 0 { 1 } else { bits_per_second };
        Self { character: Duration::from_nanos(1_000_000_000 * bits as u64 / rate as u64) }
    }

    /// No pacing: for lines that a real UART paces, and to run faster than life.
    pub const NONE: Self = Self { character: Duration::ZERO };

    /// Time of one character.
    #[must_use]
    pub const fn character(self) -> Duration {
        self.character
    }
}

/// A line as it was laid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireConfig {
    /// Characters a second.
    pub pace: Pace,
    /// The adapter returns what the controller sends.
    pub echo: bool,
    /// Both ends drop bytes with a wrong parity bit. Where frames bear a checksum this is left out, so that noise reaches that.
    pub checks_parity: bool,
    /// What goes wrong.
    pub faults: Faults,
}

impl WireConfig {
    /// A clean line at 9600 bit/s.
    #[must_use]
    pub fn clean() -> Self {
        Self { pace: Pace::baud(9_600), echo: false, checks_parity: false, faults: Faults::default() }
    }
}

/// A device on a wire, in the order they were connected. Not its address: two may share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceId(pub usize);

/// A moment at a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marked {
    /// When.
    pub at: Instant,
    /// Where.
    pub device: DeviceId,
    /// What. [`Moment::EndReported`] is noted when its block begins to go out, for the time at which its last byte will be out.
    pub moment: Moment,
}

struct Port {
    device: Box<dyn Dispenser>,
    unplugged: bool,
    babble: PerMillion,
    chance: Prng,
    /// When the last byte it was given to send is out, in nanoseconds.
    busy: u64,
}

#[derive(Clone, Copy)]
struct Character {
    /// When it is complete, in nanoseconds.
    at: u64,
    byte: u8,
    /// The last of what the controller said at once; after it comes a slot in which a device may speak.
    ends: bool,
}

/// A line with its devices.
pub struct Wire {
    config: WireConfig,
    ports: Vec<Port>,
    root: Prng,
    to_devices: Noise,
    to_controller: Noise,
    /// Characters under way, by time of completion.
    down: VecDeque<Character>,
    up: VecDeque<Character>,
    /// Complete at the controller and not fetched.
    arrived: Vec<u8>,
    controller_busy: u64,
    counters: Counters,
    moments: VecDeque<Marked>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn to_nanos(at: Instant) -> u64 {
    at.as_micros().saturating_mul(1_000)
}

/// Rounded up: a character is complete no earlier than it is.
fn from_nanos(at: u64) -> Instant {
    Instant::from_micros(at.div_ceil(1_000))
}

impl Wire {
    /// A line without devices. The generator is forked by label for each actor on it.
    #[must_use]
    pub fn new(config: WireConfig, prng: &Prng) -> Self {
        Self {
            config,
            ports: Vec::new(),
            root: prng.clone(),
            to_devices: Noise { chance: prng.fork("to-devices") },
            to_controller: Noise { chance: prng.fork("to-controller") },
            down: VecDeque::new(),
            up: VecDeque::new(),
            arrived: Vec::new(),
            controller_busy: 0,
            counters: Counters::default(),
            moments: VecDeque::new(),
        }
    }

    /// Connects a device. Two at one address are allowed: they answer at once and spoil each other.
    pub fn connect(&mut self, device: Box<dyn Dispenser>) -> DeviceId {
        let id = DeviceId(self.ports.len());
        let chance = self.root.fork(&format!("device-{}", id.0));
        self.ports.push(Port { device, unplugged: false, babble: PerMillion::NEVER, chance, busy: 0 });
        id
    }

    /// Every device on the line.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &dyn Dispenser)> {
        self.ports.iter().enumerate().map(|(index, port)| (DeviceId(index), &*port.device))
    }

    /// A device. `None` if there is none by that number.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<&dyn Dispenser> {
        self.ports.get(id.0).map(|port| &*port.device)
    }

    /// A device to be changed, such as restored from its state file.
    pub fn device_mut(&mut self, id: DeviceId) -> Option<&mut dyn Dispenser> {
        match self.ports.get_mut(id.0) {
            Some(port) => Some(&mut *port.device),
            None => None,
        }
    }

    /// The first device at an address.
    #[must_use]
    pub fn find(&self, address: Address) -> Option<DeviceId> {
        self.ports.iter().position(|port| port.device.address() == address).map(DeviceId)
    }

    /// Someone does something at a device.
    pub fn act(&mut self, id: DeviceId, action: Action, now: Instant) {
        self.handle_timeout(now);
        if let Some(port) = self.ports.get_mut(id.0) {
            port.device.act(action, now);
            self.collect(id);
        }
    }

    /// Takes a device off the line or puts it back. It works on without the line.
    pub fn unplug(&mut self, id: DeviceId, unplugged: bool) {
        if let Some(port) = self.ports.get_mut(id.0) {
            port.unplugged = unplugged;
        }
    }

    /// Makes a device send noise after a frame of the controller, this often.
    pub fn babble(&mut self, id: DeviceId, in_slots: PerMillion) {
        if let Some(port) = self.ports.get_mut(id.0) {
            port.babble = in_slots;
        }
    }

    /// Changes what goes wrong.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.config.faults = faults;
    }

    /// How the line is laid now.
    #[must_use]
    pub const fn config(&self) -> &WireConfig {
        &self.config
    }

    /// Whether nothing goes wrong on it now: no noise, and every device has power, is connected and speaks only when asked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let sound = |port: &Port| !port.unplugged && port.babble == PerMillion::NEVER && port.device.pump().powered();
        self.config.faults == Faults::default() && self.ports.iter().all(sound)
    }

    /// What went over it.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Moments since this was last asked, oldest first.
    pub fn take_moments(&mut self) -> Vec<Marked> {
        self.moments.drain(..).collect()
    }

    /// The controller begins to send these bytes now, one frame of its protocol; they follow what it has sent and is not out yet.
    pub fn handle_bytes_from_controller(&mut self, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        let character = nanos(self.config.pace.character());
        for (nth, &byte) in (1..).zip(bytes) {
            let ends = nth == bytes.len();
            self.counters.bytes_from_controller += 1;
            let (spoilt, delay) =
                self.to_devices.spoil(byte, &self.config.faults, self.config.checks_parity, &mut self.counters);
            self.controller_busy = self.controller_busy.max(to_nanos(now)) + character + nanos(delay);
            for (copy, byte) in spoilt.into_iter().enumerate() {
                self.controller_busy += if copy == 0 { 0 } else { character };
                if let Some(sent) = self.collide(Character { at: self.controller_busy, byte, ends }, false) {
                    self.down.push_back(sent);
                    if self.config.echo {
                        self.insert_up(sent);
                    }
                }
            }
        }
    }

    /// When the wire wants to be looked at again: a character is complete, or something happens at a device.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Only the end of a frame can make a device answer; characters before it are told their own time when it comes.
        let down = self.down.iter().find(|sent| sent.ends).or(self.down.back());
        let up = self.up.front();
        let characters = [down, up].into_iter().flatten().map(|sent| from_nanos(sent.at)).min();
        let arrived = (!self.arrived.is_empty()).then_some(Instant::START);
        let devices = self.ports.iter().filter_map(|port| port.device.poll_timeout()).min();
        [characters, arrived, devices].into_iter().flatten().min()
    }

    /// Lets everything happen that is due, in order of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        loop {
            let down = self.down.front().map(|sent| (from_nanos(sent.at), 0));
            let up = self.up.front().map(|sent| (from_nanos(sent.at), 1));
            let devices = self.ports.iter().filter_map(|port| port.device.poll_timeout()).min().map(|due| (due, 2));
            let next = [down, up, devices].into_iter().flatten().min();
            match next.filter(|(due, _)| *due <= now) {
                None => return,
                Some((_, 0)) => self.deliver_down(),
                Some((_, 1)) => self.deliver_up(),
                Some((due, _)) => {
                    for index in 0..self.ports.len() {
                        self.ports[index].device.handle_timeout(due);
                        self.collect(DeviceId(index));
                    }
                }
            }
        }
    }

    /// The bytes that are complete at the controller, or `None`.
    pub fn poll_bytes_to_controller(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.handle_timeout(now);
        if self.arrived.is_empty() {
            return None;
        }
        self.counters.bytes_to_controller += self.arrived.len() as u64;
        Some(core::mem::take(&mut self.arrived))
    }

    fn deliver_down(&mut self) {
        let Some(sent) = self.down.pop_front() else { return };
        let at = from_nanos(sent.at);
        self.counters.frames_from_controller += u64::from(sent.ends);
        for index in 0..self.ports.len() {
            let port = &mut self.ports[index];
            if !port.unplugged {
                port.device.handle_byte(sent.byte, at);
            }
            self.collect(DeviceId(index));
            if sent.ends {
                self.babble_now(DeviceId(index), at);
            }
        }
    }

    fn deliver_up(&mut self) {
        let Some(sent) = self.up.pop_front() else { return };
        self.arrived.push(sent.byte);
    }

    fn mark(&mut self, marked: Marked) {
        if self.moments.len() == MOST_MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back(marked);
    }

    /// Takes what a device has to say.
    fn collect(&mut self, id: DeviceId) {
        while let Some((at, moment)) = self.ports[id.0].device.poll_moment() {
            self.mark(Marked { at, device: id, moment });
        }
        while let Some(transmission) = self.ports[id.0].device.poll_transmission() {
            if self.ports[id.0].unplugged {
                continue;
            }
            if self.ports[id.0].chance.chance(self.config.faults.silence) {
                self.counters.silenced += 1;
                continue;
            }
            self.counters.replies += 1;
            self.transmit(id, transmission);
        }
    }

    fn babble_now(&mut self, id: DeviceId, now: Instant) {
        let port = &mut self.ports[id.0];
        if !port.chance.chance(port.babble) {
            return;
        }
        let length = 1 + port.chance.below(8);
        let bytes: Vec<u8> = (0..length).map(|_| port.chance.byte()).collect();
        let at = now + port.chance.between(Duration::ZERO, Duration::from_millis(10));
        self.counters.babbled += 1;
        self.transmit(id, Transmission { at, bytes, moment: None });
    }

    fn transmit(&mut self, id: DeviceId, transmission: Transmission) {
        let character = nanos(self.config.pace.character());
        let port = &mut self.ports[id.0];
        let mut bytes = VecDeque::from(transmission.bytes);
        let mut start = to_nanos(transmission.at).max(port.busy);
        if port.chance.chance(self.config.faults.junk) {
            self.counters.junk += 1;
            for _ in 0..=port.chance.below(2) {
                bytes.push_front(*port.chance.pick(&TURNAROUND_JUNK));
            }
        }
        for byte in bytes {
            let (spoilt, delay) =
                self.to_controller.spoil(byte, &self.config.faults, self.config.checks_parity, &mut self.counters);
            start += character + nanos(delay);
            for (copy, byte) in spoilt.into_iter().enumerate() {
                start += if copy == 0 { 0 } else { character };
                if let Some(sent) = self.collide(Character { at: start, byte, ends: false }, true) {
                    self.insert_up(sent);
                }
            }
        }
        if let Some(moment) = transmission.moment {
            self.mark(Marked { at: from_nanos(start), device: id, moment });
        }
        self.ports[id.0].busy = start;
    }

    /// Puts a character on its way to the controller, in order of time.
    fn insert_up(&mut self, sent: Character) {
        let at = self.up.partition_point(|other| other.at <= sent.at);
        self.up.insert(at, sent);
    }

    /// Two characters at once spoil each other: a line carries a 1 only where nobody sends 0. The controller's own characters
    /// follow one another and are compared with those of devices only. `None` if another on its way up has swallowed it.
    fn collide(&mut self, mut sent: Character, from_device: bool) -> Option<Character> {
        let character = nanos(self.config.pace.character());
        let overlaps = |other: &&mut Character| other.at.abs_diff(sent.at) < character;
        let (mut swallowed, mut byte) = (false, sent.byte);
        for other in self.up.iter_mut().filter(overlaps) {
            byte &= other.byte;
            other.byte = byte;
            swallowed = from_device;
            self.counters.collisions += 1;
        }
        for other in self.down.iter_mut().filter(|_| from_device).filter(overlaps) {
            byte &= other.byte;
            other.byte = byte;
            self.counters.collisions += 1;
        }
        sent.byte = byte;
        (!swallowed).then_some(sent)
    }
}

#[cfg(test)]
mod tests;
