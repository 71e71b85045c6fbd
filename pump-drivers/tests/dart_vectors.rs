//! Every frame of the vector file: good ones decode to the stated meaning, wrong ones are refused.

#[path = "common/vectors.rs"]
mod vectors;

use pump_drivers::dart::{StreamDecoder, decode_line};
use pump_drivers::hex::Direction;
use pump_drivers::protocol::FrameDecoder;
use serde_json::Value;
use vectors::Vector;

fn vectors() -> Vec<Vector> {
    vectors::load(include_str!("data/dart-vectors.json"), 133)
}

fn line_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn a_good_frame_decodes_to_exactly_the_stated_members() {
    for vector in vectors().iter().filter(|v| v.checksum != "wrong") {
        let mut expected = vector.decoded.clone();
        expected["ok"] = true.into();
        assert_eq!(decode_line(&vector.hex, Some(vector.direction)), expected, "{}", vector.hex);
        let mut stream = StreamDecoder::new(Some(vector.direction));
        assert_eq!(stream.feed(&vector.bytes), [expected], "{} in a stream", vector.hex);
        assert!(stream.finish().is_empty());
    }
}

#[test]
fn a_wrong_frame_is_refused_alone_and_in_a_stream() {
    let wrong: Vec<Vector> = vectors().into_iter().filter(|v| v.checksum == "wrong").collect();
    assert_eq!(wrong.len(), 8);
    for vector in wrong {
        let value = decode_line(&vector.hex, Some(vector.direction));
        assert_eq!(value["ok"], false, "{}", vector.hex);
        assert!(value["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        let mut stream = StreamDecoder::new(Some(vector.direction));
        let mut found = stream.feed(&vector.bytes);
        found.extend(stream.finish());
        assert!(!found.is_empty() && found.iter().all(|value| value["ok"] == false), "{} {found:?}", vector.hex);
    }
}

#[test]
fn a_flipped_bit_in_a_block_is_refused_and_in_a_short_frame_never_goes_unnoticed() {
    for vector in vectors().iter().filter(|v| v.checksum != "wrong") {
        let as_sent = decode_line(&vector.hex, Some(vector.direction));
        for bit in 0..vector.bytes.len() * 8 {
            let mut bytes = vector.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let value = decode_line(&line_of(&bytes), Some(vector.direction));
            if vector.checksum == "verified" {
                assert_eq!(value["ok"], false, "{} bit {bit}", vector.hex);
                let mut stream = StreamDecoder::new(Some(vector.direction));
                let mut found = stream.feed(&bytes);
                found.extend(stream.finish());
                let passed = found.iter().find(|value| value["ok"] == true);
                assert_eq!(passed, None, "{} bit {bit}", vector.hex);
            } else {
                assert_ne!(value, as_sent, "{} bit {bit}", vector.hex);
            }
        }
    }
}

#[test]
fn all_good_frames_joined_come_out_one_by_one_however_the_bytes_are_split() {
    let good: Vec<Vector> = vectors().into_iter().filter(|v| v.checksum != "wrong").collect();
    let joined: Vec<u8> = good.iter().flat_map(|vector| vector.bytes.clone()).collect();
    for piece in [1, 2, 3, 7, 64, joined.len()] {
        let mut stream = StreamDecoder::new(Some(Direction::Pump));
        let found: Vec<Value> = joined.chunks(piece).flat_map(|bytes| stream.feed(bytes)).collect();
        let expected: Vec<Value> = good.iter().map(|vector| decode_line(&vector.hex, Some(Direction::Pump))).collect();
        assert_eq!(found, expected, "in pieces of {piece}");
    }
}
