//! The disk under the books, and what a power cut leaves on it.
//!
//! The database lies on a file system in memory, so nothing there is lost by itself. A cut copies the files, as they were or would have
//! been, into a new directory, and the next run starts there. What SQLite has synced is kept; of the rest, each sector is there or not.
//! With a write-ahead log and `synchronous=FULL` these are the moments that differ:
//!
//! * before a commit: all files as they stand;
//! * within a commit: the database as before, of the log any mix of old and new sectors, except that a log begun anew has its header
//!   first, because SQLite syncs that alone before the first frame;
//! * within the checkpoint after a commit: the log whole, of the database any mix of old and new sectors;
//! * after a commit: all files as they stand, and nobody was told.

use crate::prng::{PerMillion, Prng};
use anyhow::Context as _;
use edge_daemon::store::FILE_NAME;
use std::path::{Path, PathBuf};

/// What a disk writes at once.
const SECTOR: usize = 512;
/// Length of the log's header; the first frame follows in the same sector.
const LOG_HEADER: usize = 32;

/// When the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutAt {
    /// Before the commit begins.
    Before,
    /// While its frames are written and not yet synced.
    Within,
    /// While what is committed is copied into the database.
    Checkpoint,
    /// When it is durable, and nobody was told.
    After,
}

/// The two files of a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
}

/// The directory of a day in memory; removed at its end.
#[derive(Debug)]
pub struct Disk {
    root: tempfile::TempDir,
    run: u32,
}

impl Disk {
    /// A new one, in memory where the system has such a file system.
    ///
    /// # Errors
    /// If no directory can be made.
    pub fn new() -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("forecourt-day-").tempdir_in(&place);
        let disk = Self { root: root.with_context(|| format!("a directory in {}", place.display()))?, run: 0 };
        std::fs::create_dir(disk.books()).context("the directory of the books")?;
        Ok(disk)
    }

    /// Configuration and keys lie here.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The books of the present run lie here.
    #[must_use]
    pub fn books(&self) -> PathBuf {
        self.root.path().join(format!("run-{}", self.run))
    }

    /// The files as they stand.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn image(&self) -> anyhow::Result<Image> {
        let path = self.books().join(FILE_NAME);
        let database = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        // Missing where everything was checkpointed at a close.
        let log = std::fs::read(log_beside(&path)).unwrap_or_default();
        Ok(Image { database, log })
    }

    /// Lays an image down as the disk of the next run. The old files are left to the run that still has them open.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn install(&mut self, image: &Image) -> anyhow::Result<()> {
        self.run += 1;
        let directory = self.books();
        std::fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        let path = directory.join(FILE_NAME);
        std::fs::write(&path, &image.database).context("write the database")?;
        std::fs::write(log_beside(&path), &image.log).context("write the log")?;
        Ok(())
    }

    /// Removes the files of the run before, once nobody has them open.
    pub fn forget_last(&self) {
        if let Some(last) = self.run.checked_sub(1) {
            // What stays goes with the whole directory.
            let _ = std::fs::remove_dir_all(self.root.path().join(format!("run-{last}")));
        }
    }
}

fn log_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// What is left of a commit between two images when power goes at some point of it.
#[must_use]
pub fn cut(before: Image, after: Image, at: CutAt, chance: &mut Prng) -> Image {
    match at {
        CutAt::Before => before,
        CutAt::After => after,
        // Several transactions of one turn, and between them the log was copied, synced and begun anew: of what lay on the disk in between
        // there is no image, and a mix of the two would lose what was synced long before.
        CutAt::Within if begun_anew(&before.log, &after.log) && before.database != after.database => {
            if chance.chance(PerMillion(500_000)) { before } else { after }
        }
        CutAt::Within => {
            let log = torn_log(&before.log, &after.log, chance);
            Image { database: before.database, log }
        }
        CutAt::Checkpoint => Image { database: torn(&before.database, &after.database, 0, chance), log: after.log },
    }
}

fn begun_anew(old: &[u8], new: &[u8]) -> bool {
    old.len() >= LOG_HEADER && old.get(..LOG_HEADER) != new.get(..LOG_HEADER)
}

fn torn_log(old: &[u8], new: &[u8], chance: &mut Prng) -> Vec<u8> {
    let begun_anew = begun_anew(old, new);
    if begun_anew && chance.chance(PerMillion(200_000)) {
        // The header had not reached the disk, so no frame was written either.
        return old.to_vec();
    }
    let kept = if begun_anew { LOG_HEADER } else { 0 };
    torn(old, new, kept, chance)
}

/// Any mix of sectors of two versions of a file; the first `kept` bytes are new in any case.
fn torn(old: &[u8], new: &[u8], kept: usize, chance: &mut Prng) -> Vec<u8> {
    // Somewhere between "nothing has arrived" and "all but one sector has".
    let arrives = PerMillion(u32::try_from(chance.below(1_000_001)).unwrap_or(0));
    let mut mixed = old.to_vec();
    let mut reached = old.len();
    if new.len() > old.len() {
        mixed.resize(new.len(), 0);
    }
    for start in (0..new.len()).step_by(SECTOR) {
        let end = (start + SECTOR).min(new.len());
        if old.get(start..end) != Some(&new[start..end]) && chance.chance(arrives) {
            mixed[start..end].copy_from_slice(&new[start..end]);
            reached = reached.max(end);
        }
    }
    let kept = kept.min(new.len());
    mixed[..kept].copy_from_slice(&new[..kept]);
    mixed.truncate(reached.max(kept));
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance() -> Prng {
        Prng::new(3).fork("disk")
    }

    #[test]
    fn a_torn_file_holds_only_sectors_of_the_old_or_the_new_one() {
        let (old, new) = (vec![1_u8; 4_096], vec![2_u8; 8_192]);
        let mut chance = chance();
        let mut mixes = 0;
        for _ in 0..50 {
            let mixed = torn(&old, &new, 0, &mut chance);
            assert!(mixed.len() >= old.len() && mixed.len() <= new.len());
            for sector in mixed.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "no sector is mixed within");
            }
            mixes += usize::from(mixed.contains(&1) && mixed.contains(&2));
        }
        assert!(mixes > 20, "{mixes} of 50 were a mix");
    }

    #[test]
    fn a_log_begun_anew_never_has_new_frames_behind_an_old_header() {
        let (old, new) = (vec![1_u8; 4_096], vec![2_u8; 2_048]);
        let mut chance = chance();
        for _ in 0..50 {
            let mixed = torn_log(&old, &new, &mut chance);
            assert!(mixed == old || mixed[..LOG_HEADER] == new[..LOG_HEADER]);
        }
    }
}
