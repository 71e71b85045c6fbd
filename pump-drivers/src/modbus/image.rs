//! What was last read of a device, by role, in our units.

use super::point::Raw;
use super::profile::{Block, Profile, Role};
use super::wire::Answer;
use std::collections::BTreeMap;

/// What the state point tells (Modbus sheet, section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// At rest.
    Idle,
    /// A nozzle is out.
    Calling,
    /// Released, no fuel yet.
    Authorised,
    /// Fuel flows or may flow.
    Fuelling,
    /// Held by us.
    Paused,
    /// Fuelled to an end.
    Finished,
    /// Out of order.
    Fault,
}

impl Doing {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "idle" => Self::Idle,
            "calling" => Self::Calling,
            "authorised" => Self::Authorised,
            "fuelling" => Self::Fuelling,
            "paused" => Self::Paused,
            "finished" => Self::Finished,
            "fault" => Self::Fault,
            _ => return None,
        })
    }

    /// Whether a release is in force.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(self, Self::Authorised | Self::Fuelling | Self::Paused)
    }
}

/// Values by role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    values: BTreeMap<Role, Option<Raw>>,
}

impl Image {
    /// Takes the answer to a block. False where it is none to it.
    pub fn take(&mut self, profile: &Profile, block: &Block, answer: &Answer) -> bool {
        let words: Vec<u16> = match answer {
            Answer::Registers(words) => words.clone(),
            Answer::Bits(bits) => bits.iter().map(|bit| u16::from(*bit)).collect(),
            Answer::Written | Answer::Exception(_) => return false,
        };
        for (role, at) in &block.holds {
            let raw = profile.point(*role).and_then(|point| point.raw(words.get(*at..)?));
            self.values.insert(*role, raw);
        }
        true
    }

    /// Takes over what another has read.
    pub fn update(&mut self, newer: Self) {
        self.values.extend(newer.values);
    }

    /// A count; `None` where it was not read or is no reading.
    #[must_use]
    pub fn raw(&self, role: Role) -> Option<Raw> {
        self.values.get(&role).copied().flatten()
    }

    /// A value in the unit of its role.
    #[must_use]
    pub fn units(&self, profile: &Profile, role: Role) -> Option<i64> {
        profile.point(role)?.units(self.raw(role)?)
    }

    /// What the device does, or the count that has no word.
    ///
    /// # Errors
    /// The count that the profile has no word for; `None` where nothing was read.
    pub fn doing(&self, profile: &Profile) -> Result<Doing, Option<Raw>> {
        let raw = self.raw(Role::State).ok_or(None)?;
        profile.point(Role::State).and_then(|point| Doing::of(point.word(raw)?)).ok_or(Some(raw))
    }
}
