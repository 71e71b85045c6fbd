//! The frames of a sheet's vector file.
#![allow(dead_code, reason = "each test file uses a part")]

use pump_drivers::hex::{Direction, bytes_of};
use serde_json::Value;

pub struct Vector {
    pub hex: String,
    pub bytes: Vec<u8>,
    pub direction: Direction,
    pub decoded: Value,
    /// `right` or `wrong` where the file says it, else empty.
    pub checksum: String,
}

/// All frames of a file that holds so many.
pub fn load(file: &str, count: usize) -> Vec<Vector> {
    let all: Vec<Value> = serde_json::from_str(file).expect("the vector file is JSON");
    assert_eq!(all.len(), count);
    let of = |vector: Value| {
        assert!(matches!(vector["expect"].as_str(), None | Some("accept")), "{vector}");
        let hex = vector["hex"].as_str().expect("hex").to_owned();
        Vector {
            bytes: bytes_of(&hex).expect("hex"),
            hex,
            direction: match vector["direction"].as_str().expect("direction") {
                "controller_to_pump" | "host->dispenser" => Direction::Controller,
                "pump_to_controller" | "dispenser->host" => Direction::Pump,
                other => panic!("unknown direction {other}"),
            },
            decoded: vector["decoded"].clone(),
            checksum: vector["checksum"].as_str().unwrap_or_default().to_owned(),
        }
    };
    all.into_iter().map(of).collect()
}
