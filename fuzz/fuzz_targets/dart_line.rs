//! Any text given to `edgectl decode`: one object each, good or with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pump_drivers::dart::{StreamDecoder, decode_line};
use pump_drivers::hex::Direction;
use pump_drivers::protocol::FrameDecoder;

fuzz_target!(|text: &str| {
    for direction in [None, Some(Direction::Controller), Some(Direction::Pump)] {
        let value = decode_line(text, direction);
        let is_good = value["ok"].as_bool().expect("ok is said");
        assert_ne!(is_good, value["reason"].is_string(), "a reason, and only for a refusal: {value}");
        let mut stream = StreamDecoder::new(direction);
        let mut values = stream.feed_hex(text);
        values.extend(stream.finish());
        if is_good {
            assert_eq!(values, [value], "a frame alone is the same in a stream");
        }
    }
});
