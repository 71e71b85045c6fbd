//! Every frame of the vector file, and those of the worked exchanges (GasKitLink sheet, section 7): read as stated, written byte for byte,
//! refused when damaged.

#[path = "common/vectors.rs"]
mod vectors;

use pump_drivers::gaskitlink::frame::{decode, encode};
use pump_drivers::gaskitlink::message::{ControllerSays, PumpSays};
use pump_drivers::gaskitlink::{StreamDecoder, decode_line};
use pump_drivers::hex::{Direction, hex_of};
use pump_drivers::protocol::FrameDecoder;
use serde_json::{Value, json};
use vectors::Vector;

fn vectors() -> Vec<Vector> {
    vectors::load(include_str!("data/gaskitlink-vectors.json"), 21)
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Controller => "controller",
        Direction::Pump => "pump",
    }
}

#[test]
fn a_good_frame_decodes_to_exactly_the_stated_members_alone_and_in_a_stream() {
    for vector in vectors() {
        let mut expected = vector.decoded.clone();
        expected["ok"] = true.into();
        expected["address"] = (u16::from(vector.bytes[1]) << 8 | u16::from(vector.bytes[2])).into();
        assert_eq!(decode_line(&vector.hex, Some(vector.direction)), expected, "{}", vector.hex);
        let mut stream = StreamDecoder::new(Some(vector.direction));
        assert_eq!(stream.feed(&vector.bytes), [expected.clone()], "{} in a stream", vector.hex);
        assert!(stream.finish().is_empty());
        // D is as long from both sides
        let found = if vector.decoded["cmd"] == "D" { "unknown" } else { word(vector.direction) };
        expected["direction"] = found.into();
        assert_eq!(decode_line(&vector.hex, None), expected, "{} without a direction", vector.hex);
    }
}

#[test]
fn the_frames_of_the_worked_exchanges_are_read_as_they_are_meant_and_written_again() {
    use Direction::{Controller, Pump};
    let status =
        |state: u8, name: &str, nozzle: u8| json!({"cmd": "S", "state": state, "state_name": name, "nozzle": nozzle});
    let total = |total: u32| json!({"cmd": "C", "nozzle": 1, "total_cl": total});
    let sale = |txn: &str, state: u8, money: u32, volume: u32| json!({"cmd": "T", "nozzle": 1, "txn": txn, "state": state, "money": money, "volume_cl": volume, "price": 745});
    let exchanges = [
        (Controller, "53 56", json!({"cmd": "S"})),
        (Pump, "53 31 30 57", status(1, "idle", 0)),
        (Controller, "43 31 77", json!({"cmd": "C", "nozzle": 1})),
        (Pump, "43 31 3B 30 30 30 38 31 32 33 34 35 75", total(812_345)),
        (Pump, "53 32 31 55", status(2, "calling", 1)),
        (
            Controller,
            "4D 31 3B 30 32 30 30 30 30 3B 30 37 34 35 7D",
            json!({"cmd": "M", "nozzle": 1, "money": 20_000, "price": 745}),
        ),
        (Pump, "53 33 31 54", status(3, "authorised", 1)),
        (Pump, "53 34 31 53", status(4, "started", 1)),
        (Pump, "53 36 31 51", status(6, "fuelling", 1)),
        (Controller, "4C 49", json!({"cmd": "L"})),
        (
            Pump,
            "4C 31 63 36 3B 30 30 31 30 32 34 11",
            json!({"cmd": "L", "nozzle": 1, "txn": "c", "state": 6, "volume_cl": 1_024}),
        ),
        (Controller, "52 57", json!({"cmd": "R"})),
        (
            Pump,
            "52 31 63 36 3B 30 30 37 36 32 39 02",
            json!({"cmd": "R", "nozzle": 1, "txn": "c", "state": 6, "money": 7_629}),
        ),
        (Pump, "53 38 31 5F", status(8, "stopped", 1)),
        (Controller, "54 51", json!({"cmd": "T"})),
        (Pump, "54 31 63 38 3B 30 32 30 30 30 30 3B 30 30 32 36 38 35 3B 30 37 34 35 0D", sale("c", 8, 20_000, 2_685)),
        (Pump, "43 31 3B 30 30 30 38 31 35 30 33 30 73", total(815_030)),
        (Pump, "53 39 30 5F", status(9, "end of transaction", 0)),
        (Controller, "4E 4B", json!({"cmd": "N"})),
        (
            Controller,
            "56 31 3B 30 30 33 30 30 30 3B 30 37 34 35 67",
            json!({"cmd": "V", "nozzle": 1, "volume_cl": 3_000, "price": 745}),
        ),
        (Controller, "42 47", json!({"cmd": "B"})),
        (Pump, "53 37 31 50", status(7, "suspended while fuelling", 1)),
        (Pump, "54 31 64 38 3B 30 30 39 31 39 33 3B 30 30 31 32 33 34 3B 30 37 34 35 07", sale("d", 8, 9_193, 1_234)),
        (Pump, "43 31 3B 30 30 30 38 31 36 32 36 34 73", total(816_264)),
        (Pump, "54 31 65 39 3B 30 30 34 34 37 30 3B 30 30 30 36 30 30 3B 30 37 34 35 00", sale("e", 9, 4_470, 600)),
        (Pump, "43 31 3B 30 30 30 38 31 36 38 36 34 79", total(816_864)),
    ];
    for (direction, hex, mut meant) in exchanges {
        let hex = format!("02 00 05 {hex}");
        (meant["ok"], meant["address"]) = (true.into(), 5.into());
        assert_eq!(decode_line(&hex, Some(direction)), meant, "{hex}");
        let bytes = pump_drivers::hex::bytes_of(&hex).expect("hex");
        let frame = decode(&bytes, Some(direction)).expect("a good frame");
        let body = match direction {
            Controller => ControllerSays::read(&frame.body).expect("known").write(),
            Pump => PumpSays::read(&frame.body).expect("known").write(),
        };
        assert_eq!(hex_of(&encode(frame.address, &body)), hex);
    }
}

#[test]
fn what_is_read_is_written_again_byte_for_byte() {
    for vector in vectors() {
        let frame = decode(&vector.bytes, Some(vector.direction)).expect("a good frame");
        let body = match vector.direction {
            Direction::Controller => ControllerSays::read(&frame.body).expect("known").write(),
            Direction::Pump => PumpSays::read(&frame.body).expect("known").write(),
        };
        assert_eq!(hex_of(&encode(frame.address, &body)), vector.hex);
    }
}

#[test]
fn a_flipped_bit_is_refused_or_waits_for_more() {
    for vector in vectors() {
        for bit in 0..vector.bytes.len() * 8 {
            let mut bytes = vector.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let value = decode_line(&hex_of(&bytes), Some(vector.direction));
            assert_eq!(value["ok"], false, "{} bit {bit}: {value}", vector.hex);
            let mut stream = StreamDecoder::new(Some(vector.direction));
            let mut found = stream.feed(&bytes);
            found.extend(stream.finish());
            assert!(!found.is_empty() && found.iter().all(|value| value["ok"] == false), "{} bit {bit}", vector.hex);
        }
    }
}

#[test]
fn all_frames_joined_come_out_one_by_one_however_the_bytes_are_split() {
    let joined: Vec<u8> = vectors().iter().flat_map(|vector| vector.bytes.clone()).collect();
    let expected: Vec<Value> = vectors().iter().map(|vector| decode_line(&vector.hex, None)).collect();
    for piece in [1, 2, 3, 7, 64, joined.len()] {
        let mut stream = StreamDecoder::new(None);
        let found: Vec<Value> = joined.chunks(piece).flat_map(|bytes| stream.feed(bytes)).collect();
        assert_eq!(found, expected, "in pieces of {piece}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_where() {
    for (hex, reason) in [
        ("", "no bytes"),
        ("98 02 00 01", "begins with 98: a frame begins with 02"),
        ("02 00 01 41 40", "the letter 41 is none of this protocol"),
        ("02 00 01 53 32", "cut: 5 bytes are no whole frame"),
        ("02 00 01 53 32 31 52", "check byte 52, the bytes give 51"),
        ("02 00 01 53 32 31 51 02", "1 bytes after the end of the frame"),
        ("02 00 01 5", "7 hexadecimal digits: the last byte lacks one"),
    ] {
        assert_eq!(decode_line(hex, Some(Direction::Pump))["reason"], reason, "{hex}");
    }
    let odd = encode(1, b"S9x");
    assert_eq!(decode_line(&hex_of(&odd), None)["error"], "data that the letter cannot have");
}
