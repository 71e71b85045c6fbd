//! Frames of the GasKitLink line as a post hears and sends them. GasKitLink sheet, sections 1 and 2.

use core::time::Duration;
use forecourt::time::Instant;

/// The address that every post hears, for the channel command only.
pub const CHANNEL: u16 = 0;
const BEGIN: u8 = 0x02;
/// Silence after which a frame begins anew (section 2). The sheet asks it of the host; a post does no worse by it.
const GAP: Duration = Duration::from_millis(20);
/// Begin mark, two bytes of address, check byte.
const AROUND: usize = 4;

/// A frame from the host whose check byte is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// For whom.
    pub address: u16,
    /// Command letter and data.
    pub body: Vec<u8>,
    /// The bytes as they came.
    pub raw: Vec<u8>,
}

fn check(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// A frame around a command or a reply.
#[must_use]
pub fn frame(address: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![BEGIN];
    bytes.extend(address.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.push(check(&bytes[1..]));
    bytes
}

/// Letter and data of a command by its letter, for nothing else tells its length (section 3).
const fn length(letter: u8) -> Option<usize> {
    Some(match letter {
        b'S' | b'L' | b'R' | b'T' | b'N' | b'B' | b'G' => 1,
        b'C' => 2,
        b'Z' | b'D' => 3,
        b'W' => 7,
        b'V' | b'M' => 14,
        _ => return None,
    })
}

/// Cuts what comes down the line into frames. After anything that is none it is deaf until the line falls silent.
#[derive(Debug, Default)]
pub struct Receiver {
    raw: Vec<u8>,
    deaf: bool,
    last: Instant,
}

impl Receiver {
    /// Takes a byte. Returns the frame that it completes.
    pub fn push(&mut self, byte: u8, now: Instant) -> Option<Heard> {
        if now.since(self.last) > GAP {
            self.raw.clear();
            self.deaf = false;
        }
        self.last = now;
        if self.deaf {
            return None;
        }
        self.raw.push(byte);
        let whole = match self.raw[..] {
            [BEGIN, _, _, letter, ..] => length(letter).map(|length| length + AROUND),
            [BEGIN, ..] => return None,
            _ => None,
        };
        let Some(whole) = whole else {
            self.deaf = true;
            return None;
        };
        if self.raw.len() < whole {
            return None;
        }
        let raw = core::mem::take(&mut self.raw);
        if check(&raw[1..]) != 0 {
            self.deaf = true;
            return None;
        }
        let address = u16::from_be_bytes([raw[1], raw[2]]);
        Some(Heard { address, body: raw[3..raw.len() - 1].to_vec(), raw })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(receiver: &mut Receiver, bytes: &[u8], at: u64) -> Vec<Heard> {
        bytes.iter().filter_map(|byte| receiver.push(*byte, Instant::from_micros(at))).collect()
    }

    #[test]
    fn a_check_byte_of_02_or_00_ends_a_frame_and_begins_none() {
        let mut receiver = Receiver::default();
        // 00 51 xor 53 is 02; 00 53 xor 53 is 00.
        for address in [0x51, 0x53] {
            let bytes = frame(address, b"S");
            assert!(matches!(bytes.last(), Some(0x02 | 0x00)));
            assert_eq!(hear(&mut receiver, &[bytes.clone(), bytes].concat(), 0).len(), 2);
        }
    }

    #[test]
    fn after_a_damaged_frame_nothing_is_heard_until_the_line_is_silent() {
        let mut receiver = Receiver::default();
        let good = frame(1, b"S");
        assert!(hear(&mut receiver, &[0x02, 0x00, 0x01, 0x53, 0x53], 0).is_empty());
        assert!(hear(&mut receiver, &good, 20_000).is_empty());
        assert_eq!(hear(&mut receiver, &good, 40_001).len(), 1);
        assert!(hear(&mut receiver, &[0x98], 50_000).is_empty());
        assert!(hear(&mut receiver, &good, 60_000).is_empty(), "junk before a frame spoils it");
        assert_eq!(hear(&mut receiver, &good, 90_000).len(), 1);
    }
}
