//! The line trace: every frame with direction, line and time, in a ring of files on disk; always on, bounded, never in the way.
//!
//! Exchanges that come again unchanged are counted: `Repeat`. A count ends when anything else happens at its fuelling point, and after
//! 10 s, and is written then; so entries stand in the order in which they became known, not of their times.
//!
//! # Format, version 2
//!
//! Segments are files `NNNNNNNNNN.trace`; the number counts up for the life of the ring and the lowest ones are deleted. A segment
//! begins with `FETRACE2` (`FETRACE1` where there were no counts yet), its number (u64) and its first time in microseconds since 1970 (i64), both little endian. Records
//! follow: length of the payload (varint, never 0), payload, one check byte (one's complement of the sum of the payload's
//! bytes). A record that is cut or fails its check ends the segment: that is the torn tail of a power cut.
//!
//! A payload begins with its kind. Varints are LEB128; a time is the zigzag varint of the microseconds since the record before.
//!
//! | kind | then |
//! |---|---|
//! | 0 name of a line | line u8, UTF-8 |
//! | 1 sent, 2 good, 3 unasked, 7 overheard | line u8, time, the bytes |
//! | 4 bad | line u8, time, length of the reason (varint), reason, the bytes |
//! | 5 silence | line u8, time |
//! | 6 lost entries | time, count (varint) |
//! | 8 repeat | line u8, time of the first question, varints: count, from the first question to the last (zigzag, µs), longest time to an answer (µs), length of the question; a byte with bit 0 set for an overheard question and bit 1 for silence; the question, the answer |

mod format;
mod reader;
mod repeat;
mod writer;

pub use reader::TraceReader;
pub use repeat::Repeat;
pub use writer::{Recorder, nowhere, start};

use core::fmt;
use core::time::Duration;

/// A time on the wall clock in microseconds since 1970, finer than records need it: turnaround times are read from a trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TraceTime(i64);

impl TraceTime {
    /// From microseconds since 1970.
    #[must_use]
    pub const fn from_unix_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn unix_us(self) -> i64 {
        self.0
    }

    /// The time from then to now; none where the wall clock was set back meanwhile.
    #[must_use]
    pub fn since(self, then: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(then.0)).unwrap_or(0))
    }
}

impl fmt::Display for TraceTime {
    /// RFC 3339 in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = forecourt::time::UtcTime::from_unix_ms(self.0.div_euclid(1_000)).to_string();
        let stem = millis.strip_suffix('Z').unwrap_or(&millis);
        write!(f, "{stem}{:03}Z", self.0.rem_euclid(1_000))
    }
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Ours.
    Sent,
    /// A good answer.
    Good,
    /// A bad one, and why.
    Bad(String),
    /// Nothing came in time.
    Silence,
    /// Bytes that nobody was asked for.
    Unasked,
    /// A good frame of another controller, on a line where we only listen.
    Overheard,
}

impl Verdict {
    /// Whether the bytes went towards the dispensers.
    #[must_use]
    pub const fn is_controllers(&self) -> bool {
        matches!(self, Self::Sent | Self::Overheard)
    }

    /// In one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Good => "good",
            Self::Bad(_) => "bad",
            Self::Silence => "silence",
            Self::Unasked => "unasked",
            Self::Overheard => "overheard",
        }
    }
}

/// One entry of the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A frame, or what came instead of one.
    Frame {
        /// When it was sent, or was complete.
        at: TraceTime,
        /// Name of the line.
        line: String,
        /// What became of it.
        verdict: Verdict,
        /// As on the wire.
        bytes: Vec<u8>,
    },
    /// An exchange that came again unchanged, counted.
    Repeat(Box<Repeat>),
    /// Entries that could not be written in time.
    Lost {
        /// When that was noticed.
        at: TraceTime,
        /// How many.
        count: u64,
    },
}

#[cfg(test)]
mod tests;
