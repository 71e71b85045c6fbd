//! One question on the wire and its answer, framed by tokio-modbus without any I/O.
//!
//! tokio-modbus keeps its codec to itself and offers an asynchronous client over a byte stream. Here that client is given a pair of
//! byte queues in memory, and the future of one call is polled by hand: the first poll leaves the request in one queue, and when the
//! bytes of the answer stand in the other, a later poll yields it. So the framing is the library's and the wire stays the line's.
//!
//! Each question has a client of its own, so that nothing of an earlier answer is left in a buffer, and an answer is taken only if
//! unit, function, address and count are those asked for: the typed calls of the library check counts in debug builds only, by
//! panicking. Over TCP the client's transaction number, which begins anew with each client, is replaced by one that goes on: an answer
//! under another number is dropped whole. RTU has no such number; there the line listens a late answer out.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_modbus::client::Client as _;
use tokio_modbus::{Request, Response, Slave};

/// How frames are put on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// Address, function, data, CRC-16: a serial line, or one behind a serial device server (RTU over TCP).
    #[default]
    Rtu,
    /// MBAP header with a transaction number and without CRC: Modbus TCP, port 502.
    Tcp,
}

/// Which of the four tables of a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Area {
    /// Bits that can be written; functions 1, 5 and 15.
    Coil,
    /// Bits that can be read; function 2.
    Discrete,
    /// Registers that can be read; function 4.
    Input,
    /// Registers that can be written; functions 3, 6 and 16.
    Holding,
}

impl Area {
    /// Whether it holds bits and not registers.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// A question to one unit. Addresses are those of the wire, from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Functions 1 to 4.
    Read {
        /// Of what.
        area: Area,
        /// First bit or register.
        address: u16,
        /// How many.
        count: u16,
    },
    /// Function 5.
    WriteCoil {
        /// Which.
        address: u16,
        /// On.
        on: bool,
    },
    /// Function 6.
    WriteRegister {
        /// Which.
        address: u16,
        /// What.
        value: u16,
    },
    /// Function 16.
    WriteRegisters {
        /// The first.
        address: u16,
        /// What.
        values: Vec<u16>,
    },
}

impl Question {
    fn request(&self) -> Request<'static> {
        match self {
            Self::Read { area: Area::Coil, address, count } => Request::ReadCoils(*address, *count),
            Self::Read { area: Area::Discrete, address, count } => Request::ReadDiscreteInputs(*address, *count),
            Self::Read { area: Area::Input, address, count } => Request::ReadInputRegisters(*address, *count),
            Self::Read { area: Area::Holding, address, count } => Request::ReadHoldingRegisters(*address, *count),
            Self::WriteCoil { address, on } => Request::WriteSingleCoil(*address, *on),
            Self::WriteRegister { address, value } => Request::WriteSingleRegister(*address, *value),
            Self::WriteRegisters { address, values } => {
                Request::WriteMultipleRegisters(*address, Cow::Owned(values.clone()))
            }
        }
    }

    /// Whether it changes something in the device.
    #[must_use]
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }

    /// The answer, if it is one to this question.
    fn answer(&self, response: Response) -> Option<Answer> {
        match (self, response) {
            (Self::Read { area: Area::Coil, count, .. }, Response::ReadCoils(mut bits))
            | (Self::Read { area: Area::Discrete, count, .. }, Response::ReadDiscreteInputs(mut bits)) => {
                // the library gives whole bytes of bits
                let count = usize::from(*count);
                (bits.len() == count.next_multiple_of(8)).then(|| {
                    bits.truncate(count);
                    Answer::Bits(bits)
                })
            }
            (Self::Read { area: Area::Input, count, .. }, Response::ReadInputRegisters(words))
            | (Self::Read { area: Area::Holding, count, .. }, Response::ReadHoldingRegisters(words)) => {
                (words.len() == usize::from(*count)).then_some(Answer::Registers(words))
            }
            (Self::WriteCoil { address, on }, Response::WriteSingleCoil(at, as_read)) => {
                (*address == at && *on == as_read).then_some(Answer::Written)
            }
            (Self::WriteRegister { address, value }, Response::WriteSingleRegister(at, as_read)) => {
                (*address == at && *value == as_read).then_some(Answer::Written)
            }
            (Self::WriteRegisters { address, values }, Response::WriteMultipleRegisters(at, count)) => {
                (*address == at && values.len() == usize::from(count)).then_some(Answer::Written)
            }
            _ => None,
        }
    }
}

/// What a device says to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// As many bits as were asked for.
    Bits(Vec<bool>),
    /// As many registers as were asked for.
    Registers(Vec<u16>),
    /// It is written.
    Written,
    /// It will not, by the code of the standard: 1 to 3 mean that the profile does not fit the device.
    Exception(u8),
}

/// How far an answer has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Not complete.
    More,
    /// Complete with this byte.
    Answer(Answer),
    /// A frame that is no answer to this question.
    Bad(String),
}

/// Two queues of bytes that stand for a port.
#[derive(Default, Debug)]
struct Queues {
    to_device: VecDeque<u8>,
    from_device: VecDeque<u8>,
}

/// The client's end of the queues. The lock is never contended: the client is polled only by the one who fills them.
#[derive(Clone, Default, Debug)]
struct Memory(Arc<Mutex<Queues>>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut Queues) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|queues| {
            if queues.from_device.is_empty() {
                // nobody is to be woken: whoever puts bytes in polls again
                return Poll::Pending;
            }
            let count = queues.from_device.len().min(into.remaining());
            let bytes: Vec<u8> = queues.from_device.drain(..count).collect();
            into.put_slice(&bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|queues| queues.to_device.extend(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Call = Pin<Box<dyn Future<Output = tokio_modbus::Result<Response>> + Send>>;

/// A question that waits for its answer.
struct Pending {
    unit: u8,
    question: Question,
    call: Call,
    memory: Memory,
    /// Bytes of an answer over TCP until its length is reached.
    received: Vec<u8>,
    transaction: u16,
}

/// The talk with units behind one wire: one question at a time.
pub struct Talk {
    framing: Framing,
    /// Of the next question over TCP.
    transaction: u16,
    pending: Option<Pending>,
}

/// Length of an MBAP header up to where its own length field begins to count.
const MBAP: usize = 6;

fn attach(framing: Framing, unit: u8, memory: Memory, question: &Question) -> Call {
    let mut context = match framing {
        Framing::Rtu => tokio_modbus::client::rtu::attach_slave(memory, Slave(unit)),
        Framing::Tcp => tokio_modbus::client::tcp::attach_slave(memory, Slave(unit)),
    };
    let request = question.request();
    Box::pin(async move { context.call(request).await })
}

fn poll(call: &mut Call) -> Poll<tokio_modbus::Result<Response>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

impl Talk {
    /// A talk that has not begun. Over TCP the transaction numbers begin where they are told to.
    #[must_use]
    pub const fn new(framing: Framing, transaction: u16) -> Self {
        Self { framing, transaction, pending: None }
    }

    /// The bytes of a question. What was asked before is forgotten.
    ///
    /// # Errors
    /// What cannot be put in a frame, such as 200 registers at once.
    pub fn ask(&mut self, unit: u8, question: Question) -> Result<Vec<u8>, String> {
        self.pending = None;
        let memory = Memory::default();
        let mut call = attach(self.framing, unit, memory.clone(), &question);
        if let Poll::Ready(early) = poll(&mut call) {
            return Err(early.map_or_else(|why| why.to_string(), |_| "answered before it was asked".into()));
        }
        let mut bytes: Vec<u8> = memory.with(|queues| queues.to_device.drain(..).collect());
        let transaction = self.transaction;
        if self.framing == Framing::Tcp {
            self.transaction = transaction.wrapping_add(1);
            bytes.splice(0..2, transaction.to_be_bytes());
        }
        self.pending = Some(Pending { unit, question, call, memory, received: Vec::new(), transaction });
        Ok(bytes)
    }

    /// One more byte of what came back.
    pub fn take(&mut self, byte: u8) -> Taken {
        let Some(mut pending) = self.pending.take() else { return Taken::More };
        let ready = match self.framing {
            Framing::Rtu => {
                pending.memory.with(|queues| queues.from_device.push_back(byte));
                Ok(true)
            }
            Framing::Tcp => pending.take_mbap(byte),
        };
        let polled = match ready {
            Ok(true) => poll(&mut pending.call),
            Ok(false) => Poll::Pending,
            Err(why) => {
                self.pending = Some(pending);
                return Taken::Bad(why);
            }
        };
        let why = match polled {
            Poll::Pending => {
                self.pending = Some(pending);
                return Taken::More;
            }
            Poll::Ready(Ok(Err(exception))) => return Taken::Answer(Answer::Exception(u8::from(exception))),
            Poll::Ready(Ok(Ok(response))) => {
                let told = format!("{response:?}");
                match pending.question.answer(response) {
                    Some(answer) => return Taken::Answer(answer),
                    None => format!("an answer to another question: {told}"),
                }
            }
            Poll::Ready(Err(why)) => why.to_string(),
        };
        // The call is over, but the answer may still follow: the same question waits on with a client of its own.
        let memory = Memory::default();
        let mut call = attach(self.framing, pending.unit, memory.clone(), &pending.question);
        if poll(&mut call).is_pending() {
            memory.with(|queues| queues.to_device.clear());
            self.pending = Some(Pending { call, memory, received: Vec::new(), ..pending });
        }
        Taken::Bad(why)
    }

    /// No answer came, or none is waited for any more: its client and buffers are dropped.
    pub fn forget(&mut self) {
        self.pending = None;
    }
}

impl Pending {
    /// Gathers one frame of Modbus TCP and hands it to the client if it bears our transaction number.
    fn take_mbap(&mut self, byte: u8) -> Result<bool, String> {
        self.received.push(byte);
        let [t1, t0, p1, p0, l1, l0, ..] = self.received[..] else { return Ok(false) };
        let (transaction, protocol) = (u16::from_be_bytes([t1, t0]), u16::from_be_bytes([p1, p0]));
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        if protocol != 0 || !(3..=254).contains(&length) {
            return Err(format!("no Modbus TCP header: protocol {protocol}, length {length}"));
        }
        if self.received.len() < MBAP + length {
            return Ok(false);
        }
        let mut frame = core::mem::take(&mut self.received);
        if transaction != self.transaction {
            return Err(format!("an answer to transaction {transaction}, not {}", self.transaction));
        }
        // each client numbers from 0
        frame[..2].fill(0);
        self.memory.with(|queues| queues.from_device.extend(frame));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
    }

    fn take_all(talk: &mut Talk, bytes: &[u8]) -> Vec<Taken> {
        bytes.iter().map(|byte| talk.take(*byte)).filter(|taken| *taken != Taken::More).collect()
    }

    const READ: Question = Question::Read { area: Area::Holding, address: 10, count: 2 };

    #[test]
    fn a_question_and_its_answer_are_those_of_the_sheet() {
        // Modbus sheet, section 9.1, frames 3 and 4
        let mut talk = Talk::new(Framing::Rtu, 0);
        assert_eq!(talk.ask(2, READ), Ok(hex("02 03 00 0A 00 02 E4 3A")));
        let answer = Answer::Registers(vec![0x12, 0xD687]);
        assert_eq!(take_all(&mut talk, &hex("02 03 04 00 12 D6 87 77 34")), [Taken::Answer(answer)]);
    }

    #[test]
    fn an_answer_of_another_unit_function_or_count_is_never_taken() {
        for other in [
            "03 03 04 00 12 D6 87 76 E5",
            "02 04 04 00 12 D6 87 76 83",
            "02 03 02 00 00 FC 44",
            "02 06 00 0A 00 02 28 3A",
        ] {
            let mut talk = Talk::new(Framing::Rtu, 0);
            talk.ask(2, READ).expect("asked");
            let taken = take_all(&mut talk, &hex(other));
            assert!(taken.iter().all(|taken| matches!(taken, Taken::Bad(_))), "{other}: {taken:?}");
            let after = take_all(&mut talk, &hex("02 03 04 00 12 D6 87 77 34"));
            assert!(matches!(after.last(), Some(Taken::Answer(Answer::Registers(_)))), "{other}: {after:?}");
        }
    }

    #[test]
    fn an_answer_under_an_old_transaction_number_is_dropped_whole() {
        let mut talk = Talk::new(Framing::Tcp, 7);
        assert_eq!(talk.ask(1, READ), Ok(hex("00 07 00 00 00 06 01 03 00 0A 00 02")));
        talk.forget();
        assert_eq!(talk.ask(1, READ), Ok(hex("00 08 00 00 00 06 01 03 00 0A 00 02")));
        let late = hex("00 07 00 00 00 07 01 03 04 00 00 00 01");
        assert!(matches!(take_all(&mut talk, &late)[..], [Taken::Bad(_)]));
        let ours = hex("00 08 00 00 00 07 01 03 04 00 00 00 02");
        assert_eq!(take_all(&mut talk, &ours), [Taken::Answer(Answer::Registers(vec![0, 2]))]);
    }

    #[test]
    fn an_exception_is_an_answer_and_the_device_lives() {
        let mut talk = Talk::new(Framing::Rtu, 0);
        assert_eq!(
            talk.ask(1, Question::WriteCoil { address: 0, on: true }),
            Ok(hex("01 05 00 00 FF 00 8C 3A")),
            "M01"
        );
        assert_eq!(take_all(&mut talk, &hex("01 85 02 C3 51")), [Taken::Answer(Answer::Exception(2))], "M20");
    }

    #[test]
    fn noise_before_an_answer_is_skipped_and_a_flipped_bit_gives_none() {
        let good = hex("02 03 04 00 12 D6 87 77 34");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut talk = Talk::new(Framing::Rtu, 0);
            talk.ask(2, READ).expect("asked");
            let taken = take_all(&mut talk, &bytes);
            assert!(!taken.iter().any(|taken| matches!(taken, Taken::Answer(_))), "bit {bit}: {taken:?}");
        }
        let mut talk = Talk::new(Framing::Rtu, 0);
        talk.ask(2, READ).expect("asked");
        let taken = take_all(&mut talk, &[&hex("00 FF"), &good[..]].concat());
        assert!(matches!(taken.last(), Some(Taken::Answer(_))), "{taken:?}");
    }
}
