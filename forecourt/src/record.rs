//! Durable records: what the books say happened (contract section 5). Each is written once and never changed.

use crate::ids::{FuellingPointId, Grade, NozzleId, OrderId, PriceSetId};
use crate::order::{Basis, Limit, ReleaseReason};
use crate::time::{ClockQuality, UtcTime};
use crate::units::{Currency, Money, UnitPrice, Volume};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a fuelling came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The customer hung up.
    HungUp,
    /// The limit in the pump was reached.
    LimitReached,
    /// Stopped by us.
    Stopped,
    /// Emergency stop.
    Emergency,
    /// Power was lost.
    PowerLoss,
    /// Flow ceased for longer than allowed.
    NoFlow,
    /// The dispenser failed.
    Fault,
    /// Not known.
    Unknown,
}

/// What the figures of a sale rest on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The dispenser's record of the fuelling.
    EndRecord,
    /// The change of its totaliser.
    Totaliser,
    /// A person's word.
    Operator,
}

/// What is odd about a sale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Amount and volume × price differ by more than one step.
    AmountMismatch,
    /// The totaliser moved by another volume.
    TotaliserMismatch,
    /// More flowed than the limit.
    LimitOverrun,
    /// The line was lost while fuelling.
    Gap,
    /// The pump showed another price than agreed.
    PriceMismatch,
    /// The clock was not to be trusted.
    ClockUnsure,
}

/// `fuel.sale.v1`: one fuelling, from the dispenser's own figures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sale {
    /// Made by the station.
    pub sale_id: Uuid,
    /// The order it ends, if any.
    pub order_id: Option<OrderId>,
    /// On what ground.
    pub basis: Basis,
    /// Where.
    pub fuelling_point: FuellingPointId,
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// What.
    pub grade: Grade,
    /// Of the amounts.
    pub currency: Currency,
    /// As the dispenser showed it.
    #[serde(rename = "unit_price_micros")]
    pub unit_price: UnitPrice,
    /// The price set in force.
    pub price_set: PriceSetId,
    /// As the dispenser showed it.
    #[serde(rename = "volume_ml")]
    pub volume: Volume,
    /// As the dispenser showed it.
    #[serde(rename = "amount_minor")]
    pub amount: Money,
    /// What was allowed; null where nothing was.
    pub limit: Option<Limit>,
    /// Before the fuelling.
    #[serde(rename = "totaliser_start_ml")]
    pub totaliser_start: Option<Volume>,
    /// After it.
    #[serde(rename = "totaliser_end_ml")]
    pub totaliser_end: Option<Volume>,
    /// Movement since the nozzle's last sale that no sale explains.
    #[serde(rename = "unaccounted_ml")]
    pub unaccounted: Volume,
    /// When fuel could first flow.
    pub started_at: UtcTime,
    /// When the end was seen.
    pub ended_at: UtcTime,
    /// How it ended.
    pub finish: Finish,
    /// What the figures rest on.
    pub evidence: Evidence,
    /// The uplink was down at the end.
    pub offline: bool,
    /// Settled after a loss of line, power or process.
    pub recovered: bool,
    /// What the times are worth.
    pub clock: ClockQuality,
    /// Who served.
    pub attendant: Option<String>,
    /// Shift of the end.
    pub shift: Option<String>,
    /// What is odd.
    pub flags: Vec<Flag>,
    /// The order's, as canonical JSON; an object where it is sent.
    #[cfg_attr(feature = "schema", schemars(with = "serde_json::Map<String, serde_json::Value>"))]
    pub context: String,
}

/// `fuel.order.released.v1`: an order ended without fuel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderReleased {
    /// Which order.
    pub order_id: OrderId,
    /// Where it stood.
    pub nozzle: NozzleId,
    /// Why.
    pub reason: ReleaseReason,
    /// When.
    pub at: UtcTime,
}

/// `fuel.order.review.v1`: what flowed on an order is not yet known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderReview {
    /// Which order.
    pub order_id: OrderId,
    /// Where.
    pub nozzle: NozzleId,
    /// What is missing.
    pub why: String,
    /// Last certain reading.
    #[serde(rename = "totaliser_start_ml")]
    pub totaliser_start: Option<Volume>,
    /// Settled by then at the latest.
    pub deadline: UtcTime,
}

/// `fuel.unaccounted.v1`: a totaliser moved and no sale explains it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unaccounted {
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// How much.
    #[serde(rename = "volume_ml")]
    pub volume: Volume,
    /// Last certain reading.
    pub from: UtcTime,
    /// When the difference was found.
    pub to: UtcTime,
    /// Then.
    #[serde(rename = "totaliser_start_ml")]
    pub totaliser_start: Volume,
    /// Now.
    #[serde(rename = "totaliser_end_ml")]
    pub totaliser_end: Volume,
}

/// `fuel.alarm.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Alarm {
    /// Kind, such as `comm_lost`.
    pub alarm: String,
    /// Where, such as `fp 2`.
    #[serde(rename = "where")]
    pub place: String,
    /// Raised or cleared.
    pub state: AlarmState,
    /// Since when.
    pub since: UtcTime,
    /// For people.
    pub text: String,
}

/// Whether an alarm begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// Begins.
    Raised,
    /// Ends.
    Cleared,
}

/// `fuel.audit.v1`: who did what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audit {
    /// Who.
    pub who: String,
    /// Did what.
    pub did: String,
    /// On what.
    pub on: String,
    /// Before.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
}

/// One durable record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// Fuel flowed.
    Sale(Box<Sale>),
    /// No fuel flowed.
    Released(OrderReleased),
    /// Not yet known.
    Review(OrderReview),
    /// Unexplained movement.
    Unaccounted(Unaccounted),
    /// Something a person should know.
    Alarm(Alarm),
    /// Something a person did.
    Audit(Audit),
}

impl Record {
    /// The CloudEvent type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sale(_) => "fuel.sale.v1",
            Self::Released(_) => "fuel.order.released.v1",
            Self::Review(_) => "fuel.order.review.v1",
            Self::Unaccounted(_) => "fuel.unaccounted.v1",
            Self::Alarm(_) => "fuel.alarm.v1",
            Self::Audit(_) => "fuel.audit.v1",
        }
    }

    /// Order of importance when the link is thin, 0 first (contract section 5).
    #[must_use]
    pub const fn priority(&self) -> u8 {
        match self {
            Self::Sale(_) | Self::Released(_) | Self::Review(_) => 0,
            Self::Alarm(_) | Self::Unaccounted(_) => 1,
            Self::Audit(_) => 3,
        }
    }

    /// The same for a record of which only the CloudEvent type is known; the least for a type that is not.
    #[must_use]
    pub fn priority_of(kind: &str) -> u8 {
        match kind {
            "fuel.sale.v1" | "fuel.order.released.v1" | "fuel.order.review.v1" => 0,
            "fuel.alarm.v1" | "fuel.unaccounted.v1" => 1,
            "fuel.price.applied.v1" | "fuel.report.v1" => 2,
            _ => 3,
        }
    }
}
