//! The words of both sides of a loop taken apart: what was asked, and what was answered (two-wire sheet, sections 2 to 8).
//!
//! One word means different things from each side: 67 from a controller asks pump 7 for its money, from pump 7 it says idle. A pump
//! speaks only when it is asked, so a word is an answer if the question before it can be answered so, and else a word of the controller.

use super::block::{Digits, GradeTotals, HostBlock, Transaction};
use super::extended::{self, Extended};
use super::talk::Asked;
use super::word::{Command, PumpNumber, Status};
use crate::hex::Direction;

const START: u8 = 0xFF;
const END: u8 = 0xF0;
/// Longer than any block.
const LONGEST: usize = 300;

/// What somebody said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// The controller, in one word; to one pump or to all.
    Command(Option<PumpNumber>),
    /// The controller, after data next; whose block it is, where its data next was heard.
    Block(Option<PumpNumber>, HostBlock),
    /// A pump tells its state.
    Status(PumpNumber, Status),
    /// A pump tells the hose.
    Extended(Extended),
    /// A pump tells its money so far.
    Money(PumpNumber, Digits),
    /// A pump tells its last sale.
    Record(Transaction),
    /// A pump tells its totals.
    Totals(PumpNumber, Vec<GradeTotals>),
    /// A word of a pump that answers no question that was heard.
    Stray,
    /// No good word or block.
    Bad(String),
}

impl Said {
    /// Who speaks, where that can be told.
    pub fn speaker(&self) -> Option<Direction> {
        match self {
            Self::Command(_) | Self::Block(..) => Some(Direction::Controller),
            Self::Status(..) | Self::Extended(_) | Self::Money(..) | Self::Record(_) | Self::Totals(..) => {
                Some(Direction::Pump)
            }
            Self::Stray | Self::Bad(_) => None,
        }
    }

    /// Which pump is addressed or speaks.
    pub fn pump(&self) -> Option<PumpNumber> {
        match self {
            Self::Status(pump, _) | Self::Money(pump, _) | Self::Totals(pump, _) => Some(*pump),
            Self::Command(pump) | Self::Block(pump, _) => *pump,
            Self::Extended(extended) => Some(extended.pump),
            Self::Record(record) => Some(record.pump),
            Self::Stray | Self::Bad(_) => None,
        }
    }
}

/// Takes a loop's words apart.
#[derive(Default, Debug)]
pub(super) struct Tap {
    /// Of what is unfinished: a block, a text, digits, or an idle word that the next word may turn into a question for money.
    words: Vec<u8>,
    /// What was asked last, and whom.
    question: Option<(PumpNumber, Asked)>,
    /// Who said D: the controller's block is for it.
    ready: Option<PumpNumber>,
}

const fn is_digit(word: u8) -> bool {
    word >> 4 == 0xE
}

impl Tap {
    /// Whether nothing is unfinished.
    pub fn is_between(&self) -> bool {
        self.words.is_empty()
    }

    /// What was asked is not answered any more.
    pub fn lapse(&mut self) {
        self.question = None;
        self.ready = None;
    }

    /// The controller says this.
    pub fn say(&mut self, words: &[u8]) {
        self.words.clear();
        self.question = None;
        for word in words {
            self.push(*word, &mut Vec::new());
        }
    }

    /// The wire is quiet: what is unfinished stays so.
    pub fn quiet(&mut self, found: &mut Vec<(Said, Vec<u8>)>) {
        let words = core::mem::take(&mut self.words);
        match words.first() {
            None => {}
            Some(word) if is_digit(*word) => {
                let asked = self.question.take().filter(|(_, asked)| *asked == Asked::Money);
                let money = Digits::of_words(&words).filter(|_| matches!(words.len(), 6 | 8));
                let said = match asked.zip(money) {
                    Some(((pump, _), money)) => Said::Money(pump, money),
                    None => Said::Bad(format!("{} digits that are no money that was asked for", words.len())),
                };
                found.push((said, words));
            }
            Some(word) if word >> 4 == 6 => {
                self.question = None;
                found.push((Said::Status(PumpNumber::of_nibble(*word), Status::Idle), words));
            }
            Some(_) => {
                self.question = None;
                found.push((Said::Bad("cut".into()), words));
            }
        }
    }

    /// Takes a word.
    pub fn push(&mut self, word: u8, found: &mut Vec<(Said, Vec<u8>)>) {
        match self.words.first().copied() {
            Some(START) if word >= 0xE0 && word != START && self.words.len() < LONGEST => {
                self.words.push(word);
                if word == END {
                    self.take_block(found);
                }
                return;
            }
            Some(extended::FIRST) if word & 0x80 != 0 && word != START => {
                self.words.push(word);
                if self.words.len() == extended::LENGTH {
                    self.take_text(found);
                }
                return;
            }
            Some(first) if is_digit(first) && is_digit(word) => {
                self.words.push(word);
                return;
            }
            Some(first) if first >> 4 == 6 && is_digit(word) => {
                let pump = PumpNumber::of_nibble(first);
                self.question = Some((pump, Asked::Money));
                found.push((Said::Command(Some(pump)), core::mem::replace(&mut self.words, vec![word])));
                return;
            }
            _ => self.quiet(found),
        }
        self.begin(word, found);
    }

    fn begin(&mut self, word: u8, found: &mut Vec<(Said, Vec<u8>)>) {
        if word == START || is_digit(word) {
            self.words.push(word);
            return;
        }
        match self.question {
            Some((pump, asked @ (Asked::Status | Asked::DataNext))) if pump == PumpNumber::of_nibble(word) => {
                match Status::of_word(word) {
                    Some(Status::Idle) => {
                        self.words.push(word);
                        return;
                    }
                    // the controller may have asked again: the question stays open
                    Some(Status::DataError) => {
                        found.push((Said::Status(pump, Status::DataError), vec![word]));
                        return;
                    }
                    Some(Status::Ready) if asked != Asked::DataNext => {}
                    Some(status) => {
                        self.question = None;
                        self.ready = (status == Status::Ready).then_some(pump);
                        found.push((Said::Status(pump, status), vec![word]));
                        return;
                    }
                    None => {}
                }
            }
            Some((_, Asked::Extended)) if word == extended::FIRST => {
                self.words.push(word);
                return;
            }
            _ => {}
        }
        let said = match Command::of_word(word) {
            Some(command) => {
                let pump = PumpNumber::of_nibble(word);
                self.ready = None;
                self.question = asked_by(command).map(|asked| (pump, asked));
                Said::Command((command != Command::AllStop).then_some(pump))
            }
            None if Status::of_word(word).is_some() => Said::Stray,
            None => Said::Bad(format!("{word:02X} is no word of either side")),
        };
        found.push((said, vec![word]));
    }

    fn take_text(&mut self, found: &mut Vec<(Said, Vec<u8>)>) {
        let words = core::mem::take(&mut self.words);
        let asked = self.question.take().map(|(pump, _)| pump);
        let said = match Extended::read(&words) {
            Ok(extended) if asked == Some(extended.pump) => Said::Extended(extended),
            Ok(extended) => Said::Bad(format!("extended status of pump {}, which was not asked", extended.pump)),
            Err(why) => Said::Bad(why.to_string()),
        };
        found.push((said, words));
    }

    fn take_block(&mut self, found: &mut Vec<(Said, Vec<u8>)>) {
        let words = core::mem::take(&mut self.words);
        let question = self.question.take();
        let of = |wanted: Asked| question.filter(|(_, asked)| *asked == wanted).map(|(pump, _)| pump);
        let said = match words.get(1) {
            // only a controller sends the length
            Some(word) if is_digit(*word) => match HostBlock::read(&words) {
                Ok(block) => {
                    let pump = self.ready.take();
                    self.question =
                        pump.filter(|_| block == HostBlock::ExtendedStatus).map(|pump| (pump, Asked::Extended));
                    Said::Block(pump, block)
                }
                Err(why) => Said::Bad(why.to_string()),
            },
            Some(0xF6) => match (GradeTotals::read(&words), of(Asked::Totals)) {
                (Ok(totals), Some(pump)) => Said::Totals(pump, totals),
                (Ok(_), None) => Said::Stray,
                (Err(why), _) => Said::Bad(why.to_string()),
            },
            _ => match (Transaction::read(&words), of(Asked::Transaction)) {
                (Ok(record), Some(pump)) if pump == record.pump => Said::Record(record),
                (Ok(_), _) => Said::Stray,
                (Err(why), _) => Said::Bad(why.to_string()),
            },
        };
        found.push((said, words));
    }
}

/// What a command is answered with.
fn asked_by(command: Command) -> Option<Asked> {
    match command {
        Command::Status => Some(Asked::Status),
        Command::DataNext => Some(Asked::DataNext),
        Command::Transaction => Some(Asked::Transaction),
        Command::Totals => Some(Asked::Totals),
        Command::RealTimeMoney => Some(Asked::Money),
        Command::Authorise | Command::Stop | Command::AllStop => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::bytes_of;

    fn said(hex: &str) -> Vec<String> {
        let (mut tap, mut found) = (Tap::default(), Vec::new());
        for word in bytes_of(hex).expect("hex") {
            tap.push(word, &mut found);
        }
        tap.quiet(&mut found);
        let name = |said: &Said| match said {
            Said::Command(Some(pump)) => format!("ask {pump}"),
            Said::Status(pump, status) => format!("{pump} {}", status.words()),
            Said::Money(pump, money) => format!("{pump} money {}", money.text()),
            Said::Block(Some(pump), _) => format!("block {pump}"),
            Said::Record(_) => "record".into(),
            Said::Totals(..) => "totals".into(),
            Said::Extended(extended) => format!("hose {}", extended.hose),
            other => format!("{other:?}"),
        };
        found.iter().map(|(said, _)| name(said)).collect()
    }

    #[test]
    fn the_same_word_is_idle_after_a_poll_and_a_question_before_digits() {
        assert_eq!(said("07 67 07 67"), ["ask 7", "7 OFF/IDLE", "ask 7", "7 OFF/IDLE"]);
        assert_eq!(said("07 97 67 E8 E4 E6 E0 E0 E0"), ["ask 7", "7 BUSY", "ask 7", "7 money 000648"]);
        // the answer to the poll was lost
        assert_eq!(said("07 67 E8 E4 E6 E0 E0 E0 07 97"), ["ask 7", "ask 7", "7 money 000648", "ask 7", "7 BUSY"]);
    }

    #[test]
    fn a_whole_dialogue_is_told_side_by_side() {
        // two-wire sheet, section 15 A
        let heard = said(
            "07 77 27 D7 FF E9 FE E0 E1 E0 FB EE F0 BA B0 B3 B7 B0 B1 B0 B0 B0 B0 B1 B1 B1 B1 B1 B5 C1 8D 8A \
             27 D7 FF E5 F4 F6 E0 F7 E0 E5 E0 E1 FB EA F0 07 77 17 07 87 07 97",
        );
        let expected = [
            "ask 7",
            "7 CALL",
            "ask 7",
            "7 READY FOR DATA",
            "block 7",
            "hose 1",
            "ask 7",
            "7 READY FOR DATA",
            "block 7",
            "ask 7",
            "7 CALL",
            "ask 7",
            "ask 7",
            "7 AUTHORIZED",
            "ask 7",
            "7 BUSY",
        ];
        assert_eq!(heard, expected);
    }

    #[test]
    fn what_answers_no_question_is_news_of_nobody() {
        assert_eq!(said("97"), ["Stray"]);
        assert_eq!(said("06 97"), ["ask 6", "Stray"]);
        assert!(said("E8 E4 E6 E0 E0 E0")[0].starts_with("Bad"));
        // a poll that is repeated is no end of the talk
        assert_eq!(said("07 07 97"), ["ask 7", "7 DATA ERROR", "7 BUSY"]);
    }
}
