//! What the tasks share: the books behind one lock, running figures of nozzles that are watched, and a bell that rings at each change.

use crate::books::{Act, Books, Trouble};
use crate::contract::message::LiveData;
use forecourt::time::UtcTime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// By station and nozzle.
type Live = BTreeMap<(String, i64), LiveData>;

/// Shared by the link, the HTTP side and the clockwork.
#[derive(Debug)]
pub struct Shared {
    books: Mutex<Books>,
    live: Mutex<Live>,
    /// Counts changes of anything that a page shows.
    pub changed: watch::Sender<u64>,
    /// Rung when there may be a command to send.
    pub outgoing: Notify,
    /// Rung when there may be something for the channel to do.
    pub channel: Notify,
    /// Becomes true once, when everything is to end.
    pub stopping: watch::Sender<bool>,
    /// Whether the broker has our subscription.
    pub connected: watch::Sender<bool>,
    /// What the settings say for the HTTP side.
    pub terms: Terms,
}

/// Settings that the HTTP side needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Calls a second that one address may make; `None` for any number.
    pub calls_per_second: Option<u32>,
    /// New members get coupons and a card.
    pub gifts: bool,
    /// What an enrolled station is told to connect to.
    pub brokers_for_stations: Vec<String>,
    /// Lets a person of the platform decide on withdrawals and corrections.
    pub staff_token: String,
}

/// The present.
#[must_use]
pub fn now() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Shared {
    /// Around books.
    #[must_use]
    pub fn new(books: Books, terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::new(books),
            live: Mutex::default(),
            changed: watch::Sender::new(0),
            outgoing: Notify::new(),
            channel: Notify::new(),
            stopping: watch::Sender::new(false),
            connected: watch::Sender::new(false),
            terms,
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic aborts the process, so a poisoned lock is never seen.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the books off the async threads: a commit waits for the disk.
    ///
    /// # Errors
    /// The work's.
    pub async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Books) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&mut shared.books()))
            .await
            .unwrap_or_else(|error| Err(Trouble::Keys(format!("the books' thread ended: {error}"))))
    }

    /// Reads from the books at the present.
    ///
    /// # Errors
    /// The work's.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Act<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.with(|books| books.act(now(), work)).await
    }

    /// Writes to the books at the present and rings.
    ///
    /// # Errors
    /// The work's.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Act<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let done = self.read(work).await?;
        self.ring();
        Ok(done)
    }

    /// Returns when everything is to end.
    pub async fn stopped(&self) {
        // The sender is this value's own.
        drop(self.stopping.subscribe().wait_for(|stop| *stop).await);
    }

    /// Something changed.
    pub fn ring(&self) {
        self.changed.send_modify(|version| *version += 1);
        self.outgoing.notify_one();
        self.channel.notify_one();
    }

    /// Running figures of a nozzle; not kept in the books.
    pub fn set_live(&self, station_id: &str, data: LiveData) {
        let key = (station_id.to_owned(), i64::from(data.nozzle.0));
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(key, data);
        self.changed.send_modify(|version| *version += 1);
    }

    /// The last running figures of a nozzle.
    #[must_use]
    pub fn live(&self, station_id: &str, nozzle: i64) -> Option<LiveData> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&(station_id.to_owned(), nozzle)).cloned()
    }
}
