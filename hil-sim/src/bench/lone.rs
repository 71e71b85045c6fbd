//! What a release and an end cost on a line of their own: the frames that the daemon exchanges for them, from its own line trace, and
//! the least time that those need by physics.

use super::physics::Physics;
use edge_daemon::trace::{Entry, TraceReader, Verdict};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An exchange that came so often is routine: a poll of a state that lasts. More often than any frame of the few releases that are made
/// there, twice in each.
const ROUTINE: u64 = 16;

/// Frames for one purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Cost {
    /// Frames of the controller.
    pub questions: u64,
    /// Frames of the dispenser.
    pub answers: u64,
    /// Bytes, both ways.
    pub bytes: u64,
}

impl Cost {
    /// The least time that they need.
    #[must_use]
    pub fn least(&self, physics: &Physics) -> Duration {
        physics.least(self.bytes, self.answers)
    }
}

/// Maps moments of this process to the wall clock that the trace has.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    at: Instant,
    unix_us: i64,
}

impl WallClock {
    /// Both clocks, read now.
    #[must_use]
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_us: i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) }
    }

    /// Microseconds since 1970 at a moment.
    #[must_use]
    pub fn unix_us(&self, at: Instant) -> i64 {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.unix_us + micros(at.saturating_duration_since(self.at)) - micros(self.at.saturating_duration_since(at))
    }
}

/// A frame with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    at: i64,
    sent: bool,
    bytes: Vec<u8>,
}

/// The line's trace as exchanges: a question with the answer to it, if there was one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exchanges {
    all: Vec<(Seen, Option<Seen>)>,
    often: BTreeMap<(Vec<u8>, Vec<u8>), u64>,
}

impl Exchanges {
    /// Reads the ring of a daemon that has ended.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(directory: &Path) -> std::io::Result<Self> {
        let mut reader = TraceReader::oldest(directory);
        let mut frames = Vec::new();
        loop {
            let entries = reader.read_more()?;
            if entries.is_empty() {
                return Ok(Self::of(frames));
            }
            for entry in entries.iter().flat_map(Entry::spread) {
                if let Entry::Frame { at, verdict, bytes, .. } = entry {
                    frames.push(Seen { at: at.unix_us(), sent: verdict == Verdict::Sent, bytes });
                }
            }
        }
    }

    fn of(mut frames: Vec<Seen>) -> Self {
        frames.sort_by_key(|seen| seen.at);
        let mut found = Self::default();
        for seen in frames {
            match found.all.last_mut() {
                _ if seen.sent => found.all.push((seen, None)),
                Some((_, answer)) if answer.is_none() => *answer = Some(seen),
                _ => {}
            }
        }
        for (question, answer) in &found.all {
            let pair = (question.bytes.clone(), answer.as_ref().map(|seen| seen.bytes.clone()).unwrap_or_default());
            *found.often.entry(pair).or_default() += 1;
        }
        found
    }

    /// Frames between two moments that are no routine. What was still under way at the end counts up to there.
    #[must_use]
    pub fn cost(&self, from: i64, to: i64) -> Cost {
        let mut cost = Cost::default();
        for (question, answer) in self.all.iter().filter(|(question, _)| (from..=to).contains(&question.at)) {
            let told = answer.as_ref().map(|seen| seen.bytes.clone()).unwrap_or_default();
            if self.often.get(&(question.bytes.clone(), told)).is_some_and(|times| *times >= ROUTINE) {
                continue;
            }
            cost.questions += 1;
            cost.bytes += question.bytes.len() as u64;
            if let Some(answer) = answer.as_ref().filter(|answer| answer.at <= to && !answer.bytes.is_empty()) {
                cost.answers += 1;
                cost.bytes += answer.bytes.len() as u64;
            }
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_of_a_lasting_state_cost_a_release_nothing_and_its_own_frames_count_to_the_last_byte() {
        let frame = |at, sent, bytes: &[u8]| Seen { at, sent, bytes: bytes.into() };
        let mut frames: Vec<Seen> = Vec::new();
        for round in 0..20 {
            frames.push(frame(round * 10, true, &[1]));
            frames.push(frame(round * 10 + 5, false, &[2]));
        }
        frames.extend([
            frame(260, true, &[7, 7, 7]),
            frame(265, false, &[8]),
            frame(270, true, &[1]),
            frame(275, false, &[3, 3]),
            frame(280, true, &[9, 9]),
            frame(285, false, &[8]),
        ]);
        let found = Exchanges::of(frames);
        // the block with its answer, the poll that told something, and the release without its answer
        assert_eq!(found.cost(140, 284), Cost { questions: 3, answers: 2, bytes: 9 });
        assert_eq!(found.cost(0, 250), Cost::default());
    }

    #[test]
    fn a_moment_is_the_same_distance_away_on_both_clocks() {
        let clock = WallClock { at: Instant::now(), unix_us: 1_000_000 };
        assert_eq!(clock.unix_us(clock.at + Duration::from_millis(3)), 1_003_000);
        assert_eq!(clock.unix_us(clock.at), 1_000_000);
    }
}
