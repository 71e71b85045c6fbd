//! Space on the file system that holds the books.

use std::path::Path;

/// Free space for this user, in MB; 0 where it cannot be told.
#[must_use]
pub fn free_mb(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) / 1_000_000)
}
