//! The `data` of each durable record (contract section 5). Names and words are those of the types in `forecourt::record`.

use forecourt::record::{Record, Sale};
use serde::Serialize;
use serde_json::{Map, Value};

/// The record's content.
#[must_use]
pub fn data(record: &Record) -> Value {
    match record {
        Record::Sale(sale) => sale_data(sale),
        Record::Released(released) => object(released),
        Record::Review(review) => object(review),
        Record::Unaccounted(movement) => object(movement),
        Record::Alarm(alarm) => object(alarm),
        Record::PriceApplied(applied) => object(applied),
        Record::Audit(audit) => object(audit),
    }
}

/// A sale, its `context` as the object that the order carried.
fn sale_data(sale: &Sale) -> Value {
    let mut data = object(sale);
    let context = match serde_json::from_str(&sale.context) {
        Ok(Value::Object(context)) => context,
        // Orders are taken only with an object there; a sale without an order has none to give back.
        _ => Map::new(),
    };
    if let Value::Object(members) = &mut data {
        members.insert("context".into(), Value::Object(context));
    }
    data
}

fn object(content: &impl Serialize) -> Value {
    // These structs have string names and no failing serialiser, so `Null` is never seen.
    serde_json::to_value(content).unwrap_or(Value::Null)
}
