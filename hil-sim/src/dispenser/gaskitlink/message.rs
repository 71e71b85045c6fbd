//! Commands of the host and replies of a post. GasKitLink sheet, sections 3 and 4.

use crate::dispenser::NozzleIndex;
use crate::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};

/// The state digit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// 0: a fault, without a code.
    Error,
    /// 1: at rest.
    Idle,
    /// 2: lifted, not authorised.
    Calling,
    /// 3: authorised.
    Authorised,
    /// 4: the pump runs, no fuel yet.
    Started,
    /// 5: suspended before fuel flowed.
    SuspendedStarted,
    /// 6: fuelling.
    Fuelling,
    /// 7: suspended while fuelling.
    SuspendedFuelling,
    /// 8: stopped, the nozzle out.
    Stopped,
    /// 9: over and hung up, not closed by the host yet.
    EndOfTransaction,
}

impl State {
    const fn digit(self) -> u8 {
        match self {
            Self::Error => b'0',
            Self::Idle => b'1',
            Self::Calling => b'2',
            Self::Authorised => b'3',
            Self::Started => b'4',
            Self::SuspendedStarted => b'5',
            Self::Fuelling => b'6',
            Self::SuspendedFuelling => b'7',
            Self::Stopped => b'8',
            Self::EndOfTransaction => b'9',
        }
    }
}

/// A transaction letter, a to z.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Letter(u8);

impl Letter {
    /// The first.
    pub const A: Self = Self(b'a');

    /// From a letter; anything else counts as a.
    #[must_use]
    pub const fn of(byte: u8) -> Self {
        if byte.is_ascii_lowercase() { Self(byte) } else { Self::A }
    }

    /// The one after it: a after z.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 == b'z' { Self::A } else { Self(self.0 + 1) }
    }
}

/// The limit of an authorisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Most {
    /// V.
    Volume(VolumeDigits),
    /// M.
    Money(AmountDigits),
}

/// What the host says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// S.
    Status,
    /// V or M: one fuelling with a nozzle, a limit and a price.
    Authorise {
        /// Which may fuel.
        nozzle: NozzleIndex,
        /// How much.
        most: Most,
        /// At what price.
        price: PriceDigits,
    },
    /// L.
    RunningVolume,
    /// R.
    RunningMoney,
    /// T.
    Transaction,
    /// C with a nozzle; 0 means the active one.
    Totaliser(NozzleIndex),
    /// N.
    Close,
    /// B.
    Stop,
    /// G.
    Resume,
    /// W: a parameter's number and value.
    WriteParameter([u8; 2], [u8; 4]),
    /// Z: a parameter's number.
    ReadParameter([u8; 2]),
    /// D.
    Channel([u8; 2]),
    /// A known letter with data that it cannot have.
    Malformed,
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u32::from(digit - b'0')))?
    })
}

fn nozzle(digit: u8) -> Option<NozzleIndex> {
    digit.is_ascii_digit().then(|| NozzleIndex(digit - b'0'))
}

/// Reads command and data.
#[must_use]
pub fn request(body: &[u8]) -> Request {
    match body {
        b"S" => Request::Status,
        b"L" => Request::RunningVolume,
        b"R" => Request::RunningMoney,
        b"T" => Request::Transaction,
        b"N" => Request::Close,
        b"B" => Request::Stop,
        b"G" => Request::Resume,
        [b'C', digit] => nozzle(*digit).map_or(Request::Malformed, Request::Totaliser),
        &[b'W', a, b, c, d, e, f] => Request::WriteParameter([a, b], [c, d, e, f]),
        &[b'Z', a, b] => Request::ReadParameter([a, b]),
        &[b'D', a, b] => Request::Channel([a, b]),
        [letter @ (b'V' | b'M'), digit, b';', data @ ..] => {
            authorise(*letter, *digit, data).unwrap_or(Request::Malformed)
        }
        _ => Request::Malformed,
    }
}

fn authorise(letter: u8, digit: u8, data: &[u8]) -> Option<Request> {
    let (most, price) = (data.get(..6)?, data.get(6..)?.strip_prefix(b";")?);
    let most = number(most)?;
    let most = if letter == b'V' { Most::Volume(VolumeDigits(most)) } else { Most::Money(AmountDigits(most)) };
    let price = PriceDigits(number(price).filter(|_| price.len() == 4)?);
    Some(Request::Authorise { nozzle: nozzle(digit)?, most, price })
}

/// What a post says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// S: state and nozzle.
    Status(State, NozzleIndex),
    /// L: running volume.
    Volume(NozzleIndex, Letter, State, VolumeDigits),
    /// R: running money.
    Money(NozzleIndex, Letter, State, AmountDigits),
    /// T: money first, then volume, then price.
    Transaction(NozzleIndex, Letter, State, AmountDigits, VolumeDigits, PriceDigits),
    /// C: a nozzle's volume in units of the last digit shown.
    Totaliser(NozzleIndex, u64),
    /// Z: a parameter.
    Parameter([u8; 2], [u8; 4]),
    /// D: the channel as asked for.
    Channel([u8; 2]),
}

const SIX: u32 = 999_999;
const FOUR: u32 = 9_999;
const NINE: u64 = 999_999_999;

impl Reply {
    /// Letter and data as they go over the wire.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let head = |letter: char, nozzle: NozzleIndex, of: Letter, state: State| {
            format!("{letter}{}{}{}", nozzle.0 % 10, char::from(of.0), char::from(state.digit()))
        };
        match *self {
            Self::Status(state, nozzle) => format!("S{}{}", char::from(state.digit()), nozzle.0 % 10),
            Self::Volume(nozzle, of, state, volume) => {
                format!("{};{:06}", head('L', nozzle, of, state), volume.0.min(SIX))
            }
            Self::Money(nozzle, of, state, money) => {
                format!("{};{:06}", head('R', nozzle, of, state), money.0.min(SIX))
            }
            Self::Transaction(nozzle, of, state, money, volume, price) => {
                let (money, volume, price) = (money.0.min(SIX), volume.0.min(SIX), price.0.min(FOUR));
                format!("{};{money:06};{volume:06};{price:04}", head('T', nozzle, of, state))
            }
            Self::Totaliser(nozzle, total) => format!("C{};{:09}", nozzle.0 % 10, total % (NINE + 1)),
            Self::Parameter(number, value) => return [b"Z", &number[..], &value[..]].concat(),
            Self::Channel(channel) => return [b"D", &channel[..]].concat(),
        }
        .into_bytes()
    }
}
