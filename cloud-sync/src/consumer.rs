//! A consumer beside the platform: gets records in sequence, with a cursor of its own, and is waited for by nobody.
//!
//! A pure decision about what comes next. A record that the consumer refuses for itself is passed over after some tries and told to a
//! person: one bad record never stops the queue.

use crate::mqtt::backoff::Backoff;
use core::time::Duration;

/// Most records in one delivery.
pub const BATCH: usize = 100;
/// After so many refusals of one record alone it is passed over.
const REFUSALS: u32 = 5;

/// Why a delivery was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The consumer cannot be reached, or says that it cannot now.
    Unavailable,
    /// It refuses this content.
    Refused,
}

impl Failure {
    /// What an HTTP status other than 2xx means: these four speak of the way or the moment, other 4xx of the content (RFC 9110, 15.5).
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 404 | 407 | 408 | 425 | 429 => Self::Unavailable,
            400..=499 => Self::Refused,
            _ => Self::Unavailable,
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Try again after at most so long; the jitter shortens it.
    Wait(Duration),
    /// Try again at once: fewer records go this time.
    Smaller,
    /// This record is passed over; go on behind it.
    PassOver(u64),
}

/// How far a consumer has come.
#[derive(Debug)]
pub struct Course {
    cursor: u64,
    batch: usize,
    refusals: u32,
    backoff: Backoff,
}

impl Course {
    /// Goes on behind the record that was taken last.
    #[must_use]
    pub const fn new(cursor: u64) -> Self {
        Self { cursor, batch: BATCH, refusals: 0, backoff: Backoff::new(1) }
    }

    /// Sequence of the last record that needs no delivery any more.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Most records of the next delivery.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// All up to this sequence were taken, or are of no interest.
    pub fn handle_taken(&mut self, through: u64) {
        self.cursor = self.cursor.max(through);
        self.batch = (self.batch * 2).min(BATCH);
        self.refusals = 0;
        self.backoff.reset();
    }

    /// The delivery of these sequences was not taken.
    pub fn handle_failed(&mut self, failure: Failure, sequences: &[u64]) -> Next {
        match (failure, sequences) {
            (Failure::Refused, [one]) => {
                self.refusals += 1;
                if self.refusals < REFUSALS {
                    return Next::Wait(self.backoff.wait());
                }
                self.handle_taken(*one);
                Next::PassOver(*one)
            }
            (Failure::Refused, several) if several.len() > 1 => {
                self.batch = (several.len() / 2).max(1);
                Next::Smaller
            }
            _ => Next::Wait(self.backoff.wait()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_is_away_is_tried_less_and_less_and_loses_nothing() {
        let mut course = Course::new(7);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let next = course.handle_failed(Failure::Unavailable, &[8, 9]);
            assert_eq!(next, Next::Wait(Duration::from_secs(seconds)));
        }
        assert_eq!((course.cursor(), course.batch()), (7, BATCH));
        course.handle_taken(9);
        assert_eq!(course.handle_failed(Failure::Unavailable, &[10]), Next::Wait(Duration::from_secs(1)));
    }

    #[test]
    fn one_bad_record_is_found_by_halving_and_passed_over_and_no_other() {
        let (mut course, bad) = (Course::new(0), 37);
        let (mut taken, mut passed) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let sequences: Vec<u64> = (course.cursor() + 1..=100).take(course.batch()).collect();
            if sequences.is_empty() {
                break;
            }
            if sequences.contains(&bad) {
                if let Next::PassOver(sequence) = course.handle_failed(Failure::Refused, &sequences) {
                    passed.push(sequence);
                }
            } else {
                course.handle_taken(*sequences.last().expect("some"));
                taken.extend(sequences);
            }
        }
        let expected: Vec<u64> = (1..=100).filter(|sequence| *sequence != bad).collect();
        assert_eq!((taken, passed), (expected, vec![bad]));
    }

    #[test]
    fn a_refused_certificate_or_a_server_error_is_no_bad_record() {
        for status in [401, 403, 404, 408, 429, 500, 502, 503, 301] {
            assert_eq!(Failure::of_status(status), Failure::Unavailable, "{status}");
        }
        for status in [400, 409, 413, 415, 422] {
            assert_eq!(Failure::of_status(status), Failure::Refused, "{status}");
        }
    }
}
