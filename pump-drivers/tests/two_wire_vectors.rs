//! Every word and block of the vector file: good ones decode to the stated meaning and encode back, wrong ones are refused.

#[path = "common/vectors.rs"]
mod vectors;

use pump_drivers::hex::Direction;
use pump_drivers::protocol::FrameDecoder;
use pump_drivers::two_wire::block::{Digits, HostBlock, Level, Limits};
use pump_drivers::two_wire::word::{Command, PumpNumber};
use pump_drivers::two_wire::{StreamDecoder, block::GradeIndex, decode_line};
use serde_json::Value;
use vectors::Vector;

fn vectors() -> Vec<Vector> {
    vectors::load(include_str!("data/two-wire-vectors.json"), 56)
}

fn stream(bytes: &[u8], direction: Direction) -> Vec<Value> {
    let mut stream = StreamDecoder::new(Some(direction));
    let mut found = stream.feed(bytes);
    found.extend(stream.finish());
    found
}

#[test]
fn a_good_vector_decodes_to_exactly_the_stated_members() {
    for vector in vectors().iter().filter(|v| v.checksum != "wrong") {
        let mut expected = vector.decoded.clone();
        expected["ok"] = true.into();
        assert_eq!(decode_line(&vector.hex, Some(vector.direction)), expected, "{}", vector.hex);
        assert_eq!(stream(&vector.bytes, vector.direction), [expected], "{} in a stream", vector.hex);
    }
}

#[test]
fn a_wrong_vector_is_refused_alone_and_in_a_stream() {
    let wrong: Vec<Vector> = vectors().into_iter().filter(|v| v.checksum == "wrong").collect();
    assert_eq!(wrong.len(), 3);
    for vector in wrong {
        let value = decode_line(&vector.hex, Some(vector.direction));
        assert_eq!(value["ok"], false, "{}", vector.hex);
        assert!(value["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        let found = stream(&vector.bytes, vector.direction);
        assert!(!found.is_empty() && found.iter().all(|value| value["ok"] == false), "{} {found:?}", vector.hex);
    }
}

fn small(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|number| u8::try_from(number).ok())
}

fn digits(text: &Value) -> Digits {
    let text = text.as_str().expect("digits");
    Digits::new(text.parse().expect("a number"), u8::try_from(text.len()).expect("short")).expect("it fits")
}

fn level(value: &Value) -> Option<Level> {
    small(value).map(|level| if level == 2 { Level::Two } else { Level::One })
}

/// What a controller would have to mean to say this.
fn encode(decoded: &Value) -> Vec<u8> {
    let grade = small(&decoded["grade_index"]).map(GradeIndex);
    let block = match decoded["kind"].as_str().expect("a kind") {
        "command" => {
            let command = [
                Command::Status,
                Command::Authorise,
                Command::DataNext,
                Command::Stop,
                Command::Transaction,
                Command::Totals,
                Command::RealTimeMoney,
                Command::AllStop,
            ]
            .into_iter()
            .find(|command| Some(command.words()) == decoded["name"].as_str())
            .expect("a known command");
            let pump = small(&decoded["pump"]).and_then(PumpNumber::new).unwrap_or(PumpNumber::of_nibble(0));
            return vec![command.word(pump)];
        }
        "price change" => HostBlock::Price {
            level: level(&decoded["price_level"]).expect("a level"),
            grade: grade.expect("a grade"),
            price: digits(&decoded["ppu_digits"]),
        },
        "preset" => HostBlock::Preset {
            limits: if decoded["preset"] == "money" { Limits::Money } else { Limits::Volume },
            level: level(&decoded["price_level"]),
            grade,
            value: digits(&decoded["preset_digits"]),
        },
        "price level change" => HostBlock::Level(level(&decoded["price_level"]).expect("a level")),
        "special function" => HostBlock::ExtendedStatus,
        other => panic!("a controller does not say {other}"),
    };
    block.words()
}

#[test]
fn what_a_controller_says_is_encoded_word_for_word() {
    let ours = |v: &&Vector| v.direction == Direction::Controller && v.checksum != "wrong";
    let all = vectors();
    assert!(all.iter().filter(ours).count() > 20);
    for vector in all.iter().filter(ours) {
        assert_eq!(encode(&vector.decoded), vector.bytes, "{}", vector.hex);
    }
}

#[test]
fn a_flipped_bit_in_a_checked_block_never_passes_for_another_block() {
    for vector in vectors().iter().filter(|v| v.checksum == "verified") {
        for bit in 0..vector.bytes.len() * 8 {
            let mut bytes = vector.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let text: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            // a bit of the high nibble of a check or a control word is caught by the walk, one of a low nibble by the check
            let value = decode_line(&text, Some(vector.direction));
            // the type and an identifier word mean nothing, and only their low nibbles are in the check
            assert_eq!(value["ok"], false, "{} bit {bit}: {value}", vector.hex);
        }
    }
}
