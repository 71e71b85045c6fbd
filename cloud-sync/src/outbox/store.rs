//! What the outbox asks of the store that holds the rows. Synchronous and object safe; the daemon implements it over SQLite.
//!
//! A row is *pending* from its commit until it is acknowledged or set aside. Acknowledged rows are kept for `fuel.resend.v1`
//! as long as the store's retention says.

use crate::wire::reply::Remembered;
use forecourt::ids::CommandId;
use forecourt::period::Scope;
use forecourt::time::UtcTime;
use uuid::Uuid;

/// Number of priorities: `Record::priority` is below this.
pub const PRIORITIES: u8 = 4;

/// A durable record as it lies in the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its place in the chain.
    pub sequence: u64,
    /// The event's id.
    pub id: Uuid,
    /// Order of importance, 0 first.
    pub priority: u8,
    /// The sealed event, sent as it is.
    pub bytes: Vec<u8>,
    /// Acknowledged or set aside: sent only when a resend asks for it.
    pub settled: bool,
}

/// Names records that the platform has stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ack {
    /// Every record up to and with this sequence.
    Through(u64),
    /// These records; unknown ids are ignored.
    Ids(Vec<Uuid>),
}

/// The outbox in figures, for `fuel.station.state.v1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Rows pending.
    pub pending: u64,
    /// Event time of the oldest pending row.
    pub oldest_at: Option<UtcTime>,
    /// Rows set aside after refusals.
    pub set_aside: u64,
}

/// The store could not do it. The row is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// No space or an error of the disk; worth another try later.
    #[error("the store could not {what}: {why}; sent records stay pending and are tried again")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// What the store said.
        why: String,
    },
    /// What lies in the store cannot be read.
    #[error("the store holds a damaged {what}: {why}; run the chain check")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// The rows of the outbox, and the memory of commands that the link answered itself.
pub trait OutboxStore {
    /// Pending rows of one priority with a sequence above `after`, lowest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn pending(&self, priority: u8, after: u64, limit: usize) -> Result<Vec<Row>, StoreFault>;

    /// The rows with these sequences that are still kept, settled or not, lowest first.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn rows(&self, sequences: &[u64]) -> Result<Vec<Row>, StoreFault>;

    /// The rows from one sequence to another, both included, that are still kept, lowest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn range(&self, from: u64, to: u64, limit: usize) -> Result<Vec<Row>, StoreFault>;

    /// How many rows [`Self::range`] would give without a limit.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn count_range(&self, from: u64, to: u64) -> Result<u64, StoreFault>;

    /// Where the report of a period stands.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn report(&self, scope: Scope, period: &str) -> Result<ReportPlace, StoreFault>;

    /// The outbox in figures.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn counts(&self) -> Result<Counts, StoreFault>;

    /// Marks records as acknowledged, also those set aside, all in one commit. Gives how many were newly so.
    ///
    /// # Errors
    /// [`StoreFault`]; then none is.
    fn acknowledge(&mut self, acks: &[Ack]) -> Result<u64, StoreFault>;

    /// Counts one refusal (`fuel.nack.v1`) of a pending record. Gives its sequence and count, `None` if no such row is pending.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn refuse(&mut self, id: Uuid, reason: &str) -> Result<Option<Refused>, StoreFault>;

    /// Takes a pending row out of the queue without an acknowledgement; it stays kept and counted.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn set_aside(&mut self, sequence: u64) -> Result<(), StoreFault>;

    /// The answer that a command got before, the site's or the link's own, from at least the last 30 days.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn recall(&self, id: &CommandId) -> Result<Option<Remembered>, StoreFault>;

    /// Remembers an answer of the link's own, durably; keeps the first where there is one already.
    ///
    /// # Errors
    /// [`StoreFault`]
    fn remember(&mut self, id: &CommandId, answer: &Remembered, at: UtcTime) -> Result<(), StoreFault>;
}

/// Where the report of a period stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReportPlace {
    /// Sealed in these records, of which there are several only where the clock was set back.
    Made(Vec<u64>),
    /// The period is not over.
    Open,
    /// Never heard of, or kept no longer.
    Unknown,
}

/// A record that the platform refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its place in the chain.
    pub sequence: u64,
    /// Refusals so far, this one included.
    pub count: u32,
}
