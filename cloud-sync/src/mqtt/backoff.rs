//! When and where to try again: 1 s doubling to 60 s with full jitter, staying with the last good broker (contract section 1).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that lasted this long was good: the next wait starts at the beginning.
const GOOD: Duration = Duration::from_secs(10);
/// After so many connections in a row that did not last, another broker may be better.
const FLAPS: u32 = 3;

/// The wait before the next attempt, and the broker it goes to.
#[derive(Debug)]
pub struct Backoff {
    brokers: usize,
    broker: usize,
    ceiling: Duration,
    short: u32,
}

impl Backoff {
    /// Nothing tried yet; begins with the first broker.
    #[must_use]
    pub const fn new(brokers: usize) -> Self {
        Self::starting_at(brokers, 0)
    }

    /// Nothing tried yet; begins with the one that was good in an earlier run.
    #[must_use]
    pub const fn starting_at(brokers: usize, broker: usize) -> Self {
        Self { brokers, broker: if broker < brokers { broker } else { 0 }, ceiling: FIRST, short: 0 }
    }

    /// Index of the broker to try now.
    #[must_use]
    pub const fn broker(&self) -> usize {
        self.broker
    }

    /// An attempt is over; `lasted` is `None` where the broker never accepted us. Gives the longest wait; the jitter shortens it.
    pub fn handle_ended(&mut self, lasted: Option<Duration>) -> Duration {
        match lasted {
            Some(lasted) if lasted >= GOOD => {
                self.ceiling = FIRST;
                self.short = 0;
            }
            Some(_) if self.short + 1 < FLAPS => self.short += 1,
            Some(_) | None => {
                self.broker = (self.broker + 1) % self.brokers.max(1);
                self.short = 0;
            }
        }
        self.wait()
    }

    /// An attempt failed, and the same broker is to be tried once more. Gives the longest wait.
    pub fn wait(&mut self) -> Duration {
        let wait = self.ceiling;
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
    }

    /// All is well: the next wait starts at the beginning.
    pub const fn reset(&mut self) {
        self.ceiling = FIRST;
        self.short = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_start_again_after_a_good_connection() {
        let mut backoff = Backoff::new(1);
        let waits: Vec<u64> = (0..8).map(|_| backoff.handle_ended(None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.handle_ended(Some(GOOD)), FIRST);
    }

    #[test]
    fn a_link_that_flaps_every_second_still_backs_off() {
        let mut backoff = Backoff::new(1);
        let flap = Some(Duration::from_secs(1));
        let waits: Vec<u64> = (0..4).map(|_| backoff.handle_ended(flap).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn the_last_good_broker_is_tried_first() {
        let mut backoff = Backoff::new(3);
        backoff.handle_ended(None);
        assert_eq!(backoff.broker(), 1);
        backoff.handle_ended(Some(GOOD));
        assert_eq!(backoff.broker(), 1);
        backoff.handle_ended(None);
        backoff.handle_ended(None);
        assert_eq!(backoff.broker(), 0);
    }

    #[test]
    fn an_earlier_runs_good_broker_comes_first_if_it_is_still_named() {
        assert_eq!(Backoff::starting_at(3, 2).broker(), 2);
        assert_eq!(Backoff::starting_at(2, 2).broker(), 0);
    }

    #[test]
    fn a_broker_that_drops_us_again_and_again_is_left_for_the_next() {
        let mut backoff = Backoff::new(2);
        let flap = Some(Duration::from_secs(1));
        let brokers: Vec<usize> = (0..4)
            .map(|_| {
                backoff.handle_ended(flap);
                backoff.broker()
            })
            .collect();
        assert_eq!(brokers, [0, 0, 1, 1]);
        backoff.handle_ended(Some(GOOD));
        backoff.handle_ended(flap);
        backoff.handle_ended(flap);
        assert_eq!(backoff.broker(), 1, "a good connection in between counts for it");
    }

    #[test]
    fn every_broker_is_tried_while_none_answers_and_the_wait_grows_across_them() {
        let mut backoff = Backoff::starting_at(3, 1);
        let tried: Vec<(usize, u64)> =
            (0..5).map(|_| (backoff.broker(), backoff.handle_ended(None).as_secs())).collect();
        assert_eq!(tried, [(1, 1), (2, 2), (0, 4), (1, 8), (2, 16)]);
    }
}
