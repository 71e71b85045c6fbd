//! What a DART pump may be asked to find out what it is: POLL, RETURN STATUS, RETURN PUMP IDENTITY and volume totals.

use super::frame::{ADDRESSES, Control, Found, Receiver, encode_block, encode_short};
use super::message::{Command, ControllerSays, PumpSays, Status, VOLUME_TOTAL, read_pump, write};
use crate::driver::{Exchange, Expect};
use crate::line::LineSettings;
use crate::port::Parity;
use crate::probe::{Facts, Figure, Heard, Plan, Setting, Talk};
use crate::protocol::Protocol;

/// Totals are asked for nozzle after nozzle until one has none (DART sheet, section 5: counters 01 to 09).
const MOST_NOZZLES: u8 = 9;
/// Reports taken after one question.
const MOST_BLOCKS: u8 = 4;
/// A refused block is sent so often with the number 0.
const MOST_NAKS: u8 = 2;

/// Settings of section 1, the usual one first.
pub(crate) fn plan() -> Plan {
    Plan {
        protocol: Protocol::Dart,
        settings: vec![
            Setting::new(9_600, Parity::Odd),
            Setting::new(19_200, Parity::Odd),
            Setting::new(9_600, Parity::None),
            Setting::new(9_600, Parity::Even),
            Setting::new(19_200, Parity::None),
        ],
        addresses: ADDRESSES.collect(),
        usual: ADDRESSES.collect(),
        timing: LineSettings::default(),
        talk: Box::new(|address| Box::new(DartTalk::new(address))),
    }
}

/// What is to be known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    /// Only whether somebody is there.
    Presence,
    Status,
    Identity,
    Total(u8),
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Poll,
    Block,
    Ack(u8),
    End,
}

struct DartTalk {
    address: u8,
    topic: Topic,
    next: Next,
    tx: u8,
    naks: u8,
    blocks: u8,
    /// The present topic was answered.
    told: bool,
    facts: Facts,
}

impl DartTalk {
    fn new(address: u8) -> Self {
        Self {
            address,
            topic: Topic::Presence,
            next: Next::Poll,
            tx: 0,
            naks: 0,
            blocks: 0,
            told: false,
            facts: Facts::default(),
        }
    }

    fn says(&self) -> Option<ControllerSays> {
        Some(match self.topic {
            Topic::Status => ControllerSays::Command(Command::ReturnStatus),
            Topic::Identity => ControllerSays::Command(Command::ReturnIdentity),
            Topic::Total(counter) => ControllerSays::Total { trans: VOLUME_TOTAL, counter },
            Topic::Presence | Topic::Nothing => return None,
        })
    }

    /// The present topic is at its end.
    fn advance(&mut self) {
        self.topic = match self.topic {
            Topic::Presence => Topic::Status,
            Topic::Status => Topic::Identity,
            Topic::Identity => Topic::Total(1),
            Topic::Total(counter) if self.told && counter < MOST_NOZZLES => Topic::Total(counter + 1),
            Topic::Total(_) | Topic::Nothing => Topic::Nothing,
        };
        self.told = false;
        self.naks = 0;
        self.blocks = 0;
        self.next = if self.topic == Topic::Nothing { Next::End } else { Next::Block };
    }

    fn answered(&mut self, control: Control, tx: u8, body: &[u8]) {
        match (control, self.next) {
            (Control::Data, _) => self.take_block(tx, body),
            // it has the question: the answer comes on the next POLL
            (Control::Ack, Next::Block) => {
                self.tx = if self.tx >= 15 { 1 } else { self.tx + 1 };
                self.next = Next::Poll;
            }
            (Control::Nak, Next::Block) if self.naks < MOST_NAKS => {
                self.naks += 1;
                self.tx = 0;
            }
            _ => self.advance(),
        }
    }

    fn take_block(&mut self, tx: u8, body: &[u8]) {
        let (says, overrun) = read_pump(body);
        for one in &says {
            self.take(one);
        }
        self.blocks += 1;
        if overrun.is_some() || !says.iter().all(can_be_asked_again) {
            let text = "a report that only an acknowledgement would clear waits in the pump: it is left for edge-daemon, and \
                        nothing more was asked";
            self.note(text.into());
            self.topic = Topic::Nothing;
            self.next = Next::End;
        } else {
            self.next = Next::Ack(tx);
        }
    }

    fn note(&mut self, text: String) {
        if !self.facts.notes.contains(&text) {
            self.facts.notes.push(text);
        }
    }

    fn take(&mut self, says: &PumpSays) {
        match says {
            PumpSays::Status(status) => {
                self.told |= self.topic == Topic::Status;
                let out = self.facts.state.as_deref().is_some_and(|state| state.ends_with("nozzle out"));
                self.facts.state = Some(state(*status, out));
            }
            PumpSays::Nozzle { price, nozio } => {
                let state = self.facts.state.get_or_insert_default();
                let words = state.strip_suffix(", nozzle out").unwrap_or(state).to_owned();
                *state = if nozio.is_out() { format!("{words}, nozzle out") } else { words };
                if let Some(nozzle) = nozio.selected() {
                    self.facts.prices.retain(|known| known.nozzle != nozzle);
                    self.facts.prices.push(Figure { nozzle, digits: price.text() });
                    self.facts.nozzles = self.facts.nozzles.max(nozzle);
                }
            }
            PumpSays::Identity(digits) => {
                self.told |= self.topic == Topic::Identity;
                self.facts.identity = Some(digits.text());
            }
            PumpSays::Total { trans: VOLUME_TOTAL, counter, total } => {
                let Topic::Total(asked) = self.topic else { return };
                if counter.is_none_or(|counter| counter == asked) && total.number().is_some() {
                    self.told = true;
                    self.facts.totals.retain(|known| known.nozzle != asked);
                    self.facts.totals.push(Figure { nozzle: asked, digits: total.text() });
                    self.facts.nozzles = self.facts.nozzles.max(asked);
                }
            }
            PumpSays::Alarm(code) => self.note(format!("alarm {code:02X} stands")),
            _ => {}
        }
    }
}

fn state(status: Status, out: bool) -> String {
    let words = match status {
        Status::Undefined(code) => format!("undefined {code}"),
        status => status.words().to_lowercase(),
    };
    if out { format!("{words}, nozzle out") } else { words }
}

/// Whether a report may be acknowledged, because nothing is lost by it. That of a fuelling may be the only record of a sale
/// (DART sheet, section 3: an un-ACKed block survives), and an alarm is the daemon's to see.
fn can_be_asked_again(says: &PumpSays) -> bool {
    match says {
        PumpSays::Status(_) | PumpSays::Nozzle { .. } | PumpSays::Identity(_) | PumpSays::Total { .. } => true,
        PumpSays::Filling { volume, amount } => volume.number() == Some(0) && amount.number() == Some(0),
        _ => false,
    }
}

impl Talk for DartTalk {
    fn ask(&mut self) -> Option<Exchange> {
        let answer = |bytes| Some(Exchange { bytes, expect: Expect::Answer });
        match self.next {
            Next::End => None,
            Next::Poll => answer(encode_short(self.address, Control::Poll, 0)),
            Next::Ack(tx) => {
                if self.blocks >= MOST_BLOCKS || self.told {
                    self.advance();
                } else {
                    self.next = Next::Poll;
                }
                Some(Exchange { bytes: encode_short(self.address, Control::Ack, tx), expect: Expect::Nothing })
            }
            Next::Block => {
                let says = self.says()?;
                // one transaction of three or four bytes always fits
                encode_block(self.address, self.tx, &write(&[says])).ok().and_then(answer)
            }
        }
    }

    fn hear(&mut self, heard: &[u8]) -> Heard {
        let mut receiver = Receiver::default();
        let mut stray = None;
        for (at, byte) in heard.iter().enumerate() {
            let mut found = Vec::new();
            receiver.push(*byte, &mut found);
            for one in found {
                let Found::Frame(frame, _) = one else { continue };
                if matches!(frame.control, Control::Poll | Control::AckPoll | Control::Iap) {
                    continue;
                }
                if frame.address == self.address {
                    self.answered(frame.control, frame.tx, &frame.body);
                    return Heard::Answer { used: at + 1 };
                }
                stray = Some(frame.address);
            }
        }
        stray.map_or(Heard::More, Heard::Stray)
    }

    fn miss(&mut self) {
        self.advance();
    }

    fn check(&mut self) -> Exchange {
        self.next = Next::End;
        Exchange { bytes: encode_short(self.address, Control::Poll, 0), expect: Expect::Answer }
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }
}
