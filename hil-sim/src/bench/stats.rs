//! Distributions of measured times, in integers.

use serde::Serialize;
use std::time::Duration;

/// Measured times of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Times(Vec<Duration>);

/// What is told of them, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    /// How many were measured.
    pub count: u64,
    /// Half were no longer.
    pub p50_us: u64,
    /// 95 in 100 were no longer.
    pub p95_us: u64,
    /// 99 in 100 were no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Median, 95th and 99th percentile (nearest rank) and maximum; `None` if nothing was measured.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = |percent: usize| micros(sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]);
        let max_us = micros(*sorted.last()?);
        Some(Summary { count: sorted.len() as u64, p50_us: rank(50), p95_us: rank(95), p99_us: rank(99), max_us })
    }
}

impl Extend<Duration> for Times {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds as milliseconds with two decimals.
#[must_use]
pub fn ms(micros: u64) -> String {
    let hundredths = (micros + 5) / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let mut times = Times::default();
        assert_eq!(times.summary(), None);
        times.extend((1..=200).rev().map(Duration::from_micros));
        assert_eq!(times.summary(), Some(Summary { count: 200, p50_us: 100, p95_us: 190, p99_us: 198, max_us: 200 }));
        let mut one = Times::default();
        one.add(Duration::from_millis(3));
        assert_eq!(
            one.summary(),
            Some(Summary { count: 1, p50_us: 3_000, p95_us: 3_000, p99_us: 3_000, max_us: 3_000 })
        );
    }

    #[test]
    fn milliseconds_have_two_rounded_decimals() {
        assert_eq!([ms(0), ms(994), ms(995), ms(12_345)], ["0.00", "0.99", "1.00", "12.35"]);
    }
}
