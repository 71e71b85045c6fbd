//! What the cloud may ask, and the one typed answer to each (contract sections 2 and 4).

use crate::errand::{Done, Errand};
use crate::hold::Hold;
use crate::ids::{CommandId, Grade, NozzleId, OrderId};
use crate::list::{ListUpdate, ListVersion};
use crate::order::OrderRequest;
use crate::price::{Direction, PriceSet};
use crate::pump::State;
use crate::site::TypedIn;
use crate::units::UnitPrice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A command that passed signature, form and age. Acknowledgements of records are not here: they concern the outbox alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The CloudEvent's `id`.
    pub id: CommandId,
    /// The CloudEvent's `type`.
    pub kind: String,
    /// What is asked.
    pub ask: Ask,
    /// More commands wait than the station serves: an order is refused, and so ended, without a look at it.
    pub overloaded: bool,
}

/// Which nozzles a command means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nozzles {
    /// `nozzle: 0`.
    All,
    /// One.
    One(NozzleId),
}

/// The content of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// `fuel.order.authorise.v1`
    Authorise(Box<OrderRequest>),
    /// `fuel.order.cancel.v1`
    Cancel {
        /// Which order.
        order_id: OrderId,
        /// For the log.
        reason: String,
    },
    /// `fuel.order.move.v1`
    Move {
        /// Which order.
        order_id: OrderId,
        /// Where to.
        to_nozzle: NozzleId,
    },
    /// `fuel.nozzle.stop.v1`
    Stop {
        /// Which nozzles.
        nozzles: Nozzles,
        /// For the log.
        reason: String,
    },
    /// `fuel.nozzle.hold.v1`
    Hold {
        /// Which nozzles.
        nozzles: Nozzles,
        /// For the log.
        reason: String,
    },
    /// `fuel.nozzle.unhold.v1`
    Unhold {
        /// Which nozzles.
        nozzles: Nozzles,
        /// For the log.
        reason: String,
    },
    /// `fuel.watch.v1`
    Watch {
        /// Which nozzle.
        nozzle: NozzleId,
        /// For how long, 30 to 300.
        ttl_s: u32,
    },
    /// A voucher, typed in at the station.
    Voucher(Box<TypedIn>),
    /// What only the shell can do.
    Errand(Errand),
    /// `fuel.price.set.v1`
    SetPrices(Box<PriceSet>),
    /// `fuel.list.update.v1`
    UpdateList(Box<ListUpdate>),
}

/// The result of a command with the members its row of the contract names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// First in line at its nozzle.
    Armed,
    /// Waits behind others.
    Queued {
        /// 1 is next.
        position: u32,
    },
    /// The same order again.
    Duplicate {
        /// Its present state.
        state: String,
        /// Id of its end, once it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<Uuid>,
    },
    /// The same order id with other content; the first stands.
    Conflict {
        /// State of the first.
        state: String,
        /// Id of its end, once it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<Uuid>,
    },
    /// Came after its `expires_at`.
    Expired,
    /// Came later than its type allows.
    TooOld,
    /// No such nozzle here.
    UnknownNozzle,
    /// The nozzle sells another grade.
    GradeMismatch {
        /// Nozzles with the order's grade.
        suggested_nozzles: Vec<NozzleId>,
    },
    /// The pump's price is higher than the order's.
    PriceChanged {
        /// Price in force.
        unit_price_micros: UnitPrice,
    },
    /// Holds stand on the nozzle.
    NozzleUnavailable {
        /// Which.
        holds: Vec<Hold>,
    },
    /// The whole station is held.
    StationHeld,
    /// Above a limit of the station.
    LimitExceeded {
        /// Which limit.
        #[serde(default)]
        limit: Exceeded,
    },
    /// Below the minimum measured quantity.
    LimitTooSmall,
    /// The queue is full.
    NozzleBusy,
    /// The pump cannot take this kind of limit.
    UnsupportedPreset,
    /// Too many commands wait.
    Overloaded,
    /// The order is cancelled; a release follows.
    Cancelled,
    /// Too late to cancel.
    CannotCancel {
        /// State of the order.
        state: String,
    },
    /// The order has its end.
    AlreadyEnded {
        /// Its id.
        end: Uuid,
    },
    /// Never heard of.
    UnknownOrder,
    /// The order stands at the new nozzle.
    Moved,
    /// Too late to move.
    CannotMove {
        /// State of the order.
        state: String,
    },
    /// Stop was sent.
    Stopped,
    /// No fuelling there.
    NothingToStop,
    /// Held.
    Held,
    /// No longer held.
    Unheld,
    /// A hold stands that only a person at the station may lift.
    OnSiteOnly {
        /// Where. Any other nozzle that was meant is no longer held.
        #[serde(default)]
        nozzles: Vec<NozzleId>,
    },
    /// Live readings will flow.
    Watching,
    /// The prices come into force at their moment.
    Scheduled {
        /// How each grade's price moves: on a raise the sign goes first, on a cut the pumps.
        directions: BTreeMap<Grade, Direction>,
    },
    /// Nothing was changed.
    Refused {
        /// Everything that is wrong, a sentence each.
        problems: Vec<String>,
    },
    /// The list stands.
    Updated {
        /// Its version.
        version: ListVersion,
    },
    /// The update does not follow the list that stands: send it in full.
    VersionGap {
        /// The version that stands; 0 for none.
        version: ListVersion,
    },
    /// Of an errand or a typed-in code.
    #[serde(untagged)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Office(Done),
}

/// The limit that an order is above.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// Money of one order.
    #[default]
    Amount,
    /// Volume of one release of this grade.
    Volume,
    /// Money of one customer and business day.
    CustomerDay,
    /// A list of the platform.
    List,
}

impl Outcome {
    /// The word of the contract for `result`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Queued { .. } => "queued",
            Self::Duplicate { .. } => "duplicate",
            Self::Conflict { .. } => "conflict",
            Self::Expired => "expired",
            Self::TooOld => "too_old",
            Self::UnknownNozzle => "unknown_nozzle",
            Self::GradeMismatch { .. } => "grade_mismatch",
            Self::PriceChanged { .. } => "price_changed",
            Self::NozzleUnavailable { .. } => "nozzle_unavailable",
            Self::StationHeld => "station_held",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::LimitTooSmall => "limit_too_small",
            Self::NozzleBusy => "nozzle_busy",
            Self::UnsupportedPreset => "unsupported_preset",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
            Self::CannotCancel { .. } => "cannot_cancel",
            Self::AlreadyEnded { .. } => "already_ended",
            Self::UnknownOrder => "unknown_order",
            Self::Moved => "moved",
            Self::CannotMove { .. } => "cannot_move",
            Self::Stopped => "stopped",
            Self::NothingToStop => "nothing_to_stop",
            Self::Held => "held",
            Self::Unheld => "unheld",
            Self::OnSiteOnly { .. } => "on_site_only",
            Self::Watching => "watching",
            Self::Office(done) => done.word(),
            Self::Scheduled { .. } => "scheduled",
            Self::Refused { .. } => "refused",
            Self::Updated { .. } => "updated",
            Self::VersionGap { .. } => "version_gap",
        }
    }
}

/// The one reply to a command, as remembered for repeats.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// Of the command.
    pub command_id: CommandId,
    /// Its type.
    pub command_type: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A sentence for people.
    pub detail: String,
    /// Answered from memory; nothing was done again.
    pub repeated: bool,
}

/// State of an order or a nozzle in one word, for `cannot_cancel` and the like.
#[must_use]
pub fn state_word(state: State) -> String {
    state.word().into()
}
