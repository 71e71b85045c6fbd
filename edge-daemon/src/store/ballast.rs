//! Space kept in reserve: a full disk must not keep a sale in progress from being booked.
//!
//! A full disk also stops deleting and checkpointing in SQLite. Giving this file free lets the next commit pass at once.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Name of the file beside the database.
const FILE_NAME: &str = "ballast";
/// Enough for the sales of some days.
const BYTES: usize = 8 * 1024 * 1024;

fn file_beside(database: &Path) -> PathBuf {
    database.with_file_name(FILE_NAME)
}

/// Makes the reserve where it is not whole. A disk without room for it is told of and used all the same.
pub(super) fn take_in(database: &Path) {
    let path = file_beside(database);
    if is_whole(database) {
        return;
    }
    if let Err(why) = File::create(&path).and_then(|mut file| file.write_all(&vec![0; BYTES])) {
        tracing::warn!(path = %path.display(), %why, "no room for the reserve of 8 MiB; free space on this file system");
        // Half a reserve would only take the last space.
        let _ = std::fs::remove_file(&path);
    }
}

/// Whether the reserve is there.
pub(super) fn is_whole(database: &Path) -> bool {
    std::fs::metadata(file_beside(database)).is_ok_and(|data| data.len() == BYTES as u64)
}

/// Bytes of the reserve that are not there: room that must come back before anything else may have it.
pub(super) fn missing(database: &Path) -> u64 {
    if is_whole(database) { 0 } else { BYTES as u64 }
}

/// Gives the reserve free. It comes back once there is room again.
pub(super) fn drop_it(database: &Path) {
    let path = file_beside(database);
    if std::fs::remove_file(&path).is_ok() {
        tracing::warn!(path = %path.display(), "the disk is full; its reserve is given free for sales in progress");
    }
}
