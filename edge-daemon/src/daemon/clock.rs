//! The two clocks of this machine and how far the second can be trusted.

use forecourt::time::{ClockQuality, Instant, Now, UtcTime};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A wall clock before this was never set: the program is younger (2026-01-01T00:00:00Z).
const NEVER_SET_BEFORE_MS: i64 = 1_767_225_600_000;
/// Files by which time services say that the clock is disciplined.
const SYNCHRONISED: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/chrony/synchronized"];
/// How long an opinion of the clock's quality holds, in microseconds.
const RECHECK_US: u64 = 30_000_000;

/// Hands out the present. Clones share one start.
#[derive(Clone, Debug)]
pub struct Clock {
    start: std::time::Instant,
    quality: Arc<AtomicU8>,
    checked_us: Arc<AtomicU64>,
}

impl Clock {
    /// The run begins now.
    #[must_use]
    pub fn start() -> Self {
        let clock = Self {
            start: std::time::Instant::now(),
            quality: Arc::new(AtomicU8::new(0)),
            checked_us: Arc::new(AtomicU64::new(0)),
        };
        clock.quality.store(quality_now(), Ordering::Relaxed);
        clock
    }

    /// Monotonic time of this run.
    #[must_use]
    pub fn mono(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The same moment on tokio's clock, for timers.
    #[must_use]
    pub fn tokio(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + std::time::Duration::from_micros(at.as_micros()))
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.mono();
        if mono.as_micros().saturating_sub(self.checked_us.load(Ordering::Relaxed)) > RECHECK_US {
            self.checked_us.store(mono.as_micros(), Ordering::Relaxed);
            self.quality.store(quality_now(), Ordering::Relaxed);
        }
        let utc = utc();
        let clock = match self.quality.load(Ordering::Relaxed) {
            _ if utc.unix_ms() < NEVER_SET_BEFORE_MS => ClockQuality::Unset,
            0 => ClockQuality::Holdover,
            _ => ClockQuality::Synced,
        };
        Now { mono, utc, clock }
    }

    /// A monotonic moment as microseconds since 1970, for the line trace.
    #[must_use]
    pub fn unix_us(&self, at: Instant) -> i64 {
        let ago = i64::try_from(self.mono().since(at).as_micros()).unwrap_or(0);
        wall_us() - ago
    }
}

fn quality_now() -> u8 {
    u8::from(SYNCHRONISED.iter().any(|path| Path::new(path).exists()))
}

fn wall_us() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
}

/// The wall clock.
#[must_use]
pub fn utc() -> UtcTime {
    UtcTime::from_unix_ms(wall_us().div_euclid(1_000))
}
