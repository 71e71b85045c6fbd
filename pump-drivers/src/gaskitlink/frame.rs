//! GasKitLink frames: address, letter, length by letter, check byte (GasKitLink sheet, section 2).
//!
//! ```text
//! 02 | address hi | address lo | letter, data (ASCII) | XOR from the address to the last data byte
//! ```
//!
//! There is no length and no end mark, and the check byte may be 02: once a frame came out bad, only silence begins a new one.

use crate::hex::Direction;
use core::ops::RangeInclusive;

/// Low bytes of the addresses of posts; the high byte is 0.
pub const ADDRESSES: RangeInclusive<u8> = 0x01..=0x20;
/// First byte of a frame.
pub const BEGIN: u8 = 0x02;
/// Longest reply: that to T.
pub const LONGEST_REPLY: usize = 27;

/// A frame whose check byte is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Whom the host speaks to, or who answers.
    pub address: u16,
    /// Letter and data.
    pub body: Vec<u8>,
    /// Who speaks; `None` where the length fits both.
    pub direction: Option<Direction>,
}

/// Why bytes are no frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing.
    #[error("no bytes")]
    Empty,
    /// Not the first byte of a frame.
    #[error("begins with {0:02X}: a frame begins with 02")]
    NoBegin(u8),
    /// Without its letter nothing is known of the length.
    #[error("the letter {0:02X} is none of this protocol")]
    Letter(u8),
    /// Ends too early.
    #[error("cut: {0} bytes are no whole frame")]
    Cut(usize),
    /// Goes on too long.
    #[error("{0} bytes after the end of the frame")]
    Surplus(usize),
    /// Damaged.
    #[error("check byte {stated:02X}, the bytes give {right:02X}")]
    Check {
        /// As it came.
        stated: u8,
        /// As it should be.
        right: u8,
    },
}

fn check(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// A frame around letter and data.
#[must_use]
pub fn encode(address: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![BEGIN];
    bytes.extend(address.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.push(check(&bytes[1..]));
    bytes
}

/// Bytes of a whole frame by its letter and who speaks (sections 2 and 3).
const fn length(letter: u8, direction: Direction) -> Option<usize> {
    Some(match (direction, letter) {
        (Direction::Controller, b'S' | b'L' | b'R' | b'T' | b'N' | b'B' | b'G') => 5,
        (Direction::Controller, b'C') => 6,
        (Direction::Controller, b'Z' | b'D') | (Direction::Pump, b'S' | b'D') => 7,
        (Direction::Controller, b'W') | (Direction::Pump, b'Z') => 11,
        (Direction::Pump, b'L' | b'R') => 15,
        (Direction::Pump, b'C') => 16,
        (Direction::Controller, b'V' | b'M') => 18,
        (Direction::Pump, b'T') => LONGEST_REPLY,
        _ => return None,
    })
}

/// Reads one whole frame. Without a direction the length tells who speaks.
///
/// # Errors
/// Why the bytes are no frame.
pub fn decode(bytes: &[u8], direction: Option<Direction>) -> Result<Frame, Refused> {
    let mut receiver = Receiver::new(direction);
    for (at, byte) in bytes.iter().enumerate() {
        match receiver.push(*byte) {
            Step::More => {}
            Step::Frame(frame) if at + 1 == bytes.len() => return Ok(frame),
            Step::Frame(_) => return Err(Refused::Surplus(bytes.len() - at - 1)),
            Step::Bad(why) => return Err(why),
        }
    }
    Err(receiver.silence().map_or(Refused::Empty, |(why, _)| why))
}

/// What one byte did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// More bytes belong to the frame, or the line must fall silent first.
    More,
    /// A good frame is complete.
    Frame(Frame),
    /// What came so far is no frame; all until silence is skipped.
    Bad(Refused),
}

/// Cuts a stream into frames.
#[derive(Clone, Debug)]
pub struct Receiver {
    direction: Option<Direction>,
    bytes: Vec<u8>,
    spoilt: Option<Refused>,
}

impl Receiver {
    /// At the start of a stream of who speaks; `None` for both. The addresses of posts keep a reply that is not complete from looking
    /// like a request.
    #[must_use]
    pub const fn new(direction: Option<Direction>) -> Self {
        Self { direction, bytes: Vec::new(), spoilt: None }
    }

    /// Takes a byte.
    pub fn push(&mut self, byte: u8) -> Step {
        self.bytes.push(byte);
        if self.spoilt.is_some() {
            // what is skipped is kept to be shown, but not without end
            self.bytes.truncate(LONGEST_REPLY * 4);
            return Step::More;
        }
        match self.judge() {
            Ok(None) => Step::More,
            Ok(Some(frame)) => {
                self.bytes.clear();
                Step::Frame(frame)
            }
            Err(why) => {
                self.spoilt = Some(why.clone());
                Step::Bad(why)
            }
        }
    }

    /// The line fell silent, or the stream ends: what was left unfinished, and why it is no frame.
    pub fn silence(&mut self) -> Option<(Refused, Vec<u8>)> {
        let bytes = core::mem::take(&mut self.bytes);
        let why = self.spoilt.take().unwrap_or(Refused::Cut(bytes.len()));
        (!bytes.is_empty()).then_some((why, bytes))
    }

    fn judge(&self) -> Result<Option<Frame>, Refused> {
        let (hi, lo, letter) = match self.bytes[..] {
            [BEGIN, hi, lo, letter, ..] => (hi, lo, letter),
            [] | [BEGIN, ..] => return Ok(None),
            [other, ..] => return Err(Refused::NoBegin(other)),
        };
        let by = |direction: Direction| {
            length(letter, direction).filter(|_| self.direction.is_none_or(|only| only == direction))
        };
        let (request, reply) = (by(Direction::Controller), by(Direction::Pump));
        let count = self.bytes.len();
        let Some(longest) = request.max(reply) else { return Err(Refused::Letter(letter)) };
        let (stated, right) = (self.bytes[count - 1], check(&self.bytes[1..count - 1]));
        let direction = match (request == Some(count), reply == Some(count)) {
            (true, false) => Some(Direction::Controller),
            (false, true) => Some(Direction::Pump),
            (true, true) => None,
            (false, false) => return Ok(None),
        };
        if stated == right {
            let body = self.bytes[3..count - 1].to_vec();
            Ok(Some(Frame { address: u16::from_be_bytes([hi, lo]), body, direction: direction.or(self.direction) }))
        } else if count < longest {
            Ok(None)
        } else {
            Err(Refused::Check { stated, right })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_byte_of_02_or_00_is_no_beginning() {
        // section 7.1, frame 16: the check byte is 02; section 7.3, frame 4: it is 00
        for hex in [
            "02 00 05 52 31 63 36 3B 30 30 37 36 32 39 02",
            "02 00 05 54 31 65 39 3B 30 30 34 34 37 30 3B 30 30 30 36 30 30 3B 30 37 34 35 00",
        ] {
            let bytes = crate::hex::bytes_of(hex).unwrap();
            let twice = [bytes.clone(), bytes].concat();
            let mut receiver = Receiver::new(Some(Direction::Pump));
            let frames = twice.iter().filter(|byte| matches!(receiver.push(**byte), Step::Frame(_))).count();
            assert_eq!((frames, receiver.silence()), (2, None));
        }
    }

    #[test]
    fn after_a_bad_frame_nothing_is_believed_until_silence() {
        let good = encode(5, b"S31");
        let mut receiver = Receiver::new(Some(Direction::Pump));
        let mut bad = good.clone();
        bad[4] ^= 4;
        for byte in &bad[..6] {
            assert_eq!(receiver.push(*byte), Step::More);
        }
        assert!(matches!(receiver.push(bad[6]), Step::Bad(Refused::Check { .. })));
        assert!(good.iter().all(|byte| receiver.push(*byte) == Step::More));
        assert_eq!(receiver.silence().map(|(_, bytes)| bytes.len()), Some(14));
        assert!(good.iter().any(|byte| matches!(receiver.push(*byte), Step::Frame(_))));
    }

    #[test]
    fn no_reply_of_any_post_begins_like_a_whole_request() {
        for address in ADDRESSES {
            for nozzle in b'0'..=b'9' {
                for (first, rest) in
                    [(b'S', &b"0"[..]), (b'L', b"a6;000000"), (b'R', b"z6;999999"), (b'C', b";000000000")]
                {
                    let bytes = encode(address.into(), &[&[first, nozzle], rest].concat());
                    let frame = decode(&bytes, None).unwrap();
                    assert_eq!(frame.direction, Some(Direction::Pump), "{bytes:02X?}");
                }
            }
        }
    }
}
