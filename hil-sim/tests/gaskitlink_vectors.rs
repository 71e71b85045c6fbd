//! The device side of GasKitLink against frames from logs and public code.

use forecourt::time::Instant;
use hil_sim::dispenser::NozzleIndex;
use hil_sim::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};
use hil_sim::dispenser::gaskitlink::frame::{Receiver, frame};
use hil_sim::dispenser::gaskitlink::message::{Letter, Most, Reply, Request, State, request};
use serde_json::Value;

fn vectors(direction: &str) -> Vec<Value> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("data/gaskitlink-vectors.json")).expect("the vectors are JSON");
    all.into_iter().filter(|vector| vector["direction"] == direction).collect()
}

fn bytes(vector: &Value) -> Vec<u8> {
    let hex = vector["hex"].as_str().expect("hex");
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn nozzle(decoded: &Value) -> NozzleIndex {
    NozzleIndex(u8::try_from(number(&decoded["nozzle"])).expect("a digit"))
}

fn text<const N: usize>(value: &Value) -> [u8; N] {
    value.as_str().expect("text").as_bytes().try_into().expect("as long")
}

fn meant(decoded: &Value) -> Request {
    match decoded["cmd"].as_str().expect("a command") {
        "S" => Request::Status,
        "L" => Request::RunningVolume,
        "T" => Request::Transaction,
        "N" => Request::Close,
        "B" => Request::Stop,
        "C" => Request::Totaliser(nozzle(decoded)),
        "M" => Request::Authorise {
            nozzle: nozzle(decoded),
            most: Most::Money(AmountDigits(number(&decoded["money"]))),
            price: PriceDigits(number(&decoded["price"])),
        },
        "W" => Request::WriteParameter(text(&decoded["param"]), text(&decoded["value"])),
        "Z" => Request::ReadParameter(text(&decoded["arg"])),
        "D" => Request::Channel(text(&decoded["arg"])),
        other => panic!("command {other} in the vectors"),
    }
}

#[test]
fn every_frame_of_the_host_is_taken_as_what_it_means() {
    let vectors = vectors("host->dispenser");
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let (mut receiver, bytes) = (Receiver::default(), bytes(&vector));
        let heard: Vec<_> = bytes.iter().filter_map(|byte| receiver.push(*byte, Instant::START)).collect();
        let [heard] = &heard[..] else { panic!("{vector} is heard as {heard:?}") };
        assert_eq!(heard.address, u16::from(bytes[1]) << 8 | u16::from(bytes[2]));
        assert_eq!(request(&heard.body), meant(&vector["decoded"]), "{vector}");
    }
}

fn said(decoded: &Value) -> Reply {
    let state = match number(&decoded["state"]) {
        1 => State::Idle,
        2 => State::Calling,
        4 => State::Started,
        6 => State::Fuelling,
        8 => State::Stopped,
        9 => State::EndOfTransaction,
        other => panic!("state {other} in the vectors"),
    };
    let letter = || Letter::of(text::<1>(&decoded["txn"])[0]);
    match decoded["cmd"].as_str().expect("a command") {
        "S" => Reply::Status(state, nozzle(decoded)),
        "R" => Reply::Money(nozzle(decoded), letter(), state, AmountDigits(number(&decoded["money"]))),
        "T" => Reply::Transaction(
            nozzle(decoded),
            letter(),
            state,
            AmountDigits(number(&decoded["money"])),
            VolumeDigits(number(&decoded["volume_cl"])),
            PriceDigits(number(&decoded["price"])),
        ),
        other => panic!("reply {other} in the vectors"),
    }
}

#[test]
fn every_frame_of_a_post_can_be_sent_byte_for_byte() {
    let vectors = vectors("dispenser->host");
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let bytes = bytes(&vector);
        let address = u16::from(bytes[1]) << 8 | u16::from(bytes[2]);
        assert_eq!(frame(address, &said(&vector["decoded"]).body()), bytes, "{vector}");
    }
}
