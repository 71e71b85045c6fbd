//! What is asked in one exchange, and when its answer is complete.

use super::block::{Digits, GradeTotals, Transaction};
use super::extended::{self, Extended};
use super::word::{PumpNumber, Status};

/// What the last exchange asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing is answered.
    Nothing,
    /// The state.
    Status,
    /// Whether a block may follow.
    DataNext,
    /// The block for extended status went out.
    Extended,
    /// Real-time money.
    Money,
    /// The record of the last sale.
    Transaction,
    /// Totals.
    Totals,
}

/// A complete answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A state word; [`Status::Ready`] only to data next.
    Status(Status),
    /// Which hose is out.
    Extended(Extended),
    /// Money so far.
    Money(Digits),
    /// The record of the last sale.
    Transaction(Transaction),
    /// Totals of all grades.
    Totals(Vec<GradeTotals>),
}

/// Words so far.
pub enum Heard {
    /// More must come.
    Nothing,
    /// Complete with this word.
    Answer(Answer),
    /// The last command or block was refused; unless a good state follows, which it does where an echo is not stripped.
    DataError,
    /// Not what was asked for.
    Bad(String),
}

/// Collects the words of one answer.
#[derive(Default, Debug)]
pub struct Ear {
    words: Vec<u8>,
}

impl Ear {
    /// A new question went out.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Takes one word of an answer from a pump whose money has so many digits.
    pub fn take(&mut self, word: u8, asked: Asked, pump: PumpNumber, money_digits: u8) -> Heard {
        match asked {
            Asked::Nothing => Heard::Bad("nothing was asked".into()),
            Asked::Status | Asked::DataNext => state(word, asked, pump),
            Asked::Money => {
                self.words.push(word);
                if Digits::of_words(&self.words[self.words.len() - 1..]).is_none() {
                    self.words.clear();
                    return Heard::Bad(format!("{word:02X} is no digit of real-time money"));
                }
                if self.words.len() < usize::from(money_digits) {
                    return Heard::Nothing;
                }
                match Digits::of_words(&core::mem::take(&mut self.words)) {
                    Some(money) => Heard::Answer(Answer::Money(money)),
                    None => Heard::Bad("real-time money is no number".into()),
                }
            }
            Asked::Extended => self.text(word, pump),
            Asked::Transaction | Asked::Totals => self.block(word, asked, pump),
        }
    }

    fn text(&mut self, word: u8, pump: PumpNumber) -> Heard {
        if word == extended::FIRST {
            self.words.clear();
        } else if self.words.is_empty() {
            return Heard::Nothing;
        }
        self.words.push(word);
        if self.words.len() < extended::LENGTH {
            return Heard::Nothing;
        }
        match Extended::read(&core::mem::take(&mut self.words)) {
            Ok(extended) if extended.pump == pump => Heard::Answer(Answer::Extended(extended)),
            Ok(extended) => Heard::Bad(format!("extended status of pump {}", extended.pump)),
            Err(why) => Heard::Bad(why.to_string()),
        }
    }

    fn block(&mut self, word: u8, asked: Asked, pump: PumpNumber) -> Heard {
        if word == 0xFF {
            self.words.clear();
        } else if self.words.is_empty() {
            return Heard::Nothing;
        }
        self.words.push(word);
        if word != 0xF0 {
            return Heard::Nothing;
        }
        let words = core::mem::take(&mut self.words);
        let read = if asked == Asked::Transaction {
            Transaction::read(&words).map(Answer::Transaction)
        } else {
            GradeTotals::read(&words).map(Answer::Totals)
        };
        match read {
            Ok(Answer::Transaction(record)) if record.pump != pump => {
                Heard::Bad(format!("the record of pump {}", record.pump))
            }
            Ok(answer) => Heard::Answer(answer),
            Err(why) => Heard::Bad(why.to_string()),
        }
    }
}

fn state(word: u8, asked: Asked, pump: PumpNumber) -> Heard {
    let said = PumpNumber::of_nibble(word);
    match Status::of_word(word) {
        _ if said != pump => Heard::Bad(format!("{word:02X} is a word of pump {said}")),
        None => Heard::Bad(format!("{word:02X} is no state")),
        Some(Status::DataError) => Heard::DataError,
        Some(Status::Ready) if asked != Asked::DataNext => Heard::Bad("ready for data, which nobody asked for".into()),
        Some(status) => Heard::Answer(Answer::Status(status)),
    }
}
