//! The chain of durable records (contract section 2): each carries the hash of the one before, so that a record changed, left
//! out or moved is found by anyone who has the records.

use crate::wire::envelope::{Envelope, canonical};
use crate::wire::{records, strict};
use forecourt::ids::StationId;
use forecourt::record::Record;
use forecourt::time::UtcTime;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest record that [`verify`] reads, in bytes. Far above any that [`seal`] makes of an order (2 KiB of context at most).
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The last link of a station's chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Sequence of the last record; 0 before the first.
    pub sequence: u64,
    /// Its hash, 64 lower-case hex digits; zeros before the first.
    pub hash: String,
}

impl Head {
    /// The head before any record.
    #[must_use]
    pub fn genesis() -> Self {
        Self { sequence: 0, hash: "0".repeat(64) }
    }
}

/// A record as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Its place in the chain, from 1 without gaps.
    pub sequence: u64,
    /// The event's id, by which the platform acknowledges it.
    pub id: Uuid,
    /// The CloudEvent type.
    pub kind: &'static str,
    /// Order of importance, 0 first.
    pub priority: u8,
    /// 64 lower-case hex digits.
    pub hash: String,
    /// RFC 8785 form, sent as it is however often.
    pub bytes: Vec<u8>,
}

impl Sealed {
    /// The chain's head once this record is stored.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash.clone() }
    }
}

/// Makes the next link of the chain.
///
/// The caller stores the record and the new head in one commit; two records must never be sealed on the same head.
#[must_use]
pub fn seal(station: &StationId, boot: Uuid, head: &Head, id: Uuid, time: UtcTime, record: &Record) -> Sealed {
    let sequence = head.sequence + 1;
    let kind = record.kind();
    let mut event = Envelope { station, boot, id, time, kind }.event(records::data(record));
    event.insert("sequence".into(), sequence_text(sequence).into());
    event.insert("prevhash".into(), head.hash.clone().into());
    let hash = digest_of(&event);
    event.insert("hash".into(), hash.clone().into());
    let bytes = canonical(&Value::Object(event));
    Sealed { sequence, id, kind, priority: record.priority(), hash, bytes }
}

/// A sequence as it is written: decimal, 12 digits, zero padded.
#[must_use]
pub fn sequence_text(sequence: u64) -> String {
    format!("{sequence:012}")
}

/// Reads a sequence as it is written.
#[must_use]
pub fn read_sequence(text: &str) -> Option<u64> {
    let well_formed = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| well_formed)
}

/// Lower-case hex SHA-256.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// The hash of an event that has no `hash` member.
fn digest_of(event: &Map<String, Value>) -> String {
    sha256_hex(&canonical(&Value::Object(event.clone())))
}

/// Why a record is no link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Not the JSON that the contract allows.
    #[error("the record cannot be read: {0}")]
    Unreadable(strict::Fault),
    /// Readable, but not byte for byte in RFC 8785 form.
    #[error("the record is not in canonical form: its bytes were changed after it was sealed")]
    NotCanonical,
    /// A member of the chain is absent or of another form.
    #[error("the record has no valid member \"{0}\"")]
    Missing(&'static str),
    /// The content does not give the hash it carries.
    #[error("record {sequence} does not match its hash: its content was changed")]
    WrongHash {
        /// Of the record.
        sequence: u64,
    },
    /// Not the sequence after the one before.
    #[error("record {expected} is missing or out of place: {found} stands there")]
    OutOfPlace {
        /// The sequence due.
        expected: u64,
        /// The sequence seen.
        found: u64,
    },
    /// It was sealed on another record than the one before it here.
    #[error("record {sequence} does not follow from the one before it: one of the two was replaced")]
    WrongPrevious {
        /// Of the record.
        sequence: u64,
    },
}

/// Checks that a record follows the head, unchanged, and gives the head after it.
///
/// # Errors
/// [`ChainFault`] naming what was tampered with.
pub fn verify(bytes: &[u8], prev: &Head) -> Result<Head, ChainFault> {
    let value = strict::parse_up_to(bytes, MAX_RECORD_BYTES).map_err(ChainFault::Unreadable)?;
    if canonical(&value) != bytes {
        return Err(ChainFault::NotCanonical);
    }
    let Value::Object(mut event) = value else { return Err(ChainFault::Missing("hash")) };
    let Some(Value::String(hash)) = event.remove("hash") else { return Err(ChainFault::Missing("hash")) };
    let sequence =
        event.get("sequence").and_then(Value::as_str).and_then(read_sequence).ok_or(ChainFault::Missing("sequence"))?;
    if digest_of(&event) != hash {
        return Err(ChainFault::WrongHash { sequence });
    }
    if sequence != prev.sequence + 1 {
        return Err(ChainFault::OutOfPlace { expected: prev.sequence + 1, found: sequence });
    }
    match event.get("prevhash").and_then(Value::as_str) {
        None => Err(ChainFault::Missing("prevhash")),
        Some(previous) if previous != prev.hash => Err(ChainFault::WrongPrevious { sequence }),
        Some(_) => Ok(Head { sequence, hash }),
    }
}

/// A record that proves itself: its content gives the hash it carries. Where it stands in the chain is what it says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// Its place in the chain.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// The hash it names as that of the record before it.
    pub previous: String,
    /// The event's id.
    pub id: Uuid,
    /// The CloudEvent type.
    pub kind: String,
    /// The event's time.
    pub time: UtcTime,
    /// Its content, contract section 5.
    pub data: Value,
}

/// Reads a record that was found without its neighbours.
///
/// # Errors
/// [`ChainFault`] where it is none of ours or was changed.
pub fn prove(bytes: &[u8]) -> Result<Proven, ChainFault> {
    let value = strict::parse_up_to(bytes, MAX_RECORD_BYTES).map_err(ChainFault::Unreadable)?;
    let text = |name: &'static str| value.get(name).and_then(Value::as_str).ok_or(ChainFault::Missing(name));
    let sequence = read_sequence(text("sequence")?).filter(|sequence| *sequence > 0);
    let sequence = sequence.ok_or(ChainFault::Missing("sequence"))?;
    let previous = text("prevhash")?.to_owned();
    let head = verify(bytes, &Head { sequence: sequence - 1, hash: previous.clone() })?;
    let id = Uuid::parse_str(text("id")?).map_err(|_| ChainFault::Missing("id"))?;
    let time = UtcTime::parse(text("time")?).map_err(|_| ChainFault::Missing("time"))?;
    let kind = text("type")?.to_owned();
    let data = value.get("data").cloned().ok_or(ChainFault::Missing("data"))?;
    Ok(Proven { sequence, hash: head.hash, previous, id, kind, time, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecourt::ids::{NozzleId, OrderId};
    use forecourt::order::ReleaseReason;
    use forecourt::record::OrderReleased;
    use proptest::prelude::*;

    fn station() -> StationId {
        StationId::new("st-1").expect("an id")
    }

    fn at(text: &str) -> UtcTime {
        UtcTime::parse(text).expect("a time")
    }

    fn sale() -> Record {
        Record::Sale(Box::new(forecourt::testing::sale()))
    }

    fn released(number: u128) -> Record {
        Record::Released(OrderReleased {
            order_id: OrderId::new(format!("o-{number}")).expect("an id"),
            nozzle: NozzleId(1),
            reason: ReleaseReason::Refused("nozzle_busy".into()),
            at: at("2026-11-21T08:31:10.120Z"),
        })
    }

    fn chain(length: u128) -> Vec<Vec<u8>> {
        let mut head = Head::genesis();
        (1..=length)
            .map(|number| {
                let record = if number == 1 { sale() } else { released(number) };
                let sealed = seal(
                    &station(),
                    Uuid::from_u128(7),
                    &head,
                    Uuid::from_u128(number),
                    at("2026-11-21T08:32:02.500Z"),
                    &record,
                );
                head = sealed.head();
                sealed.bytes
            })
            .collect()
    }

    fn check(records: &[Vec<u8>]) -> Result<Head, ChainFault> {
        records.iter().try_fold(Head::genesis(), |head, bytes| verify(bytes, &head))
    }

    #[test]
    fn a_sale_is_sealed_with_exactly_the_members_of_the_contract() {
        let bytes = chain(1).remove(0);
        let event: Value = serde_json::from_slice(&bytes).expect("JSON");
        let hash = event["hash"].as_str().expect("a hash").to_owned();
        let expected = serde_json::json!({
            "specversion": "1.0", "id": "00000000-0000-0000-0000-000000000001", "source": "/stations/st-1",
            "type": "fuel.sale.v1", "time": "2026-11-21T08:32:02.500Z", "datacontenttype": "application/json",
            "bootid": "00000000-0000-0000-0000-000000000007", "sequence": "000000000001", "prevhash": "0".repeat(64),
            "hash": hash,
            "data": {"sale_id":"019aa7c4-0000-7000-8000-000000000001","order_id":"20261121-000042","basis":"prepaid",
                "fuelling_point":2,"nozzle":3,"grade":"92","currency":"CNY","unit_price_micros":7_450_000,
                "price_set":"PS-0007","volume_ml":26850,"amount_minor":20000,"limit":{"amount_minor":20000},
                "totaliser_start_ml":812_345_670,"totaliser_end_ml":812_372_520,"unaccounted_ml":0,
                "started_at":"2026-11-21T08:31:10.120Z","ended_at":"2026-11-21T08:32:02.480Z","finish":"hung_up",
                "evidence":"end_record","offline":false,"recovered":false,"clock":"synced","attendant":null,
                "shift":"2026-11-21-A","flags":["gap"],"context":{"any":"粤","n":1}},
        });
        assert_eq!(event, expected);
        assert_eq!(hash.len(), 64);
    }

    #[test]
    fn the_hash_is_that_of_the_canonical_event_without_it() {
        let bytes = chain(1).remove(0);
        let text = String::from_utf8(bytes).expect("UTF-8");
        // Members are sorted, so `hash` stands between `datacontenttype` … `data` and `id`.
        let start = text.find(r#""hash":"#).expect("a hash");
        let end = text.find(r#""id":"#).expect("an id");
        let hash = &text[start + 8..start + 72];
        let without = format!("{}{}", &text[..start], &text[end..]);
        assert_eq!(sha256_hex(without.as_bytes()), hash);
    }

    #[test]
    fn an_untouched_chain_verifies_to_its_head() {
        let head = check(&chain(5)).expect("whole");
        assert_eq!(head.sequence, 5);
    }

    #[test]
    fn a_dropped_record_and_swapped_records_are_found() {
        let mut dropped = chain(5);
        dropped.remove(2);
        assert_eq!(check(&dropped), Err(ChainFault::OutOfPlace { expected: 3, found: 4 }));
        let mut swapped = chain(5);
        swapped.swap(1, 2);
        assert_eq!(check(&swapped), Err(ChainFault::OutOfPlace { expected: 2, found: 3 }));
    }

    #[test]
    fn a_record_sealed_on_another_chain_is_found() {
        let mut records = chain(3);
        let foreign = Head { sequence: 1, hash: "f".repeat(64) };
        let forged = seal(&station(), Uuid::nil(), &foreign, Uuid::nil(), at("2026-11-21T08:32:02Z"), &released(2));
        records[1] = forged.bytes;
        assert_eq!(check(&records), Err(ChainFault::WrongPrevious { sequence: 2 }));
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_is_found(record in 0_usize..4, position in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut records = chain(4);
            let bytes = &mut records[record];
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
            prop_assert!(check(&records).is_err());
        }
    }
}
