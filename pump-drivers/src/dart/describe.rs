//! Frames as JSON for people and tools: `edgectl decode` and `edgectl trace`.

use super::digits::Digits;
use super::frame::{Control, Found, Frame, Receiver, Refused, decode};
use super::message::{Command, Nozio, Overrun, Raw, Status, alarm_text, walk};
use crate::hex::{Direction, bytes_of, hex_of};
use crate::protocol::FrameDecoder;
use serde_json::{Map, Value, json};

/// Describes one frame written in hex, blanks allowed: `{"ok":true,…}` or `{"ok":false,"reason":…}`.
///
/// Without a direction it is inferred where the frame tells it, and the member `direction` says what was found: `controller`,
/// `pump`, or `unknown` where both readings are good; then `transactions` is the pump's reading and
/// `transactions_if_controller` the other.
#[must_use]
pub fn decode_line(hex: &str, direction: Option<Direction>) -> Value {
    match bytes_of(hex) {
        Ok(bytes) => match decode(&bytes) {
            Ok(frame) => describe(&frame, direction),
            Err(why) => refusal(&why),
        },
        Err(reason) => json!({"ok": false, "reason": reason}),
    }
}

/// Describes frames of a stream that may be joined or cut, in order, refused ones included.
#[derive(Default)]
pub struct StreamDecoder {
    receiver: Receiver,
    direction: Option<Direction>,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(direction: Option<Direction>) -> Self {
        Self { receiver: Receiver::default(), direction }
    }

    fn describe_all(&self, found: Vec<Found>) -> Vec<Value> {
        found
            .into_iter()
            .map(|found| match found {
                Found::Frame(frame, _) => describe(&frame, self.direction),
                Found::Refused(why, bytes) => {
                    let mut value = refusal(&why);
                    value["bytes"] = hex_of(&bytes).into();
                    value
                }
            })
            .collect()
    }
}

impl FrameDecoder for StreamDecoder {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let mut found = Vec::new();
        for byte in bytes {
            self.receiver.push(*byte, &mut found);
        }
        self.describe_all(found)
    }

    fn finish(&mut self) -> Vec<Value> {
        let mut found = Vec::new();
        self.receiver.silence(&mut found);
        self.describe_all(found)
    }
}

fn refusal(why: &Refused) -> Value {
    json!({"ok": false, "reason": why.to_string()})
}

/// Describes a good frame; see [`decode_line`] for the case without a direction.
#[must_use]
pub fn describe(frame: &Frame, direction: Option<Direction>) -> Value {
    let mut value = json!({"ok": true, "address": frame.address, "control": frame.control.word(), "tx": frame.tx});
    if let Some(crc) = frame.crc {
        // a frame whose two differ is refused before
        value["crc_wire"] = format!("{crc:04X}").into();
        value["crc_calc"] = format!("{crc:04X}").into();
        value["stuffed"] = frame.stuffed.into();
    }
    let by_controller = || Value::Array(transactions(&frame.body, controller_transaction));
    let by_pump = || Value::Array(transactions(&frame.body, pump_transaction));
    match (frame.control, direction) {
        (Control::Data, Some(Direction::Controller)) => value["transactions"] = by_controller(),
        (Control::Data, Some(Direction::Pump)) => value["transactions"] = by_pump(),
        (Control::Data, None) => {
            let (controller, pump) = (by_controller(), by_pump());
            match (is_understood(&controller), is_understood(&pump)) {
                (true, false) => {
                    value["direction"] = "controller".into();
                    value["transactions"] = controller;
                }
                (false, true) => {
                    value["direction"] = "pump".into();
                    value["transactions"] = pump;
                }
                _ => {
                    value["direction"] = "unknown".into();
                    value["transactions"] = pump;
                    value["transactions_if_controller"] = controller;
                }
            }
        }
        (_, Some(_)) => {}
        (control, None) => {
            value["direction"] = match control {
                Control::Poll | Control::AckPoll | Control::Iap => "controller",
                Control::Eot => "pump",
                Control::Ack | Control::Nak | Control::Data => "unknown",
            }
            .into();
        }
    }
    value
}

/// Whether every transaction is one that the sheet knows, with the length it should have.
fn is_understood(transactions: &Value) -> bool {
    transactions
        .as_array()
        .is_some_and(|all| !all.is_empty() && all.iter().all(|t| t.get("error").is_none() && t.get("data").is_none()))
}

fn transactions(body: &[u8], name: fn(&Raw<'_>) -> Map<String, Value>) -> Vec<Value> {
    let (raw, overrun) = walk(body);
    let mut all: Vec<Value> = raw
        .iter()
        .map(|raw| {
            let mut members = name(raw);
            members.insert("trans".into(), raw.trans.into());
            members.insert("lng".into(), raw.data.len().into());
            Value::Object(members)
        })
        .collect();
    if let Some(Overrun { raw }) = overrun {
        let mut members = json!({"error": "length overruns block", "trans": raw[0], "raw": hex_of(raw)});
        if let Some(length) = raw.get(1) {
            members["lng"] = (*length).into();
        }
        all.push(members);
    }
    all
}

fn members(name: String, rest: Value) -> Map<String, Value> {
    let mut members = match rest {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    members.insert("name".into(), name.into());
    members
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn controller_transaction(raw: &Raw<'_>) -> Map<String, Value> {
    let data = raw.data;
    let rest = match (raw.trans, data) {
        (1, [dcc]) => json!({"dcc": dcc, "command": Command::from_byte(*dcc).words()}),
        (2, nozzles) if !nozzles.is_empty() => json!({"allowed_nozzles": nozzles}),
        (3, [_, _, _, _]) => json!({"preset_volume_digits": text(data)}),
        (4, [_, _, _, _]) => json!({"preset_amount_digits": text(data)}),
        (5, prices) if !prices.is_empty() && prices.len() % 3 == 0 => {
            json!({"price_digits": prices.chunks_exact(3).map(text).collect::<Vec<_>>()})
        }
        (8 | 101..=103, [counter]) => json!({"counter": counter}),
        _ => json!({"data": hex_of(data)}),
    };
    members(format!("CD{}", raw.trans), rest)
}

fn pump_transaction(raw: &Raw<'_>) -> Map<String, Value> {
    let data = raw.data;
    let rest = match (raw.trans, data) {
        (1, [status]) => json!({"status": status, "status_name": Status::from_byte(*status).words()}),
        (2, _) if data.len() == 8 => {
            json!({"volume_digits": text(&data[..4]), "amount_digits": text(&data[4..])})
        }
        (3, &[a, b, c, nozio]) => json!({
            "price_digits": Digits([a, b, c]).text(),
            "nozzle": nozio & 0x0F,
            "nozzle_out": Nozio(nozio).is_out(),
            "nozio": nozio,
        }),
        (5, [code]) => json!({"alarm": code, "alarm_name": alarm_text(*code).unwrap_or("unknown")}),
        (9, _) if data.len() == 5 => json!({"identity_digits": text(data)}),
        (101 | 102, _) if data.len() == 16 => json!({
            "counter": data[0],
            "total_digits": text(&data[1..6]),
            "total1_digits": text(&data[6..11]),
            "total2_digits": text(&data[11..]),
        }),
        (101 | 102, _) if data.len() == 6 => json!({"counter": data[0], "total_digits": text(&data[1..])}),
        (101 | 102, _) if data.len() == 13 => json!({
            "counter": data[0],
            "total_digits": text(&data[1..7]),
            "total1_digits": text(&data[7..]),
        }),
        _ => json!({"data": hex_of(data)}),
    };
    members(format!("DC{}", raw.trans), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_inferred_where_the_frame_tells_it() {
        for (hex, direction) in [
            ("57 20 FA", "controller"),
            ("5770fa", "pump"),
            ("57 C1 FA", "unknown"),
            ("57 31 65 01 01 AB 7F 03 FA", "controller"),
            ("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA", "unknown"),
            ("57 32 03 04 01 05 00 11 77 1B 03 FA", "unknown"),
            ("57 31 65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00 D5 3E 03 FA", "pump"),
        ] {
            assert_eq!(decode_line(hex, None)["direction"], direction, "{hex}");
        }
        assert!(decode_line("57 20 FA", Some(Direction::Controller)).get("direction").is_none());
    }

    #[test]
    fn text_that_is_no_hex_is_refused_with_its_place() {
        assert_eq!(decode_line("57 2x FA", None)["reason"], "'x' at position 5 is no hexadecimal digit");
        assert_eq!(decode_line("57 2", None)["reason"], "3 hexadecimal digits: the last byte lacks one");
        assert_eq!(decode_line("", None)["reason"], "no bytes");
    }

    #[test]
    fn joined_and_cut_frames_come_out_in_order() {
        let mut stream = StreamDecoder::new(Some(Direction::Pump));
        let mut all = stream.feed_hex("57 70 FA 57 36 02 08 00 57 C1 FA 51");
        all.extend(stream.feed_hex("70 FA 98"));
        all.extend(stream.feed_hex("57 3"));
        all.extend(stream.feed_hex("57 70 FA 57 31 01"));
        all.extend(stream.finish());
        let seen: Vec<String> = all
            .iter()
            .map(|v| v["control"].as_str().or(v["bytes"].as_str()).or(v["reason"].as_str()).unwrap_or("?").to_owned())
            .collect();
        assert_eq!(
            seen,
            [
                "EOT",
                "57 36 02 08 00",
                "ACK",
                "EOT",
                "3 hexadecimal digits: the last byte lacks one",
                "98",
                "EOT",
                "57 31 01",
            ]
            .map(String::from)
        );
    }
}
