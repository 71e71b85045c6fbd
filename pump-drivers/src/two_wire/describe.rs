//! Words and blocks as JSON for people and tools: `edgectl decode` and `edgectl trace`.

use super::block::{Digits, GradeTotals, HostBlock, Level, Limits, Refused, Transaction, check_word, length_word};
use super::extended::{self, Extended};
use super::word::{Command, PumpNumber, Status};
use crate::hex::{Direction, bytes_of, hex_of};
use crate::protocol::FrameDecoder;
use serde_json::{Map, Value, json};

/// Describes one word, block or answer written in hex, blanks allowed: `{"ok":true,…}` or `{"ok":false,"reason":…}`.
///
/// Without a direction it is inferred where the words tell it, and the member `direction` says what was found: `controller`, `pump`,
/// or `unknown` for a word that both could have said; then the description is the pump's and `if_controller` holds the other.
#[must_use]
pub fn decode_line(hex: &str, direction: Option<Direction>) -> Value {
    match bytes_of(hex) {
        Ok(bytes) => describe(&bytes, direction),
        Err(reason) => refusal(reason),
    }
}

fn refusal(reason: String) -> Value {
    json!({"ok": false, "reason": reason})
}

fn describe(words: &[u8], direction: Option<Direction>) -> Value {
    let by_controller = || controller(words);
    let by_pump = || pump(words);
    let (members, found) = match direction {
        Some(Direction::Controller) => (by_controller(), None),
        Some(Direction::Pump) => (by_pump(), None),
        None => match (by_controller(), by_pump()) {
            (Ok(controller), Err(_)) => (Ok(controller), Some("controller")),
            (Ok(controller), Ok(mut pump)) => {
                pump["if_controller"] = controller;
                (Ok(pump), Some("unknown"))
            }
            (Err(_), Ok(pump)) => (Ok(pump), Some("pump")),
            // length words are sent by controllers only
            (Err(controller), Err(pump)) => {
                (Err(if words.get(1).is_some_and(|word| word >> 4 == 0xE) { controller } else { pump }), None)
            }
        },
    };
    match members {
        Ok(mut value) => {
            value["ok"] = true.into();
            if let Some(found) = found {
                value["direction"] = found.into();
            }
            value
        }
        Err(reason) => refusal(reason),
    }
}

fn controller(words: &[u8]) -> Result<Value, String> {
    match words {
        [] => Err("no words".into()),
        [word] => {
            let command = Command::of_word(*word).ok_or_else(|| format!("{word:02X} is no command"))?;
            let pump = (command != Command::AllStop).then(|| PumpNumber::of_nibble(*word).number());
            Ok(json!({"kind": "command", "code": command.code(), "name": command.words(), "pump": pump}))
        }
        block => {
            let read = HostBlock::read(block).map_err(|why: Refused| why.to_string())?;
            let mut value = checks(block);
            value["dl_wire"] = two(block[1]);
            value["dl_calc"] = two(length_word(block.len() - 2));
            with(&mut value, host_block(read));
            Ok(value)
        }
    }
}

fn host_block(block: HostBlock) -> Value {
    match block {
        HostBlock::Price { level, grade, price } => json!({
            "kind": "price change",
            "price_level": level.number(),
            "grade_index": grade.0,
            "ppu_digits": price.text(),
        }),
        HostBlock::Preset { limits, level, grade, value } => {
            let limits = if limits == Limits::Money { "money" } else { "volume" };
            let mut members = json!({"kind": "preset", "preset": limits, "preset_digits": value.text()});
            if let Some(level) = level {
                members["price_level"] = level.number().into();
            }
            if let Some(grade) = grade {
                members["grade_index"] = grade.0.into();
            }
            members
        }
        HostBlock::Level(level) => json!({"kind": "price level change", "price_level": level.number()}),
        HostBlock::ExtendedStatus => json!({"kind": "special function", "special_function": "010"}),
    }
}

fn pump(words: &[u8]) -> Result<Value, String> {
    match words {
        [] => Err("no words".into()),
        [word] => {
            let status = Status::of_word(*word).ok_or_else(|| format!("{word:02X} is no state"))?;
            let pump = PumpNumber::of_nibble(*word).number();
            Ok(json!({"kind": "status", "state": word >> 4, "name": status.words(), "pump": pump}))
        }
        [extended::FIRST, ..] => {
            let read = Extended::read(words).map_err(|why| why.to_string())?;
            Ok(json!({
                "kind": "extended status",
                "ascii": read.text,
                "pump": read.pump.number(),
                "totals_decimal_flag": read.decimals_flag,
                "handle_out": read.handle_out,
                "hose": read.hose,
            }))
        }
        [0xFF, 0xF6, ..] => {
            let grades = GradeTotals::read(words).map_err(|why| why.to_string())?;
            let grades: Vec<Value> = grades.iter().map(grade_totals).collect();
            let mut value = checks(words);
            with(&mut value, json!({"kind": "totals", "grades": grades}));
            Ok(value)
        }
        [0xFF, ..] => {
            let read = Transaction::read(words).map_err(|why| why.to_string())?;
            let mut value = checks(words);
            with(&mut value, transaction(&read));
            Ok(value)
        }
        _ => match Digits::of_words(words).filter(|_| matches!(words.len(), 6 | 8)) {
            Some(money) => Ok(json!({"kind": "real-time money", "money_digits": money.text()})),
            None => Err(format!("{} words that begin no block and are no money of 6 or 8 digits", words.len())),
        },
    }
}

fn grade_totals(totals: &GradeTotals) -> Value {
    json!({
        "grade_index": totals.grade.0,
        "volume_total_digits": totals.volume.text(),
        "money_total_digits": totals.money.text(),
        "ppu_level1_digits": totals.price(Level::One).text(),
        "ppu_level2_digits": totals.price(Level::Two).text(),
    })
}

fn transaction(read: &Transaction) -> Value {
    json!({
        "kind": "transaction",
        "type_word": two(read.type_word),
        "id_words": hex_of(&read.id),
        "pump": read.pump.number(),
        "grade_index": read.grade.0,
        "price_level": read.level.number(),
        "ppu_digits": read.price.text(),
        "volume_digits": read.volume.text(),
        "money_digits": read.money.text(),
    })
}

/// Size and check of a block whose check is good.
fn checks(block: &[u8]) -> Value {
    let wire = block[block.len() - 2];
    json!({"lrc_wire": two(wire), "lrc_calc": two(check_word(&block[..block.len() - 2])), "words": block.len()})
}

fn two(word: u8) -> Value {
    format!("{word:02X}").into()
}

fn with(value: &mut Value, members: Value) {
    if let (Value::Object(all), Value::Object(members)) = (value, members) {
        all.extend::<Map<String, Value>>(members);
    }
}

/// Describes words and blocks of a stream, refused ones included. Real-time money has no end of its own: it is told once another kind
/// of word follows, or the stream ends.
pub struct StreamDecoder {
    words: Vec<u8>,
    direction: Option<Direction>,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new(direction: Option<Direction>) -> Self {
        Self { words: Vec::new(), direction }
    }

    fn take(&mut self, found: &mut Vec<Value>) {
        let words = core::mem::take(&mut self.words);
        if words.is_empty() {
            return;
        }
        let mut value = describe(&words, self.direction);
        if value["ok"] == false {
            value["bytes"] = hex_of(&words).into();
        }
        found.push(value);
    }

    fn push(&mut self, word: u8, found: &mut Vec<Value>) {
        let is_digit = word & 0xF0 == 0xE0;
        match self.words.first() {
            // no block holds its own beginning
            Some(0xFF) if word != 0xFF && self.words.len() < 300 => {
                self.words.push(word);
                if word == 0xF0 {
                    self.take(found);
                }
                return;
            }
            Some(&extended::FIRST) if word & 0x80 != 0 && word != 0xFF => {
                self.words.push(word);
                if self.words.len() == extended::LENGTH {
                    self.take(found);
                }
                return;
            }
            Some(first) if first & 0xF0 == 0xE0 && is_digit => {
                self.words.push(word);
                return;
            }
            _ => self.take(found),
        }
        self.words.push(word);
        // BA is a state of pump 10 too: the next word tells
        if word != 0xFF && !is_digit && word != extended::FIRST {
            self.take(found);
        }
    }
}

impl FrameDecoder for StreamDecoder {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let mut found = Vec::new();
        for word in bytes {
            if self.words == [extended::FIRST] && !is_hex_character(*word) {
                self.take(&mut found);
            }
            self.push(*word, &mut found);
        }
        found
    }

    fn finish(&mut self) -> Vec<Value> {
        let mut found = Vec::new();
        self.take(&mut found);
        found
    }
}

fn is_hex_character(word: u8) -> bool {
    matches!(word, 0xB0..=0xB9 | 0xC1..=0xC6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_inferred_where_the_words_tell_it() {
        for (hex, direction) in [
            ("61", "unknown"),
            ("27", "controller"),
            ("97", "pump"),
            ("FC", "controller"),
            ("FF EC F4 FB E6 F0", "controller"),
            ("E0 E5 E2 E1 E0 E0", "pump"),
        ] {
            assert_eq!(decode_line(hex, None)["direction"], direction, "{hex}");
        }
        assert_eq!(decode_line("61", None)["if_controller"]["name"], "REAL-TIME MONEY");
    }

    #[test]
    fn joined_words_and_blocks_come_out_in_order() {
        let mut stream = StreamDecoder::new(Some(Direction::Pump));
        let mut all = stream.feed_hex("67 97 E8 E4 E6 E0 E0 E0 B7 BA 6A FF F1 F8");
        all.extend(stream.feed_hex("FF F1"));
        all.extend(stream.finish());
        let seen: Vec<&str> =
            all.iter().map(|v| v["name"].as_str().or(v["money_digits"].as_str()).unwrap_or("bad")).collect();
        assert_eq!(seen, ["OFF/IDLE", "BUSY", "000648", "FEOT", "FEOT", "OFF/IDLE", "bad", "bad"]);
    }
}
