//! Any bytes on a DART line: every byte is accounted for, and it does not matter how the reads cut the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pump_drivers::dart::StreamDecoder;
use pump_drivers::dart::frame::{Control, Found, Frame, Receiver, decode, encode_block, encode_short};
use pump_drivers::dart::message::{read_controller, read_pump, walk, write};
use pump_drivers::hex::Direction;
use pump_drivers::protocol::FrameDecoder;

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else { return };
    let mut receiver = Receiver::default();
    let mut found = Vec::new();
    for byte in bytes {
        receiver.push(*byte, &mut found);
    }
    receiver.silence(&mut found);
    assert!(!receiver.is_waiting(), "nothing waits after silence");

    let mut seen = Vec::new();
    for one in &found {
        match one {
            Found::Frame(frame, raw) => {
                assert_eq!(decode(raw).as_ref(), Ok(frame), "a frame found is a frame alone");
                good_frame(frame);
                seen.extend_from_slice(raw);
            }
            Found::Refused(why, raw) => {
                assert!(!raw.is_empty(), "{why} without bytes");
                seen.extend_from_slice(raw);
            }
        }
    }
    assert_eq!(seen, bytes, "every byte comes out once, in order");

    for direction in [None, Some(Direction::Controller), Some(Direction::Pump)] {
        let at = usize::from(*cut).min(bytes.len());
        let mut whole = StreamDecoder::new(direction);
        let mut parts = StreamDecoder::new(direction);
        let mut expected = whole.feed(bytes);
        expected.extend(whole.finish());
        assert_eq!(expected.len(), found.len(), "one description for each");
        let mut described = parts.feed(&bytes[..at]);
        described.extend(parts.feed(&bytes[at..]));
        described.extend(parts.finish());
        assert_eq!(described, expected, "cut at {at}");
    }
});

/// What is read of a good frame can be written again.
fn good_frame(frame: &Frame) {
    if frame.control == Control::Data {
        if let Ok(again) = encode_block(frame.address, frame.tx, &frame.body) {
            let again = decode(&again).expect("what we write can be read");
            assert_eq!((again.address, again.tx, &again.body), (frame.address, frame.tx, &frame.body));
        }
    } else {
        assert_eq!(decode(&encode_short(frame.address, frame.control, frame.tx)).as_ref(), Ok(frame));
    }
    let (transactions, overrun) = walk(&frame.body);
    let length: usize = transactions.iter().map(|one| one.data.len() + 2).sum();
    assert_eq!(length + overrun.map_or(0, |rest| rest.raw.len()), frame.body.len(), "no byte of the block is lost");
    assert!(read_pump(&frame.body).0.len() <= transactions.len() + 1);
    let says = read_controller(&frame.body);
    assert_eq!(read_controller(&write(&says)), says, "the controller's transactions survive writing");
}
