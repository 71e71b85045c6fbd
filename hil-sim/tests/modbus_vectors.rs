//! The device side of Modbus against published and built frames: its own framing and check sum.

use forecourt::time::Instant;
use hil_sim::dispenser::modbus::frame::{Framing, Heard, Receiver, answer, check_sum};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/modbus-vectors.json")).expect("the vectors are JSON");
    assert_eq!(all.len(), 30);
    all
}

fn bytes(vector: &Value) -> Vec<u8> {
    let hex = vector["hex"].as_str().expect("hex");
    hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}

#[test]
fn each_request_is_heard_whole_for_its_unit_and_function() {
    let mut heard = 0;
    for vector in vectors().iter().filter(|vector| vector["direction"] == "master->slave") {
        let tcp = vector["decoded"]["tx"].is_u64();
        let framing = if tcp { Framing::Tcp } else { Framing::Rtu };
        let mut receiver = Receiver::new(framing);
        let all: Vec<Heard> =
            bytes(vector).into_iter().filter_map(|byte| receiver.push(byte, Instant::START)).collect();
        let [one] = all.as_slice() else { panic!("{all:?} of {vector}") };
        if let Some(unit) = vector["decoded"]["unit"].as_u64() {
            assert_eq!(u64::from(one.unit), unit, "{vector}");
        }
        assert_eq!(Some(u64::from(one.pdu[0])), vector["decoded"]["fc"].as_u64(), "{vector}");
        assert_eq!(u64::from(one.transaction), vector["decoded"]["tx"].as_u64().unwrap_or(0), "{vector}");
        heard += 1;
    }
    assert_eq!(heard, 19);
}

#[test]
fn each_answer_is_framed_byte_for_byte_and_a_wrong_check_sum_is_seen() {
    let mut framed = 0;
    for vector in vectors().iter().filter(|vector| vector["direction"] == "slave->master") {
        let frame = bytes(vector);
        let transaction = vector["decoded"]["tx"].as_u64().and_then(|number| u16::try_from(number).ok());
        let (framing, unit, pdu) = match transaction {
            Some(_) => (Framing::Tcp, frame[6], frame[7..].to_vec()),
            None => (Framing::Rtu, frame[0], frame[1..frame.len() - 2].to_vec()),
        };
        if vector["checksum"] == "wrong" {
            assert_ne!(check_sum(&frame[..frame.len() - 2]).to_le_bytes(), frame[frame.len() - 2..]);
            continue;
        }
        let request = Heard { unit, pdu: Vec::new(), transaction: transaction.unwrap_or(0), raw: Vec::new() };
        assert_eq!(answer(framing, &request, &pdu), frame, "{vector}");
        framed += 1;
    }
    assert_eq!(framed, 6);
}
