//! Simulated dispensers: the pump ([`physics`]) and before it the device side of a protocol, written from its sheet alone.

pub mod calculator;
pub mod dart;
pub mod flow;
pub mod gaskitlink;
pub mod modbus;
pub mod physics;
pub mod record;
pub mod two_wire;

use calculator::{AmountDigits, VolumeDigits};
use forecourt::time::Instant;
use physics::{Pump, Totalisers};
use record::{Moment, Violation};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A nozzle of one dispenser, counted from 1 in the order of its head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NozzleIndex(pub u8);

/// The address byte of a device on its line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub u8);

/// Volume and amount as a head shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Volume digits.
    pub volume: VolumeDigits,
    /// Amount digits.
    pub amount: AmountDigits,
}

/// What people do to a dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Takes a nozzle out and squeezes it.
    Lift(NozzleIndex),
    /// Hangs up whatever is out.
    HangUp,
    /// Squeezes the trigger, or lets it go with the nozzle still out.
    Squeeze(bool),
    /// Switches power.
    Power(bool),
    /// The head raises an alarm of its own, by the code of its protocol.
    Alarm(u8),
    /// Someone releases one fuelling with the key at the pump, past the controller. Its record names no frame.
    ReleaseByHand,
}

/// The state of a dispenser in words that fit any protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// No power, or switched off.
    Off,
    /// No prices yet.
    NotProgrammed,
    /// At rest, nozzles in.
    Idle,
    /// A nozzle is out and not released.
    Calling,
    /// Released, no fuel yet.
    Released,
    /// Fuel flows or may flow.
    Fuelling,
    /// Held by the controller.
    Suspended,
    /// Fuelled to an end, the nozzle still out.
    Finished,
}

/// What a customer sees of a dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// State.
    pub condition: Condition,
    /// The nozzle that is out.
    pub nozzle_out: Option<NozzleIndex>,
    /// The display.
    pub figures: Figures,
    /// Fuel flows now.
    pub flowing: bool,
}

/// Bytes that a device puts on the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// When the first bit goes out.
    pub at: Instant,
    /// What goes out.
    pub bytes: Vec<u8>,
    /// To be noted when the last byte is out.
    pub moment: Option<Moment>,
}

/// The device side of any protocol: bytes and acts in with their time, bytes out with theirs.
pub trait Dispenser: Send {
    /// Its address on the line.
    fn address(&self) -> Address;
    /// A byte from the controller, for whichever device, complete at `now`.
    fn handle_byte(&mut self, byte: u8, now: Instant);
    /// Someone does something.
    fn act(&mut self, action: Action, now: Instant);
    /// Lets time pass.
    fn handle_timeout(&mut self, now: Instant);
    /// When something happens by itself.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next bytes to send.
    fn poll_transmission(&mut self) -> Option<Transmission>;
    /// The next moment worth noting.
    fn poll_moment(&mut self) -> Option<(Instant, Moment)>;
    /// The pump behind it.
    fn pump(&self) -> &Pump;
    /// Its state in words.
    fn condition(&self) -> Condition;
    /// Complete frames that were for it.
    fn frames_heard(&self) -> u64;
    /// What the controller did wrong.
    fn violations(&self) -> &[Violation];
    /// Puts totalisers back as a state file has them.
    fn restore(&mut self, kept: &Totalisers);

    /// What a customer sees at a time.
    fn view(&self, now: Instant) -> View {
        let pump = self.pump();
        View {
            condition: self.condition(),
            nozzle_out: pump.nozzle_out(),
            figures: pump.figures(now),
            flowing: pump.is_flowing(),
        }
    }
}

/// Moments in the order they came.
pub(crate) type Moments = VecDeque<(Instant, Moment)>;
