//! Asks to the store and its answers, as messages, so that a commit on the store's thread never holds up the link.

use crate::outbox::store::{Ack, OutboxStore, Refused, ReportPlace, Row, StoreFault};
use crate::wire::reply::{LinkReply, Remembered};
use forecourt::ids::CommandId;
use forecourt::period::Scope;
use forecourt::time::UtcTime;
use uuid::Uuid;

/// What the link asks of the store. Served in the order asked ([`serve`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreAsk {
    /// Pending rows of one priority.
    Pending {
        /// Which priority.
        priority: u8,
        /// Only sequences above this.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// Rows by sequence, to be sent again.
    Rows(Vec<u64>),
    /// Rows of a resend.
    Range {
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
        /// At most so many.
        limit: usize,
    },
    /// How many rows a resend would send.
    CountRange {
        /// The command that asked for it.
        command: CommandId,
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
    },
    /// Where the report of a period stands.
    FindReport {
        /// The command that asked for it.
        command: CommandId,
        /// Of a shift or of a day.
        scope: Scope,
        /// Its name.
        period: String,
    },
    /// The platform has stored these.
    Acknowledge(Vec<Ack>),
    /// The platform refuses this one.
    Refuse {
        /// The record's event id.
        record: Uuid,
        /// Why.
        reason: String,
    },
    /// Take a row out of the queue.
    SetAside(u64),
    /// Was this command answered before?
    Recall(CommandId),
    /// Remember an answer of the link's own.
    Remember {
        /// The command.
        command: CommandId,
        /// The answer.
        reply: Box<LinkReply>,
        /// When it was given.
        at: UtcTime,
    },
}

/// The answer to each ask, with what is needed to know which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreAnswer {
    /// To [`StoreAsk::Pending`].
    Pending {
        /// As asked.
        priority: u8,
        /// As asked.
        limit: usize,
        /// The rows.
        rows: Result<Vec<Row>, StoreFault>,
    },
    /// To [`StoreAsk::Rows`].
    Rows {
        /// As asked.
        sequences: Vec<u64>,
        /// Those still kept.
        rows: Result<Vec<Row>, StoreFault>,
    },
    /// To [`StoreAsk::Range`].
    Range {
        /// As asked.
        limit: usize,
        /// The rows.
        rows: Result<Vec<Row>, StoreFault>,
    },
    /// To [`StoreAsk::CountRange`].
    Counted {
        /// As asked.
        command: CommandId,
        /// As asked.
        from: u64,
        /// As asked.
        to: u64,
        /// How many.
        count: Result<u64, StoreFault>,
    },
    /// To [`StoreAsk::FindReport`].
    ReportFound {
        /// As asked.
        command: CommandId,
        /// Where.
        place: Result<ReportPlace, StoreFault>,
    },
    /// To [`StoreAsk::Acknowledge`].
    Acknowledged {
        /// As asked.
        acks: Vec<Ack>,
        /// How many were newly so.
        result: Result<u64, StoreFault>,
    },
    /// To [`StoreAsk::Refuse`].
    Refused(Result<Option<Refused>, StoreFault>),
    /// To [`StoreAsk::SetAside`].
    SetAside {
        /// As asked.
        sequence: u64,
        /// Whether it was done.
        result: Result<(), StoreFault>,
    },
    /// To [`StoreAsk::Recall`].
    Recalled {
        /// As asked.
        command: CommandId,
        /// The answer given before.
        remembered: Result<Option<Box<Remembered>>, StoreFault>,
    },
    /// To [`StoreAsk::Remember`].
    Kept {
        /// As asked.
        reply: Box<LinkReply>,
        /// Whether it is durable.
        result: Result<(), StoreFault>,
    },
}

/// Carries out one ask. The daemon's store thread calls this, one ask after the other.
pub fn serve(store: &mut dyn OutboxStore, ask: StoreAsk) -> StoreAnswer {
    match ask {
        StoreAsk::Pending { priority, after, limit } => {
            StoreAnswer::Pending { priority, limit, rows: store.pending(priority, after, limit) }
        }
        StoreAsk::Rows(sequences) => {
            let rows = store.rows(&sequences);
            StoreAnswer::Rows { sequences, rows }
        }
        StoreAsk::Range { from, to, limit } => StoreAnswer::Range { limit, rows: store.range(from, to, limit) },
        StoreAsk::CountRange { command, from, to } => {
            StoreAnswer::Counted { command, from, to, count: store.count_range(from, to) }
        }
        StoreAsk::FindReport { command, scope, period } => {
            let place = store.report(scope, &period);
            StoreAnswer::ReportFound { command, place }
        }
        StoreAsk::Acknowledge(acks) => {
            let result = store.acknowledge(&acks);
            StoreAnswer::Acknowledged { acks, result }
        }
        StoreAsk::Refuse { record, reason } => StoreAnswer::Refused(store.refuse(record, &reason)),
        StoreAsk::SetAside(sequence) => StoreAnswer::SetAside { sequence, result: store.set_aside(sequence) },
        StoreAsk::Recall(command) => {
            let remembered = store.recall(&command).map(|found| found.map(Box::new));
            StoreAnswer::Recalled { command, remembered }
        }
        StoreAsk::Remember { command, reply, at } => {
            let result = store.remember(&command, &Remembered::Link((*reply).clone()), at);
            StoreAnswer::Kept { reply, result }
        }
    }
}
