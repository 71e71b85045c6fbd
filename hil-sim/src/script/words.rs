//! The small words of which a script's lines are made: times, quantities, ranges.

use core::fmt;
use core::time::Duration;
use forecourt::ids::NozzleId;

/// Reads `m:ss`, `h:mm:ss`, either with milliseconds behind a point.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no time: write 1:05, 1:05.250 or 2:01:05");
    let (whole, ms) = text.split_once('.').unwrap_or((text, "0"));
    let ms = fixed(&format!("0.{ms}"), 3).ok_or_else(wrong)?;
    let parts: Vec<u64> = whole.split(':').map(digits).collect::<Option<_>>().ok_or_else(wrong)?;
    let seconds = match parts[..] {
        [minutes, seconds] if seconds < 60 => minutes * 60 + seconds,
        [hours, minutes, seconds] if minutes < 60 && seconds < 60 => hours * 3_600 + minutes * 60 + seconds,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(seconds) + Duration::from_millis(u64::try_from(ms).map_err(|_| wrong())?))
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads a number with at most so many decimals, in units of the last one.
pub(super) fn fixed(text: &str, decimals: u8) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let decimals = usize::from(decimals);
    if part.len() > decimals || whole.is_empty() || whole.len() > 9 {
        return None;
    }
    let all = format!("{whole}{part:0<decimals$}");
    all.bytes().all(|byte| byte.is_ascii_digit()).then(|| all.parse().ok()).flatten()
}

/// A quantity that must be exact, or lie between two bounds, both included. In the smallest unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub(super) least: i64,
    pub(super) most: i64,
    decimals: u8,
}

impl Range {
    /// Nothing at all.
    pub(super) const ZERO: Self = Self { least: 0, most: 0, decimals: 3 };

    /// Reads `26.85` or `26.00..26.90`.
    pub(super) fn read(text: &str, decimals: u8) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no number or range of at most {decimals} decimals, such as 26.85 or 26..27");
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let one = |text| fixed(text, decimals).ok_or_else(wrong);
        let range = Self { least: one(least)?, most: one(most)?, decimals };
        if range.least > range.most { Err(wrong()) } else { Ok(range) }
    }

    pub(super) const fn holds(self, value: i64) -> bool {
        self.least <= value && value <= self.most
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.least, self.decimals))?;
        if self.least != self.most {
            write!(f, "..{}", shown(self.most, self.decimals))?;
        }
        Ok(())
    }
}

/// A quantity with its decimals, for people.
pub(super) fn shown(value: i64, decimals: u8) -> String {
    let scale = 10_u64.pow(u32::from(decimals));
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:0width$}", value / scale, value % scale, width = usize::from(decimals))
}

/// The words of one line, to be taken one after another.
pub(super) struct Words<'t> {
    rest: Vec<&'t str>,
    next: usize,
}

impl<'t> Words<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { rest: text.split_whitespace().collect(), next: 0 }
    }

    pub(super) fn next(&mut self) -> Option<&'t str> {
        let word = self.rest.get(self.next).copied();
        self.next += usize::from(word.is_some());
        word
    }

    pub(super) fn need(&mut self, what: &str) -> Result<&'t str, String> {
        self.next().ok_or_else(|| format!("{what} is missing at the end of the line"))
    }

    /// Takes these words if they come next.
    pub(super) fn take(&mut self, words: &str) -> bool {
        let words: Vec<&str> = words.split_whitespace().collect();
        let here = self.rest[self.next..].starts_with(&words);
        if here {
            self.next += words.len();
        }
        here
    }

    pub(super) fn expect(&mut self, words: &str) -> Result<(), String> {
        if self.take(words) { Ok(()) } else { Err(format!("\"{words}\" is expected instead of {}", self.here())) }
    }

    fn here(&self) -> String {
        self.rest.get(self.next).map_or("the end of the line".into(), |word| format!("\"{word}\""))
    }

    pub(super) fn end(&self) -> Result<(), String> {
        self.rest.get(self.next).map_or(Ok(()), |word| Err(format!("\"{word}\" is too much")))
    }

    pub(super) fn number(&mut self, what: &str) -> Result<u64, String> {
        let word = self.need(what)?;
        digits(word).ok_or_else(|| format!("\"{word}\" is no number: {what} is expected"))
    }

    pub(super) fn nozzle(&mut self) -> Result<NozzleId, String> {
        let number = self.number("a nozzle's number")?;
        u16::try_from(number)
            .ok()
            .filter(|number| (1..=24).contains(number))
            .map(NozzleId)
            .ok_or_else(|| format!("nozzle {number} is not here: the station has 1 to 24"))
    }

    pub(super) fn time(&mut self) -> Result<Duration, String> {
        time(self.need("a time")?)
    }

    /// `for TIME`, which some acts need.
    pub(super) fn for_time(&mut self) -> Result<Duration, String> {
        self.expect("for")?;
        self.time()
    }

    pub(super) fn fixed(&mut self, decimals: u8, what: &str) -> Result<i64, String> {
        let word = self.need(what)?;
        fixed(word, decimals).ok_or_else(|| format!("\"{word}\" is no {what} with at most {decimals} decimals"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_and_seconds_with_hours_before_and_milliseconds_behind() {
        assert_eq!(time("1:05"), Ok(Duration::from_secs(65)));
        assert_eq!(time("0:00.5"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2:01:05.250"), Ok(Duration::from_millis(7_265_250)));
        for wrong in ["5", "1:60", "1:00:60", "a:10", "1:05.1234", "-1:00", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_quantity_is_exact_or_lies_between_two_bounds() {
        let range = Range::read("26..26.9", 2).expect("a range");
        assert!(range.holds(2_600) && range.holds(2_690) && !range.holds(2_691) && !range.holds(2_599));
        assert_eq!(range.to_string(), "26.00..26.90");
        assert_eq!(Range::read("26.85", 3).map(|one| one.holds(26_850)), Ok(true));
        for wrong in ["27..26", "1.234", "x", "1..", ""] {
            assert!(Range::read(wrong, 2).is_err(), "{wrong}");
        }
    }
}
