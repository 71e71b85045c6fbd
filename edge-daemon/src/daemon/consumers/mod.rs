//! Consumers beside the platform: a task for each, with a cursor, a reader and a client of its own.
//!
//! Nothing waits for them. They share with the rest only the store's thread, for one small commit after each delivery.

mod lines;

use super::alarms::{Bell, jitter};
use super::clock::Clock;
use crate::config::{Consumer, ConsumerKind};
use crate::store::thread::Handle;
use crate::store::{ConsumerPlan, ConsumerRow, Page, Reader, Start, Store, StoreFault};
use cloud_sync::consumer::{Course, Failure, Next};
use cloud_sync::https::{BATCH, HttpUrl, PostFault, Poster};
use cloud_sync::tls::{self, TlsMaterial};
use forecourt::time::{Instant, UtcTime};
use lines::LinesFile;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{debug, info};

/// Between two looks for new records.
const LOOK: Duration = Duration::from_secs(1);
/// Without a delivery for so long while something waits, an alarm is raised.
const STALLED: Duration = Duration::from_secs(30 * 60);
/// A cursor that only passed over what is of no interest is stored after so many records: it is no commit's worth.
const STRIDE: u64 = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The consumers as the store keeps them.
#[must_use]
pub fn plans(consumers: &[Consumer]) -> Vec<ConsumerPlan> {
    let plan = |consumer: &Consumer| ConsumerPlan {
        name: consumer.name.clone(),
        kinds: consumer.records.clone(),
        keep_ms: consumer.keep_days.saturating_mul(DAY_MS),
        start: if consumer.from_now { Start::Newest } else { Start::Oldest },
    };
    consumers.iter().map(plan).collect()
}

/// What a consumer's task needs.
#[derive(Debug)]
pub struct Station {
    /// The store's file.
    pub database: PathBuf,
    /// For cursors.
    pub store: Handle,
    /// For alarms.
    pub bell: Bell,
    /// The time.
    pub clock: Clock,
    /// Of the local day, minutes east of UTC.
    pub utc_offset_minutes: i32,
}

/// Serves one consumer until it is aborted.
pub async fn serve(consumer: Consumer, station: Station) {
    let place = format!("consumer {}", consumer.name);
    let way = match &consumer.kind {
        ConsumerKind::HttpsPush { .. } => Way::Push(None),
        ConsumerKind::JsonLines { .. } => Way::Lines(None),
    };
    let mut task = Task {
        stored: 0,
        course: Course::new(0),
        reader: None,
        way,
        failing_since: None,
        alarmed: None,
        place,
        consumer,
        station,
    };
    loop {
        let wait = match task.turn().await {
            Ok(None) => continue,
            Ok(Some(wait)) => wait,
            Err(why) => {
                debug!(consumer = task.consumer.name, why, "not delivered");
                task.handle_trouble(&why).await;
                LOOK
            }
        };
        tokio::time::sleep(wait).await;
    }
}

struct Task {
    consumer: Consumer,
    station: Station,
    place: String,
    course: Course,
    /// The cursor as it is stored.
    stored: u64,
    /// `None` before the cursor was read, and after a fault.
    reader: Option<Reader>,
    way: Way,
    failing_since: Option<Instant>,
    alarmed: Option<UtcTime>,
}

/// How records get there; made anew after each failure, so that other files or another certificate are found.
enum Way {
    Push(Option<(Poster, Option<String>)>),
    Lines(Option<LinesFile>),
}

impl Task {
    /// One delivery. Gives how long to wait before the next.
    ///
    /// # Errors
    /// What keeps it from knowing what is to be delivered, in words.
    async fn turn(&mut self) -> Result<Option<Duration>, String> {
        let page = self.page().await.map_err(|fault| fault.to_string())?;
        if page.pruned > self.course.cursor() {
            self.tell_lost(page.pruned).await.map_err(|fault| fault.to_string())?;
            return Ok(None);
        }
        if page.rows.is_empty() {
            self.course.handle_taken(page.read_to);
            if self.course.cursor() >= self.stored + STRIDE {
                self.keep_cursor(0, false).await.map_err(|fault| fault.to_string())?;
            }
            self.handle_well().await;
            return Ok(Some(LOOK));
        }
        match self.deliver(&page.rows).await {
            Ok(()) => {
                self.course.handle_taken(page.read_to);
                self.keep_cursor(0, true).await.map_err(|fault| fault.to_string())?;
                self.handle_well().await;
                Ok(None)
            }
            Err((failure, why)) => {
                let sequences: Vec<u64> = page.rows.iter().map(|row| row.sequence).collect();
                match self.course.handle_failed(failure, &sequences) {
                    Next::Smaller => Ok(None),
                    Next::Wait(longest) => {
                        debug!(consumer = self.consumer.name, why, "not delivered");
                        self.handle_trouble(&why).await;
                        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
                        Ok(Some(Duration::from_millis(jitter(longest))))
                    }
                    Next::PassOver(sequence) => {
                        let text = format!("it refused record {sequence:012}, which is passed over: {why}");
                        self.station.bell.raise("consumer_refused", &self.place, text).await;
                        self.keep_cursor(1, false).await.map_err(|fault| fault.to_string())?;
                        Ok(None)
                    }
                }
            }
        }
    }

    async fn page(&mut self) -> Result<Page, StoreFault> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.begin().await?,
        };
        let (after, kinds, limit) = (self.course.cursor(), self.consumer.records.clone(), self.course.batch());
        let read = blocking(move || {
            let page = reader.page(after, &kinds, limit);
            (reader, page)
        });
        let (reader, page) = read.await?;
        let page = page?;
        self.reader = Some(reader);
        Ok(page)
    }

    /// Opens the store, and goes on where the consumer was: where the store says, or behind what its files hold.
    async fn begin(&mut self) -> Result<Reader, StoreFault> {
        let (path, name) = (self.station.database.clone(), self.consumer.name.clone());
        let opened = blocking(move || {
            let reader = Store::reader(&path)?;
            let cursor = reader.cursor(&name)?;
            Ok::<_, StoreFault>((reader, cursor))
        });
        let (reader, cursor) = opened.await??;
        self.stored = cursor.unwrap_or(0);
        self.course = Course::new(self.stored.max(self.course.cursor()));
        Ok(reader)
    }

    async fn keep_cursor(&mut self, passed_over: u64, taken: bool) -> Result<(), StoreFault> {
        let (name, through) = (self.consumer.name.clone(), self.course.cursor());
        self.station.store.run(move |store| store.move_cursor(&name, through, passed_over, taken)).await??;
        self.stored = through;
        Ok(())
    }

    async fn tell_lost(&mut self, pruned: u64) -> Result<(), StoreFault> {
        let from = self.course.cursor() + 1;
        let days = self.consumer.keep_days;
        let text = format!(
            "it did not take records {from:012} to {pruned:012} within {days} days, and they are no longer kept here: \
             ask the platform for them"
        );
        self.course.handle_taken(pruned);
        self.station.bell.raise("consumer_missed", &self.place, text).await;
        self.keep_cursor(pruned + 1 - from, false).await
    }

    async fn handle_trouble(&mut self, why: &str) {
        let now = self.station.clock.mono();
        let since = *self.failing_since.get_or_insert(now);
        if self.alarmed.is_none() && now.since(since) >= STALLED {
            let minutes = STALLED.as_secs() / 60;
            let text = format!("it has taken nothing for {minutes} minutes: {why}; its records wait here");
            self.alarmed = Some(self.station.bell.raise("consumer_stalled", &self.place, text).await);
        }
    }

    async fn handle_well(&mut self) {
        self.failing_since = None;
        if let Some(since) = self.alarmed.take() {
            self.station.bell.clear("consumer_stalled", &self.place, since, "it takes records again".into()).await;
        }
    }

    async fn deliver(&mut self, rows: &[ConsumerRow]) -> Result<(), (Failure, String)> {
        let outcome = match &self.consumer.kind {
            ConsumerKind::HttpsPush { url, ca_file, client, token_file } => {
                let Way::Push(made) = &mut self.way else { return Ok(()) };
                if made.is_none() {
                    let files = (url.clone(), ca_file.clone(), client.clone(), token_file.clone());
                    let read = blocking(move || poster(&files.0, &files.1, files.2.as_ref(), files.3.as_deref()));
                    let read = read.await.map_err(|fault| fault.to_string()).and_then(|poster| poster);
                    *made = Some(read.map_err(|why| (Failure::Unavailable, why))?);
                }
                let Some((poster, token)) = made else { return Ok(()) };
                push(poster, url, token.as_deref(), rows).await
            }
            ConsumerKind::JsonLines { directory } => {
                let Way::Lines(open) = &mut self.way else { return Ok(()) };
                let file = open.take();
                let (directory, name) = (directory.clone(), self.consumer.name.clone());
                let day = local_day(self.station.clock.now().utc, self.station.utc_offset_minutes);
                let (rows, database) = (rows.to_vec(), self.station.database.clone());
                let written = blocking(move || {
                    let mut file = match file {
                        Some(file) => file,
                        None => open_lines(&database, &directory, &name)?,
                    };
                    file.append(&rows, &day).map(|()| file).map_err(|why| why.to_string())
                });
                match written.await.map_err(|fault| fault.to_string()).and_then(|written| written) {
                    Ok(file) => {
                        *open = Some(file);
                        Ok(())
                    }
                    Err(why) => Err((Failure::Unavailable, why)),
                }
            }
        };
        if let (Err((Failure::Unavailable, _)), Way::Push(made)) = (&outcome, &mut self.way) {
            *made = None;
        }
        outcome
    }
}

/// Runs what may wait for a disk, off the tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreFault::Closed)
}

fn local_day(now: UtcTime, utc_offset_minutes: i32) -> String {
    let local = now.plus_ms(i64::from(utc_offset_minutes) * 60_000).to_string();
    local.chars().take("2026-11-21".len()).collect()
}

/// Opens a consumer's files, if they hold records of these books.
fn open_lines(database: &Path, directory: &Path, name: &str) -> Result<LinesFile, String> {
    let file = LinesFile::open(directory, name).map_err(|why| why.to_string())?;
    let known = Store::reader(database).and_then(|reader| reader.hash_at(file.last()));
    let (hash, newest) = known.map_err(|fault| fault.to_string())?;
    file.check(hash.as_deref(), newest).map_err(|why| why.to_string())?;
    info!(consumer = name, last = file.last(), "its files are whole");
    Ok(file)
}

/// A client with what the files hold now.
fn poster(
    url: &HttpUrl,
    ca_file: &Path,
    client: Option<&(PathBuf, PathBuf)>,
    token_file: Option<&Path>,
) -> Result<(Poster, Option<String>), String> {
    let read = |path: &Path| std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()));
    let config = if url.is_secure() {
        let authorities = read(ca_file)?;
        let config = match client {
            Some((certificate, key)) => {
                let material = TlsMaterial { authorities, certificate: read(certificate)?, key: read(key)? };
                tls::client_config(&material, None)
            }
            None => tls::anonymous_config(&authorities),
        };
        Some(config.map_err(|why| why.to_string())?)
    } else {
        None
    };
    let token = match token_file {
        Some(path) => {
            let text = String::from_utf8(read(path)?).map_err(|why| format!("{}: {why}", path.display()))?;
            Some(text.lines().next().unwrap_or_default().trim().to_owned())
        }
        None => None,
    };
    let poster = Poster::new(config.as_ref()).map_err(|why| why.to_string())?;
    Ok((poster, token))
}

async fn push(
    poster: &Poster,
    url: &HttpUrl,
    token: Option<&str>,
    rows: &[ConsumerRow],
) -> Result<(), (Failure, String)> {
    let events: Vec<&[u8]> = rows.iter().map(|row| row.bytes.as_slice()).collect();
    let body = [b"[".as_slice(), &events.join(b",".as_slice()), b"]"].concat();
    match poster.post(url, BATCH, body, token).await {
        // What a 2xx says beside is its own affair.
        Ok(_) | Err(PostFault::TooLong) => Ok(()),
        Err(PostFault::Refused { status, said }) => Err((Failure::of_status(status), format!("HTTP {status}: {said}"))),
        Err(PostFault::Unreachable(why)) => Err((Failure::Unavailable, why)),
    }
}

#[cfg(test)]
mod tests;
