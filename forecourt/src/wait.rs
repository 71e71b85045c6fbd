//! How long an order that came now would wait for a nozzle: an estimate for the driver's page, never a promise.

use crate::units::Volume;
use core::fmt;
use core::time::Duration;

/// A fuelling takes about so long before any was seen.
const USUAL: Duration = Duration::from_secs(120);
/// From the end of a fuelling until the next customer has the nozzle in hand.
const TURNAROUND: Duration = Duration::from_secs(30);
/// Whoever is about to finish takes at least so long.
const LEAST_LEFT: Duration = Duration::from_secs(5);
/// Each fuelling moves the mean by one part in so many.
const WEIGHT: u32 = 8;

/// How long a fuelling takes on average; the last ones count most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MeanFill(Duration);

impl Default for MeanFill {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl fmt::Debug for MeanFill {
    /// Without its figure: nothing is decided by it, so two stations that differ in it alone are alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeanFill")
    }
}

impl MeanFill {
    /// A fuelling took so long.
    pub fn add(&mut self, took: Duration) {
        self.0 = (self.0 * (WEIGHT - 1) + took) / WEIGHT;
    }

    /// The mean.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// The fuelling at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtHand {
    /// Since fuel could flow; zero before.
    pub flowing: Duration,
    /// So far.
    pub volume: Volume,
    /// The most its limit lets flow, where known.
    pub most: Option<Volume>,
    /// It is stopped after this time of flow at the latest, where known.
    pub longest: Option<Duration>,
}

impl AtHand {
    /// Until it ends: by its rate and limit where fuel flows, else by the mean.
    fn left(&self, mean: Duration) -> Duration {
        let by_mean = mean.saturating_sub(self.flowing);
        let to_go = self.most.and_then(|most| most.checked_sub(self.volume)).filter(|_| self.volume.is_positive());
        let by_rate = to_go.map(|to_go| {
            let to_go = u128::try_from(to_go.get()).unwrap_or(0);
            let flowed = u128::try_from(self.volume.get()).unwrap_or(1);
            let micros = self.flowing.as_micros().saturating_mul(to_go) / flowed;
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        });
        let longest = self.longest.map_or(Duration::MAX, |longest| longest.saturating_sub(self.flowing));
        by_rate.unwrap_or(by_mean).min(longest).max(LEAST_LEFT)
    }
}

/// Seconds until an order that came now could be lifted: after the fuelling at hand and after `waiting` others.
#[must_use]
pub fn estimate_s(at_hand: Option<AtHand>, waiting: u32, mean: MeanFill) -> u32 {
    let mean = mean.get();
    let first = at_hand.map_or(Duration::ZERO, |at_hand| at_hand.left(mean).saturating_add(TURNAROUND));
    let others = mean.saturating_add(TURNAROUND).saturating_mul(waiting);
    let wait = first.saturating_add(others);
    u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(seconds: u64) -> MeanFill {
        MeanFill(Duration::from_secs(seconds))
    }

    fn flowing(seconds: u64, ml: i64, most: i64) -> AtHand {
        let longest = Some(Duration::from_secs(600));
        AtHand {
            flowing: Duration::from_secs(seconds),
            volume: Volume::new(ml),
            most: Some(Volume::new(most)),
            longest,
        }
    }

    #[test]
    fn a_free_nozzle_has_no_wait() {
        assert_eq!(estimate_s(None, 0, mean(120)), 0);
    }

    #[test]
    fn a_running_fuelling_is_told_by_its_own_rate_and_limit() {
        // 10 L in 15 s, 20 L to go: 30 s, and the next customer's way to the pump
        assert_eq!(estimate_s(Some(flowing(15, 10_000, 30_000)), 0, mean(120)), 60);
    }

    #[test]
    fn before_fuel_flows_the_mean_counts() {
        assert_eq!(estimate_s(Some(flowing(0, 0, 30_000)), 0, mean(100)), 130);
        assert_eq!(estimate_s(Some(AtHand { most: None, ..flowing(40, 9_000, 0) }), 0, mean(100)), 90);
    }

    #[test]
    fn a_trickle_ends_with_the_longest_fuelling_at_the_latest() {
        assert_eq!(estimate_s(Some(flowing(590, 100, 30_000)), 0, mean(100)), 40);
    }

    #[test]
    fn each_order_that_waits_takes_the_mean_and_the_way_to_the_pump() {
        assert_eq!(estimate_s(Some(flowing(15, 10_000, 30_000)), 2, mean(120)), 360);
        assert_eq!(estimate_s(None, 1, mean(120)), 150);
    }

    #[test]
    fn no_figures_make_it_overflow() {
        let odd =
            AtHand { flowing: Duration::MAX, volume: Volume::new(1), most: Some(Volume::new(i64::MAX)), longest: None };
        assert_eq!(estimate_s(Some(odd), u32::MAX, MeanFill(Duration::MAX)), u32::MAX);
    }

    #[test]
    fn the_mean_follows_slowly() {
        let mut mean = MeanFill::default();
        mean.add(Duration::from_secs(200));
        assert_eq!(mean.get(), Duration::from_secs(130));
    }
}
