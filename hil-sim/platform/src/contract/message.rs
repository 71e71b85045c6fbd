//! The content of a station's messages, as a reader of the contract would type them. Unknown members are ignored.

use forecourt::ids::{NozzleId, OrderId};
use forecourt::time::UtcTime;
use forecourt::units::{Money, UnitPrice, Volume};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// Reads the `data` of an event.
///
/// # Errors
/// What member is missing or of the wrong type.
pub fn content<T: DeserializeOwned>(kind: &str, data: &Value) -> Result<T, String> {
    serde_json::from_value(data.clone()).map_err(|error| format!("{kind}: {error}"))
}

/// `fuel.sale.v1`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct SaleData {
    /// Never books twice.
    pub sale_id: Uuid,
    /// Null for fuel taken without an order.
    pub order_id: Option<OrderId>,
    /// Ground of the release.
    pub basis: String,
    /// The shift that was open at its end.
    pub shift: Option<String>,
    /// Nozzle number.
    pub nozzle: NozzleId,
    /// ISO 4217.
    pub currency: String,
    /// As the pump showed it.
    pub unit_price_micros: UnitPrice,
    /// As the pump showed it.
    pub volume_ml: Volume,
    /// As the pump showed it.
    pub amount_minor: Money,
    /// Before.
    pub totaliser_start_ml: Option<Volume>,
    /// After.
    pub totaliser_end_ml: Option<Volume>,
    /// Movement since the nozzle's last sale that no sale explains.
    pub unaccounted_ml: Volume,
    /// When fuel could first flow.
    pub started_at: UtcTime,
    /// When the end was seen.
    pub ended_at: UtcTime,
    /// How it ended.
    pub finish: String,
    /// What the figures rest on.
    pub evidence: String,
    /// Settled after a loss of line, power or process.
    pub recovered: bool,
    /// What is odd.
    pub flags: Vec<String>,
    /// The order's, unchanged.
    pub context: Value,
}

impl SaleData {
    /// Whether the station flagged this oddity itself.
    #[must_use]
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }
}

/// `fuel.order.released.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ReleaseData {
    /// Which order.
    pub order_id: OrderId,
    /// Where it stood.
    pub nozzle: NozzleId,
    /// Why.
    pub reason: String,
}

/// `fuel.order.review.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ReviewData {
    /// Which order.
    pub order_id: OrderId,
    /// What is missing.
    pub why: String,
}

/// `fuel.unaccounted.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct UnaccountedData {
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// How much.
    pub volume_ml: Volume,
    /// Last certain reading.
    pub totaliser_start_ml: Volume,
    /// Now.
    pub totaliser_end_ml: Volume,
}

/// Sales added up.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SumData {
    /// How many.
    pub count: u64,
    /// Sold.
    pub volume_ml: Volume,
    /// Sold.
    pub amount_minor: Money,
}

/// `fuel.report.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ReportData {
    /// `shift` or `day`.
    pub scope: String,
    /// Such as `2026-11-21-A`.
    pub period: String,
    /// 1, or more where the clock was set back.
    pub part: u32,
    /// Its sales come after this record.
    pub after_sequence: String,
    /// And up to this one.
    pub through_sequence: String,
    /// Records of the range that the station has lost.
    pub missing_records: u64,
    /// Over all nozzles.
    pub total: SumData,
    /// One row for each nozzle and grade.
    pub nozzles: Vec<SumData>,
}

/// `fuel.anchor.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct AnchorData {
    /// The chain up to here.
    pub through_sequence: String,
    /// Of that record.
    pub hash: String,
}

/// `fuel.order.state.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct StepData {
    /// Which order.
    pub order_id: OrderId,
    /// Where.
    pub nozzle: NozzleId,
    /// Such as `armed`.
    pub state: String,
}

/// `fuel.nozzle.state.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct NozzleState {
    /// Which.
    pub nozzle: NozzleId,
    /// Where.
    pub fuelling_point: u16,
    /// What it sells.
    pub grade: String,
    /// Price in force.
    pub unit_price_micros: UnitPrice,
    /// One of the nine states.
    pub state: String,
    /// Whether it takes orders.
    pub available: bool,
    /// Why it does not.
    pub holds: Vec<String>,
    /// The order that stands there.
    pub order_id: Option<OrderId>,
}

/// The nine words a nozzle's state may be.
pub const NOZZLE_STATES: [&str; 9] = [
    "inoperative",
    "closed",
    "idle",
    "calling",
    "authorised",
    "started",
    "suspended_started",
    "fuelling",
    "suspended_fuelling",
];

/// `fuel.reply.v1`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct ReplyData {
    /// The command's id; null where it could not be read.
    pub command_id: Option<String>,
    /// Its type, as far as it could be read.
    pub command_type: Option<String>,
    /// One word of the contract.
    pub result: String,
    /// Answered from memory.
    pub repeated: bool,
    /// A sentence for people.
    pub detail: String,
    /// JSON pointer, for `malformed`.
    #[serde(default)]
    pub at: Option<String>,
    /// Queue place, for `queued`.
    #[serde(default)]
    pub position: Option<u32>,
    /// Of the order, for `duplicate`, `conflict`, `cannot_cancel`, `cannot_move`.
    #[serde(default)]
    pub state: Option<String>,
    /// What else its row of the contract names.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// Outbox figures of `fuel.station.state.v1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct OutboxFigures {
    /// Records not yet acknowledged.
    pub pending: u64,
    /// Records refused too often.
    pub set_aside: u64,
}

/// `fuel.station.state.v1`, the members a platform acts on. The will carries little more than `online`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct StationState {
    /// False in the will.
    pub online: bool,
    /// Absent in a bare will.
    #[serde(default)]
    pub outbox: Option<OutboxFigures>,
    /// Station-wide holds.
    #[serde(default)]
    pub holds: Vec<String>,
}

/// `fuel.live.v1`, while watched.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LiveData {
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// So far.
    #[serde(default)]
    pub volume_ml: Volume,
    /// So far.
    #[serde(default)]
    pub amount_minor: Money,
}
