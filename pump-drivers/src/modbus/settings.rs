//! What a site says about a device with a register map, beside its head, and how its line is set.

use super::profile::{Kind, Profile, Role};
use super::wire::Framing;
use crate::head::{HeadSettings, Rules};
use crate::line::LineSettings;
use core::time::Duration;
use std::sync::Arc;

/// Units of the standard, and 255 where LC boards are delivered (Modbus sheet, section 4). What a price may be is the profile's matter.
pub const RULES: Rules = Rules { addresses: 1..=255, most_nozzles: 4, price_digits: 10 };

/// Habits of one device on a Modbus line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Habits {
    /// Its register map.
    pub profile: Arc<Profile>,
    /// RTU, also behind a serial device server, or Modbus TCP.
    pub framing: Framing,
    /// First transaction number over TCP: another one for each link, so that an answer of the last link is never taken.
    pub first_transaction: u16,
    /// How long a command may take to show its result.
    pub slow_effect: Duration,
    /// How often fault, heartbeat and the totalisers of a collecting map are read.
    pub slow_poll: Duration,
}

impl Habits {
    /// The usual habits with a profile.
    #[must_use]
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            framing: Framing::Rtu,
            first_transaction: 0,
            slow_effect: Duration::from_secs(5),
            slow_poll: Duration::from_secs(2),
        }
    }

    /// What a head asks of the profile that it does not have; empty if nothing.
    #[must_use]
    pub fn problems(&self, head: &HeadSettings) -> Vec<String> {
        let lacking = self.lacking(head.nozzles.len());
        lacking.into_iter().map(|problem| format!("fp {}: {problem}", head.fp)).collect()
    }

    /// What a head with so many nozzles asks of the profile that it does not have; empty if nothing.
    #[must_use]
    pub fn lacking(&self, nozzles: usize) -> Vec<String> {
        let profile = &self.profile;
        let mut problems = Vec::new();
        if matches!(profile.kind, Kind::Pulses | Kind::Outputs) {
            let text = format!(
                "profile \"{}\" is no dispenser's: a counter of kind pulses and a board of kind outputs make one",
                profile.name
            );
            problems.push(text);
        }
        if nozzles > 1 && profile.kind == Kind::Dispenser {
            if !profile.has(Role::Nozzle) {
                problems.push(format!("{nozzles} nozzles, and the map has no point nozzle"));
            }
            let lacking = Role::TOTALS.iter().take(nozzles).filter(|role| !profile.has(**role));
            problems.extend(lacking.map(|role| format!("the map lacks {} for its nozzles", role.word())));
        }
        problems
    }
}

/// A line with Modbus RTU: 9600 8N1, and a late answer is listened out for as long as the slowest device seen takes (Modbus sheet,
/// section 1; a gauge answers within 500 ms).
#[must_use]
pub fn line_settings() -> LineSettings {
    LineSettings {
        bits_per_char: 10,
        // 3.5 characters at 9600
        pause_before_send: Duration::from_millis(4),
        answer_window: Duration::from_millis(500),
        listen_out: Duration::from_millis(500),
        longest_answer: 260,
        ..LineSettings::default()
    }
}

/// A link with Modbus TCP, or RTU over TCP: no pause, and an answer is told by its transaction number or listened out.
#[must_use]
pub fn tcp_settings(framing: Framing) -> LineSettings {
    let listen_out = if framing == Framing::Tcp { Duration::from_millis(20) } else { Duration::from_millis(1_000) };
    LineSettings {
        baud: 115_200,
        pause_before_send: Duration::ZERO,
        answer_window: Duration::from_millis(1_000),
        inter_byte_gap: Duration::from_millis(200),
        listen_out,
        ..line_settings()
    }
}
