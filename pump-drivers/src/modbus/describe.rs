//! Frames as JSON for people and tools. Read here on their own and not by the driver's framing, whose library keeps its codec to itself.

use crate::hex::{Direction, bytes_of, hex_of};
use crate::modbus::driver::exception_text;
use crate::protocol::FrameDecoder;
use serde_json::{Value, json};

/// Longest frame of Modbus TCP; RTU is shorter.
const LONGEST: usize = 260;

/// Describes one frame written in hex, blanks allowed: `{"ok":true,…}` or `{"ok":false,"reason":…}`. RTU is tried first, then Modbus
/// TCP. Without a direction both are tried, and the member `direction` says which fits: `controller`, `pump`, or `unknown`.
#[must_use]
pub fn decode_line(hex: &str, direction: Option<Direction>) -> Value {
    match bytes_of(hex) {
        Ok(bytes) if bytes.is_empty() => refusal("no bytes", &bytes),
        Ok(bytes) => whole(&bytes, direction).unwrap_or_else(|| refusal(&why_not(&bytes), &bytes)),
        Err(reason) => json!({"ok": false, "reason": reason}),
    }
}

/// Describes frames of a stream that may be joined or cut, in order, refused bytes included.
#[derive(Default)]
pub struct StreamDecoder {
    bytes: Vec<u8>,
    skipped: Vec<u8>,
    direction: Option<Direction>,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(direction: Option<Direction>) -> Self {
        Self { bytes: Vec::new(), skipped: Vec::new(), direction }
    }

    /// Takes out all that is complete; at the end of the stream nothing more is waited for.
    fn take(&mut self, ended: bool) -> Vec<Value> {
        let mut all = Vec::new();
        while !self.bytes.is_empty() {
            let lengths = lengths(&self.bytes, self.direction);
            let found = lengths
                .iter()
                .filter(|length| **length <= self.bytes.len())
                .find_map(|length| whole(&self.bytes[..*length], self.direction).map(|value| (*length, value)));
            if let Some((length, value)) = found {
                all.extend(self.refused());
                all.push(value);
                self.bytes.drain(..length);
            } else if !ended && (self.bytes.len() < 3 || lengths.iter().any(|length| *length > self.bytes.len())) {
                break;
            } else {
                self.skipped.push(self.bytes.remove(0));
            }
        }
        if ended {
            all.extend(self.refused());
        }
        all
    }

    fn refused(&mut self) -> Option<Value> {
        let bytes = core::mem::take(&mut self.skipped);
        (!bytes.is_empty()).then(|| refusal(&why_not(&bytes), &bytes))
    }
}

impl FrameDecoder for StreamDecoder {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        self.bytes.extend_from_slice(bytes);
        self.take(false)
    }

    fn finish(&mut self) -> Vec<Value> {
        self.take(true)
    }
}

fn refusal(reason: &str, bytes: &[u8]) -> Value {
    json!({"ok": false, "reason": reason, "bytes": hex_of(bytes)})
}

fn why_not(bytes: &[u8]) -> String {
    let Some((body, sum)) = bytes.split_last_chunk::<2>().filter(|(body, _)| body.len() >= 2) else {
        return format!("{} bytes are no frame: unit, function and check sum are at least 4", bytes.len());
    };
    let expected = crc16(body).to_le_bytes();
    if *sum == expected {
        "its length does not fit its function".into()
    } else {
        format!("check sum {} and not {}, and no Modbus TCP header", hex_of(sum), hex_of(&expected))
    }
}

/// The CRC-16 of RTU: start FFFF, A001 reflected, low byte first on the wire (Modbus sheet, section 1).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

/// Lengths that a frame with this beginning may have.
fn lengths(bytes: &[u8], direction: Option<Direction>) -> Vec<usize> {
    let at = |index: usize| bytes.get(index).map(|byte| usize::from(*byte));
    let mut all = Vec::new();
    let (request, response) = (direction != Some(Direction::Pump), direction != Some(Direction::Controller));
    match at(1) {
        Some(1..=4) => {
            all.extend(request.then_some(8));
            all.extend(at(2).filter(|_| response).map(|count| 5 + count));
        }
        Some(5 | 6) => all.push(8),
        Some(15 | 16) => {
            all.extend(response.then_some(8));
            // until its count of bytes is there it is longer than what there is
            all.extend(request.then(|| 9 + at(6).unwrap_or(1)));
        }
        Some(0x81..=0x90) => all.extend(response.then_some(5)),
        _ => {}
    }
    if let [_, _, 0, 0, high, low, ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        all.extend((3..=LONGEST - 6).contains(&length).then_some(6 + length));
    } else if matches!(bytes, [_, _, 0] | [_, _, 0, 0] | [_, _, 0, 0, _]) {
        // a header that is cut: the shortest frame is longer than what there is
        all.push(9);
    }
    all.sort_unstable();
    all
}

/// The description of exactly these bytes.
fn whole(bytes: &[u8], direction: Option<Direction>) -> Option<Value> {
    let rtu = bytes.split_last_chunk::<2>().filter(|(body, sum)| body.len() >= 2 && crc16(body).to_le_bytes() == **sum);
    if let Some((body, _)) = rtu
        && let Some(mut value) = described(body[0], &body[1..], direction)
    {
        value["framing"] = "rtu".into();
        return Some(value);
    }
    let [t1, t0, 0, 0, high, low, unit, pdu @ ..] = bytes else { return None };
    if usize::from(u16::from_be_bytes([*high, *low])) != pdu.len() + 1 {
        return None;
    }
    let mut value = described(*unit, pdu, direction)?;
    value["framing"] = "tcp".into();
    value["tx"] = u16::from_be_bytes([*t1, *t0]).into();
    Some(value)
}

fn described(unit: u8, pdu: &[u8], direction: Option<Direction>) -> Option<Value> {
    let (mut value, told) = match direction {
        Some(Direction::Controller) => (request(pdu)?, None),
        Some(Direction::Pump) => (response(pdu)?, None),
        None => match (request(pdu), response(pdu)) {
            (Some(value), None) => (value, Some("controller")),
            (None, Some(value)) => (value, Some("pump")),
            (Some(value), Some(_)) => (value, Some("unknown")),
            (None, None) => return None,
        },
    };
    value["ok"] = true.into();
    value["unit"] = unit.into();
    value["fc"] = (pdu[0] & 0x7F).into();
    if let Some(told) = told {
        value["direction"] = told.into();
    }
    Some(value)
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

fn bits(bytes: &[u8], count: usize) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).take(count).collect()
}

fn single(pdu: &[u8]) -> Option<Value> {
    let [function, a1, a0, v1, v0] = *pdu else { return None };
    let (address, value) = (u16::from_be_bytes([a1, a0]), u16::from_be_bytes([v1, v0]));
    Some(match (function, value) {
        (5, 0xFF00 | 0) => json!({"coil": address, "value": value != 0, "raw_value": value}),
        // not of the standard, and found on boards: 0100 for on, 5500 to toggle
        (5, _) => json!({"coil": address, "raw_value": value}),
        (6, _) => json!({"register": address, "value": value}),
        _ => return None,
    })
}

fn request(pdu: &[u8]) -> Option<Value> {
    let [function, a1, a0, c1, c0, rest @ ..] = pdu else { return None };
    let (address, count) = (u16::from_be_bytes([*a1, *a0]), u16::from_be_bytes([*c1, *c0]));
    match (function, rest) {
        (1, []) => Some(json!({"coil": address, "count": count})),
        (2, []) => Some(json!({"input": address, "count": count})),
        (3 | 4, []) => Some(json!({"register": address, "count": count})),
        (5 | 6, []) => single(pdu),
        (15, [length, data @ ..]) if usize::from(*length) == data.len() => {
            let count = usize::from(count);
            (data.len() == count.div_ceil(8) && count > 0)
                .then(|| json!({"coil": address, "values": bits(data, count)}))
        }
        (16, [length, data @ ..]) if usize::from(*length) == data.len() => (data.len() == usize::from(count) * 2
            && count > 0)
            .then(|| json!({"register": address, "values": words(data)})),
        _ => None,
    }
}

fn response(pdu: &[u8]) -> Option<Value> {
    match pdu {
        [1 | 2, length, data @ ..] if usize::from(*length) == data.len() && !data.is_empty() => {
            let bits: Vec<u8> = bits(data, data.len() * 8).into_iter().map(u8::from).collect();
            Some(json!({"bits": bits}))
        }
        [3 | 4, length, data @ ..]
            if usize::from(*length) == data.len() && data.len().is_multiple_of(2) && !data.is_empty() =>
        {
            Some(json!({"registers": words(data)}))
        }
        [5 | 6, ..] => single(pdu),
        [function @ (15 | 16), a1, a0, c1, c0] => {
            let (address, count) = (u16::from_be_bytes([*a1, *a0]), u16::from_be_bytes([*c1, *c0]));
            let what = if *function == 15 { "coil" } else { "register" };
            Some(json!({what: address, "count": count}))
        }
        [0x81..=0x90, code] => Some(json!({"exception": code, "exception_name": exception_text(*code)})),
        _ => None,
    }
}
