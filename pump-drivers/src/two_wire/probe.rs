//! What a two-wire pump may be asked to find out what it is: its state and its totals.

use super::block::GradeTotals;
use super::habits::{BAUD, RULES, line_settings};
use super::word::{Command, PumpNumber, Status};
use crate::driver::{Exchange, Expect};
use crate::port::Parity;
use crate::probe::{Facts, Figure, Heard, Plan, Setting, Talk};
use crate::protocol::Protocol;

const BLOCK_BEGINS: u8 = 0xFF;
const BLOCK_ENDS: u8 = 0xF0;
/// Digits of a price of a large head.
const LARGE_PRICE: usize = 6;

/// The native rate, and those of the far side of converter boards (two-wire sheet, section 1).
pub(crate) fn plan() -> Plan {
    Plan {
        protocol: Protocol::TwoWire,
        settings: vec![
            Setting::new(BAUD, Parity::Even),
            Setting::new(9_600, Parity::Even),
            Setting::new(9_600, Parity::None),
        ],
        addresses: RULES.addresses.collect(),
        usual: RULES.addresses.collect(),
        timing: line_settings(),
        // PumpNumber::new refuses what RULES does not hold
        talk: Box::new(|address| {
            Box::new(PumpTalk::new(PumpNumber::new(address).unwrap_or(PumpNumber::of_nibble(address))))
        }),
    }
}

struct PumpTalk {
    pump: PumpNumber,
    asked: Command,
    next: Option<Command>,
    facts: Facts,
}

impl PumpTalk {
    fn new(pump: PumpNumber) -> Self {
        Self { pump, asked: Command::Status, next: Some(Command::Status), facts: Facts::default() }
    }

    fn exchange(&mut self, command: Command) -> Exchange {
        self.asked = command;
        Exchange { bytes: vec![command.word(self.pump)], expect: Expect::Answer }
    }

    fn hear_status(&mut self, heard: &[u8]) -> Heard {
        let Some(word) = heard.first() else { return Heard::More };
        let Some(status) = Status::of_word(*word).filter(|status| *status != Status::Ready) else {
            return Heard::Bad(format!("{word:02X} is no state"));
        };
        let who = PumpNumber::of_nibble(*word);
        if who != self.pump {
            return Heard::Stray(who.number());
        }
        // totals are answered in no other state (section 6)
        let first = self.facts.state.is_none();
        self.next = (first && (status.is_over() || status == Status::Stopped)).then_some(Command::Totals);
        self.facts.state = Some(status.words().to_lowercase());
        Heard::Answer { used: 1 }
    }

    fn hear_totals(&mut self, heard: &[u8]) -> Heard {
        let Some(begin) = heard.iter().position(|word| *word == BLOCK_BEGINS) else { return Heard::More };
        let Some(end) = heard[begin..].iter().position(|word| *word == BLOCK_ENDS) else { return Heard::More };
        match GradeTotals::read(&heard[begin..=begin + end]) {
            Ok(grades) => {
                for (nozzle, grade) in (1..).zip(&grades) {
                    self.facts.nozzles = nozzle;
                    self.facts.prices.push(Figure { nozzle, digits: grade.price_1.text() });
                    self.facts.totals.push(Figure { nozzle, digits: grade.volume.text() });
                }
                if grades.iter().any(|grade| grade.price_1.text().len() == LARGE_PRICE) {
                    self.facts.keys.push("digits = \"eight\"".into());
                }
                Heard::Answer { used: begin + end + 1 }
            }
            Err(why) => Heard::Bad(why.to_string()),
        }
    }
}

impl Talk for PumpTalk {
    fn ask(&mut self) -> Option<Exchange> {
        let next = self.next.take()?;
        Some(self.exchange(next))
    }

    fn hear(&mut self, heard: &[u8]) -> Heard {
        if self.asked == Command::Totals { self.hear_totals(heard) } else { self.hear_status(heard) }
    }

    fn miss(&mut self) {}

    fn check(&mut self) -> Exchange {
        self.exchange(Command::Status)
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }
}
