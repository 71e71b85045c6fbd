//! What simulated lines speak: how their dispensers are built and addressed, and what the daemon's configuration says of them.

use crate::dispenser::dart::{DartConfig, DartDispenser};
use crate::dispenser::gaskitlink::{GasKitLinkConfig, GasKitLinkDispenser};
use crate::dispenser::modbus::frame::Framing;
use crate::dispenser::modbus::{ModbusConfig, ModbusDispenser};
use crate::dispenser::physics::PumpConfig;
use crate::dispenser::two_wire::{TwoWireConfig, TwoWireDispenser};
use crate::dispenser::{Address, Dispenser, dart, gaskitlink, modbus, two_wire};
use crate::serve::Parity;
use crate::wire::Pace;
use core::time::Duration;
use pump_drivers::protocol::Protocol;

/// The usual time from the last bit heard to the first bit sent.
#[must_use]
pub const fn turnaround(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Dart => DartConfig::TURNAROUND,
        Protocol::GasKitLink => GasKitLinkConfig::TURNAROUND,
        Protocol::TwoWire => TwoWireConfig::TURNAROUND,
        Protocol::Modbus => ModbusConfig::TURNAROUND,
    }
}

/// Characters of the line at a rate in bits a second; that of the protocol if none is given.
#[must_use]
pub fn pace(protocol: Protocol, baud: Option<u32>) -> Pace {
    let usual = protocol.line_settings();
    Pace::characters(baud.unwrap_or(usual.baud), usual.bits_per_char.into())
}

/// Parity of a real serial port.
#[must_use]
pub const fn parity(protocol: Protocol) -> Parity {
    match protocol {
        Protocol::Dart => Parity::Odd,
        Protocol::GasKitLink | Protocol::Modbus => Parity::None,
        Protocol::TwoWire => Parity::Even,
    }
}

/// Whether the parity bit is all that guards a byte: two-wire words stand alone.
#[must_use]
pub const fn checks_parity(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TwoWire)
}

/// What the daemon's configuration says of a line whose adapter returns what is sent.
pub const STRIPS_ECHO: &str = "echo = \"strip\"";

/// Whether the adapter returns what the controller sends: on the current loop of two-wire everybody hears everything.
#[must_use]
pub const fn echoes(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TwoWire)
}

/// The address of the nth dispenser on a line, from 0.
#[must_use]
pub fn address(protocol: Protocol, nth: u8) -> Address {
    Address(*protocol.rules().addresses.start() + nth)
}

/// A dispenser of the common kind; the framing is that of Modbus.
#[must_use]
pub fn dispenser(
    protocol: Protocol,
    address: Address,
    turnaround: Duration,
    framing: Framing,
    pump: PumpConfig,
) -> Box<dyn Dispenser> {
    match protocol {
        Protocol::Dart => {
            let quirks = dart::quirks::Quirks::default();
            Box::new(DartDispenser::new(DartConfig { address, turnaround, quirks, pump }))
        }
        Protocol::GasKitLink => {
            let quirks = gaskitlink::quirks::Quirks::default();
            Box::new(GasKitLinkDispenser::new(GasKitLinkConfig { address, turnaround, quirks, pump }))
        }
        Protocol::TwoWire => {
            let quirks = two_wire::quirks::Quirks::default();
            Box::new(TwoWireDispenser::new(TwoWireConfig { address, turnaround, quirks, pump }))
        }
        Protocol::Modbus => {
            let quirks = modbus::quirks::Quirks::default();
            Box::new(ModbusDispenser::new(ModbusConfig { address, turnaround, framing, quirks, pump }))
        }
    }
}

/// Keys of a dispenser in the daemon's configuration that only this protocol has, a line each.
#[must_use]
pub const fn keys(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Dart | Protocol::GasKitLink | Protocol::TwoWire => "",
        Protocol::Modbus => "profile = \"generic-dispenser\"\n",
    }
}

/// What the lines of a station speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buses {
    /// All the same.
    Only(Protocol),
    /// A line of each kind.
    Mixed,
}

impl Buses {
    /// The word for a line of each kind.
    const MIXED: &'static str = "mixed";

    /// From the word on a command line.
    ///
    /// # Errors
    /// The words there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        let known = Protocol::ALL.into_iter().find(|(known, _)| *known == word);
        match known {
            Some((_, protocol)) => Ok(Self::Only(protocol)),
            None if word == Self::MIXED => Ok(Self::Mixed),
            None => {
                let words: Vec<&str> = Protocol::ALL.iter().map(|(word, _)| *word).collect();
                Err(format!("expected {} or {}", words.join(", "), Self::MIXED))
            }
        }
    }
}

/// From the word of one protocol on a command line.
///
/// # Errors
/// The words there are.
pub fn one(word: &str) -> Result<Protocol, String> {
    match Buses::parse(word)? {
        Buses::Only(protocol) => Ok(protocol),
        Buses::Mixed => Err("one line speaks one protocol".into()),
    }
}
