//! Time as an argument: our own integers, so that it prints and replays.

use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// A moment on the monotonic clock, microseconds since the run began. The wall clock jumps; this does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the run.
    pub const START: Self = Self(0);

    /// From microseconds since the start of the run.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of the run.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since an earlier moment; zero if that was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Coordinated universal time in milliseconds since 1970; may jump when the clock is set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(i64);

/// Earliest and latest moment that prints as RFC 3339 with four digits of year (a day short of year 10000, as jiff has it).
const RANGE_MS: core::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_207_200_000;

impl UtcTime {
    /// From milliseconds since 1970-01-01T00:00:00Z, kept within the years 1 to 9999.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(*RANGE_MS.start(), *RANGE_MS.end()))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 with any offset; finer than a millisecond is cut.
    ///
    /// # Errors
    /// [`BadTime`] where the text is no such time.
    pub fn parse(text: &str) -> Result<Self, BadTime> {
        let stamp: jiff::Timestamp = text.parse().map_err(|_| BadTime(text.into()))?;
        Ok(Self::from_unix_ms(stamp.as_millisecond()))
    }

    /// How long from `earlier` to this; negative if this is earlier.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// This time moved by milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no RFC 3339 time such as 2026-11-21T08:40:00.000Z")]
pub struct BadTime(pub String);

impl fmt::Display for UtcTime {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => write!(f, "1970-01-01T00:00:00.000Z"),
        }
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UtcTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// How far the wall clock can be trusted (the contract's `clock`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClockQuality {
    /// Disciplined by a time source.
    Synced,
    /// Was disciplined, runs free now.
    Holdover,
    /// Never set since the machine started.
    Unset,
}

/// The present, as every core is told it: both clocks and how good the second is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// For every timer.
    pub mono: Instant,
    /// For records and for the cloud's expiry times.
    pub utc: UtcTime,
    /// What `utc` is worth.
    pub clock: ClockQuality,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_prints_milliseconds_and_reads_back() {
        let at = UtcTime::parse("2026-11-21T16:31:10.12+08:00").expect("a time");
        assert_eq!(at.to_string(), "2026-11-21T08:31:10.120Z");
        assert_eq!(UtcTime::parse(&at.to_string()), Ok(at));
    }

    #[test]
    fn the_ends_of_time_print_and_read_back() {
        for ms in [i64::MIN, i64::MAX, 0] {
            let at = UtcTime::from_unix_ms(ms);
            assert_eq!(UtcTime::parse(&at.to_string()), Ok(at), "{at}");
        }
    }
}
