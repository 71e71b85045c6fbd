//! What a [`crate::line::Line`] asks of the driver of one fuelling point.
//!
//! The line owns the wire: whose turn it is, deadlines, echo, quiet. The driver owns the talk with one device: what to say next and
//! what an answer means. What the device can do is data ([`Capabilities`]). An address that is polled byte by byte, a register map
//! and a device that only talks by itself all fit: the driver decides what one exchange is and when its answer is complete.

use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, PumpCommand, PumpEvent};
use forecourt::time::Instant;

/// How much a driver wants the wire. Later ones go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// Never: the device speaks by itself.
    Silent,
    /// A poll in its turn; all at rest.
    Idle,
    /// A poll in its turn, before the idle ones: a nozzle is out or fuel flows.
    Active,
    /// A release or the end of a fuelling is under way: the driver wants one exchange after another.
    Sequence,
    /// It owes the device the answer to what that just said.
    Answer,
    /// Stop or suspend: only the frame in flight goes before.
    Stop,
}

/// What comes back on an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// An answer.
    Answer,
    /// Nothing: the next exchange may follow at once.
    Nothing,
}

/// Bytes to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The whole frame.
    pub bytes: Vec<u8>,
    /// What to wait for.
    pub expect: Expect,
}

/// How far an answer has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes belong to it, or it was preceded by noise that is skipped.
    Incomplete,
    /// Good, complete and taken in. `used` of the bytes just given belong to it.
    Complete {
        /// Count of bytes.
        used: usize,
    },
    /// A frame came out bad. A good one may still follow.
    Garbage(String),
}

/// The talk with one fuelling point. Time is always an argument.
pub trait Driver: Send {
    /// Which fuelling point.
    fn fp(&self) -> FuellingPointId;

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// A word of the core.
    fn handle_command(&mut self, command: PumpCommand, now: Instant);

    /// The port was opened or is gone.
    fn handle_link(&mut self, up: bool, now: Instant);

    /// How much it wants the wire now.
    fn urgency(&self, now: Instant) -> Urgency;

    /// Where [`Urgency::Silent`] is only a rest between polls: until when. `None` where the device speaks by itself.
    fn silent_until(&self) -> Option<Instant> {
        None
    }

    /// Until when nobody else should speak, because what the device just said is about to be answered.
    fn holds_wire_until(&self) -> Option<Instant> {
        None
    }

    /// The next exchange, or `None` if there is nothing to say.
    fn next_exchange(&mut self, now: Instant) -> Option<Exchange>;

    /// Whether the answer to the exchange just given tells by itself whose it is, so that a late one can be taken for nobody else's.
    fn answer_is_marked(&self) -> bool {
        true
    }

    /// New bytes of the answer to the last exchange.
    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress;

    /// No complete answer came to the last exchange.
    fn handle_silence(&mut self, now: Instant);

    /// Bytes that nobody asked for. True if they bear this device's mark.
    fn handle_unasked(&mut self, bytes: &[u8], now: Instant) -> bool {
        let _ = (bytes, now);
        false
    }

    /// What there is to report.
    fn poll_event(&mut self) -> Option<PumpEvent>;
}
