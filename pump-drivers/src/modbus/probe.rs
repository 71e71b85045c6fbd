//! What a Modbus device may be asked to find out what it is: reads of its first registers, or of the points of a profile.

use super::image::Image;
use super::profile::{Block, Profile, Role};
use super::settings::{RULES, line_settings};
use super::wire::{self, Answer, Area, Framing, Question, Taken};
use crate::driver::{Exchange, Expect};
use crate::port::Parity;
use crate::probe::{Facts, Figure, Heard, Plan, Setting, Talk};
use crate::protocol::Protocol;
use std::sync::Arc;

/// Registers that are shown of a device without a profile.
const SHOWN: u16 = 8;
/// Addresses that boards are delivered or switched to; all others are asked where a person names them.
const USUAL: [u8; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 255];

/// With the profile that the device may have, under the name or path that a configuration gives it.
#[must_use]
pub fn probe_plan(profile: Option<(String, Arc<Profile>)>, framing: Framing) -> Plan {
    Plan {
        protocol: Protocol::Modbus,
        settings: vec![
            Setting::new(9_600, Parity::None),
            Setting::new(9_600, Parity::Even),
            Setting::new(19_200, Parity::Even),
            Setting::new(19_200, Parity::None),
        ],
        addresses: RULES.addresses.collect(),
        usual: USUAL.to_vec(),
        timing: line_settings(),
        talk: Box::new(move |address| Box::new(UnitTalk::new(address, profile.clone(), framing))),
    }
}

struct UnitTalk {
    unit: u8,
    profile: Option<Arc<Profile>>,
    wire: wire::Talk,
    /// All that is read, in order, each with the roles that it holds.
    blocks: Vec<Block>,
    at: usize,
    /// All was read; what follows are checks.
    over: bool,
    /// A gateway said that nobody answers it there.
    nobody: bool,
    /// Bytes of the answer that the talk has.
    fed: usize,
    image: Image,
    facts: Facts,
}

fn registers(area: Area, count: u16) -> Block {
    Block { question: Question::Read { area, address: 0, count }, holds: Vec::new() }
}

impl UnitTalk {
    fn new(unit: u8, profile: Option<(String, Arc<Profile>)>, framing: Framing) -> Self {
        let mut facts = Facts::default();
        let blocks = match &profile {
            Some((_, profile)) => {
                let read: Vec<Role> = Role::ALL.iter().copied().filter(|role| !role.is_written()).collect();
                let blocks = profile.blocks(&read);
                // a board of relays has nothing but what is also written; its coils can be read
                if blocks.is_empty() { profile.blocks(Role::ALL) } else { blocks }
            }
            None => vec![
                registers(Area::Holding, 1),
                registers(Area::Holding, SHOWN),
                registers(Area::Input, 1),
                registers(Area::Input, SHOWN),
            ],
        };
        facts.keys.push(profile.as_ref().map_or_else(
            || "profile = \"?\"                   # fill in: the name or path of its register map".into(),
            |(name, _)| format!("profile = \"{name}\""),
        ));
        facts.line_keys.push(format!("framing = \"{}\"", if framing == Framing::Tcp { "tcp" } else { "rtu" }));
        let profile = profile.map(|(_, profile)| profile);
        let wire = wire::Talk::new(framing, 0);
        Self { unit, profile, wire, blocks, at: 0, over: false, nobody: false, fed: 0, image: Image::default(), facts }
    }

    fn exchange(&mut self, at: usize) -> Option<Exchange> {
        let question = self.blocks.get(at)?.question.clone();
        (self.fed, self.nobody) = (0, false);
        let bytes = self.wire.ask(self.unit, question).ok()?;
        Some(Exchange { bytes, expect: Expect::Answer })
    }

    fn take(&mut self, answer: &Answer) {
        let Some(block) = self.blocks.get(self.at).filter(|_| !self.over) else { return };
        if let Some(profile) = &self.profile {
            self.image.take(profile, block, answer);
        }
        let Question::Read { area, address, .. } = &block.question else { return };
        let words: Vec<String> = match answer {
            Answer::Registers(words) => words.iter().map(ToString::to_string).collect(),
            Answer::Bits(bits) => bits.iter().map(|bit| u8::from(*bit).to_string()).collect(),
            Answer::Exception(code) => vec![format!("exception {code}")],
            Answer::Written => Vec::new(),
        };
        // the longer reading tells what the shorter did
        let begins = format!("{area:?} from {address}: ").to_lowercase();
        let shorter = self.facts.notes.iter().position(|note| note.starts_with(&begins));
        match (shorter, answer) {
            (Some(_), Answer::Exception(_)) => {}
            (Some(at), _) => self.facts.notes[at] = begins + &words.join(" "),
            (None, _) => self.facts.notes.push(begins + &words.join(" ")),
        }
    }

    fn advance(&mut self) {
        self.at += usize::from(!self.over);
    }
}

impl Talk for UnitTalk {
    fn ask(&mut self) -> Option<Exchange> {
        if self.over { None } else { self.exchange(self.at) }
    }

    fn hear(&mut self, heard: &[u8]) -> Heard {
        let mut bad = None;
        while let Some(byte) = heard.get(self.fed) {
            self.fed += 1;
            match self.wire.take(*byte) {
                Taken::More => {}
                Taken::Bad(why) => bad = Some(why),
                Taken::Answer(Answer::Exception(10 | 11)) => self.nobody = true,
                Taken::Answer(answer) => {
                    self.take(&answer);
                    self.advance();
                    return Heard::Answer { used: self.fed };
                }
            }
        }
        if self.nobody { Heard::Nobody } else { bad.map_or(Heard::More, Heard::Bad) }
    }

    fn miss(&mut self) {
        self.wire.forget();
        self.advance();
    }

    fn check(&mut self) -> Exchange {
        self.over = true;
        // the first question was put in a frame before
        self.exchange(0).unwrap_or(Exchange { bytes: Vec::new(), expect: Expect::Nothing })
    }

    fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        let Some(profile) = &self.profile else { return facts };
        let digits = |role| self.image.raw(role).map(|raw| raw.0.to_string());
        facts.identity = digits(Role::Identity);
        facts.state = self.image.raw(Role::State).map(|raw| {
            let word = profile.point(Role::State).and_then(|point| point.word(raw));
            word.map_or_else(|| format!("{} (no word in the profile)", raw.0), ToOwned::to_owned)
        });
        facts.prices = digits(Role::Price).map(|digits| Figure { nozzle: 0, digits }).into_iter().collect();
        for (nozzle, role) in (1..).zip(Role::TOTALS) {
            if let Some(digits) = digits(role) {
                facts.nozzles = nozzle;
                facts.totals.push(Figure { nozzle, digits });
            }
        }
        for (role, name) in [(Role::Volume, "volume"), (Role::Amount, "amount")] {
            facts.notes.extend(digits(role).map(|digits| format!("{name} {digits}")));
        }
        facts
    }
}
