//! Frames of the DART line as a pump hears and sends them. DART sheet, sections 1 and 2.

use crate::dispenser::Address;
use core::time::Duration;
use forecourt::time::Instant;

const STOP_FLAG: u8 = 0xFA;
const DATA_LINK_ESCAPE: u8 = 0x10;
const END_OF_TEXT: u8 = 0x03;
/// Above this a pump gives up the frame (section 1, block size: 256, with room).
const LONGEST: usize = 300;
/// Silence that ends a frame (section 2.3, step 6).
const GAP: Duration = Duration::from_millis(20);

/// A block number, 0 to F.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockNumber(u8);

impl BlockNumber {
    /// After a restart.
    pub const ZERO: Self = Self(0);

    /// From the low nibble of a control byte.
    #[must_use]
    pub const fn of(control: u8) -> Self {
        Self(control & 0x0F)
    }

    /// The number after this one: 1 after F (section 3).
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 == 0x0F { Self(1) } else { Self(self.0 + 1) }
    }

    pub(super) const fn nibble(self) -> u8 {
        self.0
    }
}

/// A frame from the controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// POLL.
    Poll,
    /// ACK of our block.
    Ack(BlockNumber),
    /// NAK of our block.
    Nak(BlockNumber),
    /// ACKPOLL: ACK and POLL at once.
    AckPoll(BlockNumber),
    /// A block with good CRC: its number and its transactions, unescaped.
    Block(BlockNumber, Vec<u8>),
    /// A block that is damaged.
    Damaged(BlockNumber),
}

/// CRC-16/ARC (section 2.2). Over a block with its CRC it is 0.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// A frame without data: ADR CTRL FA.
#[must_use]
pub fn short(address: Address, high_nibble: u8, number: BlockNumber) -> Vec<u8> {
    vec![address.0, high_nibble << 4 | number.nibble(), STOP_FLAG]
}

/// A block with its CRC, escaped.
#[must_use]
pub fn block(address: Address, number: BlockNumber, transactions: &[u8]) -> Vec<u8> {
    let mut body = vec![address.0, 0x30 | number.nibble()];
    body.extend_from_slice(transactions);
    body.extend(crc(&body).to_le_bytes());
    let mut wire = Vec::with_capacity(body.len() + 4);
    for byte in body {
        if byte == STOP_FLAG {
            wire.push(DATA_LINK_ESCAPE);
        }
        wire.push(byte);
    }
    wire.extend([END_OF_TEXT, STOP_FLAG]);
    wire
}

/// Cuts what comes down the line into frames and keeps those for one address.
#[derive(Debug)]
pub struct Receiver {
    address: Address,
    raw: Vec<u8>,
    last: Instant,
}

impl Receiver {
    /// For one address.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self { address, raw: Vec::new(), last: Instant::START }
    }

    /// Forgets what was heard so far.
    pub fn clear(&mut self) {
        self.raw.clear();
    }

    /// Takes a byte. Returns a frame for our address, and its bytes as they came, when this byte ends one.
    pub fn push(&mut self, byte: u8, now: Instant) -> Option<(Heard, Vec<u8>)> {
        if now.since(self.last) > GAP || self.raw.len() >= LONGEST {
            self.raw.clear();
        }
        self.last = now;
        self.raw.push(byte);
        self.skip_to_a_start();
        let escaped = matches!(self.raw[..], [.., DATA_LINK_ESCAPE, STOP_FLAG]);
        if byte != STOP_FLAG || escaped || self.raw.is_empty() {
            return None;
        }
        let raw = core::mem::take(&mut self.raw);
        let heard = self.read(&raw)?;
        Some((heard, raw))
    }

    /// Drops bytes that cannot begin a frame: no address, no control, or a short frame that does not end.
    fn skip_to_a_start(&mut self) {
        let begins = |raw: &[u8]| {
            raw.first().is_none_or(|address| (0x50..=0x6F).contains(address))
                && raw.get(1).is_none_or(|control| matches!(control >> 4, 2 | 3 | 5 | 0xC | 0xE))
                && raw.get(2).is_none_or(|third| raw[1] >> 4 == 3 || *third == STOP_FLAG)
        };
        while !begins(&self.raw) {
            self.raw.remove(0);
        }
    }

    fn read(&self, raw: &[u8]) -> Option<Heard> {
        let (&address, &control) = (raw.first()?, raw.get(1)?);
        if address != self.address.0 {
            return None;
        }
        let number = BlockNumber::of(control);
        match control >> 4 {
            2 => Some(Heard::Poll),
            5 => Some(Heard::Nak(number)),
            0xC => Some(Heard::Ack(number)),
            0xE => Some(Heard::AckPoll(number)),
            3 => Some(match unescape(raw) {
                Some(transactions) => Heard::Block(number, transactions),
                None => Heard::Damaged(number),
            }),
            _ => None,
        }
    }
}

/// The transactions of a block, if its ending and CRC are good.
fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let escaped = raw.strip_suffix(&[END_OF_TEXT, STOP_FLAG])?;
    let mut body: Vec<u8> = Vec::with_capacity(escaped.len());
    for &byte in escaped {
        if byte == STOP_FLAG {
            body.pop();
        }
        body.push(byte);
    }
    if body.len() < 4 || crc(&body) != 0 {
        return None;
    }
    Some(body[2..body.len() - 2].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(address: u8, bytes: &[u8]) -> Vec<Heard> {
        let mut receiver = Receiver::new(Address(address));
        bytes.iter().filter_map(|byte| receiver.push(*byte, Instant::START)).map(|(heard, _)| heard).collect()
    }

    #[test]
    fn every_fa_that_does_not_end_the_frame_is_escaped() {
        // DART vectors: private transaction 64 with FA and 10 FA in its data, constructed.
        let wire = block(Address(0x50), BlockNumber::of(8), &[0x64, 3, 0xFA, 0x10, 0xFA]);
        assert_eq!(wire, [0x50, 0x38, 0x64, 3, 0x10, 0xFA, 0x10, 0x10, 0xFA, 0x88, 0x83, 0x03, 0xFA]);
        assert_eq!(hear(0x50, &wire), [Heard::Block(BlockNumber::of(8), vec![0x64, 3, 0xFA, 0x10, 0xFA])]);
    }

    #[test]
    fn a_crc_ending_in_03_before_an_escaped_fa_does_not_end_the_frame() {
        for filler in 0..=u16::MAX {
            let data = [0x64, 2, filler.to_le_bytes()[0], filler.to_le_bytes()[1]];
            let wire = block(Address(0x51), BlockNumber::ZERO, &data);
            if wire.windows(3).any(|three| three == [0x03, 0x10, 0xFA]) {
                assert_eq!(hear(0x51, &wire), [Heard::Block(BlockNumber::ZERO, data.to_vec())]);
                return;
            }
        }
        panic!("no such block found");
    }

    #[test]
    fn only_frames_for_its_own_address_are_heard_and_junk_before_them_is_passed_over() {
        let line = [0x98, 0xFE, 0x51, 0x20, 0xFA, 0xB8, 0x52, 0x20, 0xFA, 0x52, 0xC3, 0xFA];
        assert_eq!(hear(0x52, &line), [Heard::Poll, Heard::Ack(BlockNumber::of(3))]);
    }

    #[test]
    fn a_flipped_bit_in_a_block_is_never_taken() {
        let wire = block(Address(0x57), BlockNumber::of(1), &[1, 1, 6, 3, 4, 0, 0, 0x20, 0]);
        for position in 0..wire.len() * 8 {
            let mut bad = wire.clone();
            bad[position / 8] ^= 1 << (position % 8);
            let taken = hear(0x57, &bad).into_iter().any(|heard| matches!(heard, Heard::Block(..)));
            assert!(!taken, "bit {position}");
        }
    }
}
