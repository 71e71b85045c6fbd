//! Frames as JSON for people and tools: `edgectl decode` and `edgectl trace`.

use super::frame::{Frame, Receiver, Refused, Step, decode};
use super::message::{ControllerSays, Limit, PumpSays, Status};
use crate::hex::{Direction, bytes_of, hex_of};
use crate::protocol::FrameDecoder;
use serde_json::{Value, json};

/// Describes one frame written in hex, blanks allowed: `{"ok":true,…}` or `{"ok":false,"reason":…}`.
///
/// Without a direction the frame's length tells it, and the member `direction` says what was found: `controller`, `pump`, or
/// `unknown` for the one frame that both send (D).
#[must_use]
pub fn decode_line(hex: &str, direction: Option<Direction>) -> Value {
    match bytes_of(hex) {
        Ok(bytes) => match decode(&bytes, direction) {
            Ok(frame) => describe(&frame, direction),
            Err(why) => refusal(&why),
        },
        Err(reason) => json!({"ok": false, "reason": reason}),
    }
}

/// Describes frames of a stream that may be joined or cut, in order. After a bad frame all is refused until [`StreamDecoder::finish`],
/// for only silence begins a new one.
#[derive(Debug)]
pub struct StreamDecoder {
    receiver: Receiver,
    direction: Option<Direction>,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(direction: Option<Direction>) -> Self {
        Self { receiver: Receiver::new(direction), direction }
    }
}

impl FrameDecoder for StreamDecoder {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let mut found = Vec::new();
        for byte in bytes {
            if let Step::Frame(frame) = self.receiver.push(*byte) {
                found.push(describe(&frame, self.direction));
            }
        }
        found
    }

    fn finish(&mut self) -> Vec<Value> {
        let left = self.receiver.silence();
        left.map(|(why, bytes)| {
            let mut value = refusal(&why);
            value["bytes"] = hex_of(&bytes).into();
            value
        })
        .into_iter()
        .collect()
    }
}

fn refusal(why: &Refused) -> Value {
    json!({"ok": false, "reason": why.to_string()})
}

/// Describes a good frame; see [`decode_line`] for the case without a direction.
#[must_use]
pub fn describe(frame: &Frame, direction: Option<Direction>) -> Value {
    let mut value = match frame.direction {
        Some(Direction::Pump) => PumpSays::read(&frame.body).map(|says| pump(&says)),
        _ => ControllerSays::read(&frame.body).map(|says| controller(&says)),
    }
    .unwrap_or_else(|| json!({"error": "data that the letter cannot have", "data": hex_of(&frame.body)}));
    value["ok"] = true.into();
    value["address"] = frame.address.into();
    if direction.is_none() {
        value["direction"] = match frame.direction {
            Some(Direction::Controller) => "controller",
            Some(Direction::Pump) => "pump",
            None => "unknown",
        }
        .into();
    }
    value
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn controller(says: &ControllerSays) -> Value {
    match says {
        ControllerSays::Authorise(nozzle, Limit::Volume(limit), price) => {
            json!({"cmd": "V", "nozzle": nozzle.0, "volume_cl": limit.number(), "price": price.number()})
        }
        ControllerSays::Authorise(nozzle, Limit::Money(limit), price) => {
            json!({"cmd": "M", "nozzle": nozzle.0, "money": limit.number(), "price": price.number()})
        }
        ControllerSays::Totaliser(nozzle) => json!({"cmd": "C", "nozzle": nozzle.0}),
        ControllerSays::WriteParameter(number, value) => {
            json!({"cmd": "W", "param": text(number), "value": text(value)})
        }
        ControllerSays::ReadParameter(number) => json!({"cmd": "Z", "arg": text(number)}),
        ControllerSays::Channel(channel) => json!({"cmd": "D", "arg": text(channel)}),
        plain => json!({"cmd": text(&plain.write())}),
    }
}

fn pump(says: &PumpSays) -> Value {
    let state = |status: &Status| status.number();
    match says {
        PumpSays::Status(status, nozzle) => {
            json!({"cmd": "S", "state": state(status), "state_name": status.words(), "nozzle": nozzle.0})
        }
        PumpSays::Volume(nozzle, letter, status, volume) => json!({
            "cmd": "L", "nozzle": nozzle.0, "txn": letter.to_string(), "state": state(status), "volume_cl": volume.number(),
        }),
        PumpSays::Money(nozzle, letter, status, money) => json!({
            "cmd": "R", "nozzle": nozzle.0, "txn": letter.to_string(), "state": state(status), "money": money.number(),
        }),
        PumpSays::Transaction(sale) => json!({
            "cmd": "T",
            "nozzle": sale.nozzle.0,
            "txn": sale.letter.to_string(),
            "state": state(&sale.status),
            "money": sale.money.number(),
            "volume_cl": sale.volume.number(),
            "price": sale.price.number(),
        }),
        PumpSays::Totaliser(nozzle, total) => json!({"cmd": "C", "nozzle": nozzle.0, "total_cl": total.number()}),
        PumpSays::Parameter(number, value) => json!({"cmd": "Z", "param": text(number), "value": text(value)}),
        PumpSays::Channel(channel) => json!({"cmd": "D", "arg": text(channel)}),
    }
}
