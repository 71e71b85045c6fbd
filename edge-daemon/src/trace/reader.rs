//! Reading the ring from its oldest entry, and on while it grows.

use crate::trace::Entry;
use crate::trace::format::{self, Context};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// The file of a segment.
pub(super) fn name_of(number: u64) -> String {
    format!("{number:010}.trace")
}

/// Numbers of all segments, lowest first. Other files are none of ours.
pub(super) fn segments(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let name = file?.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".trace"))
            && let Ok(number) = number.parse()
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads entries, oldest first.
#[derive(Debug)]
pub struct TraceReader {
    directory: PathBuf,
    segment: Option<u64>,
    offset: u64,
    context: Option<Context>,
}

impl TraceReader {
    /// A reader at the oldest entry.
    #[must_use]
    pub fn oldest(directory: &Path) -> Self {
        Self { directory: directory.into(), segment: None, offset: 0, context: None }
    }

    /// A reader behind the newest entry: only what comes from now on.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn newest(directory: &Path) -> std::io::Result<Self> {
        let mut reader = Self::oldest(directory);
        reader.segment = segments(directory)?.last().copied();
        reader.read_segment()?;
        Ok(reader)
    }

    /// What can be read now, at most one segment of it; nothing where the end is reached. Call it again later to follow.
    ///
    /// # Errors
    /// Where the directory or a segment cannot be read.
    pub fn read_more(&mut self) -> std::io::Result<Vec<Entry>> {
        loop {
            let found = self.read_segment()?;
            if !found.is_empty() {
                return Ok(found);
            }
            let here = self.segment;
            let Some(next) = segments(&self.directory)?.into_iter().find(|number| Some(*number) > here) else {
                return Ok(Vec::new());
            };
            // The next one exists, so this one gets no more; it may have got its last between the two looks.
            let found = self.read_segment()?;
            self.segment = Some(next);
            self.offset = 0;
            self.context = None;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    fn read_segment(&mut self) -> std::io::Result<Vec<Entry>> {
        let Some(number) = self.segment else { return Ok(Vec::new()) };
        let mut file = match std::fs::File::open(self.directory.join(name_of(number))) {
            Ok(file) => file,
            // Deleted as the oldest while we were reading.
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(why),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut used = 0;
        if self.context.is_none() {
            let Some(context) = format::read_header(&bytes) else { return Ok(Vec::new()) };
            self.context = Some(context);
            used = format::HEADER;
        }
        let mut entries = Vec::new();
        if let Some(context) = &mut self.context {
            while let Some((entry, length)) = context.decode(bytes.get(used..).unwrap_or_default()) {
                used += length;
                entries.extend(entry);
            }
        }
        self.offset += used as u64;
        Ok(entries)
    }
}
