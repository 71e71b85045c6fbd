//! The envelope of what a station sends (contract section 2), read from the contract alone.

use super::strict;
use forecourt::time::UtcTime;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One CloudEvent of a station.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// UUIDv7 made by the station.
    pub id: Uuid,
    /// Such as `fuel.sale.v1`.
    pub kind: String,
    /// As stamped by the station.
    pub time: UtcTime,
    /// Run of the daemon.
    pub bootid: Uuid,
    /// The content.
    pub data: Value,
    /// Place in the chain; durable records only.
    pub link: Option<Link>,
}

/// A durable record's place in the hash chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Counts from 1 without gaps.
    pub sequence: u64,
    /// Hash of the record before, or 64 zeros.
    pub prevhash: String,
    /// Hash of this record, recomputed and found right.
    pub hash: String,
}

/// Reads a message of a station: one event, or a batch of up to 100 on topic `event`.
///
/// # Errors
/// What breaks the contract, in words.
pub fn read(payload: &[u8], station: &str) -> Result<Vec<Event>, String> {
    match strict::parse(payload)? {
        Value::Array(batch) if batch.len() > 100 => Err(format!("a batch of {} events, more than 100", batch.len())),
        Value::Array(batch) => batch.iter().map(|event| read_one(event, station)).collect(),
        event => Ok(vec![read_one(&event, station)?]),
    }
}

fn read_one(event: &Value, station: &str) -> Result<Event, String> {
    expect(event, "specversion", "1.0")?;
    expect(event, "source", &format!("/stations/{station}"))?;
    expect(event, "datacontenttype", "application/json")?;
    let id = uuid7(event, "id")?;
    let stamp = text(event, "time")?;
    let time = UtcTime::parse(stamp).map_err(|error| format!("time: {error}"))?;
    if time.to_string() != stamp {
        return Err(format!("time {stamp} is not UTC with milliseconds"));
    }
    let link = match event.get("sequence") {
        None => None,
        Some(_) => Some(read_link(event)?),
    };
    Ok(Event {
        id,
        kind: text(event, "type")?.to_owned(),
        time,
        bootid: uuid7(event, "bootid")?,
        data: event.get("data").cloned().ok_or("data is missing")?,
        link,
    })
}

fn read_link(event: &Value) -> Result<Link, String> {
    let digits = text(event, "sequence")?;
    if digits.len() != 12 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("sequence \"{digits}\" is not 12 digits"));
    }
    let sequence = digits.parse().map_err(|_| format!("sequence {digits} is no number"))?;
    let stated = text(event, "hash")?;
    let computed = hash(event)?;
    if stated != computed {
        return Err(format!("hash of sequence {digits} is {stated}, its content gives {computed}"));
    }
    Ok(Link { sequence, prevhash: text(event, "prevhash")?.to_owned(), hash: computed })
}

/// SHA-256 over the RFC 8785 form of an event without its `hash` member, lower-case hex.
///
/// # Errors
/// If the value is no object.
pub fn hash(event: &Value) -> Result<String, String> {
    let mut bare = event.as_object().ok_or("an event is no JSON object")?.clone();
    bare.remove("hash");
    let bytes = serde_json_canonicalizer::to_vec(&bare).map_err(|error| error.to_string())?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text<'a>(event: &'a Value, name: &str) -> Result<&'a str, String> {
    event.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing or no text"))
}

fn expect(event: &Value, name: &str, wanted: &str) -> Result<(), String> {
    let found = text(event, name)?;
    if found == wanted { Ok(()) } else { Err(format!("{name} is \"{found}\", not \"{wanted}\"")) }
}

fn uuid7(event: &Value, name: &str) -> Result<Uuid, String> {
    let found = text(event, name)?;
    match Uuid::parse_str(found) {
        Ok(id) if id.get_version_num() == 7 && id.to_string() == found => Ok(id),
        _ => Err(format!("{name} \"{found}\" is no UUIDv7 in lower case")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sealed() -> Value {
        let mut event = json!({
            "specversion": "1.0", "id": "019aa7c4-0000-7000-8000-000000000001", "source": "/stations/st-1",
            "type": "fuel.sale.v1", "time": "2026-11-21T08:31:10.120Z", "datacontenttype": "application/json",
            "bootid": "019aa7c4-0000-7000-8000-000000000002", "sequence": "000000000001",
            "prevhash": "0".repeat(64), "data": {"volume_ml": 1},
        });
        event["hash"] = hash(&event).expect("an object").into();
        event
    }

    #[test]
    fn an_event_is_read_with_its_link_and_a_batch_as_its_events() {
        let event = sealed();
        let read_back = read(event.to_string().as_bytes(), "st-1").expect("good");
        assert_eq!(read_back[0].link.as_ref().expect("durable").sequence, 1);
        let batch = Value::Array(vec![event.clone(), event]);
        assert_eq!(read(batch.to_string().as_bytes(), "st-1").expect("good").len(), 2);
    }

    /// The hash was computed with Python's hashlib over the sorted, separated form, by hand from RFC 8785.
    #[test]
    fn the_hash_is_that_of_the_canonical_form() {
        let event = json!({"b": 1, "a": "é", "hash": "x"});
        assert_eq!(
            hash(&event).expect("an object"),
            "aa58fba8483623bed37c1b02edfccbdd9a53123837c20bfa4cb4049993a2872e"
        );
    }

    #[test]
    fn each_broken_member_of_the_envelope_is_named() {
        for (name, value, complaint) in [
            ("specversion", json!("1"), "specversion"),
            ("source", json!("/stations/st-2"), "source"),
            ("id", json!("019aa7c4-0000-4000-8000-000000000001"), "UUIDv7"),
            ("time", json!("2026-11-21T16:31:10.120+08:00"), "not UTC"),
            ("sequence", json!("1"), "12 digits"),
            ("data", json!({"volume_ml": 2}), "its content gives"),
        ] {
            let mut event = sealed();
            event[name] = value;
            let error = read(event.to_string().as_bytes(), "st-1").expect_err(name);
            assert!(error.contains(complaint), "{name}: {error}");
        }
    }
}
