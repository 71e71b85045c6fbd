//! DART frames: addresses, control bytes, escaping, checksum (DART sheet, section 2).
//!
//! ```text
//! short : ADR CTRL FA
//! block : ADR CTRL {TRANS LNG data}+ CRC-L CRC-H 03 FA
//! ```

use core::fmt;
use core::ops::RangeInclusive;

/// Addresses of pumps: 4F + panel number 1 to 32.
pub const ADDRESSES: RangeInclusive<u8> = 0x50..=0x6F;
/// End of a frame.
pub const STOP_FLAG: u8 = 0xFA;
/// Stands before a byte FA that does not end the frame.
const ESCAPE: u8 = 0x10;
/// Stands before the stop flag of a block.
const END_OF_TEXT: u8 = 0x03;
/// Longest frame that is received, escapes included.
pub const LONGEST_RECEIVED: usize = 300;
/// Longest frame that is sent, escapes included.
pub const LONGEST_SENT: usize = 64;
/// Shortest block before its stop flag: ADR CTRL CRC CRC ETX.
const SHORTEST_BLOCK: usize = 5;

/// Type of a frame: the high nibble of its control byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// 2: the controller asks for news.
    Poll,
    /// 3: transactions, from either side.
    Data,
    /// 4: never seen; one simulator takes it as "restart numbering". Not sent.
    Iap,
    /// 5: a block is refused.
    Nak,
    /// 7: the pump has nothing to report.
    Eot,
    /// C: a block is accepted.
    Ack,
    /// E: the controller accepts a block and asks for the next. Not sent.
    AckPoll,
}

impl Control {
    const fn from_nibble(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0x2 => Self::Poll,
            0x3 => Self::Data,
            0x4 => Self::Iap,
            0x5 => Self::Nak,
            0x7 => Self::Eot,
            0xC => Self::Ack,
            0xE => Self::AckPoll,
            _ => return None,
        })
    }

    const fn nibble(self) -> u8 {
        match self {
            Self::Poll => 0x2,
            Self::Data => 0x3,
            Self::Iap => 0x4,
            Self::Nak => 0x5,
            Self::Eot => 0x7,
            Self::Ack => 0xC,
            Self::AckPoll => 0xE,
        }
    }

    /// The sheet's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Poll => "POLL",
            Self::Data => "DATA",
            Self::Iap => "IAP",
            Self::Nak => "NAK",
            Self::Eot => "EOT",
            Self::Ack => "ACK",
            Self::AckPoll => "ACKPOLL",
        }
    }
}

/// One good frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Of the pump, whoever speaks.
    pub address: u8,
    /// What kind.
    pub control: Control,
    /// Block number 0 to 15: of this block, or of the block that is accepted or refused.
    pub tx: u8,
    /// Transactions of a block, unescaped; empty in a short frame.
    pub body: Vec<u8>,
    /// Checksum of a block.
    pub crc: Option<u16>,
    /// Whether a byte was escaped.
    pub stuffed: bool,
}

/// Why bytes are no frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing to read.
    #[error("no bytes")]
    Empty,
    /// The first byte is no address.
    #[error("{0:02X} is no pump address (50 to 6F)")]
    Address(u8),
    /// The high nibble of the control byte says nothing.
    #[error("{0:02X} is no control byte")]
    Control(u8),
    /// A short frame goes on.
    #[error("{0:02X} where the stop flag FA of a short frame belongs")]
    NotShort(u8),
    /// A block too short for its checksum.
    #[error("block of {0} bytes before the stop flag, at least 5 belong there")]
    TooShort(usize),
    /// The stop flag came without ETX: cut, or an FA that was not escaped.
    #[error("stop flag FA without 03 before it: cut, or an FA inside the block is not escaped")]
    NoEndOfText,
    /// The checksum does not fit.
    #[error("checksum {wire:04X} on the wire, {calculated:04X} calculated")]
    Checksum {
        /// As sent.
        wire: u16,
        /// Over what was received.
        calculated: u16,
    },
    /// No stop flag within the longest frame.
    #[error("no stop flag within {LONGEST_RECEIVED} bytes")]
    TooLong,
    /// The bytes end inside a frame.
    #[error("cut after {0} bytes, no stop flag")]
    Cut(usize),
    /// Bytes follow the stop flag.
    #[error("{0} bytes follow the stop flag")]
    Trailing(usize),
    /// Bytes that begin no frame.
    #[error("{0} bytes that begin no frame")]
    Noise(usize),
}

/// A block of ours would be longer than [`LONGEST_SENT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a block of {0} bytes is longer than the {LONGEST_SENT} that are sent at most")]
pub struct TooLong(pub usize);

/// CRC-16/ARC: reflected 8005, start 0, no final XOR (DART sheet, section 2.2).
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// A frame of three bytes.
#[must_use]
pub fn encode_short(address: u8, control: Control, tx: u8) -> Vec<u8> {
    vec![address, control.nibble() << 4 | tx & 0x0F, STOP_FLAG]
}

/// A block with its checksum, every FA before the stop flag escaped.
///
/// # Errors
/// [`TooLong`] above 64 bytes.
pub fn encode_block(address: u8, tx: u8, body: &[u8]) -> Result<Vec<u8>, TooLong> {
    let mut plain = vec![address, Control::Data.nibble() << 4 | tx & 0x0F];
    plain.extend_from_slice(body);
    let crc = crc16(&plain);
    plain.extend_from_slice(&crc.to_le_bytes());
    let mut bytes = Vec::with_capacity(plain.len() + 4);
    for byte in plain {
        if byte == STOP_FLAG {
            bytes.push(ESCAPE);
        }
        bytes.push(byte);
    }
    bytes.extend_from_slice(&[END_OF_TEXT, STOP_FLAG]);
    if bytes.len() > LONGEST_SENT { Err(TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Reads bytes that must be exactly one frame.
///
/// # Errors
/// [`Refused`] otherwise.
pub fn decode(bytes: &[u8]) -> Result<Frame, Refused> {
    let mut reader = Reader::default();
    for (at, byte) in bytes.iter().enumerate() {
        match reader.push(*byte) {
            Step::More => {}
            Step::Frame(frame) if at + 1 == bytes.len() => return Ok(frame),
            Step::Frame(_) => return Err(Refused::Trailing(bytes.len() - at - 1)),
            Step::Refused(why) => return Err(why),
        }
    }
    Err(if bytes.is_empty() { Refused::Empty } else { Refused::Cut(bytes.len()) })
}

enum Step {
    More,
    Frame(Frame),
    Refused(Refused),
}

/// Reads one frame from its first byte on.
#[derive(Default, Clone)]
struct Reader {
    /// Unescaped.
    plain: Vec<u8>,
    /// As received, escapes included.
    length: usize,
    escaped: bool,
    stuffed: bool,
}

impl Reader {
    fn push(&mut self, byte: u8) -> Step {
        self.length += 1;
        match self.plain.len() {
            0 if !ADDRESSES.contains(&byte) => return Step::Refused(Refused::Address(byte)),
            0 => {
                self.plain.push(byte);
                return Step::More;
            }
            1 if Control::from_nibble(byte >> 4).is_none() => return Step::Refused(Refused::Control(byte)),
            1 => {
                self.plain.push(byte);
                return Step::More;
            }
            _ => {}
        }
        let (address, control_byte) = (self.plain[0], self.plain[1]);
        let Some(control) = Control::from_nibble(control_byte >> 4) else {
            return Step::Refused(Refused::Control(control_byte));
        };
        let tx = control_byte & 0x0F;
        if control != Control::Data {
            return if byte == STOP_FLAG {
                Step::Frame(Frame { address, control, tx, body: Vec::new(), crc: None, stuffed: false })
            } else {
                Step::Refused(Refused::NotShort(byte))
            };
        }
        if byte == STOP_FLAG && self.escaped {
            // the escape stands for this byte
            if let Some(last) = self.plain.last_mut() {
                *last = STOP_FLAG;
            }
            self.escaped = false;
            self.stuffed = true;
            return Step::More;
        }
        if byte == STOP_FLAG {
            return match self.finish(address, tx) {
                Ok(frame) => Step::Frame(frame),
                Err(why) => Step::Refused(why),
            };
        }
        if self.length >= LONGEST_RECEIVED {
            return Step::Refused(Refused::TooLong);
        }
        self.plain.push(byte);
        self.escaped = byte == ESCAPE;
        Step::More
    }

    fn finish(&self, address: u8, tx: u8) -> Result<Frame, Refused> {
        let length = self.plain.len();
        if length < SHORTEST_BLOCK {
            return Err(Refused::TooShort(length));
        }
        if self.plain[length - 1] != END_OF_TEXT {
            return Err(Refused::NoEndOfText);
        }
        let wire = u16::from_le_bytes([self.plain[length - 3], self.plain[length - 2]]);
        let calculated = crc16(&self.plain[..length - 3]);
        if wire != calculated {
            return Err(Refused::Checksum { wire, calculated });
        }
        Ok(Frame {
            address,
            control: Control::Data,
            tx,
            body: self.plain[2..length - 3].to_vec(),
            crc: Some(wire),
            stuffed: self.stuffed,
        })
    }
}

/// What a [`Receiver`] found, in the order of the bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// A good frame and its bytes.
    Frame(Frame, Vec<u8>),
    /// Bytes that are none, and why.
    Refused(Refused, Vec<u8>),
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame, _) => write!(f, "{frame:?}"),
            Self::Refused(why, bytes) => write!(f, "refused {bytes:02X?}: {why}"),
        }
    }
}

/// Finds frames in a stream that may be joined, cut, noisy or endless.
///
/// A frame that turns out bad is searched again for a good one that ends at the same stop flag, so that a cut frame costs only
/// itself. Memory is bounded by [`LONGEST_RECEIVED`].
#[derive(Default, Clone)]
pub struct Receiver {
    /// Bytes that begin no frame.
    noise: Vec<u8>,
    /// The frame under way.
    raw: Vec<u8>,
    reader: Reader,
}

impl Receiver {
    /// Takes one byte; what it completes goes to `found`.
    pub fn push(&mut self, byte: u8, found: &mut Vec<Found>) {
        let mut todo = vec![byte];
        while let Some(byte) = todo.pop() {
            self.raw.push(byte);
            match self.reader.push(byte) {
                Step::More => {}
                Step::Frame(frame) => {
                    self.give_up_noise(found);
                    found.push(Found::Frame(frame, core::mem::take(&mut self.raw)));
                    self.reader = Reader::default();
                }
                Step::Refused(why) => {
                    let raw = core::mem::take(&mut self.raw);
                    self.reader = Reader::default();
                    match why {
                        // what follows the first byte may begin the next frame
                        Refused::Control(_) | Refused::NotShort(_) => {
                            self.noise.push(raw[0]);
                            todo.extend(raw[1..].iter().rev());
                        }
                        Refused::Address(_) => self.noise.extend_from_slice(&raw),
                        why => self.refuse(why, raw, found),
                    }
                    let ends = byte == STOP_FLAG && !self.noise.is_empty() && todo.is_empty();
                    if ends || self.noise.len() >= LONGEST_RECEIVED {
                        self.give_up_noise(found);
                    }
                }
            }
        }
    }

    /// The line is silent: what is unfinished will stay so.
    pub fn silence(&mut self, found: &mut Vec<Found>) {
        self.give_up_noise(found);
        let raw = core::mem::take(&mut self.raw);
        self.reader = Reader::default();
        if !raw.is_empty() {
            found.push(Found::Refused(Refused::Cut(raw.len()), raw));
        }
    }

    /// Whether bytes wait for more.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.raw.is_empty() || !self.noise.is_empty()
    }

    fn give_up_noise(&mut self, found: &mut Vec<Found>) {
        if !self.noise.is_empty() {
            let noise = core::mem::take(&mut self.noise);
            found.push(Found::Refused(Refused::Noise(noise.len()), noise));
        }
    }

    fn refuse(&mut self, why: Refused, raw: Vec<u8>, found: &mut Vec<Found>) {
        self.give_up_noise(found);
        // one flipped bit in the ETX of a block makes its end look like a POLL or IAP with number 3
        let is_likely = |frame: &Frame| match frame.control {
            Control::Poll => frame.tx == 0,
            Control::Iap => false,
            _ => true,
        };
        let inner = (1..raw.len()).find_map(|at| decode(&raw[at..]).ok().filter(is_likely).map(|frame| (at, frame)));
        match inner {
            Some((at, frame)) => {
                found.push(Found::Refused(why, raw[..at].to_vec()));
                found.push(Found::Frame(frame, raw[at..].to_vec()));
            }
            None => found.push(Found::Refused(why, raw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn receive(bytes: &[u8]) -> Vec<Found> {
        let mut receiver = Receiver::default();
        let mut found = Vec::new();
        for byte in bytes {
            receiver.push(*byte, &mut found);
        }
        receiver.silence(&mut found);
        found
    }

    fn good(bytes: &[u8]) -> Vec<Vec<u8>> {
        receive(bytes)
            .into_iter()
            .filter_map(|found| match found {
                Found::Frame(_, raw) => Some(raw),
                Found::Refused(..) => None,
            })
            .collect()
    }

    #[test]
    fn the_checksum_over_a_block_and_its_checksum_is_zero() {
        assert_eq!(crc16(&[0x57, 0x31, 0x65, 0x01, 0x01, 0xAB, 0x7F]), 0);
    }

    #[test]
    fn every_fa_but_the_last_is_escaped_and_a_ten_is_not() {
        let bytes = encode_block(0x50, 8, &[0x64, 3, 0xFA, 0x10, 0xFA]).expect("fits");
        assert_eq!(bytes, [0x50, 0x38, 0x64, 3, 0x10, 0xFA, 0x10, 0x10, 0xFA, 0x88, 0x83, 3, 0xFA]);
        assert_eq!(decode(&bytes).expect("good").body, [0x64, 3, 0xFA, 0x10, 0xFA]);
    }

    #[test]
    fn a_block_longer_than_sixty_four_bytes_is_not_sent() {
        assert_eq!(encode_block(0x50, 1, &[0; 59]), Err(TooLong(65)));
    }

    #[test]
    fn a_good_frame_is_found_behind_turnaround_garbage_and_behind_a_cut_block() {
        let eot = [0x57, 0x70, 0xFA];
        for garbage in [&[0x98][..], &[0xFE, 0xFF], &[0xB8, 0xFA], &[0x57], &[0x57, 0x57], &[0x57, 0x34, 0x01, 0x01]] {
            assert_eq!(good(&[garbage, &eot].concat()), [eot.to_vec()], "{garbage:02X?}");
        }
    }

    #[test]
    fn babble_without_end_is_given_up_in_pieces_and_the_next_frame_is_found() {
        let mut bytes = vec![0x57, 0x31];
        bytes.extend(core::iter::repeat_n(0x55, 1_000));
        bytes.push(STOP_FLAG);
        bytes.extend([0x57, 0x70, 0xFA]);
        let found = receive(&bytes);
        assert!(matches!(found[0], Found::Refused(Refused::TooLong, _)), "{:?}", found[0]);
        assert!(matches!(found.last(), Some(Found::Frame(..))));
        assert!(found.len() < 12);
    }

    proptest! {
        #[test]
        fn a_block_reads_back_as_it_was_written(
            address in ADDRESSES, tx in 0..16_u8, body in proptest::collection::vec(any::<u8>(), 0..28)
        ) {
            let bytes = encode_block(address, tx, &body).expect("28 bytes fit even if all are escaped");
            let frame = decode(&bytes).expect("good");
            prop_assert_eq!((frame.address, frame.tx, &frame.body), (address, tx, &body));
            prop_assert_eq!(good(&bytes), [bytes.clone()]);
        }

        #[test]
        fn any_bytes_are_all_accounted_for_in_order_and_a_frame_after_silence_is_found(
            garbage in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xFA), Just(0x10), Just(0x57), Just(0x31)], 0..700)
        ) {
            let mut receiver = Receiver::default();
            let mut found = Vec::new();
            for byte in &garbage {
                receiver.push(*byte, &mut found);
                prop_assert!(receiver.raw.len() <= LONGEST_RECEIVED && receiver.noise.len() <= LONGEST_RECEIVED + 1);
            }
            receiver.silence(&mut found);
            let bytes: Vec<u8> = found.iter().flat_map(|f| match f {
                Found::Frame(_, raw) | Found::Refused(_, raw) => raw.clone(),
            }).collect();
            prop_assert_eq!(&bytes, &garbage);
            let before = found.len();
            for byte in [0x57, 0x70, 0xFA] {
                receiver.push(byte, &mut found);
            }
            prop_assert_eq!(found.len(), before + 1);
            prop_assert!(matches!(found.last(), Some(Found::Frame(..))));
        }
    }
}
