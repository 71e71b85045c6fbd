//! The envelope of everything the station sends: CloudEvents 1.0 in structured JSON (contract section 2).

use forecourt::ids::StationId;
use forecourt::time::UtcTime;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The members of every event that the station sends, without `data`.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Who sends.
    pub station: &'a StationId,
    /// New at each start of the daemon.
    pub boot: Uuid,
    /// Of this event.
    pub id: Uuid,
    /// When it happened.
    pub time: UtcTime,
    /// The CloudEvent type, such as `fuel.sale.v1`.
    pub kind: &'a str,
}

impl Envelope<'_> {
    /// The event as a JSON object; durable records add their link of the chain to it.
    #[must_use]
    pub fn event(&self, data: Value) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("specversion".into(), "1.0".into());
        event.insert("id".into(), self.id.to_string().into());
        event.insert("source".into(), format!("/stations/{}", self.station).into());
        event.insert("type".into(), self.kind.into());
        event.insert("time".into(), self.time.to_string().into());
        event.insert("datacontenttype".into(), "application/json".into());
        event.insert("bootid".into(), self.boot.to_string().into());
        event.insert("data".into(), data);
        event
    }

    /// The event in the form that is sent (RFC 8785), for what is no durable record.
    #[must_use]
    pub fn bytes(&self, data: Value) -> Vec<u8> {
        canonical(&Value::Object(self.event(data)))
    }
}

/// The RFC 8785 form of a value.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    // Writing a value whose member names are strings into memory has no way to fail.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}
