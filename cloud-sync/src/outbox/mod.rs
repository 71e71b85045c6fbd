//! The outbox: which durable records to send now, and what was acknowledged (contract section 5).
//!
//! The rows live in the store and are the truth; what is kept here can be lost at any moment. A row is known here in one of
//! three places: *ready* with its bytes, *sent* and waiting for its acknowledgement, or asked for again from the store.

pub mod ask;
mod posts;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use posts::PostEnd;

use crate::outbox::ask::{StoreAnswer, StoreAsk};
use crate::outbox::store::{Ack, PRIORITIES, Refused, Row, StoreFault};
use core::time::Duration;
use forecourt::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// First wait for an acknowledgement; doubles with each sending up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After this many refusals a record is set aside.
const REFUSALS: u32 = 5;
/// A message that the broker has not acknowledged for so long goes over HTTPS too, while that is open.
const BROKER_SLOW: Duration = Duration::from_secs(60);
/// Wait after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Rows read in one page above what a batch holds, so that a full page always means that more than a batch waits.
const PAGE_MARGIN: usize = 28;
/// Most acknowledged ids that wait for their commit.
const ACKS_WAITING: usize = 20_000;
/// Most refusals and resends that wait.
const ASKS_WAITING: usize = 64;

/// What settles a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckMode {
    /// `fuel.ack.v1` by the platform.
    Platform,
    /// The broker's PUBACK (`ack = "broker"`). What a broker loses after that is lost to the platform until it asks for a resend.
    Broker,
}

/// Bounds of the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What settles a record.
    pub ack: AckMode,
    /// Most publishes that the broker has not acknowledged.
    pub window: usize,
    /// Most records in one message.
    pub batch: usize,
    /// Most bytes of one message.
    pub message_bytes: usize,
    /// Most records sent and not settled.
    pub unsettled: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ack: AckMode::Platform, window: 32, batch: 100, message_bytes: 240 * 1024, unsettled: 3_200 }
    }
}

/// Names one publish until the broker acknowledges it or the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PublishId(pub u64);

/// One message for the topic `event`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventMessage {
    /// Its name.
    pub id: PublishId,
    /// One event, or a JSON array of several.
    pub payload: Vec<u8>,
}

/// Something a person should know of the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The record was refused too often, or is too large for a message; the queue goes on without it.
    SetAside {
        /// Its place in the chain.
        sequence: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store failed; it is asked again.
    Store(StoreFault),
}

/// A row with its bytes, to be sent.
#[derive(Debug)]
struct Ready {
    row: Row,
    /// How often it was sent before.
    times: u32,
}

/// A row sent and not settled.
#[derive(Debug)]
struct Sent {
    id: Uuid,
    priority: u8,
    times: u32,
    /// When it goes again; `None` while the broker has not acknowledged its message, or its bytes are being read.
    due: Option<Instant>,
}

/// Rows of one message that the broker has not acknowledged.
#[derive(Debug)]
struct InFlight {
    rows: Vec<u64>,
    /// Rows that a resend asked for and that are settled: first and last.
    extra: Option<(u64, u64)>,
    /// When it went out.
    at: Instant,
    /// The broker was too slow: the rows go over the other road.
    given_up: bool,
}

/// The outbox's state for one run of the daemon.
#[derive(Debug)]
pub struct Outbox {
    settings: Settings,
    connected: bool,
    next_id: u64,
    /// Highest sequence read by priority: rows of a priority are committed in order, so nothing new comes below it.
    read_to: [u64; PRIORITIES as usize],
    /// Nothing above `read_to` when last asked.
    dry: [bool; PRIORITIES as usize],
    /// The last page was full, so more waits in the store.
    more: [bool; PRIORITIES as usize],
    /// A page is being read.
    reading: bool,
    /// Records were committed since that page was asked for, so what it says of the end is old.
    stale: bool,
    ready: BTreeMap<(u8, u64), Ready>,
    sent: BTreeMap<u64, Sent>,
    by_id: BTreeMap<Uuid, u64>,
    due: BTreeSet<(Instant, u64)>,
    /// Rows are being read to be sent again.
    reading_again: bool,
    in_flight: BTreeMap<PublishId, InFlight>,
    resends: VecDeque<(u64, u64)>,
    reading_resend: bool,
    extra: VecDeque<Row>,
    acks: BTreeSet<Uuid>,
    acking: BTreeSet<Uuid>,
    asks: VecDeque<StoreAsk>,
    /// The store failed: not asked before then.
    pause: Option<Instant>,
    notices: VecDeque<Notice>,
    unknown_acks: u64,
    posts: posts::Posts,
}

/// The outbox can take no more of this now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// An outbox that knows of no row yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            connected: false,
            next_id: 0,
            read_to: [0; PRIORITIES as usize],
            dry: [false; PRIORITIES as usize],
            more: [false; PRIORITIES as usize],
            reading: false,
            stale: false,
            ready: BTreeMap::new(),
            sent: BTreeMap::new(),
            by_id: BTreeMap::new(),
            due: BTreeSet::new(),
            reading_again: false,
            in_flight: BTreeMap::new(),
            resends: VecDeque::new(),
            reading_resend: false,
            extra: VecDeque::new(),
            acks: BTreeSet::new(),
            acking: BTreeSet::new(),
            asks: VecDeque::new(),
            pause: None,
            notices: VecDeque::new(),
            unknown_acks: 0,
            posts: posts::Posts::default(),
        }
    }

    /// Rows sent and not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.sent.len()
    }

    /// Messages that the broker has not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Acknowledgements and refusals of records that are not waiting for one.
    #[must_use]
    pub const fn unknown_acks(&self) -> u64 {
        self.unknown_acks
    }

    /// The link is up: everything sent and not settled goes again, the most important first.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.send_all_again(now);
    }

    /// The link is down. What was in flight counts as not sent.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        for (_, message) in core::mem::take(&mut self.in_flight) {
            if let Some(range) = message.extra {
                self.resends.push_back(range);
            }
            // Due at once, for the other road if it is open.
            for sequence in message.rows {
                if self.sent.get(&sequence).is_some_and(|sent| sent.due.is_none()) {
                    self.set_due(sequence, Instant::START);
                }
            }
        }
    }

    /// Records were committed.
    pub const fn handle_changed(&mut self) {
        self.dry = [false; PRIORITIES as usize];
        self.stale = true;
    }

    /// The broker has the message.
    pub fn handle_puback(&mut self, id: PublishId, now: Instant) {
        let Some(message) = self.in_flight.remove(&id) else { return };
        for sequence in message.rows {
            let Some(sent) = self.sent.get(&sequence) else { continue };
            match self.settings.ack {
                AckMode::Broker => {
                    self.acks.insert(sent.id);
                    self.forget(sequence);
                }
                AckMode::Platform => {
                    let due = now + wait_after(sent.times);
                    self.set_due(sequence, due);
                }
            }
        }
    }

    /// The platform has stored records.
    ///
    /// A sequence settles the records up to it that were sent in this run: what was never sent cannot have been stored.
    ///
    /// # Errors
    /// [`Full`] while too many acknowledgements wait for their commit; the platform gets the records again.
    pub fn handle_ack(&mut self, ack: &Ack) -> Result<(), Full> {
        let ids: Vec<Uuid> = match ack {
            Ack::Through(last) => self.sent.range(..=*last).map(|(_, sent)| sent.id).collect(),
            Ack::Ids(ids) => ids.clone(),
        };
        if self.acks.len() + ids.len() > ACKS_WAITING {
            return Err(Full);
        }
        for id in ids {
            match self.by_id.get(&id).copied() {
                Some(sequence) => self.forget(sequence),
                // Of an earlier run, or set aside: the store knows.
                None => self.unknown_acks += 1,
            }
            self.acks.insert(id);
        }
        Ok(())
    }

    /// The platform refuses a record.
    ///
    /// # Errors
    /// [`Full`] while too many refusals wait for their commit.
    pub fn handle_nack(&mut self, record: Uuid, reason: String) -> Result<(), Full> {
        if self.asks.len() >= ASKS_WAITING {
            return Err(Full);
        }
        if !self.by_id.contains_key(&record) {
            self.unknown_acks += 1;
        }
        self.asks.push_back(StoreAsk::Refuse { record, reason });
        Ok(())
    }

    /// The platform wants records again, both ends included.
    ///
    /// # Errors
    /// [`Full`] while too many such ranges wait.
    pub fn handle_resend(&mut self, from: u64, to: u64) -> Result<(), Full> {
        if self.resends.len() >= ASKS_WAITING {
            return Err(Full);
        }
        self.resends.push_back((from, to));
        Ok(())
    }

    /// The store answered. Answers that concern commands are not for the outbox and are ignored.
    pub fn handle_answer(&mut self, answer: StoreAnswer, now: Instant) {
        match answer {
            StoreAnswer::Pending { priority, limit, rows } => {
                self.reading = false;
                if let Some(rows) = self.unless_failed(rows, now) {
                    self.take_page(priority, limit, rows);
                }
            }
            StoreAnswer::Rows { sequences, rows } => {
                self.reading_again = false;
                match self.unless_failed(rows, now) {
                    Some(rows) => self.take_again(&sequences, rows),
                    None => self.put_off(&sequences, now),
                }
            }
            StoreAnswer::Range { limit, rows } => {
                self.reading_resend = false;
                if let Some(rows) = self.unless_failed(rows, now) {
                    self.take_resend(limit, rows, now);
                }
            }
            StoreAnswer::Acknowledged { acks, result } => {
                self.acking.clear();
                if self.unless_failed(result, now).is_none() {
                    let ids = acks.into_iter().filter_map(|ack| match ack {
                        Ack::Ids(ids) => Some(ids),
                        Ack::Through(_) => None,
                    });
                    self.acks.extend(ids.flatten());
                }
            }
            StoreAnswer::Refused(result) => {
                if let Some(Some(Refused { sequence, count })) = self.unless_failed(result, now)
                    && count >= REFUSALS
                {
                    self.set_aside(sequence, "the platform refused it five times");
                }
            }
            StoreAnswer::SetAside { sequence, result } => {
                if self.unless_failed(result, now).is_none() {
                    self.asks.push_back(StoreAsk::SetAside(sequence));
                }
            }
            StoreAnswer::Counted { .. }
            | StoreAnswer::ReportFound { .. }
            | StoreAnswer::Recalled { .. }
            | StoreAnswer::Kept { .. } => {}
        }
    }

    /// The next ask to the store.
    pub fn poll_ask(&mut self, now: Instant) -> Option<StoreAsk> {
        if self.pause.is_some_and(|until| now < until) {
            return None;
        }
        self.pause = None;
        if self.acking.is_empty() && !self.acks.is_empty() {
            self.acking = core::mem::take(&mut self.acks);
            return Some(StoreAsk::Acknowledge(vec![Ack::Ids(self.acking.iter().copied().collect())]));
        }
        if let Some(ask) = self.asks.pop_front() {
            return Some(ask);
        }
        if !self.has_road() {
            return None;
        }
        self.give_up_on_broker(now);
        self.ask_again(now).or_else(|| self.ask_page()).or_else(|| self.ask_resend())
    }

    /// The next message for the broker, while connected and the window is open.
    pub fn poll_publish(&mut self, now: Instant) -> Option<EventMessage> {
        if !self.connected || self.in_flight.len() >= self.settings.window {
            return None;
        }
        self.drop_oversized();
        let more_is_coming = self.reading && self.more_waits();
        if self.ready.len() <= self.settings.batch && more_is_coming {
            // A page of more than a batch is on its way: better one full message than many small ones.
            return None;
        }
        let rows = self.take_ready();
        let (rows, extra) = if rows.is_empty() { (rows, self.take_extra()) } else { (rows, Vec::new()) };
        let all: Vec<&[u8]> =
            rows.iter().map(|ready| &ready.row).chain(&extra).map(|row| row.bytes.as_slice()).collect();
        let payload = match all.as_slice() {
            [] => return None,
            [one] => one.to_vec(),
            several => [b"[".as_slice(), &several.join(b",".as_slice()), b"]"].concat(),
        };
        let id = PublishId(self.next_id);
        self.next_id += 1;
        let extra = extra.first().zip(extra.last()).map(|(first, last)| (first.sequence, last.sequence));
        let rows = rows.into_iter().map(|ready| self.note_sent(ready)).collect();
        self.in_flight.insert(id, InFlight { rows, extra, at: now, given_up: false });
        Some(EventMessage { id, payload })
    }

    /// The next thing a person should know.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When to call [`Self::poll_ask`] again without any event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let can_ask = self.has_road() && !self.reading_again && self.ready.len() <= self.settings.batch;
        let due = self.due.first().map(|(due, _)| *due).filter(|_| can_ask);
        let slow = self.slow_message().map(|message| message.at + BROKER_SLOW);
        match self.pause {
            Some(pause) => Some(pause),
            None => [due, slow].into_iter().flatten().min(),
        }
    }

    /// Records can go out somewhere.
    const fn has_road(&self) -> bool {
        self.connected || self.posts.open
    }

    fn unless_failed<T>(&mut self, result: Result<T, StoreFault>, now: Instant) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.pause = Some(now + STORE_PAUSE);
                self.notices.push_back(Notice::Store(fault));
                None
            }
        }
    }

    /// The row goes again then, unless it is about to go anyway or is on its way over the other road.
    fn set_due(&mut self, sequence: u64, due: Instant) {
        let Some(sent) = self.sent.get_mut(&sequence) else { return };
        if self.ready.contains_key(&(sent.priority, sequence)) || self.posts.holds(sequence) {
            return;
        }
        if let Some(before) = sent.due.replace(due) {
            self.due.remove(&(before, sequence));
        }
        self.due.insert((due, sequence));
    }

    /// The row is settled.
    fn forget(&mut self, sequence: u64) {
        if let Some(sent) = self.sent.remove(&sequence) {
            self.by_id.remove(&sent.id);
            self.ready.remove(&(sent.priority, sequence));
            if let Some(due) = sent.due {
                self.due.remove(&(due, sequence));
            }
        }
    }

    fn set_aside(&mut self, sequence: u64, why: &'static str) {
        self.forget(sequence);
        self.asks.push_back(StoreAsk::SetAside(sequence));
        self.notices.push_back(Notice::SetAside { sequence, why });
    }

    fn is_settling(&self, row: &Row) -> bool {
        row.settled || self.acks.contains(&row.id) || self.acking.contains(&row.id)
    }

    fn take_page(&mut self, priority: u8, limit: usize, rows: Vec<Row>) {
        let index = usize::from(priority);
        let full = rows.len() >= limit;
        self.more[index] = full;
        if let Some(last) = rows.last() {
            self.read_to[index] = last.sequence;
        }
        self.dry[index] = !full && !self.stale;
        for row in rows {
            if !self.is_settling(&row) && !self.sent.contains_key(&row.sequence) {
                self.ready.insert((row.priority, row.sequence), Ready { row, times: 0 });
            }
        }
    }

    fn take_again(&mut self, asked: &[u64], rows: Vec<Row>) {
        let mut found = BTreeSet::new();
        for row in rows {
            // It may have been acknowledged while its bytes were read.
            if self.is_settling(&row) {
                continue;
            }
            if let Some(sent) = self.sent.get_mut(&row.sequence) {
                found.insert(row.sequence);
                if let Some(due) = sent.due.take() {
                    self.due.remove(&(due, row.sequence));
                }
                self.ready.insert((row.priority, row.sequence), Ready { times: sent.times, row });
            }
        }
        for sequence in asked {
            if !found.contains(sequence) {
                self.forget(*sequence);
            }
        }
    }

    /// Rows whose bytes could not be read go back to waiting.
    fn put_off(&mut self, sequences: &[u64], now: Instant) {
        for sequence in sequences {
            if let Some(sent) = self.sent.get_mut(sequence) {
                if let Some(due) = sent.due.replace(now + STORE_PAUSE) {
                    self.due.remove(&(due, *sequence));
                }
                self.due.insert((now + STORE_PAUSE, *sequence));
            }
        }
    }

    fn take_resend(&mut self, limit: usize, rows: Vec<Row>, now: Instant) {
        let Some((from, _)) = self.resends.front_mut() else { return };
        match rows.last() {
            Some(last) if rows.len() >= limit => *from = last.sequence + 1,
            _ => {
                self.resends.pop_front();
            }
        }
        for row in rows {
            if row.settled {
                self.extra.push_back(row);
            } else if let Some(sent) = self.sent.get_mut(&row.sequence)
                && let Some(due) = sent.due
            {
                sent.due = Some(now);
                self.due.remove(&(due, row.sequence));
                self.due.insert((now, row.sequence));
            }
            // All others are in flight, or go out in their turn.
        }
    }

    fn ask_again(&mut self, now: Instant) -> Option<StoreAsk> {
        if self.reading_again || self.ready.len() > self.settings.batch {
            return None;
        }
        let mut again: Vec<(u8, u64)> = self
            .due
            .iter()
            .take_while(|(due, _)| *due <= now)
            .filter_map(|(_, sequence)| self.sent.get(sequence).map(|sent| (sent.priority, *sequence)))
            .collect();
        if again.is_empty() {
            return None;
        }
        again.sort_unstable();
        again.truncate(self.page());
        let sequences: Vec<u64> = again.into_iter().map(|(_, sequence)| sequence).collect();
        for sequence in &sequences {
            if let Some(due) = self.sent.get_mut(sequence).and_then(|sent| sent.due.take()) {
                self.due.remove(&(due, *sequence));
            }
        }
        self.reading_again = true;
        Some(StoreAsk::Rows(sequences))
    }

    fn ask_page(&mut self) -> Option<StoreAsk> {
        if self.reading || self.sent.len() >= self.settings.unsettled {
            return None;
        }
        for priority in 0..PRIORITIES {
            let index = usize::from(priority);
            let ahead = self.ready.range(..=(priority, u64::MAX)).take(self.settings.batch + 1).count();
            if ahead > self.settings.batch {
                return None;
            }
            if !self.dry[index] {
                self.reading = true;
                self.stale = false;
                return Some(StoreAsk::Pending { priority, after: self.read_to[index], limit: self.page() });
            }
        }
        None
    }

    fn ask_resend(&mut self) -> Option<StoreAsk> {
        if self.reading_resend || self.extra.len() > self.settings.batch {
            return None;
        }
        let (from, to) = *self.resends.front()?;
        self.reading_resend = true;
        Some(StoreAsk::Range { from, to, limit: self.page() })
    }

    /// More than a batch waited when a page was last read.
    fn more_waits(&self) -> bool {
        self.more.contains(&true)
    }

    const fn page(&self) -> usize {
        self.settings.batch + PAGE_MARGIN
    }

    /// A record that fits in no message would stop the queue for ever.
    fn drop_oversized(&mut self) {
        let limit = self.settings.message_bytes;
        while let Some((key, _)) = self.ready.first_key_value().filter(|(_, ready)| ready.row.bytes.len() > limit) {
            let key = *key;
            self.ready.remove(&key);
            self.set_aside(key.1, "it is larger than a message may be");
        }
    }

    /// The most important rows for one message: one, or a batch while more than a batch waits.
    fn take_ready(&mut self) -> Vec<Ready> {
        let many_wait = self.ready.len() > self.settings.batch || self.more_waits();
        self.take(if many_wait { self.settings.batch } else { 1 }, |_, _| true)
    }

    /// The most important rows that are wanted, as many as go into one message.
    fn take(&mut self, most: usize, wanted: impl Fn(&Self, u64) -> bool) -> Vec<Ready> {
        let mut room = self.settings.unsettled.saturating_sub(self.sent.len());
        let mut bytes = 0;
        let mut keys = Vec::new();
        for (key, ready) in &self.ready {
            // A row sent before has its place among the unsettled already.
            let is_new = !self.sent.contains_key(&key.1);
            if (is_new && room == 0) || !wanted(self, key.1) {
                continue;
            }
            bytes += ready.row.bytes.len() + 1;
            if keys.len() == most || (!keys.is_empty() && bytes >= self.settings.message_bytes) {
                break;
            }
            room -= usize::from(is_new);
            keys.push(*key);
        }
        keys.iter().filter_map(|key| self.ready.remove(key)).collect()
    }

    /// Settled rows that a resend asked for, one or a batch.
    fn take_extra(&mut self) -> Vec<Row> {
        let most = if self.extra.len() > self.settings.batch { self.settings.batch } else { 1 };
        let mut bytes = 0;
        let mut rows = Vec::new();
        while rows.len() < most {
            let Some(row) = self.extra.front() else { break };
            bytes += row.bytes.len() + 1;
            if !rows.is_empty() && bytes >= self.settings.message_bytes {
                break;
            }
            rows.extend(self.extra.pop_front());
        }
        rows
    }
}

/// The wait for an acknowledgement after so many sendings: 5 s doubling to 60 s.
fn wait_after(times: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << times.saturating_sub(1).min(4)).min(LONGEST_WAIT)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
