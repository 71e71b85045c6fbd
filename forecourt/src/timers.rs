//! One table of named timers. The next deadline is its minimum, so none can be handled and not exposed.

use crate::time::Instant;
use std::collections::BTreeMap;

/// Deadlines by name; setting one again moves it.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    table: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self { table: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets or moves a deadline.
    pub fn set(&mut self, timer: K, due: Instant) {
        self.table.insert(timer, due);
    }

    /// Forgets a deadline.
    pub fn clear(&mut self, timer: K) {
        self.table.remove(&timer);
    }

    /// Forgets all deadlines that `which` names.
    pub fn clear_where(&mut self, which: impl Fn(&K) -> bool) {
        self.table.retain(|timer, _| !which(timer));
    }

    /// When this timer is due.
    #[must_use]
    pub fn due(&self, timer: K) -> Option<Instant> {
        self.table.get(&timer).copied()
    }

    /// The earliest deadline and its name.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, K)> {
        self.table.iter().map(|(timer, due)| (*due, *timer)).min()
    }

    /// Takes one timer that is due; call until `None`.
    pub fn take_due(&mut self, now: Instant) -> Option<K> {
        let (due, timer) = self.next()?;
        if due > now {
            return None;
        }
        self.table.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_due_in_order_of_time_and_only_once() {
        let mut timers = Timers::default();
        timers.set('b', Instant::from_micros(20));
        timers.set('a', Instant::from_micros(30));
        timers.set('a', Instant::from_micros(10));
        assert_eq!(timers.next(), Some((Instant::from_micros(10), 'a')));
        assert_eq!(timers.take_due(Instant::from_micros(25)), Some('a'));
        assert_eq!(timers.take_due(Instant::from_micros(25)), Some('b'));
        assert_eq!(timers.take_due(Instant::from_micros(25)), None);
    }
}
