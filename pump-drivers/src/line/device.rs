//! One device as its line sees it: when it was asked and how it answered.

use super::{DeviceStatistics, Health, LineSettings};
use crate::driver::Driver;
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::time::Instant;

/// Of the last 32 exchanges so many may fail before a device counts as degraded.
const DEGRADED_AT: u32 = 3;

/// A slow answer is forgotten by such a part with each that is quicker: a hiccup of the machine is no habit of the device.
const FADES: u32 = 64;

pub(super) struct Device {
    pub driver: Box<dyn Driver>,
    pub statistics: DeviceStatistics,
    /// When it was last asked.
    pub served: Option<Instant>,
    /// What one turn of it costs on average.
    pub cost: Duration,
    /// It is not asked before, but for a stop.
    pub not_before: Instant,
    /// The longest that it took to begin an answer, the latest ones counting most; `None` before the first.
    pub usual: Option<Duration>,
    /// Until then an answer may come to a question that was given up.
    pub late_until: Instant,
    /// Its mark was seen when nobody asked: it lives, but answers late.
    pub spoke_unasked: bool,
    /// It was heard talking without end.
    pub babbles: bool,
    /// One bit an exchange, the latest lowest, set where it failed.
    history: u32,
    misses: u32,
    silent_since: Instant,
    dead: bool,
}

impl Device {
    pub fn new(driver: Box<dyn Driver>) -> Self {
        let statistics = DeviceStatistics {
            fp: driver.fp(),
            health: Health::Unknown,
            exchanges: 0,
            timeouts: 0,
            bad_frames: 0,
            turnaround: Duration::ZERO,
            turnaround_worst: Duration::ZERO,
            last_good: None,
            interval_worst: Duration::ZERO,
        };
        Self {
            driver,
            statistics,
            served: None,
            cost: Duration::from_millis(30),
            not_before: Instant::START,
            usual: None,
            late_until: Instant::START,
            spoke_unasked: false,
            babbles: false,
            history: 0,
            misses: 0,
            silent_since: Instant::START,
            dead: false,
        }
    }

    pub fn fp(&self) -> FuellingPointId {
        self.statistics.fp
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether it may have fallen silent: it did not answer the last time, or has never answered and was asked more than once.
    pub fn is_in_doubt(&self) -> bool {
        self.dead || self.misses > u32::from(self.statistics.last_good.is_none())
    }

    /// Whether it answered the last time it was asked.
    pub fn is_sound(&self) -> bool {
        self.misses == 0 && !self.dead && self.statistics.last_good.is_some()
    }

    pub fn handle_link(&mut self, now: Instant) {
        self.misses = 0;
        self.dead = false;
        self.silent_since = now;
        self.served = None;
        self.not_before = now;
    }

    pub fn note_served(&mut self, now: Instant) {
        if let Some(before) = self.served {
            self.statistics.interval_worst = self.statistics.interval_worst.max(now.since(before));
        }
        self.served = Some(now);
    }

    /// A late answer: a device that lives is asked again soon and with all patience, unless it only makes noise.
    pub fn note_unasked(&mut self) {
        if !self.babbles {
            self.spoke_unasked = true;
            self.not_before = self.not_before.min(self.late_until);
        }
    }

    pub fn note_turnaround(&mut self, turnaround: Duration) {
        self.statistics.turnaround = turnaround;
        self.statistics.turnaround_worst = self.statistics.turnaround_worst.max(turnaround);
        let before = self.usual.unwrap_or_default();
        self.usual = Some(turnaround.max(before - before / FADES));
    }

    fn note_cost(&mut self, now: Instant) {
        if let Some(served) = self.served {
            self.cost = (self.cost * 7 + now.since(served)) / 8;
        }
    }

    pub fn note_good(&mut self, now: Instant) {
        self.note_cost(now);
        self.history <<= 1;
        self.misses = 0;
        self.dead = false;
        self.spoke_unasked = false;
        self.babbles = false;
        self.silent_since = now;
        self.not_before = now;
        self.statistics.last_good = Some(now);
    }

    pub fn note_failure(&mut self, heard: bool, settings: &LineSettings, now: Instant) {
        self.note_cost(now);
        self.history = self.history << 1 | 1;
        self.misses += 1;
        if heard {
            self.statistics.bad_frames += 1;
        } else {
            self.statistics.timeouts += 1;
        }
        let silent = self.misses >= settings.offline_after && now.since(self.silent_since) >= settings.comm_lost;
        // one that makes noise instead of answers is put off at once: the others cannot work beside it
        self.dead |= silent || self.babbles && self.misses > 1;
    }

    pub fn statistics(&self) -> DeviceStatistics {
        let health = if self.dead {
            Health::Dead
        } else if self.statistics.last_good.is_none() {
            Health::Unknown
        } else if self.history.count_ones() >= DEGRADED_AT {
            Health::Degraded
        } else {
            Health::Good
        };
        DeviceStatistics { health, ..self.statistics }
    }
}
