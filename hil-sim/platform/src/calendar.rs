//! Business days: those of China's one zone, UTC+8 the whole year.

use forecourt::time::UtcTime;

const ZONE_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// The local hour, two digits, in which an order `o` was made, as SQL.
pub const HOUR_OF_DAY: &str = "printf('%02d', (o.created_ms / 3600000 + 8) % 24)";

/// A business day, counted from 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Day(pub i64);

impl Day {
    /// The day a moment falls on.
    #[must_use]
    pub fn of(at: UtcTime) -> Self {
        Self((at.unix_ms() + ZONE_MS).div_euclid(DAY_MS))
    }

    /// `2026-11-21`.
    #[must_use]
    pub fn date(self) -> String {
        UtcTime::from_unix_ms(self.0 * DAY_MS).to_string().chars().take(10).collect()
    }

    /// From `2026-11-21`; `None` for anything else.
    #[must_use]
    pub fn parse(date: &str) -> Option<Self> {
        let at = UtcTime::parse(&format!("{date}T00:00:00Z")).ok()?;
        Some(Self(at.unix_ms().div_euclid(DAY_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_china() {
        let day = |text: &str| Day::of(UtcTime::parse(text).expect("a time")).date();
        assert_eq!(day("2026-11-20T15:59:59.999Z"), "2026-11-20");
        assert_eq!(day("2026-11-20T16:00:00Z"), "2026-11-21");
        assert_eq!(Day::parse("2026-11-21").map(Day::date).as_deref(), Some("2026-11-21"));
    }
}
