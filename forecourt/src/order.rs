//! Orders: the cloud's request to let a customer fuel at one nozzle up to a limit.

use crate::ids::{CustomerToken, Grade, NozzleId, OrderId};
use crate::time::UtcTime;
use crate::units::{Currency, Money, UnitPrice, Volume};
use serde::{Deserialize, Serialize};

/// The limit that was paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Limit {
    /// Exactly this much money.
    #[serde(rename = "amount_minor")]
    Amount(Money),
    /// Exactly this volume.
    #[serde(rename = "volume_ml")]
    Volume(Volume),
    /// Fill up, at most this much money.
    #[serde(rename = "full_tank_minor")]
    FullTank(Money),
}

/// On what ground fuel is released (contract sections 4 and 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Paid in full.
    Prepaid,
    /// Money is held and captured later.
    Preauthorised,
    /// On account.
    Credit,
    /// Fuel card.
    Card,
    /// Released by an attendant.
    Attendant,
    /// A typed-in voucher.
    Voucher,
    /// Taken without us.
    Manual,
    /// Verification, returned to the tank.
    Test,
}

/// An order as the cloud asked for it (`fuel.order.authorise.v1`), checked for form only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderRequest {
    /// Its name.
    pub order_id: OrderId,
    /// Where.
    pub nozzle: NozzleId,
    /// What.
    pub grade: Grade,
    /// How much at most.
    pub limit: Limit,
    /// Must be the station's.
    pub currency: Currency,
    /// Agreed with the driver.
    pub unit_price: UnitPrice,
    /// Not accepted, nor kept waiting in a queue, after this.
    pub expires_at: UtcTime,
    /// How long the nozzle stays armed for the lift, in seconds.
    pub lift_timeout_s: Option<u32>,
    /// Ground of the release.
    pub basis: Basis,
    /// Digits the driver shows the attendant.
    pub code: Option<String>,
    /// Opaque token; never in a durable record.
    pub customer: Option<CustomerToken>,
    /// For the attendant's eyes; never in a durable record.
    pub plate_masked: Option<String>,
    /// Canonical JSON object, given back unchanged in the sale; `{}` where the cloud gave none.
    pub context: String,
    /// SHA-256 of the canonical `data` in lower-case hex: two requests are the same when these agree.
    pub content_hash: String,
}

impl OrderRequest {
    /// Takes the customer, and the plate that goes with it, out of an order of theirs. True if it was one.
    pub fn forget_customer(&mut self, customer: &CustomerToken) -> bool {
        let theirs = self.customer.as_ref() == Some(customer);
        if theirs {
            (self.customer, self.plate_masked) = (None, None);
        }
        theirs
    }
}

/// Where an order stands (contract section 4). `Ended` says how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum OrderPhase {
    /// Waits behind another order of the fuelling point.
    Queued,
    /// First in line; the nozzle may be lifted.
    Armed,
    /// The nozzle is out and the release is on its way.
    Lifted,
    /// Released in the dispenser.
    Fuelling,
    /// What flowed is not yet known.
    Review,
    /// Has its one end.
    Ended {
        /// Which.
        end: OrderEnd,
    },
}

impl OrderPhase {
    /// The word of the contract for `state`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Armed => "armed",
            Self::Lifted => "lifted",
            Self::Fuelling => "fuelling",
            Self::Review => "review",
            Self::Ended { end: OrderEnd::Sale { .. } } => "completed",
            Self::Ended { end: OrderEnd::Released { .. } } => "released",
        }
    }
}

/// The one end of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OrderEnd {
    /// Fuel flowed, however little.
    Sale {
        /// The record's `sale_id`.
        id: uuid::Uuid,
    },
    /// No fuel flowed.
    Released {
        /// The record's event id.
        id: uuid::Uuid,
        /// Why.
        reason: ReleaseReason,
    },
}

impl OrderEnd {
    /// The id of the end: sale id or the id of the release record.
    #[must_use]
    pub const fn id(&self) -> uuid::Uuid {
        match self {
            Self::Sale { id } | Self::Released { id, .. } => *id,
        }
    }
}

/// Why an order ended without fuel (contract sections 5 and 9).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ReleaseReason {
    /// Waited in the queue past its time.
    Expired,
    /// Armed, never lifted.
    NotLifted,
    /// Released in the dispenser, nothing flowed.
    NoFlow,
    /// By the cloud.
    Cancelled,
    /// A hold came over it.
    StationHeld,
    /// The dispenser failed.
    Fault,
    /// Refused on arrival with this result word.
    Refused(String),
}

impl From<ReleaseReason> for String {
    fn from(reason: ReleaseReason) -> Self {
        match reason {
            ReleaseReason::Expired => "expired".into(),
            ReleaseReason::NotLifted => "not_lifted".into(),
            ReleaseReason::NoFlow => "no_flow".into(),
            ReleaseReason::Cancelled => "cancelled".into(),
            ReleaseReason::StationHeld => "station_held".into(),
            ReleaseReason::Fault => "fault".into(),
            ReleaseReason::Refused(result) => format!("refused:{result}"),
        }
    }
}

impl TryFrom<String> for ReleaseReason {
    type Error = String;
    fn try_from(word: String) -> Result<Self, String> {
        Ok(match word.as_str() {
            "expired" => Self::Expired,
            "not_lifted" => Self::NotLifted,
            "no_flow" => Self::NoFlow,
            "cancelled" => Self::Cancelled,
            "station_held" => Self::StationHeld,
            "fault" => Self::Fault,
            other => match other.strip_prefix("refused:") {
                Some(result) => Self::Refused(result.into()),
                None => return Err(format!("\"{other}\" is no release reason")),
            },
        })
    }
}

/// An order the station has taken, as stored: one row for its whole life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// As asked for; its `nozzle` changes when the order moves.
    pub request: OrderRequest,
    /// Where it stands.
    pub phase: OrderPhase,
    /// When it came.
    pub received_at: UtcTime,
    /// Place in its fuelling point's queue: lower goes first. Counts up for the life of the station.
    pub place: u64,
}
