//! The thread that writes the ring. Whoever records never waits: what does not fit into the queue is counted and noted.

use crate::trace::format::{self, Context};
use crate::trace::reader::{self, name_of};
use crate::trace::repeat::Repeats;
use crate::trace::{Entry, TraceTime};
use forecourt::ids::FuellingPointId;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Entries that may wait for the thread.
const QUEUE: usize = 8_192;
/// What is recorded is on its way to the disk after this.
const FLUSH: Duration = Duration::from_millis(500);
/// Bytes gathered before they are written at once.
const BATCH: usize = 32 * 1024;
/// A disk that refused is left alone for this long.
const PAUSE: Duration = Duration::from_secs(10);
/// Short segments, as many restarts leave them, may be this many times more than full ones.
const SHORT_SEGMENTS: usize = 8;

/// An entry and the fuelling point that it was exchanged with.
type Heard = (Entry, Option<u16>);

/// Records entries. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Recorder {
    entries: SyncSender<Heard>,
    pub(super) lost: Arc<AtomicU64>,
    gives_way: Arc<AtomicBool>,
}

impl Recorder {
    /// Records an entry without ever waiting. Exchanges of a known fuelling point that repeat are counted.
    pub fn record(&self, entry: Entry, fp: Option<FuellingPointId>) {
        if self.entries.try_send((entry, fp.map(|fp| fp.0))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Space is short: what was recorded is deleted and nothing more is, until this is taken back.
    pub fn give_way(&self, yes: bool) {
        self.gives_way.store(yes, Ordering::Relaxed);
    }

    /// Entries lost since the start: the disk was too slow, full or broken.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Starts the thread; it ends, with everything written, when the last recorder is dropped.
///
/// # Errors
/// Where the directory cannot be made or read, or the system gives no thread.
pub fn start(directory: &Path, segments: u32, segment_bytes: u64) -> std::io::Result<(Recorder, JoinHandle<()>)> {
    std::fs::create_dir_all(directory)?;
    let last = reader::segments(directory)?.last().copied().unwrap_or(0);
    let (sender, receiver) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let gives_way = Arc::new(AtomicBool::new(false));
    let ring = Ring {
        gives_way: Arc::clone(&gives_way),
        directory: directory.into(),
        segments: usize::try_from(segments).unwrap_or(usize::MAX).max(2),
        segment_bytes,
        number: last,
        open: None,
        paused_until: None,
        lost: Arc::clone(&lost),
        noted: 0,
        batch: Vec::new(),
        batched: 0,
        repeats: Repeats::default(),
        ready: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("trace".into()).spawn(move || ring.serve(&receiver))?;
    Ok((Recorder { entries: sender, lost, gives_way }, thread))
}

/// A recorder for a station whose ring cannot be had: everything counts as lost, and the station goes on.
#[must_use]
pub fn nowhere() -> Recorder {
    let (entries, _nobody) = sync_channel(0);
    Recorder { entries, lost: Arc::default(), gives_way: Arc::default() }
}

struct Segment {
    file: File,
    context: Context,
    written: u64,
}

struct Ring {
    gives_way: Arc<AtomicBool>,
    directory: PathBuf,
    segments: usize,
    segment_bytes: u64,
    number: u64,
    open: Option<Segment>,
    paused_until: Option<Instant>,
    lost: Arc<AtomicU64>,
    /// Lost entries that the ring already tells of.
    noted: u64,
    batch: Vec<u8>,
    /// Frames in the batch.
    batched: u64,
    repeats: Repeats,
    /// What the repeats gave back to be written.
    ready: Vec<Entry>,
}

impl Ring {
    fn serve(mut self, entries: &Receiver<Heard>) {
        let mut flushed = Instant::now();
        loop {
            let heard = entries.recv_timeout(FLUSH);
            let now = Instant::now();
            match heard {
                Ok((entry, fp)) => self.repeats.take(entry, fp, now, &mut self.ready),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let due = now.saturating_duration_since(flushed) >= FLUSH;
            if due {
                self.repeats.settle(now, &mut self.ready);
            }
            self.take_ready();
            if self.gives_way.load(Ordering::Relaxed) {
                self.empty();
            }
            if due || self.batch.len() >= BATCH {
                self.flush();
                flushed = now;
            }
        }
        self.repeats.finish(&mut self.ready);
        self.take_ready();
        self.flush();
    }

    fn take_ready(&mut self) {
        for entry in core::mem::take(&mut self.ready) {
            self.take(&entry);
        }
    }

    /// Gives all its space free.
    fn empty(&mut self) {
        self.open = None;
        self.lost.fetch_add(self.batched + self.repeats.forget(), Ordering::Relaxed);
        self.batch.clear();
        self.batched = 0;
        // Left where it cannot be read: there is nothing to be done about it then.
        for number in reader::segments(&self.directory).unwrap_or_default() {
            let _ = std::fs::remove_file(self.directory.join(name_of(number)));
        }
    }

    fn take(&mut self, entry: &Entry) {
        if self.gives_way.load(Ordering::Relaxed) {
            self.lost.fetch_add(entry.frames(), Ordering::Relaxed);
            return;
        }
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            self.lost.fetch_add(entry.frames(), Ordering::Relaxed);
            return;
        }
        self.paused_until = None;
        let full = self.open.as_ref().is_some_and(|open| open.written + self.batch.len() as u64 >= self.segment_bytes);
        if full {
            self.flush();
            self.open = None;
        }
        let at = match entry {
            Entry::Frame { at, .. } | Entry::Lost { at, .. } => *at,
            Entry::Repeat(repeat) => repeat.first,
        };
        if self.open.is_none()
            && let Err(why) = self.next_segment(at)
        {
            self.give_up(&why, entry.frames());
            return;
        }
        let Some(open) = &mut self.open else { return };
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.noted {
            open.context.encode(&Entry::Lost { at, count: lost - self.noted }, &mut self.batch);
            self.noted = lost;
        }
        open.context.encode(entry, &mut self.batch);
        self.batched += entry.frames();
    }

    fn flush(&mut self) {
        let Some(open) = &mut self.open else { return };
        if let Err(why) = open.file.write_all(&self.batch) {
            let batched = self.batched;
            self.give_up(&why, batched);
            return;
        }
        open.written += self.batch.len() as u64;
        self.batch.clear();
        self.batched = 0;
    }

    /// The disk refused: the trace pauses, the station goes on.
    fn give_up(&mut self, why: &std::io::Error, entries: u64) {
        tracing::warn!(directory = %self.directory.display(), %why, "the line trace cannot be written; trying again in 10 s");
        self.lost.fetch_add(entries, Ordering::Relaxed);
        self.open = None;
        self.batch.clear();
        self.batched = 0;
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    fn next_segment(&mut self, first: TraceTime) -> std::io::Result<()> {
        self.make_room()?;
        let number = self.number + 1;
        let mut file = File::options().write(true).create_new(true).open(self.directory.join(name_of(number)))?;
        let header = format::header(number, first);
        file.write_all(&header)?;
        self.number = number;
        self.open = Some(Segment { file, context: Context::starting_at(first), written: header.len() as u64 });
        Ok(())
    }

    /// Deletes the oldest segments, so that the ring with one more full segment is within its bounds.
    fn make_room(&self) -> std::io::Result<()> {
        let mut kept: u64 = 0;
        let mut count = 1;
        let limit = self.segment_bytes.saturating_mul(self.segments as u64 - 1);
        for number in reader::segments(&self.directory)?.into_iter().rev() {
            let path = self.directory.join(name_of(number));
            kept += std::fs::metadata(&path).map_or(0, |data| data.len());
            count += 1;
            // A segment may be longer than its bound by one batch.
            if kept > limit.saturating_add(BATCH as u64) || count > self.segments.saturating_mul(SHORT_SEGMENTS) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
