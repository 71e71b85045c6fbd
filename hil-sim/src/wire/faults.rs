//! What goes wrong on a line, and the count of it.

use crate::prng::{PerMillion, Prng};
use core::time::Duration;

/// Bytes seen before a good reply, from a line turning round (DART sheet, section 1).
pub(super) const TURNAROUND_JUNK: [u8; 15] =
    [0x98, 0xB8, 0xB9, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xDC, 0xDE, 0xEE, 0xF8, 0xFC, 0xFE, 0xFF];

/// What goes wrong on a line, in millionths; all zero by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// A bit is flipped; per bit, both ways.
    pub bit_flip: PerMillion,
    /// A byte is lost; per byte, both ways.
    pub drop: PerMillion,
    /// A byte comes twice; per byte, both ways.
    pub double: PerMillion,
    /// A byte, and what follows it, is late; per byte, both ways.
    pub late: PerMillion,
    /// How late.
    pub late_by: Duration,
    /// One or two bytes of junk come before a reply; per reply.
    pub junk: PerMillion,
    /// A reply is lost as a whole; per reply.
    pub silence: PerMillion,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            bit_flip: PerMillion::NEVER,
            drop: PerMillion::NEVER,
            double: PerMillion::NEVER,
            late: PerMillion::NEVER,
            late_by: Duration::from_millis(30),
            junk: PerMillion::NEVER,
            silence: PerMillion::NEVER,
        }
    }
}

/// What went over a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Bytes that the controller sent.
    pub bytes_from_controller: u64,
    /// Bytes that the controller was given.
    pub bytes_to_controller: u64,
    /// Frames of the controller whose last byte was not lost; a frame is what it says at once.
    pub frames_from_controller: u64,
    /// Replies of devices.
    pub replies: u64,
    /// Bytes with a flipped bit.
    pub flipped: u64,
    /// Bytes lost.
    pub dropped: u64,
    /// Bytes that came twice.
    pub doubled: u64,
    /// Bytes late.
    pub late: u64,
    /// Replies with junk before them.
    pub junk: u64,
    /// Replies lost as a whole.
    pub silenced: u64,
    /// Bursts of noise.
    pub babbled: u64,
    /// Bytes spoilt because two spoke at once.
    pub collisions: u64,
}

/// Spoils the bytes of one direction.
pub(super) struct Noise {
    pub(super) chance: Prng,
}

impl Noise {
    /// What becomes of one byte: the bytes that arrive and the delay of this and what follows. Who `checks` parity is given no byte in
    /// which an odd number of bits is flipped.
    pub(super) fn spoil(
        &mut self,
        byte: u8,
        faults: &Faults,
        checks: bool,
        counters: &mut Counters,
    ) -> (Vec<u8>, Duration) {
        let mask = (0..8).filter(|_| self.chance.chance(faults.bit_flip)).fold(0_u8, |mask, bit| mask | 1 << bit);
        counters.flipped += u64::from(mask != 0);
        let refused = checks && mask.count_ones() % 2 == 1;
        if self.chance.chance(faults.drop) || refused {
            counters.dropped += 1;
            return (Vec::new(), Duration::ZERO);
        }
        let delay = if self.chance.chance(faults.late) {
            counters.late += 1;
            faults.late_by
        } else {
            Duration::ZERO
        };
        let mut bytes = vec![byte ^ mask];
        if self.chance.chance(faults.double) {
            counters.doubled += 1;
            bytes.push(byte ^ mask);
        }
        (bytes, delay)
    }
}
