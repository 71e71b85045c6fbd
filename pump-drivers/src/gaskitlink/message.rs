//! What host and post say: letters, states, digits (GasKitLink sheet, sections 3 and 4).

use core::fmt;

/// A number of `N` decimal digits, written with leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digits<const N: usize>(u32);

impl<const N: usize> Digits<N> {
    /// `None` where the number has more digits.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let fits = number < 10_u64.pow(u32::try_from(N).ok()?);
        u32::try_from(number).ok().filter(|_| fits).map(Self)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let digits = text.len() == N && text.iter().all(u8::is_ascii_digit);
        digits.then(|| Self(text.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))))
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

impl<const N: usize> fmt::Display for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0N$}", self.0)
    }
}

impl<const N: usize> fmt::Debug for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The state digit of a post (section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    /// 0: a fault, without a code.
    Error,
    /// 1: at rest, the nozzle stored.
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
    /// 8: stopped by its limit or by us, the nozzle out.
    Stopped,
    /// 9: over, the nozzle stored; held until N.
    EndOfTransaction,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::Error,
        Self::Idle,
        Self::Calling,
        Self::Authorised,
        Self::Started,
        Self::SuspendedStarted,
        Self::Fuelling,
        Self::SuspendedFuelling,
        Self::Stopped,
        Self::EndOfTransaction,
    ];

    fn read(digit: u8) -> Option<Self> {
        Self::ALL.get(usize::from(digit.checked_sub(b'0')?)).copied()
    }

    /// Its digit as a number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Idle => "idle",
            Self::Calling => "calling",
            Self::Authorised => "authorised",
            Self::Started => "started",
            Self::SuspendedStarted => "suspended before flow",
            Self::Fuelling => "fuelling",
            Self::SuspendedFuelling => "suspended while fuelling",
            Self::Stopped => "stopped",
            Self::EndOfTransaction => "end of transaction",
        }
    }

    /// Whether fuel flows or flows without another word from us.
    #[must_use]
    pub const fn lets_flow(self) -> bool {
        matches!(self, Self::Authorised | Self::Started | Self::Fuelling)
    }

    /// Whether an authorisation is in force or its fuelling is not over.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(
            self,
            Self::Authorised
                | Self::Started
                | Self::SuspendedStarted
                | Self::Fuelling
                | Self::SuspendedFuelling
                | Self::Stopped
        )
    }
}

/// The letter of a transaction, a to z; it changes with each closed one and wraps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Letter(u8);

impl Letter {
    const fn read(byte: u8) -> Option<Self> {
        if byte.is_ascii_lowercase() { Some(Self(byte)) } else { None }
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.0))
    }
}

/// A nozzle as the post numbers it: 1 to 6; 0 for none, or in C for the active one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PostNozzle(pub u8);

impl PostNozzle {
    /// None, or in C the active one.
    pub const ZERO: Self = Self(0);

    fn read(digit: u8) -> Option<Self> {
        digit.is_ascii_digit().then(|| Self(digit - b'0'))
    }
}

/// The limit of an authorisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// V: in units of the last volume digit, centilitres.
    Volume(Digits<6>),
    /// M: in display units.
    Money(Digits<6>),
}

/// What the host says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControllerSays {
    /// S.
    Status,
    /// V or M.
    Authorise(PostNozzle, Limit, Digits<4>),
    /// L: running volume.
    Volume,
    /// R: running money.
    Money,
    /// T: the current or last transaction.
    Transaction,
    /// C: volume totaliser.
    Totaliser(PostNozzle),
    /// N: close the transaction.
    Close,
    /// B: stop or pause.
    Stop,
    /// G: go on.
    Resume,
    /// W: write a parameter. Never sent: the parameters are unknown.
    WriteParameter([u8; 2], [u8; 4]),
    /// Z: read a parameter. Never sent.
    ReadParameter([u8; 2]),
    /// D: switch the channel, at address 0. Never sent.
    Channel([u8; 2]),
}

impl ControllerSays {
    /// Reads letter and data. `None` where the data cannot be those of the letter.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        Some(match *body {
            [b'S'] => Self::Status,
            [b'L'] => Self::Volume,
            [b'R'] => Self::Money,
            [b'T'] => Self::Transaction,
            [b'N'] => Self::Close,
            [b'B'] => Self::Stop,
            [b'G'] => Self::Resume,
            [b'C', nozzle] => Self::Totaliser(PostNozzle::read(nozzle)?),
            [b'W', a, b, c, d, e, f] => Self::WriteParameter([a, b], [c, d, e, f]),
            [b'Z', a, b] => Self::ReadParameter([a, b]),
            [b'D', a, b] => Self::Channel([a, b]),
            [letter @ (b'V' | b'M'), nozzle, b';', ref data @ ..] => {
                let (limit, price) = (Digits::read(data.get(..6)?)?, data.get(6..)?.strip_prefix(b";")?);
                let limit = if letter == b'V' { Limit::Volume(limit) } else { Limit::Money(limit) };
                Self::Authorise(PostNozzle::read(nozzle)?, limit, Digits::read(price)?)
            }
            _ => return None,
        })
    }

    /// Letter and data.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let letter = match *self {
            Self::Status => b'S',
            Self::Volume => b'L',
            Self::Money => b'R',
            Self::Transaction => b'T',
            Self::Close => b'N',
            Self::Stop => b'B',
            Self::Resume => b'G',
            Self::Totaliser(nozzle) => return format!("C{}", nozzle.0).into_bytes(),
            Self::Authorise(nozzle, Limit::Volume(limit), price) => {
                return format!("V{};{limit};{price}", nozzle.0).into_bytes();
            }
            Self::Authorise(nozzle, Limit::Money(limit), price) => {
                return format!("M{};{limit};{price}", nozzle.0).into_bytes();
            }
            Self::WriteParameter(number, value) => return [b"W", &number[..], &value[..]].concat(),
            Self::ReadParameter(number) => return [b"Z", &number[..]].concat(),
            Self::Channel(channel) => return [b"D", &channel[..]].concat(),
        };
        vec![letter]
    }
}

/// What T tells: money first, then volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// The nozzle that fuels or fuelled.
    pub nozzle: PostNozzle,
    /// With money and volume it names a sale, for a short time.
    pub letter: Letter,
    /// State.
    pub status: Status,
    /// In display units.
    pub money: Digits<6>,
    /// In units of the last volume digit, centilitres.
    pub volume: Digits<6>,
    /// As charged.
    pub price: Digits<4>,
}

impl Transaction {
    /// Whether both are one sale with the same figures; the state may differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Self { status: other.status, ..*self } == *other
    }
}

/// What a post says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PumpSays {
    /// S, and the answer to V, M, N, B and G.
    Status(Status, PostNozzle),
    /// L: running volume.
    Volume(PostNozzle, Letter, Status, Digits<6>),
    /// R: running money.
    Money(PostNozzle, Letter, Status, Digits<6>),
    /// T.
    Transaction(Transaction),
    /// C: a nozzle's volume totaliser, mostly in centilitres.
    Totaliser(PostNozzle, Digits<9>),
    /// Z: a parameter.
    Parameter([u8; 2], [u8; 4]),
    /// D: the channel.
    Channel([u8; 2]),
}

impl PumpSays {
    /// Reads letter and data. `None` where the data cannot be those of the letter.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        Some(match *body {
            [b'S', status, nozzle] => Self::Status(Status::read(status)?, PostNozzle::read(nozzle)?),
            [b'C', nozzle, b';', ref total @ ..] => Self::Totaliser(PostNozzle::read(nozzle)?, Digits::read(total)?),
            [b'Z', a, b, c, d, e, f] => Self::Parameter([a, b], [c, d, e, f]),
            [b'D', a, b] => Self::Channel([a, b]),
            [kind @ (b'L' | b'R' | b'T'), nozzle, letter, status, b';', ref data @ ..] => {
                let (nozzle, letter, status) =
                    (PostNozzle::read(nozzle)?, Letter::read(letter)?, Status::read(status)?);
                match kind {
                    b'L' => Self::Volume(nozzle, letter, status, Digits::read(data)?),
                    b'R' => Self::Money(nozzle, letter, status, Digits::read(data)?),
                    _ => {
                        let mut parts = data.split(|byte| *byte == b';');
                        let (money, volume) = (Digits::read(parts.next()?)?, Digits::read(parts.next()?)?);
                        let price = Digits::read(parts.next()?)?;
                        Self::Transaction(Transaction { nozzle, letter, status, money, volume, price })
                    }
                }
            }
            _ => return None,
        })
    }

    /// Letter and data.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match *self {
            Self::Status(status, nozzle) => format!("S{}{}", status.number(), nozzle.0),
            Self::Volume(nozzle, letter, status, volume) => {
                format!("L{}{letter}{};{volume}", nozzle.0, status.number())
            }
            Self::Money(nozzle, letter, status, money) => format!("R{}{letter}{};{money}", nozzle.0, status.number()),
            Self::Transaction(Transaction { nozzle, letter, status, money, volume, price }) => {
                format!("T{}{letter}{};{money};{volume};{price}", nozzle.0, status.number())
            }
            Self::Totaliser(nozzle, total) => format!("C{};{total}", nozzle.0),
            Self::Parameter(number, value) => return [b"Z", &number[..], &value[..]].concat(),
            Self::Channel(channel) => return [b"D", &channel[..]].concat(),
        }
        .into_bytes()
    }
}
