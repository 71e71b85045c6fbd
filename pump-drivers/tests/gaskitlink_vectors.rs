//! Every frame of the vector file and of the worked exchanges: read as stated, written byte for byte, refused when damaged.

#[path = "common/vectors.rs"]
mod vectors;

use pump_drivers::gaskitlink::frame::{decode, encode};
use pump_drivers::gaskitlink::message::{ControllerSays, PumpSays};
use pump_drivers::gaskitlink::{StreamDecoder, decode_line};
use pump_drivers::hex::{Direction, hex_of};
use pump_drivers::protocol::FrameDecoder;
use serde_json::Value;
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
