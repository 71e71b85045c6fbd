//! Exchanges that come again unchanged are counted instead of stored again. Pure.
//!
//! An idle dispenser answers the same to the same question some times a second, all day long. For each fuelling point the last good or
//! silent answer to each question is kept; while all its exchanges are such repeats they are only counted, with the times of the
//! first and the last. Anything else at that fuelling point ends its counts first, so that the order of what matters to it is kept.

use crate::trace::{Entry, TraceTime, Verdict};
use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

/// A count is written at the latest after this: a power cut loses no more of it.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// Questions that are remembered of one fuelling point.
const QUESTIONS: usize = 16;
/// Fuelling points that are remembered. A station has fewer.
const SPEAKERS: usize = 256;

/// With whom a frame was exchanged: the line and the fuelling point on it.
pub(super) type Speaker = (String, u16);

struct Question {
    at: TraceTime,
    verdict: Verdict,
    bytes: Vec<u8>,
    since: Instant,
}

/// Repeats of one exchange.
struct Run {
    asked: Verdict,
    sent: Vec<u8>,
    verdict: Verdict,
    answer: Vec<u8>,
    count: u64,
    first: TraceTime,
    last: TraceTime,
    /// When the last answer came.
    answered: TraceTime,
    slowest: Duration,
    since: Instant,
}

struct Talk {
    speaker: Speaker,
    /// Waits for its answer.
    asked: Option<Question>,
    runs: VecDeque<Run>,
}

/// What is known of every fuelling point.
#[derive(Default)]
pub(super) struct Repeats {
    talks: Vec<Talk>,
}

impl Repeats {
    /// Takes an entry; appends what is to be written now.
    pub fn take(&mut self, entry: Entry, speaker: Option<u16>, now: Instant, out: &mut Vec<Entry>) {
        let Entry::Frame { at, line, verdict, bytes } = entry else {
            out.push(entry);
            return;
        };
        let Some(fp) = speaker else {
            out.push(Entry::Frame { at, line, verdict, bytes });
            return;
        };
        let talk = self.talk((line, fp), out);
        match verdict {
            Verdict::Sent | Verdict::Overheard => {
                // A question that nobody answered, as a block without acknowledgement.
                talk.give_up(out);
                talk.asked = Some(Question { at, verdict, bytes, since: now });
            }
            Verdict::Good | Verdict::Silence if talk.asked.is_some() => talk.answer(at, verdict, bytes, now, out),
            _ => {
                talk.give_up(out);
                talk.end_runs(out);
                out.push(talk.frame(at, verdict, bytes));
            }
        }
    }

    /// Appends what has waited long enough.
    pub fn settle(&mut self, now: Instant, out: &mut Vec<Entry>) {
        for talk in &mut self.talks {
            if talk.asked.as_ref().is_some_and(|asked| now.saturating_duration_since(asked.since) >= LONGEST) {
                talk.give_up(out);
            }
            if talk.runs.iter().any(|run| run.count > 0 && now.saturating_duration_since(run.since) >= LONGEST) {
                talk.end_runs(out);
            }
        }
    }

    /// Appends everything that still waits; nothing is known afterwards.
    pub fn finish(&mut self, out: &mut Vec<Entry>) {
        for mut talk in core::mem::take(&mut self.talks) {
            talk.end_runs(out);
            talk.give_up(out);
        }
    }

    /// Forgets everything, as where the ring was emptied; how many frames that were.
    pub fn forget(&mut self) -> u64 {
        let waiting =
            |talk: &Talk| talk.runs.iter().map(|run| run.count * 2).sum::<u64>() + u64::from(talk.asked.is_some());
        core::mem::take(&mut self.talks).iter().map(waiting).sum()
    }

    fn talk(&mut self, speaker: Speaker, out: &mut Vec<Entry>) -> &mut Talk {
        let known = self.talks.iter().position(|talk| talk.speaker == speaker);
        let index = known.unwrap_or_else(|| {
            if self.talks.len() >= SPEAKERS {
                self.finish(out);
            }
            self.talks.push(Talk { speaker, asked: None, runs: VecDeque::new() });
            self.talks.len() - 1
        });
        &mut self.talks[index]
    }
}

impl Talk {
    fn frame(&self, at: TraceTime, verdict: Verdict, bytes: Vec<u8>) -> Entry {
        Entry::Frame { at, line: self.speaker.0.clone(), verdict, bytes }
    }

    fn answer(&mut self, at: TraceTime, verdict: Verdict, bytes: Vec<u8>, now: Instant, out: &mut Vec<Entry>) {
        let Some(asked) = self.asked.take() else { return };
        let turnaround = at.since(asked.at);
        let known = self.runs.iter().position(|run| run.asked == asked.verdict && run.sent == asked.bytes);
        let Some(index) = known else {
            self.end_runs(out);
            if self.runs.len() >= QUESTIONS {
                self.runs.pop_front();
            }
            out.push(self.frame(asked.at, asked.verdict.clone(), asked.bytes.clone()));
            out.push(self.frame(at, verdict.clone(), bytes.clone()));
            self.runs.push_back(Run {
                asked: asked.verdict,
                sent: asked.bytes,
                verdict,
                answer: bytes,
                count: 0,
                first: asked.at,
                last: asked.at,
                answered: at,
                slowest: Duration::ZERO,
                since: now,
            });
            return;
        };
        if self.runs[index].verdict == verdict && self.runs[index].answer == bytes {
            let run = &mut self.runs[index];
            if run.count == 0 {
                (run.first, run.slowest, run.since) = (asked.at, Duration::ZERO, now);
            }
            run.count += 1;
            (run.last, run.answered) = (asked.at, at);
            run.slowest = run.slowest.max(turnaround);
            return;
        }
        self.end_runs(out);
        out.push(self.frame(asked.at, asked.verdict, asked.bytes));
        out.push(self.frame(at, verdict.clone(), bytes.clone()));
        let run = &mut self.runs[index];
        (run.verdict, run.answer) = (verdict, bytes);
    }

    /// Writes a question whose answer is no longer waited for.
    fn give_up(&mut self, out: &mut Vec<Entry>) {
        if let Some(asked) = self.asked.take() {
            self.end_runs(out);
            out.push(self.frame(asked.at, asked.verdict, asked.bytes));
        }
    }

    /// Writes all counts, oldest first. What came once only is written as it was.
    fn end_runs(&mut self, out: &mut Vec<Entry>) {
        let line = &self.speaker.0;
        let mut ended: Vec<&mut Run> = self.runs.iter_mut().filter(|run| run.count > 0).collect();
        ended.sort_by_key(|run| run.first);
        for run in ended {
            let repeat = Repeat {
                line: line.clone(),
                asked: run.asked.clone(),
                sent: run.sent.clone(),
                verdict: run.verdict.clone(),
                answer: run.answer.clone(),
                count: core::mem::take(&mut run.count),
                first: run.first,
                last: run.last,
                slowest: run.slowest,
            };
            match repeat.count {
                1 => out.extend(repeat.exchange(run.first, run.answered)),
                _ => out.push(Entry::Repeat(Box::new(repeat))),
            }
        }
    }
}

/// An exchange that came again and again, unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repeat {
    /// Name of the line.
    pub line: String,
    /// Whether the question was ours or another controller's: [`Verdict::Sent`] or [`Verdict::Overheard`].
    pub asked: Verdict,
    /// The question, as on the wire.
    pub sent: Vec<u8>,
    /// [`Verdict::Good`] or [`Verdict::Silence`].
    pub verdict: Verdict,
    /// The answer, as on the wire.
    pub answer: Vec<u8>,
    /// How often.
    pub count: u64,
    /// When the first of these questions was sent.
    pub first: TraceTime,
    /// When the last of them was.
    pub last: TraceTime,
    /// The longest time from a question to the end of its answer, or to giving up.
    pub slowest: Duration,
}

impl Repeat {
    /// One of the exchanges at these times.
    fn exchange(&self, asked: TraceTime, answered: TraceTime) -> [Entry; 2] {
        let frame = |at, verdict: &Verdict, bytes: &[u8]| Entry::Frame {
            at,
            line: self.line.clone(),
            verdict: verdict.clone(),
            bytes: bytes.to_vec(),
        };
        [frame(asked, &self.asked, &self.sent), frame(answered, &self.verdict, &self.answer)]
    }

    /// All of the exchanges, their times spread evenly and their answers as late as the slowest: for those who count frames.
    fn spread(&self) -> Vec<Entry> {
        let span = self.last.unix_us() - self.first.unix_us();
        let steps = i64::try_from(self.count.saturating_sub(1)).unwrap_or(i64::MAX).max(1);
        let late = i64::try_from(self.slowest.as_micros()).unwrap_or(i64::MAX);
        let at = |index: i64| self.first.unix_us() + span / steps * index;
        (0..i64::try_from(self.count).unwrap_or(i64::MAX))
            .flat_map(|index| {
                let asked = at(index);
                self.exchange(TraceTime::from_unix_us(asked), TraceTime::from_unix_us(asked.saturating_add(late)))
            })
            .collect()
    }
}

impl Entry {
    /// The entry, or all the frames that a count stands for.
    #[must_use]
    pub fn spread(&self) -> Vec<Self> {
        match self {
            Self::Repeat(repeat) => repeat.spread(),
            other => vec![other.clone()],
        }
    }

    /// How many frames it stands for.
    #[must_use]
    pub fn frames(&self) -> u64 {
        match self {
            Self::Frame { .. } => 1,
            Self::Repeat(repeat) => repeat.count.saturating_mul(2),
            Self::Lost { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: i64) -> TraceTime {
        TraceTime::from_unix_us(us)
    }

    fn frame(us: i64, verdict: Verdict, bytes: &[u8]) -> Entry {
        Entry::Frame { at: at(us), line: "island-1".into(), verdict, bytes: bytes.into() }
    }

    /// An exchange with fuelling point 1 or 2.
    fn exchange(repeats: &mut Repeats, fp: u16, us: i64, pair: (&[u8], &[u8]), out: &mut Vec<Entry>) {
        let now = Instant::now();
        repeats.take(frame(us, Verdict::Sent, pair.0), Some(fp), now, out);
        repeats.take(frame(us + 5, Verdict::Good, pair.1), Some(fp), now, out);
    }

    const IDLE: (&[u8], &[u8]) = (&[0x50, 0x20, 0xFA], &[0x50, 0x70, 0xFA]);
    const OTHER: (&[u8], &[u8]) = (&[0x51, 0x20, 0xFA], &[0x51, 0x70, 0xFA]);
    const BLOCK: (&[u8], &[u8]) = (&[0x50, 0x31, 0x01, 0xFA], &[0x50, 0xC1, 0xFA]);

    #[test]
    fn an_exchange_that_repeats_among_those_of_others_is_stored_once_and_counted() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        for round in 0..100 {
            exchange(&mut repeats, 1, round * 20, IDLE, &mut out);
            exchange(&mut repeats, 2, round * 20 + 10, OTHER, &mut out);
        }
        assert_eq!(out.len(), 4, "{out:?}");
        repeats.finish(&mut out);
        let Entry::Repeat(repeat) = &out[4] else { panic!("{out:?}") };
        assert_eq!((repeat.sent.as_slice(), repeat.answer.as_slice()), IDLE);
        assert_eq!((repeat.count, repeat.first, repeat.last), (99, at(20), at(1_980)));
        assert_eq!(repeat.slowest, Duration::from_micros(5));
        assert_eq!(out.iter().map(Entry::frames).sum::<u64>(), 400);
        assert_eq!(out.len(), 6);
    }

    #[test]
    fn something_else_at_a_fuelling_point_ends_its_count_first_and_leaves_the_others_alone() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        for round in 0..3 {
            exchange(&mut repeats, 1, round * 20, IDLE, &mut out);
            exchange(&mut repeats, 2, round * 20 + 10, OTHER, &mut out);
        }
        out.clear();
        exchange(&mut repeats, 1, 100, BLOCK, &mut out);
        exchange(&mut repeats, 1, 120, IDLE, &mut out);
        let Entry::Repeat(repeat) = &out[0] else { panic!("{out:?}") };
        assert_eq!((repeat.count, repeat.last), (2, at(40)));
        assert_eq!(out[1..], [frame(100, Verdict::Sent, BLOCK.0), frame(105, Verdict::Good, BLOCK.1)]);
        out.clear();
        repeats.finish(&mut out);
        assert_eq!(out[..2], [frame(120, Verdict::Sent, IDLE.0), frame(125, Verdict::Good, IDLE.1)], "one as it was");
        assert!(matches!(&out[2], Entry::Repeat(repeat) if repeat.sent == OTHER.0 && repeat.count == 2));
    }

    #[test]
    fn another_answer_to_the_same_question_is_stored_and_so_is_the_way_back() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        let data: (&[u8], &[u8]) = (IDLE.0, &[0x50, 0x31, 0x02, 0xFA]);
        for (us, pair) in [(0, IDLE), (10, data), (20, IDLE), (30, data)] {
            exchange(&mut repeats, 1, us, pair, &mut out);
        }
        assert_eq!(out.len(), 8);
        repeats.finish(&mut out);
        assert_eq!(out.len(), 8);
    }

    #[test]
    fn bad_answers_unasked_bytes_and_questions_without_an_answer_are_never_counted_away() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        let now = Instant::now();
        let all: Vec<Entry> = (0..5)
            .flat_map(|round| {
                let us = round * 100;
                [
                    frame(us, Verdict::Sent, IDLE.0),
                    frame(us + 5, Verdict::Bad("cut".into()), &[0x50]),
                    frame(us + 10, Verdict::Unasked, &[0x98]),
                    frame(us + 20, Verdict::Sent, BLOCK.0),
                    frame(us + 30, Verdict::Sent, BLOCK.0),
                ]
            })
            .collect();
        for entry in &all {
            repeats.take(entry.clone(), Some(1), now, &mut out);
        }
        repeats.finish(&mut out);
        assert_eq!(out, all);
    }

    #[test]
    fn silence_is_counted_like_an_answer() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        for round in 0..4 {
            repeats.take(frame(round * 100, Verdict::Sent, IDLE.0), Some(1), Instant::now(), &mut out);
            repeats.take(frame(round * 100 + 60, Verdict::Silence, &[]), Some(1), Instant::now(), &mut out);
        }
        repeats.finish(&mut out);
        assert!(matches!(&out[..], [_, _, Entry::Repeat(repeat)] if repeat.count == 3 && repeat.answer.is_empty()));
    }

    #[test]
    fn a_count_is_written_after_ten_seconds_at_the_latest_and_goes_on() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        let begun = Instant::now();
        for round in 0..3 {
            exchange(&mut repeats, 1, round, IDLE, &mut out);
        }
        out.clear();
        repeats.settle(begun, &mut out);
        assert_eq!(out, []);
        repeats.settle(begun + LONGEST * 2, &mut out);
        assert!(matches!(&out[..], [Entry::Repeat(repeat)] if repeat.count == 2), "{out:?}");
        exchange(&mut repeats, 1, 50, IDLE, &mut out);
        exchange(&mut repeats, 1, 60, IDLE, &mut out);
        repeats.finish(&mut out);
        assert!(matches!(&out[1], Entry::Repeat(repeat) if (repeat.count, repeat.first) == (2, at(50))), "{out:?}");
    }

    #[test]
    fn a_count_spreads_to_as_many_frames_between_its_times() {
        let (mut repeats, mut out) = (Repeats::default(), Vec::new());
        for round in 0..11 {
            exchange(&mut repeats, 1, round * 1_000, IDLE, &mut out);
        }
        repeats.finish(&mut out);
        let frames: Vec<Entry> = out.iter().flat_map(Entry::spread).collect();
        assert_eq!(frames.len(), 22);
        assert_eq!(frames[20..], [frame(10_000, Verdict::Sent, IDLE.0), frame(10_005, Verdict::Good, IDLE.1)]);
    }
}
