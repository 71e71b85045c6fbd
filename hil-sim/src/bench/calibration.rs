//! What this machine is worth in the same run: without it no figure here can be compared with another machine's.

use super::stats::{Summary, Times, ms};
use serde::Serialize;
use std::fmt;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

const FSYNCS: usize = 100;
const NAPS: usize = 200;
const NAP: Duration = Duration::from_millis(1);

/// Disk and timers of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Calibration {
    /// A 4 KiB write and its fsync, in the directory of the store.
    pub fsync: Summary,
    /// How much later than asked a timer of 1 ms fires.
    pub timer_slack: Summary,
    /// Processors.
    pub cpus: u64,
}

/// Measures both.
///
/// # Errors
/// If the directory cannot be written.
pub async fn measure(directory: &Path) -> std::io::Result<Calibration> {
    let mut fsync = Times::default();
    let mut file = tempfile::tempfile_in(directory)?;
    for _ in 0..FSYNCS {
        let begun = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        fsync.add(begun.elapsed());
    }
    let mut slack = Times::default();
    for _ in 0..NAPS {
        let begun = Instant::now();
        tokio::time::sleep(NAP).await;
        slack.add(begun.elapsed().saturating_sub(NAP));
    }
    let none = || std::io::Error::other("nothing was measured");
    Ok(Calibration {
        fsync: fsync.summary().ok_or_else(none)?,
        timer_slack: slack.summary().ok_or_else(none)?,
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
    })
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "calibration: {} CPUs, fsync p50 {} ms (p99 {}), timer slack p50 {} ms (p99 {})",
            self.cpus,
            ms(self.fsync.p50_us),
            ms(self.fsync.p99_us),
            ms(self.timer_slack.p50_us),
            ms(self.timer_slack.p99_us)
        )
    }
}
