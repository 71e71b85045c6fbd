//! A file a day, one record a line, each line on disk before the cursor moves.
//!
//! After a crash the files say which record came last, and half a line is taken away: no gap, and no line twice.

use crate::store::ConsumerRow;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// More than the longest line: a record is at most 240 KiB.
const TAIL: u64 = 512 * 1024;
/// What the files end in.
const ENDING: &str = ".jsonl";

/// The files of one consumer.
#[derive(Debug)]
pub struct LinesFile {
    directory: PathBuf,
    name: String,
    last: Last,
    open: Option<Open>,
}

/// The last record of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Last {
    sequence: u64,
    /// Empty where there is none.
    hash: String,
}

#[derive(Debug)]
struct Open {
    day: String,
    file: File,
    /// Bytes that are whole lines on disk.
    whole: u64,
}

impl LinesFile {
    /// Looks through what is there, and takes away half a line that a crash left.
    ///
    /// # Errors
    /// Where the directory cannot be used, or a file in it is none of these.
    pub fn open(directory: &Path, name: &str) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut last = Last::default();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let day = file_name.strip_prefix(name).and_then(|rest| rest.strip_suffix(ENDING));
            if day.is_some_and(|day| day.len() == "-2026-11-21".len() && day.starts_with('-')) {
                // All of them: the clock may have stepped back over midnight.
                let here = mend(&path)?;
                if here.sequence > last.sequence {
                    last = here;
                }
            }
        }
        Ok(Self { directory: directory.into(), name: name.into(), last, open: None })
    }

    /// Sequence of the last record that is on disk; 0 for none.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last.sequence
    }

    /// Refuses files that hold other books than these: what is numbered alike in both would be left out. `known` gives the hash that these
    /// books have at a sequence, `None` where they have no such record, or no longer.
    ///
    /// # Errors
    /// Which file to move away, and why.
    pub fn check(&self, known: Option<&str>, newest: u64) -> io::Result<()> {
        let Last { sequence, hash } = &self.last;
        let is_ours = match known {
            Some(known) => hash.is_empty() || hash == known,
            None => *sequence <= newest,
        };
        if is_ours {
            return Ok(());
        }
        let (directory, name) = (self.directory.display(), &self.name);
        let text = format!(
            "{directory}: the files {name}-*{ENDING} hold record {sequence:012} of other books than this station's: move them away"
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// Writes the records that are not there yet into the file of this day (`2026-11-21`), durably.
    ///
    /// # Errors
    /// Then none of them counts as written; the next call begins anew.
    pub fn append(&mut self, rows: &[ConsumerRow], day: &str) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut last = self.last.sequence;
        for row in rows.iter().filter(|row| row.sequence > self.last.sequence) {
            lines.extend_from_slice(&row.bytes);
            lines.push(b'\n');
            last = row.sequence;
        }
        if lines.is_empty() {
            return Ok(());
        }
        if self.open.as_ref().is_none_or(|open| open.day != day) {
            self.open = Some(self.open_day(day)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(why) = open.file.write_all(&lines).and_then(|()| open.file.sync_data()) {
            // What a failed sync has written is not to be trusted: it is cut off, and the file is opened anew.
            let _ = open.file.set_len(open.whole);
            self.open = None;
            return Err(why);
        }
        open.whole += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.last.sequence = last;
        Ok(())
    }

    fn open_day(&self, day: &str) -> io::Result<Open> {
        let path = self.directory.join(format!("{}-{day}{ENDING}", self.name));
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
        file.sync_all()?;
        // Its name must be on disk too.
        File::open(&self.directory)?.sync_all()?;
        mend(&path)?;
        let whole = file.metadata()?.len();
        Ok(Open { day: day.into(), file, whole })
    }
}

/// Takes half a line away from the end, and gives the last whole one; sequence 0 for an empty file.
fn mend(path: &Path) -> io::Result<Last> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        if from > 0 {
            return Err(foreign(path));
        }
        return cut(&file, 0, length).map(|()| Last::default());
    };
    let whole = from + u64::try_from(end).unwrap_or(0) + 1;
    cut(&file, whole, length)?;
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let line: Option<Value> = serde_json::from_slice(&tail[begin..end]).ok();
    let text = |name| line.as_ref().and_then(|line| line.get(name)).and_then(Value::as_str);
    let sequence = text("sequence").and_then(|text| text.parse().ok()).ok_or_else(|| foreign(path))?;
    Ok(Last { sequence, hash: text("hash").unwrap_or_default().to_owned() })
}

fn cut(file: &File, whole: u64, length: u64) -> io::Result<()> {
    if whole == length {
        return Ok(());
    }
    file.set_len(whole)?;
    file.sync_all()
}

fn foreign(path: &Path) -> io::Error {
    let text = format!("{}: its last line is no record of a station; move the file away", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::time::UtcTime;

    fn rows(sequences: core::ops::RangeInclusive<u64>) -> Vec<ConsumerRow> {
        let row = |sequence: u64| ConsumerRow {
            sequence,
            time: UtcTime::from_unix_ms(0),
            bytes: format!(r#"{{"sequence":"{sequence:012}"}}"#).into_bytes(),
        };
        sequences.map(row).collect()
    }

    fn lines(directory: &Path) -> Vec<u64> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let text: String = paths.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect();
        let read = |line: &str| -> u64 {
            let event: Value = serde_json::from_str(line).expect("JSON");
            event["sequence"].as_str().expect("a text").parse().expect("a number")
        };
        text.lines().map(read).collect()
    }

    #[test]
    fn each_day_has_its_file() {
        let home = tempfile::tempdir().expect("a directory");
        let mut file = LinesFile::open(home.path(), "tax").expect("opens");
        file.append(&rows(1..=2), "2026-11-21").expect("writes");
        file.append(&rows(3..=3), "2026-11-22").expect("writes");
        assert_eq!(lines(home.path()), [1, 2, 3]);
        let second = std::fs::read_to_string(home.path().join("tax-2026-11-22.jsonl")).expect("a file");
        assert_eq!(second, "{\"sequence\":\"000000000003\"}\n");
    }

    #[test]
    fn a_crash_at_any_byte_leaves_no_gap_and_no_line_twice() {
        let whole = {
            let home = tempfile::tempdir().expect("a directory");
            LinesFile::open(home.path(), "tax")
                .and_then(|mut file| file.append(&rows(1..=4), "2026-11-21"))
                .expect("writes");
            std::fs::read(home.path().join("tax-2026-11-21.jsonl")).expect("a file")
        };
        for length in 0..=whole.len() {
            let home = tempfile::tempdir().expect("a directory");
            std::fs::write(home.path().join("tax-2026-11-21.jsonl"), &whole[..length]).expect("writes");
            // The cursor stands anywhere up to what is on disk: all is given again.
            let mut file = LinesFile::open(home.path(), "tax").expect("opens");
            file.append(&rows(1..=6), "2026-11-21").expect("writes");
            assert_eq!(lines(home.path()), [1, 2, 3, 4, 5, 6], "cut at {length}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_over_midnight_repeats_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let mut file = LinesFile::open(home.path(), "tax").expect("opens");
        file.append(&rows(1..=3), "2026-11-22").expect("writes");
        file.append(&rows(4..=5), "2026-11-21").expect("writes");
        let mut file = LinesFile::open(home.path(), "tax").expect("opens");
        assert_eq!(file.last(), 5);
        file.append(&rows(1..=6), "2026-11-22").expect("writes");
        let mut written = lines(home.path());
        written.sort_unstable();
        assert_eq!(written, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_touched() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("tax-2026-11-21.jsonl");
        std::fs::write(&path, "Dear diary\n").expect("writes");
        let fault = LinesFile::open(home.path(), "tax").expect_err("foreign").to_string();
        assert!(fault.contains("move the file away"), "{fault}");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "Dear diary\n");
    }
}
