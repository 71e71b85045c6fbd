//! What a GasKitLink post may be asked to find out what it is: S, C and T. Never N, which throws an unread sale away.

use super::frame::{ADDRESSES, Receiver, Step, encode};
use super::message::{ControllerSays, PostNozzle, PumpSays, Status};
use super::settings::{RULES, line_settings};
use crate::driver::{Exchange, Expect};
use crate::hex::Direction;
use crate::port::Parity;
use crate::probe::{Facts, Figure, Heard, Plan, Setting, Talk};
use crate::protocol::Protocol;

/// Settings of section 1; hosts use one only.
pub(crate) fn plan() -> Plan {
    Plan {
        protocol: Protocol::GasKitLink,
        settings: vec![Setting::new(9_600, Parity::None)],
        addresses: ADDRESSES.collect(),
        usual: ADDRESSES.collect(),
        timing: line_settings(),
        talk: Box::new(|address| {
            let first = ControllerSays::Status;
            Box::new(PostTalk { address, over: false, asked: first, next: Some(first), facts: Facts::default() })
        }),
    }
}

struct PostTalk {
    address: u8,
    /// All was asked; what follows are checks.
    over: bool,
    asked: ControllerSays,
    next: Option<ControllerSays>,
    facts: Facts,
}

impl PostTalk {
    fn exchange(&mut self, says: ControllerSays) -> Exchange {
        self.asked = says;
        Exchange { bytes: encode(self.address.into(), &says.write()), expect: Expect::Answer }
    }

    /// S, then the totaliser of one nozzle after another until one has none, else that of the active one, then the last transaction.
    fn advance(&mut self, answered: bool) {
        use ControllerSays as Asks;
        let most = u8::try_from(RULES.most_nozzles).unwrap_or(u8::MAX);
        self.next = match self.asked {
            _ if self.over => None,
            Asks::Status => Some(Asks::Totaliser(PostNozzle(1))),
            Asks::Totaliser(PostNozzle::ZERO) => Some(Asks::Transaction),
            Asks::Totaliser(PostNozzle(1)) if !answered => Some(Asks::Totaliser(PostNozzle::ZERO)),
            Asks::Totaliser(PostNozzle(nozzle)) if answered && nozzle < most => {
                Some(Asks::Totaliser(PostNozzle(nozzle + 1)))
            }
            Asks::Totaliser(_) => Some(Asks::Transaction),
            _ => None,
        };
    }

    /// Whether it answers what was asked.
    fn take(&mut self, says: PumpSays) -> bool {
        match (self.asked, says) {
            (ControllerSays::Status, PumpSays::Status(status, nozzle)) => {
                let nozzle = if nozzle == PostNozzle::ZERO { String::new() } else { format!(", nozzle {}", nozzle.0) };
                self.facts.state = Some(format!("{}{nozzle}", status.words()));
                if status == Status::EndOfTransaction {
                    let text = "a finished sale waits in the post to be closed: it is left for edge-daemon";
                    self.facts.notes.retain(|note| note != text);
                    self.facts.notes.push(text.into());
                }
            }
            (ControllerSays::Totaliser(asked), PumpSays::Totaliser(nozzle, total)) => {
                if asked == PostNozzle::ZERO {
                    self.facts.keys.push("total-query = \"active\"".into());
                } else if nozzle != asked {
                    return false;
                }
                self.facts.totals.push(Figure { nozzle: nozzle.0.max(1), digits: total.to_string() });
                self.facts.nozzles = self.facts.nozzles.max(nozzle.0);
            }
            (ControllerSays::Transaction, PumpSays::Transaction(sale)) => {
                self.facts.prices.push(Figure { nozzle: sale.nozzle.0, digits: sale.price.to_string() });
                self.facts.notes.push(format!(
                    "last transaction {}: money {}, volume {}, price {}",
                    sale.letter, sale.money, sale.volume, sale.price
                ));
            }
            _ => return false,
        }
        true
    }
}

impl Talk for PostTalk {
    fn ask(&mut self) -> Option<Exchange> {
        let next = self.next.take()?;
        Some(self.exchange(next))
    }

    fn hear(&mut self, heard: &[u8]) -> Heard {
        let mut receiver = Receiver::new(Some(Direction::Pump));
        for (at, byte) in heard.iter().enumerate() {
            match receiver.push(*byte) {
                Step::More => {}
                Step::Bad(why) => return Heard::Bad(why.to_string()),
                Step::Frame(frame) => {
                    if frame.address != u16::from(self.address) {
                        return u8::try_from(frame.address)
                            .map_or(Heard::Bad("no address of a post".into()), Heard::Stray);
                    }
                    let Some(says) = PumpSays::read(&frame.body) else { return Heard::Bad("not understood".into()) };
                    let answered = self.take(says);
                    self.advance(answered);
                    return Heard::Answer { used: at + 1 };
                }
            }
        }
        Heard::More
    }

    fn miss(&mut self) {
        self.advance(false);
    }

    fn check(&mut self) -> Exchange {
        self.over = true;
        self.exchange(ControllerSays::Status)
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }
}
