//! Single words: commands of the controller and states of the pump (two-wire sheet, section 2).

use core::fmt;

/// A pump on its loop as it is numbered, 1 to 16. On the wire 16 is nibble 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PumpNumber(u8);

impl PumpNumber {
    /// The pump with this number; `None` outside 1 to 16.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=16).contains(&number).then_some(Self(number))
    }

    /// The pump that a low nibble names.
    #[must_use]
    pub const fn of_nibble(word: u8) -> Self {
        match word & 0x0F {
            0 => Self(16),
            nibble => Self(nibble),
        }
    }

    /// The pump that an identifier word or a hex character names: its number less one.
    #[must_use]
    pub const fn of_index(index: u8) -> Self {
        Self((index & 0x0F) + 1)
    }

    /// Its number, 1 to 16.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its low nibble on the wire.
    #[must_use]
    pub const fn nibble(self) -> u8 {
        self.0 & 0x0F
    }
}

impl fmt::Display for PumpNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the controller says in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Answered with the state.
    Status,
    /// Never answered: the state tells.
    Authorise,
    /// Answered with D; then one block of ours may follow.
    DataNext,
    /// Never answered: the state tells.
    Stop,
    /// Answered with a block.
    Transaction,
    /// Answered with a block.
    Totals,
    /// Answered with the digits of the money, without frame or check.
    RealTimeMoney,
    /// To every pump of the loop; never answered.
    AllStop,
}

/// The word of [`Command::AllStop`].
pub const ALL_STOP: u8 = 0xFC;

impl Command {
    /// The word for a pump; [`Command::AllStop`] has one for all.
    #[must_use]
    pub const fn word(self, pump: PumpNumber) -> u8 {
        match self {
            Self::AllStop => ALL_STOP,
            command => command.code() << 4 | pump.nibble(),
        }
    }

    /// The high nibble.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Status => 0,
            Self::Authorise => 1,
            Self::DataNext => 2,
            Self::Stop => 3,
            Self::Transaction => 4,
            Self::Totals => 5,
            Self::RealTimeMoney => 6,
            Self::AllStop => 15,
        }
    }

    /// What a word of the controller says; `None` if it is no command.
    #[must_use]
    pub const fn of_word(word: u8) -> Option<Self> {
        match word >> 4 {
            0 => Some(Self::Status),
            1 => Some(Self::Authorise),
            2 => Some(Self::DataNext),
            3 => Some(Self::Stop),
            4 => Some(Self::Transaction),
            5 => Some(Self::Totals),
            6 => Some(Self::RealTimeMoney),
            _ if word == ALL_STOP => Some(Self::AllStop),
            _ => None,
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Status => "STATUS",
            Self::Authorise => "AUTHORIZE",
            Self::DataNext => "DATA NEXT",
            Self::Stop => "STOP",
            Self::Transaction => "TRANSACTION DATA",
            Self::Totals => "TOTALS",
            Self::RealTimeMoney => "REAL-TIME MONEY",
            Self::AllStop => "ALL STOP",
        }
    }
}

/// A state of the pump, the high nibble of its status word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    /// 0, and 1 by one table of the note: the last command or block was refused.
    DataError,
    /// 6: at rest, handle in.
    Idle,
    /// 7: handle out, not authorised.
    Call,
    /// 8: authorised, not delivering.
    Authorised,
    /// 9: delivering, or about to.
    Busy,
    /// A: complete by its preset.
    PresetEnd,
    /// B: complete, handle in.
    FinalEnd,
    /// C: stopped, by us or by hand.
    Stopped,
    /// D: takes one block; only as the answer to data next.
    Ready,
}

impl Status {
    /// What the high nibble of a word of the pump says; `None` if no sheet knows it: noise.
    #[must_use]
    pub const fn of_word(word: u8) -> Option<Self> {
        match word >> 4 {
            0 | 1 => Some(Self::DataError),
            6 => Some(Self::Idle),
            7 => Some(Self::Call),
            8 => Some(Self::Authorised),
            9 => Some(Self::Busy),
            0xA => Some(Self::PresetEnd),
            0xB => Some(Self::FinalEnd),
            0xC => Some(Self::Stopped),
            0xD => Some(Self::Ready),
            _ => None,
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::DataError => "DATA ERROR",
            Self::Idle => "OFF/IDLE",
            Self::Call => "CALL",
            Self::Authorised => "AUTHORIZED",
            Self::Busy => "BUSY",
            Self::PresetEnd => "PEOT",
            Self::FinalEnd => "FEOT",
            Self::Stopped => "STOPPED",
            Self::Ready => "READY FOR DATA",
        }
    }

    /// Whether fuel flows or may flow without another word from us.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(self, Self::Authorised | Self::Busy)
    }

    /// Whether no sale is open in it: record and totals can be read.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Idle | Self::Call | Self::PresetEnd | Self::FinalEnd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pump_16_is_nibble_0_on_the_wire() {
        let pump = PumpNumber::new(16).expect("a pump");
        assert_eq!((Command::Totals.word(pump), PumpNumber::of_nibble(0x60)), (0x50, pump));
        assert_eq!((PumpNumber::new(0), PumpNumber::new(17)), (None, None));
    }
}
