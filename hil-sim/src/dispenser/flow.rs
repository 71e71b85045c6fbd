//! How fuel flows: a ramp, the full rate, and slowly over the last part before a limit. In integers, as a function of time,
//! so that how often one looks does not change what flows.

use core::time::Duration;
use forecourt::time::Instant;
use forecourt::units::Volume;
use serde::{Deserialize, Serialize};

/// Millilitres a second, which is also nanolitres a microsecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FlowRate(pub u32);

/// The hydraulics of a dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowProfile {
    /// Rate with the valve open.
    pub full: FlowRate,
    /// Rate near a limit.
    pub slow: FlowRate,
    /// How far before a limit it slows down.
    pub slow_from: Volume,
    /// From the motor's start to the first fuel.
    pub start_delay: Duration,
    /// From the first fuel to the full rate.
    pub ramp: Duration,
}

impl Default for FlowProfile {
    /// A forecourt pump: 35 L/min, the last 300 ml at 8 L/min.
    fn default() -> Self {
        Self {
            full: FlowRate(583),
            slow: FlowRate(133),
            slow_from: Volume::new(300),
            start_delay: Duration::from_millis(500),
            ramp: Duration::from_millis(800),
        }
    }
}

/// A volume in nanolitres, inside of this module's arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Nanolitres(pub(super) u64);

impl From<Volume> for Nanolitres {
    fn from(volume: Volume) -> Self {
        Self(u64::try_from(volume.get()).unwrap_or(0).saturating_mul(1_000_000))
    }
}

/// One stretch of flow, from a start to where a limit ends it.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    begun: Instant,
    base: u64,
    end: u64,
    full: u64,
    slow: u64,
    ramp_us: u64,
    /// Volume after the start, and microseconds, at which it slows down.
    knee: (u64, u64),
}

impl Curve {
    /// Flow that begins now with `base` already metered and ends at `end`. Without a ramp if it goes on where it was.
    pub(super) fn new(profile: &FlowProfile, base: Nanolitres, end: Nanolitres, ramp: bool, begun: Instant) -> Self {
        let ramp_us = if ramp { u64::try_from(profile.ramp.as_micros()).unwrap_or(u64::MAX) } else { 0 };
        let left = end.0.saturating_sub(base.0);
        let fast = left.saturating_sub(Nanolitres::from(profile.slow_from).0);
        let full = u64::from(profile.full.0.max(1));
        let mut curve = Self {
            begun,
            base: base.0,
            end: end.0,
            full,
            slow: u64::from(profile.slow.0.max(1)),
            ramp_us,
            knee: (0, 0),
        };
        curve.knee = (fast, curve.time_at_full(fast));
        curve
    }

    /// What is metered at a time.
    pub(super) fn at(&self, now: Instant) -> Nanolitres {
        let elapsed = now.as_micros().saturating_sub(self.begun.as_micros());
        let (knee, knee_at) = self.knee;
        let flowed = match elapsed.checked_sub(knee_at) {
            Some(slowly) => knee.saturating_add(self.slow.saturating_mul(slowly)),
            None => self.at_full(elapsed).min(knee),
        };
        Nanolitres(self.base.saturating_add(flowed).min(self.end.max(self.base)))
    }

    /// When the limit is reached.
    pub(super) fn ends(&self) -> Instant {
        let (knee, knee_at) = self.knee;
        let slowly = self.end.saturating_sub(self.base).saturating_sub(knee);
        Instant::from_micros(self.begun.as_micros().saturating_add(knee_at).saturating_add(slowly.div_ceil(self.slow)))
    }

    fn at_full(&self, us: u64) -> u64 {
        let (full, us, ramp) = (u128::from(self.full), u128::from(us), u128::from(self.ramp_us));
        let flowed = if us < ramp { full * us * us / (2 * ramp) } else { full * us - full * ramp / 2 };
        u64::try_from(flowed).unwrap_or(u64::MAX)
    }

    fn time_at_full(&self, flowed: u64) -> u64 {
        let (full, flowed, ramp) = (u128::from(self.full), u128::from(flowed), u128::from(self.ramp_us));
        let us = if flowed < full * ramp / 2 {
            (2 * ramp * flowed / full).isqrt() + 1
        } else {
            (flowed + full * ramp / 2).div_ceil(full)
        };
        u64::try_from(us).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn litres(count: i64) -> Nanolitres {
        Volume::new(count * 1_000).into()
    }

    #[test]
    fn twenty_litres_take_about_as_long_as_at_a_forecourt_pump() {
        let curve = Curve::new(&FlowProfile::default(), Nanolitres(0), litres(20), true, Instant::START);
        let ends = curve.ends().as_micros();
        assert!((35_000_000..38_000_000).contains(&ends), "{ends} us");
        assert_eq!(curve.at(curve.ends()), litres(20));
        assert!(curve.at(Instant::from_micros(ends - 1_000)) < litres(20));
    }

    #[test]
    fn flow_never_runs_back() {
        let curve = Curve::new(&FlowProfile::default(), litres(1), litres(3), true, Instant::START);
        let mut last = litres(1);
        for ms in 0..8_000 {
            let now = curve.at(Instant::from_micros(ms * 1_000));
            assert!(now >= last && now <= litres(3));
            last = now;
        }
        assert_eq!(last, litres(3));
    }
}
