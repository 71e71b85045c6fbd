//! The protocols, by their words in the configuration and on the command line, and what each gives by the same name.

use crate::head::Rules;
use crate::hex::{Direction, bytes_of};
use crate::line::{LineSettings, Watch};
use crate::probe::Plan;
use crate::{dart, gaskitlink, modbus, two_wire};
use serde_json::{Value, json};

/// Protocols of dispensers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// Wayne DART.
    Dart,
    /// GasKitLink, Censtar export posts.
    GasKitLink,
    /// Gilbarco two-wire.
    TwoWire,
    /// Modbus, with the register map of a profile.
    Modbus,
}

impl Protocol {
    /// All, by their words.
    pub const ALL: [(&'static str, Self); 4] =
        [("dart", Self::Dart), ("gaskitlink", Self::GasKitLink), ("two-wire", Self::TwoWire), ("modbus", Self::Modbus)];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dart => "dart",
            Self::GasKitLink => "gaskitlink",
            Self::TwoWire => "two-wire",
            Self::Modbus => "modbus",
        }
    }

    /// The one with a word, if there is such a one.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, protocol)| protocol)
    }

    /// What its heads have room for.
    #[must_use]
    pub fn rules(self) -> Rules {
        match self {
            Self::Dart => dart::RULES,
            Self::GasKitLink => gaskitlink::RULES,
            Self::TwoWire => two_wire::RULES,
            Self::Modbus => modbus::RULES,
        }
    }

    /// How its lines usually behave.
    #[must_use]
    pub fn line_settings(self) -> LineSettings {
        match self {
            Self::Dart => LineSettings::default(),
            Self::GasKitLink => gaskitlink::line_settings(),
            Self::TwoWire => two_wire::line_settings(),
            Self::Modbus => modbus::line_settings(),
        }
    }

    /// What its dispensers may be asked to find them, all of it only read.
    #[must_use]
    pub fn probe_plan(self) -> Plan {
        match self {
            Self::Dart => dart::plan(),
            Self::GasKitLink => gaskitlink::plan(),
            Self::TwoWire => two_wire::plan(),
            Self::Modbus => modbus::probe_plan(None, modbus::wire::Framing::Rtu),
        }
    }

    /// Whether a line can be followed that another controller drives.
    #[must_use]
    pub const fn can_be_heard(self) -> bool {
        match self {
            Self::Dart | Self::TwoWire => true,
            Self::GasKitLink | Self::Modbus => false,
        }
    }

    /// What finds the words of another master on a line that we drive, where the protocol lets them be told from a device's.
    #[must_use]
    pub fn watch(self) -> Option<Box<dyn Watch>> {
        match self {
            Self::Dart => Some(Box::new(dart::PollWatch::default())),
            Self::TwoWire => Some(Box::new(two_wire::PollWatch::default())),
            Self::GasKitLink | Self::Modbus => None,
        }
    }

    /// Describes one frame written in hex, blanks allowed: `{"ok":true,…}` or `{"ok":false,"reason":…}`. Without a direction it is
    /// inferred where the frame tells it.
    #[must_use]
    pub fn decode_line(self, hex: &str, direction: Option<Direction>) -> Value {
        match self {
            Self::Dart => dart::decode_line(hex, direction),
            Self::GasKitLink => gaskitlink::decode_line(hex, direction),
            Self::TwoWire => two_wire::decode_line(hex, direction),
            Self::Modbus => modbus::decode_line(hex, direction),
        }
    }

    /// A decoder at the start of a stream of frames.
    #[must_use]
    pub fn stream_decoder(self, direction: Option<Direction>) -> Box<dyn FrameDecoder> {
        match self {
            Self::Dart => Box::new(dart::StreamDecoder::new(direction)),
            Self::GasKitLink => Box::new(gaskitlink::StreamDecoder::new(direction)),
            Self::TwoWire => Box::new(two_wire::StreamDecoder::new(direction)),
            Self::Modbus => Box::new(modbus::StreamDecoder::new(direction)),
        }
    }
}

/// Describes frames of a stream that may be joined or cut, in order, refused ones included.
pub trait FrameDecoder {
    /// Takes bytes; gives what they complete.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Value>;

    /// The stream ends or the line fell silent: gives what was left unfinished.
    fn finish(&mut self) -> Vec<Value>;

    /// Takes hex, blanks allowed; text that is no hex is refused as a whole.
    fn feed_hex(&mut self, hex: &str) -> Vec<Value> {
        match bytes_of(hex) {
            Ok(bytes) => self.feed(&bytes),
            Err(reason) => vec![json!({"ok": false, "reason": reason})],
        }
    }
}
