//! What must be durable, as data: the core says what to write, the store makes it one commit.

use crate::command::Reply;
use crate::customer::CustomerDay;
use crate::hold::Hold;
use crate::ids::{CommandId, FuellingPointId, NozzleId, OrderId, PriceSetId, ReleaseId};
use crate::list::{List, ListName, ListUpdate};
use crate::order::{Order, OrderEnd};
use crate::price::{KnownPriceSet, NozzlePrice};
use crate::pump::{Preset, Reading};
use crate::record::Record;
use crate::time::UtcTime;
use crate::units::{UnitPrice, Volume};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Names one commit; the core learns by it that its writes are durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A release that has been, or may have been, sent to a dispenser: stored before it goes out, closed by its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub release: ReleaseId,
    /// For which order; `None` where fuel was released without one.
    pub order_id: Option<OrderId>,
    /// Where.
    pub fp: FuellingPointId,
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// The limit in the pump.
    pub preset: Preset,
    /// Price at the release.
    pub price: UnitPrice,
    /// The price set that it belongs to.
    #[serde(default)]
    pub price_set: Option<PriceSetId>,
    /// The nozzle's last known totaliser, if any.
    pub totaliser_start: Option<Volume>,
    /// When it was decided.
    pub at: UtcTime,
    /// First reading of its end, once seen.
    pub end_seen: Option<Reading>,
}

/// One row to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Insert or replace an order by its id.
    Order(Box<Order>),
    /// Remember the answer to a command.
    Reply {
        /// The answer.
        reply: Box<Reply>,
        /// When the command came.
        at: UtcTime,
    },
    /// Insert or replace an open release by its number.
    Release(Box<Release>),
    /// The release has its end.
    ReleaseClosed(ReleaseId),
    /// A totaliser, read at a time.
    Totaliser {
        /// Whose.
        nozzle: NozzleId,
        /// Its value.
        volume: Volume,
        /// When it was read.
        at: UtcTime,
    },
    /// All holds of a nozzle that outlive a restart.
    Holds {
        /// Whose.
        nozzle: NozzleId,
        /// Which.
        holds: Vec<Hold>,
    },
    /// Insert or replace a price set by its name.
    PriceSet(Box<KnownPriceSet>),
    /// Insert or replace what a nozzle shows and shall show.
    NozzlePrice {
        /// Whose.
        nozzle: NozzleId,
        /// What.
        price: Box<NozzlePrice>,
    },
    /// Insert or replace a customer's day.
    CustomerDay(CustomerDay),
    /// Bring a list to its next version.
    List(Box<ListUpdate>),
    /// Append a durable record to the chain and to the outbox.
    Record {
        /// The event's id.
        id: Uuid,
        /// The event's time.
        time: UtcTime,
        /// What happened.
        record: Box<Record>,
    },
}

/// A totaliser as last stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownTotaliser {
    /// Its value.
    pub volume: Volume,
    /// When it was read.
    pub at: UtcTime,
}

/// What a new run of the core needs to know of those before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Orders without an end.
    pub orders: Vec<Order>,
    /// Releases without an end.
    pub releases: Vec<Release>,
    /// Last known totalisers.
    pub totalisers: BTreeMap<NozzleId, KnownTotaliser>,
    /// Holds that outlive a restart.
    pub holds: BTreeMap<NozzleId, Vec<Hold>>,
    /// Price sets that wait, and the one in force.
    pub price_sets: Vec<KnownPriceSet>,
    /// What each nozzle shows and shall show.
    pub prices: BTreeMap<NozzleId, NozzlePrice>,
    /// What customers were sold in their last day.
    pub customer_days: Vec<CustomerDay>,
    /// Lists of the platform.
    pub lists: BTreeMap<ListName, List>,
    /// Highest release number ever used.
    pub last_release: u64,
    /// Highest queue place ever used.
    pub last_place: u64,
}

/// Look-ups in what is already durable. Rows not yet committed are the core's own to remember.
pub trait Ledger {
    /// The answer given to a command before.
    fn reply_to(&self, id: &CommandId) -> Option<Reply>;
    /// An order that has its end.
    fn ended_order(&self, id: &OrderId) -> Option<EndedOrder>;
}

/// What stays known of an ended order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedOrder {
    /// To tell a duplicate from a conflict.
    pub content_hash: String,
    /// Its end.
    pub end: OrderEnd,
}
