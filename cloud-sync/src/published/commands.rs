//! The `data` of each command, as the platform writes it. `wire::command` reads it; a test holds the two against each other.
//!
//! Unknown members are ignored, an optional member may be null.

#![allow(dead_code, reason = "read by the schema's derive alone")]

use forecourt::ids::{CustomerToken, Grade, OrderId};
use forecourt::time::UtcTime;
use forecourt::units::Currency;
use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Largest integer that every JSON reader keeps exactly (contract section 2).
const LARGEST: i64 = (1 << 53) - 1;
const UUID: &str = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$";
const SEQUENCE: &str = "^[0-9]{12}$";
const WORDS: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

/// `fuel.order.authorise.v1`.
#[derive(JsonSchema)]
pub struct Authorise {
    /// The platform's name of the order; the same order again has the same.
    order_id: OrderId,
    /// The number painted on the pump.
    #[schemars(range(min = 1, max = 999))]
    nozzle: u16,
    /// What the nozzle must sell.
    grade: Grade,
    /// How much at most: exactly one of the three.
    limit: OrderLimit,
    /// The station's.
    currency: Currency,
    /// The price that the driver saw.
    #[schemars(range(min = 1, max = LARGEST))]
    unit_price_micros: i64,
    /// Not taken after this; at most 30 minutes after the command's `time`.
    expires_at: UtcTime,
    /// How long the nozzle stays armed for the lift.
    #[schemars(range(min = 30, max = 600))]
    lift_timeout_s: Option<u32>,
    /// How it is paid.
    basis: OrderBasis,
    /// Digits that the driver can show the attendant.
    #[schemars(regex(pattern = r"^[0-9]{1,16}$"))]
    code: Option<String>,
    /// For limits per customer and day, and for erasure. Never a name, number or plate; in no durable record.
    customer: Option<CustomerToken>,
    /// For the attendant's eyes; in no durable record.
    #[schemars(length(min = 1, max = 32), regex(pattern = WORDS))]
    plate_masked: Option<String>,
    /// Given back unchanged in the sale: at most 2 KiB, no personal data, integers only.
    context: Option<Map<String, Value>>,
}

/// How much at most.
#[derive(JsonSchema)]
enum OrderLimit {
    /// This much money.
    #[schemars(rename = "amount_minor")]
    Amount(Quantity),
    /// This volume.
    #[schemars(rename = "volume_ml")]
    Volume(Quantity),
    /// Fill up, at most this much money.
    #[schemars(rename = "full_tank_minor")]
    FullTank(Quantity),
}

/// More than nothing, and exact in every JSON reader.
#[derive(JsonSchema)]
struct Quantity(#[schemars(range(min = 1, max = LARGEST))] i64);

/// How an order is paid.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OrderBasis {
    /// In full.
    Prepaid,
    /// Money is held and captured later.
    Preauthorised,
    /// On account.
    Credit,
    /// Fuel card.
    Card,
}

/// `fuel.order.cancel.v1`.
#[derive(JsonSchema)]
pub struct Cancel {
    /// Which order.
    order_id: OrderId,
    /// For the station's log.
    #[schemars(length(min = 1, max = 256), regex(pattern = WORDS))]
    reason: String,
}

/// `fuel.order.move.v1`.
#[derive(JsonSchema)]
pub struct Move {
    /// Which order.
    order_id: OrderId,
    /// Where it shall fuel.
    #[schemars(range(min = 1, max = 999))]
    to_nozzle: u16,
}

/// `fuel.nozzle.stop.v1`, `fuel.nozzle.hold.v1`, `fuel.nozzle.unhold.v1`.
#[derive(JsonSchema)]
pub struct Nozzles {
    /// Which nozzle; 0 for all.
    #[schemars(range(min = 0, max = 999))]
    nozzle: u16,
    /// For the station's log.
    #[schemars(length(min = 1, max = 256), regex(pattern = WORDS))]
    reason: String,
}

/// `fuel.watch.v1`.
#[derive(JsonSchema)]
pub struct Watch {
    /// Which nozzle.
    #[schemars(range(min = 1, max = 999))]
    nozzle: u16,
    /// For how long.
    #[schemars(range(min = 30, max = 300))]
    ttl_s: u32,
}

/// The event id of a record.
#[derive(JsonSchema)]
pub struct RecordId(#[schemars(regex(pattern = UUID))] String);

/// `fuel.ack.v1`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Ack {
    /// By name.
    Ids {
        /// The records' event ids.
        ids: Vec<RecordId>,
    },
    /// All up to one that the platform has stored. A platform that sees gaps uses `ids`.
    Through {
        /// The last.
        #[schemars(regex(pattern = SEQUENCE))]
        through_sequence: String,
    },
}

/// `fuel.nack.v1`.
#[derive(JsonSchema)]
pub struct Nack {
    /// The record's event id.
    id: RecordId,
    /// Why.
    #[schemars(length(min = 1, max = 256), regex(pattern = WORDS))]
    reason: String,
}

/// `fuel.resend.v1`.
#[derive(JsonSchema)]
pub struct Resend {
    /// The first.
    #[schemars(regex(pattern = SEQUENCE))]
    from_sequence: String,
    /// The last.
    #[schemars(regex(pattern = SEQUENCE))]
    to_sequence: String,
}
