//! The watchdog is fed only while every task moves.

use super::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A task that has not ticked for so long hangs.
const STUCK: Duration = Duration::from_secs(6);

/// One task's sign of life.
#[derive(Clone, Debug)]
pub struct Beat {
    name: Arc<str>,
    at_us: Arc<AtomicU64>,
    clock: Clock,
}

impl Beat {
    /// The task moves.
    pub fn tick(&self) {
        self.at_us.store(self.clock.mono().as_micros(), Ordering::Relaxed);
    }
}

/// All of them.
#[derive(Debug)]
pub struct Heart {
    clock: Clock,
    beats: Vec<Beat>,
}

impl Heart {
    /// Nobody yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, beats: Vec::new() }
    }

    /// One more task; it counts as moving now.
    pub fn add(&mut self, name: &str) -> Beat {
        let at = self.clock.mono().as_micros();
        let beat = Beat { name: name.into(), at_us: Arc::new(AtomicU64::new(at)), clock: self.clock.clone() };
        self.beats.push(beat.clone());
        beat
    }

    /// The tasks that hang, by name; none if all is well.
    #[must_use]
    pub fn stuck(&self) -> Vec<&str> {
        let now = self.clock.mono();
        let since =
            |beat: &&Beat| now.since(forecourt::time::Instant::from_micros(beat.at_us.load(Ordering::Relaxed))) > STUCK;
        self.beats.iter().filter(since).map(|beat| &*beat.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_does_not_tick_is_named() {
        let clock = Clock::start();
        let mut heart = Heart::new(clock);
        let moving = heart.add("site");
        let stuck = heart.add("store");
        assert!(heart.stuck().is_empty());
        let long_ago = heart.clock.mono().as_micros() + 1;
        heart.clock = Clock::start();
        // Seven seconds later by the beats' own clock.
        moving.at_us.store(long_ago + 7_000_000, Ordering::Relaxed);
        stuck.at_us.store(0, Ordering::Relaxed);
        let later = forecourt::time::Instant::from_micros(long_ago + 7_000_000);
        let is_stuck = |beat: &Beat| {
            later.since(forecourt::time::Instant::from_micros(beat.at_us.load(Ordering::Relaxed))) > STUCK
        };
        assert!(is_stuck(&stuck) && !is_stuck(&moving));
    }
}
