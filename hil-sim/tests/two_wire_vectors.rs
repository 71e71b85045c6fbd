//! The device side of two-wire against words and blocks from captures, notes and public code.

use hil_sim::dispenser::Address;
use hil_sim::dispenser::calculator::PriceDigits;
use hil_sim::dispenser::two_wire::words::{self, Meters, Order, Sale};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("data/two-wire-vectors.json")).expect("the vectors are JSON")
}

fn bytes(vector: &Value) -> Vec<u8> {
    let hex = vector["hex"].as_str().expect("hex");
    hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}

fn small(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|number| u8::try_from(number).ok())
}

fn number<N: core::str::FromStr>(value: &Value) -> N {
    value.as_str().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{value} are no digits"))
}

/// What a block of the vectors orders; `None` for what is no block of a controller.
fn ordered(decoded: &Value) -> Option<Order> {
    let (level, grade) = (small(&decoded["price_level"]), small(&decoded["grade_index"]));
    Some(match decoded["kind"].as_str()? {
        "price change" => Order::Price(level?, grade?, PriceDigits(number(&decoded["ppu_digits"]))),
        "price level change" => Order::Level(level?),
        "special function" => Order::ExtendedStatus,
        "preset" if decoded["preset"] == "money" => Order::PresetMoney(level, grade, number(&decoded["preset_digits"])),
        "preset" => Order::PresetVolume(level, grade, number(&decoded["preset_digits"])),
        _ => return None,
    })
}

#[test]
fn every_block_of_a_controller_is_understood_and_a_wrong_one_refused() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|v| v["direction"] == "controller_to_pump") {
        let Some(order) = ordered(&vector["decoded"]) else { continue };
        let wanted = (vector["checksum"] == "verified").then_some(order);
        assert_eq!(words::read(&bytes(vector), true), wanted, "{}", vector["hex"]);
        seen += 1;
    }
    assert_eq!(seen, 15);
}

#[test]
fn a_block_with_a_wrong_length_word_is_taken_by_a_head_that_does_not_look_at_it() {
    // one driver always sends E3
    let price = [0xFF, 0xE3, 0xF4, 0xF6, 0xE0, 0xF7, 0xE0, 0xE5, 0xE0, 0xE1, 0xFB, 0xEC, 0xF0];
    assert_eq!(words::read(&price, true), None);
    assert_eq!(words::read(&price, false), Some(Order::Price(1, 0, PriceDigits(1_050))));
}

#[test]
fn what_a_pump_says_is_written_word_for_word() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|v| v["direction"] == "pump_to_controller" && v["checksum"] == "verified") {
        let decoded = &vector["decoded"];
        let pump = Address(small(&decoded["pump"]).unwrap_or(7));
        let words = match decoded["kind"].as_str().expect("a kind") {
            // a simulated pump sells at level 1 and says EB
            "transaction" if decoded["price_level"] == 1 => {
                let sale = Sale {
                    grade: small(&decoded["grade_index"]).expect("a grade"),
                    price: number(&decoded["ppu_digits"]),
                    volume: number(&decoded["volume_digits"]),
                    money: number(&decoded["money_digits"]),
                };
                words::transaction(pump, &sale, false)
            }
            "totals" => {
                let grades = decoded["grades"].as_array().expect("grades");
                if grades.iter().any(|grade| grade["ppu_level2_digits"] != "0000") {
                    continue;
                }
                let meters = grades.iter().map(|grade| Meters {
                    volume: number(&grade["volume_total_digits"]),
                    money: number(&grade["money_total_digits"]),
                    price: number(&grade["ppu_level1_digits"]),
                });
                words::totals(&meters.collect::<Vec<_>>(), false)
            }
            _ => continue,
        };
        assert_eq!(words, bytes(vector), "{}", vector["hex"]);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn extended_status_names_pump_and_hose_and_its_checksum_fits() {
    let hex = |word: &u8| char::from(word & 0x7F).to_digit(16).expect("a hex character");
    for (pump, hose) in [(2, 2), (10, 1), (16, 3), (7, 0)] {
        let words = words::extended_status(Address(pump), hose);
        assert_eq!((words.len(), words[0], &words[17..]), (19, 0xBA, &[0x8D, 0x8A][..]));
        let nibbles: Vec<u32> = words[1..17].iter().map(hex).collect();
        let sum: u32 = nibbles.chunks(2).map(|pair| pair[0] * 16 + pair[1]).sum();
        assert_eq!(sum % 256, 0);
        assert_eq!((nibbles[2], nibbles[13]), (u32::from(pump % 16), u32::from(hose)));
    }
}
