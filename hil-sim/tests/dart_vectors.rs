//! The device side of DART against frames from captures, logs and public code.

use forecourt::time::Instant;
use hil_sim::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};
use hil_sim::dispenser::dart::frame::{self, BlockNumber, Heard, Receiver};
use hil_sim::dispenser::dart::message::{Order, Report, Status, TotalsForm, orders};
use hil_sim::dispenser::{Address, NozzleIndex};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/dart-vectors.json")).expect("the vectors are JSON");
    assert!(all.len() > 100);
    all
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}

fn small(value: &Value) -> u8 {
    value.as_u64().and_then(|number| u8::try_from(number).ok()).unwrap_or_else(|| panic!("{value} is no byte"))
}

fn digits(value: &Value) -> u64 {
    value.as_str().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{value} are no digits"))
}

fn narrow(value: &Value) -> u32 {
    u32::try_from(digits(value)).expect("eight digits")
}

fn hear(frame: &[u8]) -> Vec<Heard> {
    let mut receiver = Receiver::new(Address(frame[0]));
    frame.iter().filter_map(|byte| receiver.push(*byte, Instant::START)).map(|(heard, _)| heard).collect()
}

/// What a transaction of the vectors orders.
fn ordered(transaction: &Value) -> Order {
    match small(&transaction["trans"]) {
        1 => match small(&transaction["dcc"]) {
            0 => Order::ReturnStatus,
            3 => Order::ReturnIdentity,
            4 => Order::ReturnFilling,
            5 => Order::Reset,
            6 => Order::Authorise,
            8 => Order::Stop,
            0x0A => Order::SwitchOff,
            other => panic!("command {other} in the vectors"),
        },
        2 => {
            let nozzles = transaction["allowed_nozzles"].as_array().expect("nozzles");
            Order::Allow(nozzles.iter().map(|nozzle| NozzleIndex(small(nozzle))).collect())
        }
        3 => Order::PresetVolume(VolumeDigits(narrow(&transaction["preset_volume_digits"]))),
        4 => Order::PresetAmount(AmountDigits(narrow(&transaction["preset_amount_digits"]))),
        5 => {
            let prices = transaction["price_digits"].as_array().expect("prices");
            Order::Prices(prices.iter().map(|price| PriceDigits(narrow(price))).collect())
        }
        14 => Order::Suspend(NozzleIndex(0)),
        101 => Order::Totals(small(&transaction["counter"])),
        102 => Order::AmountTotals(small(&transaction["counter"])),
        other => Order::Unknown(other),
    }
}

#[test]
fn every_good_frame_of_a_controller_is_taken_as_what_it_means() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|vector| vector["direction"] == "controller_to_pump") {
        let (hex, decoded) = (vector["hex"].as_str().expect("hex"), &vector["decoded"]);
        if vector["checksum"] == "wrong" {
            continue;
        }
        seen += 1;
        let number = BlockNumber::of(small(&decoded["tx"]));
        let heard = hear(&bytes(hex));
        match decoded["control"].as_str().expect("a control") {
            "POLL" => assert_eq!(heard, [Heard::Poll], "{hex}"),
            "ACKPOLL" => assert_eq!(heard, [Heard::AckPoll(number)], "{hex}"),
            _ => {
                let [Heard::Block(got, transactions)] = &heard[..] else { panic!("{hex} is heard as {heard:?}") };
                let meant: Vec<_> =
                    decoded["transactions"].as_array().expect("transactions").iter().map(ordered).collect();
                assert_eq!((*got, orders(transactions)), (number, meant), "{hex}");
            }
        }
    }
    assert!(seen > 50, "{seen} frames");
}

#[test]
fn no_block_of_a_controller_with_a_wrong_ending_is_executed() {
    let mut seen = 0;
    for vector in vectors() {
        if vector["checksum"] == "wrong" {
            let hex = vector["hex"].as_str().expect("hex");
            let heard = hear(&bytes(hex));
            assert!(!heard.iter().any(|heard| matches!(heard, Heard::Block(..))), "{hex} is heard as {heard:?}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} frames");
}

/// The report that a transaction of the vectors is.
fn reported(transaction: &Value) -> Option<Report> {
    let data = || bytes(transaction["data"].as_str().expect("data"));
    Some(match small(&transaction["trans"]) {
        1 => Report::Status(match small(&transaction["status"]) {
            0 => Status::NotProgrammed,
            1 => Status::Reset,
            2 => Status::Authorised,
            4 => Status::Filling,
            5 => Status::Completed,
            6 => Status::MaxReached,
            7 => Status::SwitchedOff,
            8 => Status::Suspended,
            other => panic!("status {other} in the vectors"),
        }),
        2 => Report::Filling(
            VolumeDigits(narrow(&transaction["volume_digits"])),
            AmountDigits(narrow(&transaction["amount_digits"])),
        ),
        3 => Report::Nozzle(
            PriceDigits(narrow(&transaction["price_digits"])),
            NozzleIndex(small(&transaction["nozzle"])),
            transaction["nozzle_out"].as_bool().expect("in or out"),
        ),
        9 => Report::Identity(digits(&transaction["identity_digits"])),
        14 => Report::Suspended(NozzleIndex(data()[0])),
        15 => Report::Resumed(NozzleIndex(data()[0])),
        101 if transaction.get("error").is_none() => {
            let total = digits(&transaction["total_digits"]);
            let form = match (small(&transaction["lng"]), transaction.get("total1_digits").map(digits)) {
                (6, _) => TotalsForm::Six,
                (16, Some(second)) if second == total => TotalsForm::SixteenTwice,
                _ => TotalsForm::SixteenOnce,
            };
            Report::Totals { trans: 101, counter: small(&transaction["counter"]), total, amount: 0, form }
        }
        // The form with 15 bytes: the total is the first ten digits after the length.
        101 => {
            Report::Totals { trans: 101, counter: 1, total: 73_079, amount: 0, form: TotalsForm::SixteenWithFifteen }
        }
        // Parameters with a grade list and private transactions are not simulated.
        7 | 100 => return None,
        other => panic!("transaction {other} in the vectors"),
    })
}

#[test]
fn every_good_frame_of_a_pump_can_be_sent_byte_for_byte() {
    let (mut seen, mut left_out) = (0, 0);
    for vector in vectors().iter().filter(|vector| vector["direction"] == "pump_to_controller") {
        let (hex, decoded) = (vector["hex"].as_str().expect("hex"), &vector["decoded"]);
        if vector["checksum"] == "wrong" {
            continue;
        }
        let (address, number) = (Address(small(&decoded["address"])), BlockNumber::of(small(&decoded["tx"])));
        let sent = match decoded["control"].as_str().expect("a control") {
            "NAK" => frame::short(address, 5, number),
            "EOT" => frame::short(address, 7, number),
            "ACK" => frame::short(address, 0xC, number),
            _ => {
                let transactions = decoded["transactions"].as_array().expect("transactions");
                let Some(reports) = transactions.iter().map(reported).collect::<Option<Vec<_>>>() else {
                    left_out += 1;
                    continue;
                };
                let mut data = Vec::new();
                reports.iter().for_each(|report| report.write(&mut data));
                frame::block(address, number, &data)
            }
        };
        assert_eq!(sent, bytes(hex), "{hex}");
        seen += 1;
    }
    assert!(seen > 60 && left_out == 2, "{seen} sent, {left_out} left out");
}
