//! One text for all states that behave alike.
//!
//! A state is told by its `Debug` text. What only names or counts there (times, identifiers, tickets, tokens, release numbers) is
//! written relative to the present, or left out where nothing is decided by it. So two ways to the same situation meet.

use forecourt::time::UtcTime;
use std::fmt::{Debug, Write};

const TAKES_ALL: &str = "a String takes all text";

/// The text of a state at a moment: microseconds of the monotonic clock, and the same moment in UTC.
pub fn text(state: &impl Debug, mono: u64, utc: UtcTime) -> String {
    let raw = format!("{state:?}");
    // What stands before is the layout, which never changes.
    let raw = raw.find("ids: UuidMaker").map_or(raw.as_str(), |at| &raw[at..]);
    let base = |name: &str| raw.find(name).map_or(0, |at| number(&raw[at + name.len()..]));
    let (ticket, release, token) = (base("last_ticket: "), base("last_release: "), base("tokens: "));
    let base_of = |name: &str| match name {
        "Ticket" | "last_ticket:" => Some(ticket),
        "ReleaseId" | "last_release:" => Some(release),
        "Token" | "tokens:" | "stored:" | "named:" => Some(token),
        "mono:" => Some(i128::from(mono)),
        _ => None,
    };
    let mut out = String::with_capacity(raw.len());
    let mut name = "";
    let mut rest = raw;
    while !rest.is_empty() {
        let between = rest.bytes().position(is_word).unwrap_or(rest.len());
        out.push_str(&rest[..between]);
        rest = &rest[between..];
        let length = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
        let word = &rest[..length];
        rest = &rest[length..];
        if is_time(word) {
            if name == "expires_at:" {
                let left = UtcTime::parse(word).map_or(0, |at| at.ms_since(utc));
                write!(out, "{left}").expect(TAKES_ALL);
            }
        } else if let Some(since_start) = word.strip_prefix('+') {
            let micros =
                number(since_start) * 1_000_000 + since_start.find('.').map_or(0, |at| number(&since_start[at + 1..]));
            write!(out, "{}", micros - i128::from(mono)).expect(TAKES_ALL);
        } else if let Some(base) = base_of(name).filter(|_| word.starts_with(|c: char| c.is_ascii_digit())) {
            write!(out, "{}", number(word) - base).expect(TAKES_ALL);
        } else if !is_uuid(word) {
            out.push_str(word);
        }
        name = word;
    }
    out
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.' | b':')
}

/// The number that a text begins with.
fn number(text: &str) -> i128 {
    let used = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..used].parse().unwrap_or(0)
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 24 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[23] == b'Z'
}

fn is_uuid(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 36 && [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-')
}

#[test]
fn what_only_counts_or_names_is_the_same_a_day_later() {
    let at = |day: i64| UtcTime::from_unix_ms(1_795_250_000_000 + day * 86_400_000);
    let state = |day: u8| {
        let start = u64::from(day) * 86_400_000_000;
        let due = forecourt::time::Instant::from_micros(start + 1_500_000);
        let text = format!(
            "ids: UuidMaker last_ticket: {}, due: {due:?}, seen: {}, expires_at: {}, Ticket({})",
            8 + day,
            at(day.into()),
            at(day.into()).plus_ms(7),
            5 + day
        );
        struct Raw(String);
        impl Debug for Raw {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        self::text(&Raw(text), start, at(day.into()))
    };
    assert_eq!(state(0), state(1));
    assert_eq!(state(0), "ids: UuidMaker last_ticket: 0, due: 1500000, seen: , expires_at: 7, Ticket(-3)");
}
