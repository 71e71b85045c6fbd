//! When and where to try again: 1 s doubling to 60 s with full jitter, staying with the last good broker (contract section 1).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that lasted this long was good: the next wait starts at the beginning.
const GOOD: Duration = Duration::from_secs(10);

/// The wait before the next attempt, and the broker it goes to.
#[derive(Debug)]
pub struct Backoff {
    brokers: usize,
    broker: usize,
    ceiling: Duration,
}

impl Backoff {
    /// Nothing tried yet.
    #[must_use]
    pub const fn new(brokers: usize) -> Self {
        Self { brokers, broker: 0, ceiling: FIRST }
    }

    /// Index of the broker to try now.
    #[must_use]
    pub const fn broker(&self) -> usize {
        self.broker
    }

    /// An attempt is over; `lasted` is `None` where the broker never accepted us. Gives the longest wait; the jitter shortens it.
    pub fn handle_ended(&mut self, lasted: Option<Duration>) -> Duration {
        match lasted {
            Some(lasted) if lasted >= GOOD => self.ceiling = FIRST,
            Some(_) => {}
            None => self.broker = (self.broker + 1) % self.brokers.max(1),
        }
        let wait = self.ceiling;
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
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
}
