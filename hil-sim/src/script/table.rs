//! A played script as a table for people: step, expected, seen, time.

use super::expect::Seen;
use core::fmt::Write as _;
use core::time::Duration;

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub(super) at: Option<Duration>,
    line: usize,
    mark: Mark,
    expected: String,
    seen: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Act,
    Good,
    Bad,
}

impl Row {
    pub(super) fn act(at: Duration, line: usize, text: &str) -> Self {
        Self { at: Some(at), line, mark: Mark::Act, expected: text.into(), seen: String::new() }
    }

    pub(super) fn seen(line: usize, expected: String, seen: &Seen) -> Self {
        let told = if seen.text.is_empty() { String::new() } else { format!(": {}", seen.text) };
        Self { at: Some(seen.at), line, mark: Mark::Good, expected, seen: format!("{}{told}", seen.what) }
    }

    pub(super) fn missing(line: usize, expected: String, nearest: String) -> Self {
        Self { at: None, line, mark: Mark::Bad, expected, seen: nearest }
    }

    pub(super) fn broken(at: Duration, line: usize, expected: &str, seen: &str) -> Self {
        Self { at: Some(at), line, mark: Mark::Bad, expected: expected.into(), seen: seen.into() }
    }

    pub(super) const fn compared(at: Duration, line: usize, expected: String, seen: String, good: bool) -> Self {
        let mark = if good { Mark::Good } else { Mark::Bad };
        Self { at: Some(at), line, mark, expected, seen }
    }
}

/// What came of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub(super) rows: Vec<Row>,
    pub(super) seen: Vec<Seen>,
    /// What was not as expected, with the script's line; 0 for what must hold in every script.
    pub failures: Vec<(usize, String)>,
}

impl Outcome {
    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let widest = |cell: fn(&Row) -> usize| self.rows.iter().map(cell).max().unwrap_or(0);
        let wide = widest(|row| row.expected.chars().count()).clamp(8, 60);
        let mut text = format!("{:>4}  {:>11}  {:>4}     {:wide$}  seen\n", "step", "time", "line", "expected");
        for (step, row) in self.rows.iter().enumerate() {
            let mark = match row.mark {
                Mark::Act => ">>",
                Mark::Good => "ok",
                Mark::Bad => "NO",
            };
            let (line, when) = (
                if row.line == 0 { String::new() } else { row.line.to_string() },
                row.at.map_or_else(|| "-".into(), stamp),
            );
            // Writing into a text cannot fail.
            let _ =
                writeln!(text, "{:>4}  {when:>11}  {line:>4} {mark}  {:wide$}  {}", step + 1, row.expected, row.seen);
        }
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// All that was seen, whether it was expected or not.
    #[must_use]
    pub fn everything(&self) -> String {
        let line = |seen: &Seen| format!("{:>11}  {}  {}", stamp(seen.at), seen.what, seen.text).trim_end().to_owned();
        self.seen.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A time since the script's start.
pub(super) fn stamp(at: Duration) -> String {
    let (seconds, ms) = (at.as_secs(), at.subsec_millis());
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let minutes = if hours > 0 { format!("{hours}:{:02}", minutes % 60) } else { minutes.to_string() };
    format!("{minutes}:{:02}.{ms:03}", seconds % 60)
}
