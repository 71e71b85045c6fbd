//! All that happens in a day, as one number to compare two runs by, and its last lines for people.

use core::cell::RefCell;
use core::fmt;
use forecourt::time::Instant;
use std::collections::VecDeque;

/// Who keeps so many lines wants idle talk too.
const EVERYTHING: usize = 100_000;

/// FNV-1a, 64 bits: not against malice, only to tell two runs apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Digest(u64);

impl Digest {
    const START: Self = Self(0xcbf2_9ce4_8422_2325);

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes());
        Ok(())
    }
}

thread_local! {
    /// The last lines of the day that this thread plays: kept here so that a panic can still show them.
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// The log of one day. One day at a time on a thread.
#[derive(Debug)]
pub struct Log {
    digest: Digest,
    entries: u64,
    keep: usize,
}

impl Log {
    /// An empty one that keeps so many last lines.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        LINES.take();
        Self { digest: Digest::START, entries: 0, keep }
    }

    /// One that nobody reads and that leaves the lines of the day alone.
    #[must_use]
    pub const fn unheard() -> Self {
        Self { digest: Digest::START, entries: 0, keep: 0 }
    }

    /// Something happened.
    pub fn note(&mut self, at: Instant, what: fmt::Arguments<'_>) {
        self.entries += 1;
        self.digest.take(&at.as_micros().to_le_bytes());
        // Writing into a number cannot fail.
        let _ = fmt::write(&mut self.digest, what);
        if self.keep > 0 {
            self.keep_line(format!("{} {what}", Stamp(at)));
        }
    }

    /// Bytes went over a line: `>` from the controller, `<` to it, `!` bad, `?` unasked.
    pub fn frame(&mut self, at: Instant, line: usize, mark: char, bytes: &[u8]) {
        self.entries += 1;
        self.digest.take(&at.as_micros().to_le_bytes());
        self.digest.take(&[u8::try_from(line).unwrap_or(u8::MAX), u8::try_from(mark).unwrap_or(b'?')]);
        self.digest.take(bytes);
        if self.keep >= EVERYTHING || self.keep > 0 && !is_idle_talk(bytes) {
            self.keep_line(format!("{} line {} {mark} {bytes:02x?}", Stamp(at), line + 1));
        }
    }

    fn keep_line(&self, line: String) {
        LINES.with_borrow_mut(|lines| {
            if lines.len() == self.keep {
                lines.pop_front();
            }
            lines.push_back(line);
        });
    }

    /// The number that two runs of one seed share.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest.0
    }

    /// How much has happened.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }
}

/// The last lines of the day on this thread, oldest first.
#[must_use]
pub fn last_lines() -> Vec<String> {
    LINES.with_borrow(|lines| lines.iter().cloned().collect())
}

/// A poll, the answer "nothing" and running figures: they would push everything else out of the last lines.
fn is_idle_talk(bytes: &[u8]) -> bool {
    bytes.len() <= 3 || matches!(bytes, [_, _, 0x02, 0x08, ..] if bytes.len() <= 16)
}

/// A moment of the day as hours, minutes, seconds and milliseconds since it began.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub Instant);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_micros() / 1_000;
        let (s, m, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
        write!(f, "{h:02}:{:02}:{:02}.{:03}", m % 60, s % 60, ms % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_byte_or_another_time_changes_the_digest() {
        let digest = |at: u64, bytes: &[u8]| {
            let mut log = Log::new(0);
            log.frame(Instant::from_micros(at), 0, '>', bytes);
            log.digest()
        };
        assert_eq!(digest(5, &[1, 2]), digest(5, &[1, 2]));
        assert_ne!(digest(5, &[1, 2]), digest(6, &[1, 2]));
        assert_ne!(digest(5, &[1, 2]), digest(5, &[1, 3]));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut log = Log::new(2);
        for number in 0..5 {
            log.note(Instant::from_micros(number * 3_661_001_000), format_args!("event {number}"));
        }
        assert_eq!(last_lines(), ["03:03:03.003 event 3", "04:04:04.004 event 4"]);
    }
}
