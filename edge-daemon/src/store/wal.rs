//! A look into a write-ahead log without SQLite, which takes the first bad frame for the end and says nothing of what lies behind it.
//!
//! Every commit is synced before the next begins. So a power cut can tear one commit, the last one; a bad frame with two commits or
//! more at or behind it means that something durable was damaged. Format: SQLite's "WAL File Format" (fileformat2.html, section 4).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Magic without its lowest bit, which tells the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;
/// Commits that a power cut may tear.
const TORN: u64 = 1;

/// What a log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wal {
    /// Commits that can be read.
    pub commits: u64,
    /// Commits of the same generation at or behind the first bad frame.
    pub behind: u64,
    /// The header itself is bad although frames follow.
    pub bad_header: bool,
}

impl Wal {
    /// Whether more is bad than a power cut leaves.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.bad_header || self.behind > TORN
    }
}

#[derive(Clone, Copy)]
struct Sum {
    one: u32,
    two: u32,
    big_endian: bool,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let word = |at: usize| {
                let four = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
            };
            self.one = self.one.wrapping_add(word(0)).wrapping_add(self.two);
            self.two = self.two.wrapping_add(word(4)).wrapping_add(self.one);
        }
    }

    const fn is(&self, one: u32, two: u32) -> bool {
        self.one == one && self.two == two
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Reads a log; `None` where there is none or nothing in it.
///
/// # Errors
/// Where the file cannot be read.
pub fn inspect(path: &Path) -> std::io::Result<Option<Wal>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let length = file.metadata()?.len();
    let mut file = BufReader::with_capacity(256 * 1024, file);
    let mut header = [0; HEADER];
    if length < HEADER as u64 || file.read_exact(&mut header).is_err() || header == [0; HEADER] {
        return Ok(None);
    }
    let page = usize::try_from(word(&header, 8)).unwrap_or(0);
    let magic = word(&header, 0);
    let mut sum = Sum { one: 0, two: 0, big_endian: magic & 1 == 1 };
    sum.add(&header[..24]);
    let plausible = magic & !1 == MAGIC && page.is_power_of_two() && (512..=65_536).contains(&page);
    if !plausible || !sum.is(word(&header, 24), word(&header, 28)) {
        let bad_header = length > (HEADER + FRAME_HEADER) as u64;
        return Ok(Some(Wal { bad_header, ..Wal::default() }));
    }
    let mut wal = Wal::default();
    let mut bad = false;
    let mut frame = vec![0; FRAME_HEADER + page];
    while file.read_exact(&mut frame).is_ok() {
        let ours = frame[8..16] == header[16..24];
        let is_commit = word(&frame, 4) != 0;
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        bad |= !ours || !sum.is(word(&frame, 16), word(&frame, 20));
        // Frames of an earlier generation may lie behind the end; they carry other salts.
        match (bad, ours && is_commit) {
            (false, true) => wal.commits += 1,
            (true, true) => wal.behind += 1,
            _ => {}
        }
    }
    Ok(Some(wal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// A log of so many commits, copied while its database is open.
    fn log(directory: &Path, commits: u64) -> std::path::PathBuf {
        let database = directory.join("a.db");
        let connection = Connection::open(&database).expect("opens");
        connection.pragma_update(None, "journal_mode", "WAL").expect("sets");
        connection.execute_batch("CREATE TABLE t (x)").expect("makes");
        for number in 1..commits {
            connection.execute("INSERT INTO t VALUES (?1)", [number]).expect("inserts");
        }
        let copy = directory.join("copy-wal");
        std::fs::copy(directory.join("a.db-wal"), &copy).expect("copies");
        copy
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).expect("reads");
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).expect("writes");
    }

    #[test]
    fn a_whole_log_shows_its_commits_and_a_torn_last_one_is_no_damage() {
        let home = tempfile::tempdir().expect("a directory");
        let log = log(home.path(), 5);
        assert_eq!(inspect(&log).expect("reads"), Some(Wal { commits: 5, ..Wal::default() }));
        let length = std::fs::metadata(&log).expect("there").len();
        flip(&log, usize::try_from(length).expect("small") - 100);
        let torn = inspect(&log).expect("reads").expect("a log");
        assert_eq!((torn.commits, torn.behind, torn.is_damaged()), (4, 1, false));
        File::options().write(true).open(&log).expect("opens").set_len(length - 1_000).expect("cuts");
        assert_eq!(inspect(&log).expect("reads"), Some(Wal { commits: 4, ..Wal::default() }));
    }

    #[test]
    fn a_bad_frame_with_commits_behind_it_or_a_bad_header_is_damage() {
        let home = tempfile::tempdir().expect("a directory");
        let log = log(home.path(), 5);
        flip(&log, HEADER + FRAME_HEADER + 50);
        assert!(inspect(&log).expect("reads").expect("a log").is_damaged());
        flip(&log, HEADER + FRAME_HEADER + 50);
        flip(&log, 17);
        assert!(inspect(&log).expect("reads").expect("a log").bad_header);
    }

    #[test]
    fn no_log_and_an_empty_one_are_no_damage() {
        let home = tempfile::tempdir().expect("a directory");
        let log = home.path().join("a.db-wal");
        assert_eq!(inspect(&log).expect("reads"), None);
        std::fs::write(&log, b"").expect("writes");
        assert_eq!(inspect(&log).expect("reads"), None);
    }
}
