//! Every frame of the vector file: described as stated, refused where it is wrong, and where it is a question or an answer of a
//! master, written and taken by the driver's own framing.

use pump_drivers::hex::Direction;
use pump_drivers::modbus::point::{FLOAT_DIGITS, Order, Point, Raw, Scale, ValueType};
use pump_drivers::modbus::wire::{Answer, Area, Framing, Question, Taken, Talk};
use pump_drivers::modbus::{StreamDecoder, decode_line};
use pump_drivers::protocol::FrameDecoder;
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("data/modbus-vectors.json")).expect("the vector file is JSON");
    assert_eq!(all.len(), 30);
    all
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap_or_else(|| panic!("{key} of {vector}"))
}

fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

fn frames() -> Vec<(Value, Direction)> {
    let direction = |vector: &Value| match text(vector, "direction") {
        "master->slave" => Some(Direction::Controller),
        "slave->master" => Some(Direction::Pump),
        _ => None,
    };
    vectors().into_iter().filter_map(|vector| Some((vector.clone(), direction(&vector)?))).collect()
}

/// What stands in a frame; the others say what a value means by a map.
const MEMBERS: [&str; 12] = [
    "unit",
    "fc",
    "coil",
    "value",
    "values",
    "raw_value",
    "register",
    "registers",
    "count",
    "input",
    "bits",
    "exception",
];

#[test]
fn each_good_frame_is_described_as_stated_and_each_wrong_one_refused() {
    let frames = frames();
    assert_eq!(frames.len(), 26);
    for (vector, direction) in frames {
        let line = text(&vector, "hex");
        let told = decode_line(line, Some(direction));
        assert_eq!(told["ok"], text(&vector, "expect") == "accept", "{line}: {told}");
        let mut stream = StreamDecoder::new(Some(direction));
        let mut found = stream.feed(&hex(line));
        found.extend(stream.finish());
        if told["ok"] == false {
            assert!(told["reason"].as_str().is_some_and(|why| why.contains("90 0C")), "{told}");
            assert!(!found.is_empty() && found.iter().all(|value| value["ok"] == false), "{found:?}");
            continue;
        }
        assert_eq!(found, std::slice::from_ref(&told), "{line} in a stream");
        let stated = vector["decoded"].as_object().expect("members");
        for (key, value) in stated.iter().filter(|(key, _)| MEMBERS.contains(&key.as_str()) || *key == "tx") {
            assert_eq!(&told[key], value, "{key} of {line}: {told}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_frame_with_a_check_sum_is_refused() {
    for (vector, direction) in frames().into_iter().filter(|(vector, _)| text(vector, "checksum") == "verified") {
        let good = hex(text(&vector, "hex"));
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let line: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(decode_line(&line, Some(direction))["ok"], false, "{line} bit {bit}");
        }
    }
}

#[test]
fn joined_frames_come_out_one_by_one_however_the_bytes_are_split() {
    let good: Vec<String> = frames()
        .into_iter()
        .filter(|(vector, direction)| *direction == Direction::Controller && text(vector, "checksum") == "verified")
        .map(|(vector, _)| text(&vector, "hex").to_owned())
        .collect();
    let joined = hex(&good.join(" "));
    let expected: Vec<Value> = good.iter().map(|line| decode_line(line, Some(Direction::Controller))).collect();
    for piece in [1, 3, 7, joined.len()] {
        let mut stream = StreamDecoder::new(Some(Direction::Controller));
        let mut found: Vec<Value> = joined.chunks(piece).flat_map(|bytes| stream.feed(bytes)).collect();
        found.extend(stream.finish());
        assert_eq!(found, expected, "in pieces of {piece}");
    }
}

/// The question that a described request asks, if the driver asks such.
fn question(told: &Value) -> Option<Question> {
    let number = |key: &str| told[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(match told["fc"].as_u64()? {
        1 => Question::Read { area: Area::Coil, address: number("coil")?, count: number("count")? },
        2 => Question::Read { area: Area::Discrete, address: number("input")?, count: number("count")? },
        3 => Question::Read { area: Area::Holding, address: number("register")?, count: number("count")? },
        4 => Question::Read { area: Area::Input, address: number("register")?, count: number("count")? },
        5 => Question::WriteCoil { address: number("coil")?, on: told["value"].as_bool()? },
        6 => Question::WriteRegister { address: number("register")?, value: number("value")? },
        _ => return None,
    })
}

#[test]
fn the_drivers_framing_writes_each_request_byte_for_byte() {
    let mut written = 0;
    for (vector, _) in frames().iter().filter(|(_, direction)| *direction == Direction::Controller) {
        let line = text(vector, "hex");
        let told = decode_line(line, Some(Direction::Controller));
        let Some(question) = question(&told) else { continue };
        let unit = u8::try_from(told["unit"].as_u64().expect("a unit")).expect("a byte");
        let (framing, transaction) = match told["tx"].as_u64() {
            Some(number) => (Framing::Tcp, u16::try_from(number).expect("16 bits")),
            None => (Framing::Rtu, 0),
        };
        let bytes = Talk::new(framing, transaction).ask(unit, question).expect("asked");
        assert_eq!(bytes, hex(line), "{}", text(vector, "meaning"));
        written += 1;
    }
    assert_eq!(written, 16);
}

#[test]
fn the_drivers_framing_takes_answers_and_refuses_one_with_a_wrong_check_sum() {
    let read = |area, address, count| Question::Read { area, address, count };
    for (id, unit, question, answer) in [
        ("M14", 255, read(Area::Discrete, 0, 8), Some(Answer::Bits([true].into_iter().chain([false; 7]).collect()))),
        ("M19", 2, read(Area::Coil, 0, 8), None),
        ("M20", 1, Question::WriteCoil { address: 9, on: true }, Some(Answer::Exception(2))),
        ("M31", 1, read(Area::Input, 0, 1), Some(Answer::Registers(vec![0x4600]))),
        ("M41", 1, read(Area::Holding, 10, 2), Some(Answer::Registers(vec![0x022F, 0x8000]))),
    ] {
        let vector = vectors().into_iter().find(|vector| vector["id"] == id).expect("such a vector");
        let mut talk = Talk::new(Framing::Rtu, 0);
        talk.ask(unit, question).expect("asked");
        let taken = hex(text(&vector, "hex")).into_iter().map(|byte| talk.take(byte)).find_map(|taken| match taken {
            Taken::Answer(answer) => Some(answer),
            _ => None,
        });
        assert_eq!(taken, answer, "{id}");
    }
    let mut talk = Talk::new(Framing::Tcp, 2);
    talk.ask(1, read(Area::Holding, 0, 1)).expect("asked");
    let taken: Vec<Taken> = hex("00 02 00 00 00 03 01 83 02").into_iter().map(|byte| talk.take(byte)).collect();
    assert_eq!(taken.last(), Some(&Taken::Answer(Answer::Exception(2))), "M47");
}

#[test]
fn values_are_read_in_the_order_that_is_named() {
    let samples: Vec<Value> = vectors().into_iter().filter(|vector| vector["decoded"]["u32"].is_u64()).collect();
    assert_eq!(samples.len(), 3);
    for sample in samples {
        let order = match text(&sample, "id") {
            "MO_ABCD" => Order::Abcd,
            "MO_CDAB" => Order::Cdab,
            "MO_DCBA" => Order::Dcba,
            other => panic!("{other}"),
        };
        let point = Point {
            area: Area::Holding,
            address: 0,
            kind: ValueType::U32,
            order,
            scale: Scale::ONE,
            writable: false,
            invalid: Vec::new(),
            values: Vec::new(),
            bit: None,
            active_low: false,
            expect: None,
        };
        let bytes = hex(text(&sample, "hex"));
        let words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!(point.raw(&words), sample["decoded"]["u32"].as_i64().map(Raw), "{order:?}");
    }
}

#[test]
fn a_float_is_read_as_stated() {
    let all = vectors();
    let samples: Vec<&Value> = all.iter().filter(|vector| vector["decoded"]["f32"].is_number()).collect();
    let [sample] = samples.as_slice() else { panic!("{samples:?}") };
    assert_eq!((text(sample, "id"), sample["decoded"]["f32"].as_f64()), ("MF_ABCD", Some(1_234.5)));
    let point = Point {
        area: Area::Holding,
        address: 0,
        kind: ValueType::F32,
        order: Order::Abcd,
        scale: Scale::new(1_000, 1 << FLOAT_DIGITS).expect("positive"),
        writable: false,
        invalid: Vec::new(),
        values: Vec::new(),
        bit: None,
        active_low: false,
        expect: None,
    };
    let bytes = hex(text(sample, "hex"));
    let words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    assert_eq!(point.raw(&words).and_then(|raw| point.units(raw)), Some(1_234_500), "litres in millilitres");
}
