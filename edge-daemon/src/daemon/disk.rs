//! Space on the file system that holds the books: what is asked of it gives way in the order of what it is worth.
//!
//! First the line trace, then new orders; a sale never, as it has the reserve beside the database. Each step is taken back by itself
//! once there is clearly more room again.

use crate::config::DiskLimits;
use std::path::Path;

/// Room that must come back beyond a limit before it counts as kept again, in percent of the whole.
const BACK_PERCENT: u64 = 2;
/// The same for a limit of bytes, as a tenth of it.
const BACK_TENTH: u64 = 10;
/// The trace gives way so many percent before orders do.
const TRACE_PERCENT: u64 = 5;
const MB: u64 = 1_000_000;

/// A file system as this user sees it, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Free for us.
    pub free: u64,
    /// Used by anyone.
    pub used: u64,
}

impl Space {
    /// Looks; `None` where it cannot be told.
    #[must_use]
    pub fn on(path: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(path).ok()?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        Some(Self { free, used })
    }

    /// The same with so many bytes spoken for.
    #[must_use]
    pub const fn less(self, bytes: u64) -> Self {
        let spoken_for = if bytes < self.free { bytes } else { self.free };
        Self { free: self.free - spoken_for, used: self.used + spoken_for }
    }

    /// Free, in MB.
    #[must_use]
    pub const fn free_mb(&self) -> u64 {
        self.free / MB
    }

    /// Used, in percent of what we could use, rounded down.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let all = u128::from(self.free) + u128::from(self.used);
        u64::try_from(u128::from(self.used) * 100 / all.max(1)).unwrap_or(100)
    }
}

/// How far things have come; each includes those before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Level {
    /// Room enough.
    #[default]
    Fine,
    /// Somebody should look.
    Low,
    /// The trace gives way.
    Tight,
    /// No new orders.
    Full,
}

/// The file system of the store, and what is watched of it.
#[derive(Debug)]
pub struct Watched {
    /// The data directory.
    pub directory: std::path::PathBuf,
    /// Its levels.
    pub guard: Guard,
}

/// Watches the levels.
#[derive(Debug)]
pub struct Guard {
    limits: DiskLimits,
    level: Level,
}

impl Guard {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(limits: DiskLimits) -> Self {
        Self { limits, level: Level::Fine }
    }

    /// Other limits hold from the next look on.
    pub const fn set_limits(&mut self, limits: DiskLimits) {
        self.limits = limits;
    }

    /// Takes a look; the old and the new level where it changed. It rises at once and falls only with room to spare.
    pub fn look(&mut self, space: Space) -> Option<(Level, Level)> {
        let risen = self.level_of(space, 0);
        let spared = self.level_of(space, 1);
        let level = if risen > self.level { risen } else { self.level.min(spared) };
        let before = std::mem::replace(&mut self.level, level);
        (before != level).then_some((before, level))
    }

    fn level_of(&self, space: Space, spare: u64) -> Level {
        let used = space.used_percent() + spare * BACK_PERCENT;
        let stop_free = self.limits.stop_free_mb * MB;
        let free = |limit: u64| space.free < limit + spare * limit / BACK_TENTH;
        if used >= self.limits.stop_percent || free(stop_free) {
            Level::Full
        } else if used + TRACE_PERCENT >= self.limits.stop_percent || free(stop_free.saturating_mul(2)) {
            Level::Tight
        } else if used >= self.limits.warn_percent {
            Level::Low
        } else {
            Level::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(used_percent: u64) -> Space {
        Space { free: (100 - used_percent) * 1_000 * MB, used: used_percent * 1_000 * MB }
    }

    #[test]
    fn levels_rise_at_once_and_fall_only_with_room_to_spare() {
        let mut guard = Guard::new(DiskLimits::default());
        assert_eq!(guard.look(space(79)), None);
        assert_eq!(guard.look(space(80)), Some((Level::Fine, Level::Low)));
        assert_eq!(guard.look(space(79)), None, "not yet: it would come and go");
        assert_eq!(guard.look(space(90)), Some((Level::Low, Level::Tight)));
        assert_eq!(guard.look(space(95)), Some((Level::Tight, Level::Full)));
        assert_eq!(guard.look(space(94)), None);
        assert_eq!(guard.look(space(92)), Some((Level::Full, Level::Tight)));
        assert_eq!(guard.look(space(50)), Some((Level::Tight, Level::Fine)));
    }

    #[test]
    fn little_free_space_stops_orders_however_small_the_disk_is() {
        let mut guard = Guard::new(DiskLimits::default());
        let free = |mb| Space { free: mb * MB, used: 300 * MB };
        assert_eq!(guard.look(free(199)), Some((Level::Fine, Level::Full)));
        assert_eq!(guard.look(free(210)), None);
        assert_eq!(guard.look(free(221)), Some((Level::Full, Level::Tight)));
    }
}
