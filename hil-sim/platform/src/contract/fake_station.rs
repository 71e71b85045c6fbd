//! A station as the contract describes it, for tests of platforms: seals events and keeps a chain, nothing more.

use super::command::OrderSpec;
use super::envelope;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forecourt::ids::{Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, Money, UnitPrice};
use serde_json::{Value, json};
use uuid::Uuid;

/// The station it plays.
pub const STATION: &str = "st-1";

/// Ids are counted, so that tests repeat.
#[derive(Debug)]
pub struct FakeStation {
    name: &'static str,
    ids: u128,
    sequence: u64,
    prevhash: String,
}

impl Default for FakeStation {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeStation {
    /// A station that has said nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { name: STATION, ids: 0, sequence: 0, prevhash: "0".repeat(64) }
    }

    /// Another station than [`STATION`]; its ids are its own.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self { name, ids: 1 << 32, ..Self::new() }
    }

    /// The next id.
    pub fn id(&mut self) -> String {
        self.ids += 1;
        Uuid::from_u128(0x019a_a7c4_0000_7000_8000_0000_0000_0000 + self.ids).to_string()
    }

    /// An event that is no durable record.
    pub fn event(&mut self, kind: &str, data: Value) -> Value {
        json!({
            "specversion": "1.0", "id": self.id(), "source": format!("/stations/{}", self.name), "type": kind,
            "time": "2026-11-21T08:31:10.120Z", "datacontenttype": "application/json",
            "bootid": "019aa7c4-0000-7000-8000-ffffffffffff", "data": data,
        })
    }

    /// The next durable record.
    ///
    /// # Panics
    /// If the event cannot be made canonical.
    pub fn record(&mut self, kind: &str, data: Value) -> Value {
        let mut event = self.event(kind, data);
        self.sequence += 1;
        event["sequence"] = format!("{:012}", self.sequence).into();
        event["prevhash"] = self.prevhash.clone().into();
        self.prevhash = envelope::hash(&event).expect("an object");
        event["hash"] = self.prevhash.clone().into();
        event
    }

    /// A sale at nozzle 3 at 7.45 a litre.
    pub fn sale(&mut self, order: &str, totaliser_start: i64, volume: i64, amount: i64) -> Value {
        let sale_id = self.id();
        self.record(
            "fuel.sale.v1",
            json!({"sale_id": sale_id, "order_id": order, "basis": "prepaid", "nozzle": 3, "currency": "CNY",
            "unit_price_micros": 7_450_000, "volume_ml": volume, "amount_minor": amount,
            "totaliser_start_ml": totaliser_start, "totaliser_end_ml": totaliser_start + volume, "unaccounted_ml": 0,
            "started_at": "2026-11-21T08:31:10.120Z", "ended_at": "2026-11-21T08:32:02.480Z", "finish": "hung_up",
            "evidence": "end_record", "recovered": false, "flags": [], "context": {}}),
        )
    }

    /// The end of an order without fuel.
    pub fn released(&mut self, order: &str, reason: &str) -> Value {
        let data = json!({"order_id": order, "nozzle": 3, "reason": reason, "at": "2026-11-21T08:31:10.120Z"});
        self.record("fuel.order.released.v1", data)
    }

    /// An answer to a command.
    pub fn reply(&mut self, command: &str, kind: &str, result: &str, repeated: bool) -> Value {
        let data =
            json!({"command_id": command, "command_type": kind, "result": result, "repeated": repeated, "detail": ""});
        self.event("fuel.reply.v1", data)
    }
}

/// The CloudEvent within a compact JWS; its signature is proven elsewhere.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn opened(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("JSON")
}

/// An order for money at nozzle 3 at 7.45 a litre.
///
/// # Panics
/// If the id is none.
#[must_use]
pub fn order(id: &str, amount_minor: i64) -> OrderSpec {
    OrderSpec::prepaid(
        OrderId::new(id).expect("an id"),
        NozzleId(3),
        Grade::new("92").expect("a grade"),
        Limit::Amount(Money::new(amount_minor)),
        UnitPrice::new(7_450_000),
        Currency::CNY,
    )
}
