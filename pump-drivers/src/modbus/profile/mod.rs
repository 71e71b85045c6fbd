//! A profile: the register map of one kind of device, read from TOML. A new device needs a profile and no release.
//!
//! `profiles/modbus/generic-dispenser.toml` shows every key. The points are those of the Modbus sheet, section 6, and the roles of
//! relay and pulse boards of its sections 3 and 4.

mod check;
mod read;
mod role;
mod walk;

pub use role::Role;
pub use walk::Problem;

use super::point::Point;
use core::time::Duration;
use std::collections::BTreeMap;

/// What a map is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A dispenser that is released.
    Dispenser,
    /// Read for its records or totals; never written to but for the acknowledgement of a record.
    Collect,
    /// A pulse counter behind a pump without a head of its own.
    Pulses,
    /// A board of relays and inputs.
    Outputs,
}

/// How a device is reached, as its makers deliver it. Hints: the line's own settings count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wiring {
    /// Bits per second.
    pub baud: u32,
    /// Parity bit.
    pub parity: Parity,
    /// The longest that it takes to answer.
    pub answer: Duration,
}

/// Parity bit of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// None, as nearly all boards are delivered.
    None,
    /// Even, as the standard has it.
    Even,
    /// Odd.
    Odd,
}

/// What one request may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Registers a read, at most 125.
    pub read: u16,
    /// Registers a write, at most 123.
    pub write: u16,
    /// Registers of no point that a read may run over.
    pub gap: u16,
    /// Functions that the device knows.
    pub functions: Vec<u8>,
}

/// A register map that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// For people.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// How it is reached.
    pub wiring: Wiring,
    /// What one request may be.
    pub limits: Limits,
    /// The limit of a fuelling may be kept by closing the valve, which the device itself does not.
    pub close_at_limit: bool,
    points: BTreeMap<Role, Point>,
}

/// Points that one request reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The question.
    pub question: super::wire::Question,
    /// What its answer holds, with the place in it.
    pub holds: Vec<(Role, usize)>,
}

/// Points that follow one another, their first address and the one behind the last.
type Run<'p> = (Vec<(Role, &'p Point)>, u16, u32);

/// The profiles that come with the daemon, by the name that a configuration gives.
pub const SHIPPED: [(&str, &str); 4] = [
    ("generic-dispenser", include_str!("../../../../profiles/modbus/generic-dispenser.toml")),
    ("gas-column-p1", include_str!("../../../../profiles/modbus/gas-column-p1.toml")),
    ("pulse-valve-p2", include_str!("../../../../profiles/modbus/pulse-valve-p2.toml")),
    ("relay-board-p3", include_str!("../../../../profiles/modbus/relay-board-p3.toml")),
];

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// Every problem, in the order of the text, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        read::parse(text)
    }

    /// The point of a role.
    #[must_use]
    pub fn point(&self, role: Role) -> Option<&Point> {
        self.points.get(&role)
    }

    /// Whether it has a point for a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.points.contains_key(&role)
    }

    /// Whether the device knows a function.
    #[must_use]
    pub fn knows(&self, function: u8) -> bool {
        self.limits.functions.contains(&function)
    }

    /// The fewest requests that read these roles, each within the limits; roles without a point are left out.
    #[must_use]
    pub fn blocks(&self, roles: &[Role]) -> Vec<Block> {
        let mut wanted: Vec<(Role, &Point)> =
            roles.iter().filter_map(|role| Some((*role, self.points.get(role)?))).collect();
        wanted.sort_by_key(|(_, point)| (point.area, point.address));
        let mut blocks: Vec<Run<'_>> = Vec::new();
        for (role, point) in wanted {
            let gap = if point.area.is_bits() { 16 } else { self.limits.gap };
            let fits = |(held, start, end): &&mut Run<'_>| {
                held[0].1.area == point.area
                    && u32::from(point.address) <= *end + u32::from(gap)
                    && point.end().max(*end) - u32::from(*start) <= u32::from(self.limits.read)
            };
            match blocks.last_mut().filter(fits) {
                Some((held, _, end)) => {
                    held.push((role, point));
                    *end = (*end).max(point.end());
                }
                None => blocks.push((vec![(role, point)], point.address, point.end())),
            }
        }
        blocks
            .into_iter()
            .map(|(held, start, end)| Block {
                question: super::wire::Question::Read {
                    area: held[0].1.area,
                    address: start,
                    count: u16::try_from(end - u32::from(start)).unwrap_or(u16::MAX),
                },
                holds: held.into_iter().map(|(role, point)| (role, usize::from(point.address - start))).collect(),
            })
            .collect()
    }
}
