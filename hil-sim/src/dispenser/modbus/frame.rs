//! Frames as a device sees them: RTU with its CRC, or Modbus TCP with its header. Written from the Modbus sheet, section 1, alone.

use core::time::Duration;
use forecourt::time::Instant;

/// How frames come over the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Address, function, data, CRC-16.
    Rtu,
    /// Transaction, protocol 0, length, unit, function, data.
    Tcp,
}

/// A request for one unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The unit it is for.
    pub unit: u8,
    /// Function and data.
    pub pdu: Vec<u8>,
    /// Number of Modbus TCP; 0 over RTU.
    pub transaction: u16,
    /// The frame, as it came.
    pub raw: Vec<u8>,
}

/// CRC-16 of RTU: start FFFF, polynomial A001 reflected; sent low byte first.
#[must_use]
pub fn check_sum(bytes: &[u8]) -> u16 {
    let mut register = 0xFFFF_u16;
    for &byte in bytes {
        register ^= u16::from(byte);
        for _ in 0..8 {
            let carry = register & 1;
            register >>= 1;
            if carry == 1 {
                register ^= 0xA001;
            }
        }
    }
    register
}

/// The answer to a request in its framing.
#[must_use]
pub fn answer(framing: Framing, request: &Heard, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if framing == Framing::Tcp {
        let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
        bytes.extend(request.transaction.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(length.to_be_bytes());
    }
    bytes.push(request.unit);
    bytes.extend(pdu);
    if framing == Framing::Rtu {
        let sum = check_sum(&bytes);
        bytes.extend(sum.to_le_bytes());
    }
    bytes
}

/// Gathers the bytes of requests. A pause between two bytes ends what came before it.
#[derive(Debug)]
pub struct Receiver {
    framing: Framing,
    pause: Duration,
    bytes: Vec<u8>,
    last: Instant,
}

impl Receiver {
    /// The pause that ends a frame: more than 3.5 characters at 9600, less than a controller keeps between two requests.
    pub const PAUSE: Duration = Duration::from_millis(8);

    /// A receiver that heard nothing yet.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self { framing, pause: Self::PAUSE, bytes: Vec::new(), last: Instant::START }
    }

    /// Forgets what it has.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes a byte; gives the request that it completes.
    pub fn push(&mut self, byte: u8, now: Instant) -> Option<Heard> {
        // a stream over TCP has no pauses that mean anything
        if self.framing == Framing::Rtu && now.since(self.last) > self.pause {
            self.bytes.clear();
        }
        self.last = now;
        self.bytes.push(byte);
        match self.framing {
            Framing::Rtu => self.rtu(),
            Framing::Tcp => self.tcp(),
        }
    }

    fn rtu(&mut self) -> Option<Heard> {
        let length = match *self.bytes.get(1)? {
            1..=6 => 8,
            15 | 16 => 9 + usize::from(*self.bytes.get(6)?),
            // a function that is not served here: only the pause after it ends it
            _ => 4.max(self.bytes.len()),
        };
        if self.bytes.len() < length {
            return None;
        }
        let (body, sum) = self.bytes.split_at(length - 2);
        if check_sum(body).to_le_bytes() != sum {
            // a frame of another length, or damaged: the pause sorts it out
            return None;
        }
        let heard = Heard { unit: body[0], pdu: body[1..].to_vec(), transaction: 0, raw: self.bytes.clone() };
        self.bytes.clear();
        Some(heard)
    }

    fn tcp(&mut self) -> Option<Heard> {
        let [t1, t0, p1, p0, l1, l0, unit, ..] = self.bytes[..] else { return None };
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        if p1 != 0 || p0 != 0 || !(2..=254).contains(&length) {
            self.bytes.clear();
            return None;
        }
        if self.bytes.len() < 6 + length {
            return None;
        }
        let raw = core::mem::take(&mut self.bytes);
        Some(Heard { unit, pdu: raw[7..].to_vec(), transaction: u16::from_be_bytes([t1, t0]), raw })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sums_are_those_of_printed_examples() {
        // Modbus sheet of the forecourt, section 4: Matrix PEL-8000, page 29
        assert_eq!(check_sum(&[1, 1, 5, 0x10, 0, 1]).to_le_bytes(), [0xFC, 0xC3]);
        assert_eq!(check_sum(&[1, 3, 0, 0, 0, 0x0A]).to_le_bytes(), [0xC5, 0xCD]);
    }

    #[test]
    fn a_pause_ends_what_was_cut() {
        let mut receiver = Receiver::new(Framing::Rtu);
        let frame = [2, 3, 0, 8, 0, 1, 0x05, 0xFB];
        for byte in &frame[..5] {
            assert_eq!(receiver.push(*byte, Instant::START), None);
        }
        let later = Instant::START + Duration::from_millis(50);
        let heard: Vec<_> = frame.iter().filter_map(|byte| receiver.push(*byte, later)).collect();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].unit, heard[0].pdu.as_slice()), (2, [3, 0, 8, 0, 1].as_slice()));
    }
}
