//! Blocks between FF and F0: numbers least significant digit first, length and check words (two-wire sheet, sections 3 to 6).

use super::word::PumpNumber;

const START: u8 = 0xFF;
const END: u8 = 0xF0;
const VOLUME_PRESET: u8 = 0xF1;
const MONEY_PRESET: u8 = 0xF2;
const FILL_UP: u8 = 0xF3;
const LEVEL_1: u8 = 0xF4;
const LEVEL_2: u8 = 0xF5;
const GRADE: u8 = 0xF6;
const PRICE: u8 = 0xF7;
const VALUE: u8 = 0xF8;
const VOLUME: u8 = 0xF9;
const MONEY: u8 = 0xFA;
const CHECK: u8 = 0xFB;
const SPECIAL: u8 = 0xFE;
const DIGIT: u8 = 0xE0;

/// Words from the check mark on: FB, the check, F0.
const TAIL: usize = 3;
/// More grades than any head has.
const MOST_GRADES: usize = 6;
/// A field's digits at most: the totals of a large head.
const MOST_DIGITS: u8 = 12;

/// A block was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No beginning, end or check mark where they belong.
    #[error("{0} words that are no block from FF to FB, check and F0")]
    NoBlock(usize),
    /// The check word is wrong.
    #[error("check word {found:02X}, should be {expected:02X}: words were lost or spoilt")]
    Check {
        /// As it came.
        found: u8,
        /// As computed.
        expected: u8,
    },
    /// The length word is wrong.
    #[error("length word {found:02X}, should be {expected:02X}")]
    Length {
        /// As it came.
        found: u8,
        /// As computed.
        expected: u8,
    },
    /// Another word belongs there.
    #[error("word {at} is {found:02X} where {wanted} belongs")]
    Word {
        /// Counted from 1.
        at: usize,
        /// As it came.
        found: u8,
        /// What should be there.
        wanted: &'static str,
    },
    /// Ends too early, or goes on too long.
    #[error("{0} words: no transaction of 33 or 39 and no totals of 1 to 6 grades")]
    Size(usize),
}

/// A number of so many decimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digits {
    value: u64,
    count: u8,
}

impl Digits {
    /// A number in so many digits, at most 12; `None` where it does not fit.
    #[must_use]
    pub const fn new(value: u64, count: u8) -> Option<Self> {
        if count <= MOST_DIGITS && value < 10_u64.pow(count as u32) { Some(Self { value, count }) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// All its digits, most significant first, for people.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:0width$}", self.value, width = usize::from(self.count))
    }

    fn words(self) -> impl Iterator<Item = u8> {
        (0..u32::from(self.count))
            .map(move |place| DIGIT | u8::try_from(self.value / 10_u64.pow(place) % 10).unwrap_or(0))
    }

    /// Reads words, least significant digit first. `None` if one is no decimal digit, or there are more than any field has: noise may
    /// bring digits without end.
    #[must_use]
    pub fn of_words(words: &[u8]) -> Option<Self> {
        let count = u8::try_from(words.len()).ok().filter(|count| *count <= MOST_DIGITS)?;
        let value =
            words.iter().rev().try_fold(0_u64, |value, word| digit(*word).map(|d| value * 10 + u64::from(d)))?;
        Some(Self { value, count })
    }
}

fn digit(word: u8) -> Option<u8> {
    (word & 0xF0 == DIGIT && word & 0x0F < 10).then_some(word & 0x0F)
}

/// A price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Level 1, mostly cash.
    #[default]
    One,
    /// Level 2, mostly credit.
    Two,
}

impl Level {
    const fn word(self) -> u8 {
        match self {
            Self::One => LEVEL_1,
            Self::Two => LEVEL_2,
        }
    }

    const fn of_word(word: u8) -> Option<Self> {
        match word {
            LEVEL_1 => Some(Self::One),
            LEVEL_2 => Some(Self::Two),
            _ => None,
        }
    }

    /// 1 or 2.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// A grade of a head, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GradeIndex(pub u8);

/// What a preset limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limits {
    /// F1.
    Volume,
    /// F2.
    Money,
}

/// What the controller says in a block, after data next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostBlock {
    /// A unit price.
    Price {
        /// Of which level.
        level: Level,
        /// Of which grade.
        grade: GradeIndex,
        /// 4 digits, 6 on large heads.
        price: Digits,
    },
    /// A limit for the next sale.
    Preset {
        /// Of what.
        limits: Limits,
        /// At which price; some heads take it plain.
        level: Option<Level>,
        /// Of which grade.
        grade: Option<GradeIndex>,
        /// 5, 6 or 8 digits.
        value: Digits,
    },
    /// Another price level.
    Level(Level),
    /// Special function 010: extended status.
    ExtendedStatus,
}

impl HostBlock {
    /// All words from FF to F0, with length and check.
    #[must_use]
    pub fn words(self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Price { level, grade, price } => {
                body.extend([level.word(), GRADE, DIGIT | grade.0 & 0x0F, PRICE]);
                body.extend(price.words());
            }
            Self::Preset { limits, level, grade, value } => {
                body.push(if limits == Limits::Money { MONEY_PRESET } else { VOLUME_PRESET });
                body.extend(level.map(Level::word));
                if let Some(grade) = grade {
                    body.extend([GRADE, DIGIT | grade.0 & 0x0F]);
                }
                body.push(VALUE);
                body.extend(value.words());
            }
            Self::Level(level) => body.push(level.word()),
            Self::ExtendedStatus => body.extend([SPECIAL, DIGIT, DIGIT | 1, DIGIT]),
        }
        let mut words = vec![START, length_word(body.len() + TAIL)];
        words.extend(body);
        words.push(CHECK);
        words.push(check_word(&words));
        words.push(END);
        words
    }

    /// Reads a block of a controller.
    ///
    /// # Errors
    /// [`Refused`] where length, check or any word is not as it should be.
    pub fn read(words: &[u8]) -> Result<Self, Refused> {
        let body = checked(words)?;
        let [found, rest @ ..] = body else { return Err(Refused::NoBlock(words.len())) };
        let expected = length_word(words.len() - 2);
        if *found != expected {
            return Err(Refused::Length { found: *found, expected });
        }
        let mut walk = Walk { words: rest, at: 2 };
        let block = match walk.next("a control word")? {
            mark @ (LEVEL_1 | LEVEL_2) => {
                let level = Level::of_word(mark).unwrap_or_default();
                if walk.words.is_empty() {
                    Self::Level(level)
                } else {
                    let grade = walk.grade()?;
                    walk.control(PRICE, "F7, price next")?;
                    Self::Price { level, grade, price: walk.digits(&[4, 6])? }
                }
            }
            mark @ (VOLUME_PRESET | MONEY_PRESET) => {
                let limits = if mark == MONEY_PRESET { Limits::Money } else { Limits::Volume };
                let level = walk.words.first().and_then(|word| Level::of_word(*word));
                if level.is_some() {
                    walk.next("a price level")?;
                }
                let grade = if walk.words.first() == Some(&GRADE) { Some(walk.grade()?) } else { None };
                walk.control(VALUE, "F8, preset value next")?;
                Self::Preset { limits, level, grade, value: walk.digits(&[5, 6, 8])? }
            }
            SPECIAL => {
                for (word, what) in [(DIGIT, "E0"), (DIGIT | 1, "E1"), (DIGIT, "E0")] {
                    walk.control(word, what)?;
                }
                Self::ExtendedStatus
            }
            found => return Err(Refused::Word { at: 3, found, wanted: "a preset, a price level or FE" }),
        };
        walk.end()?;
        Ok(block)
    }
}

/// The record of the last sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// F1, F2 or F3; not the kind of its preset (sheet, section 5).
    pub type_word: u8,
    /// The five identifier words.
    pub id: [u8; 5],
    /// Whose it is, by the identifier.
    pub pump: PumpNumber,
    /// What was sold.
    pub grade: GradeIndex,
    /// At which price level.
    pub level: Level,
    /// Unit price.
    pub price: Digits,
    /// Volume as shown.
    pub volume: Digits,
    /// Money as shown.
    pub money: Digits,
}

impl Transaction {
    /// Reads an answer of 33 or 39 words.
    ///
    /// # Errors
    /// [`Refused`] where length, check or any word is not as it should be.
    pub fn read(words: &[u8]) -> Result<Self, Refused> {
        let body = checked(words)?;
        let large = match words.len() {
            33 => false,
            39 => true,
            size => return Err(Refused::Size(size)),
        };
        let mut walk = Walk { words: body, at: 1 };
        let type_word = walk.next("a type word")?;
        if !matches!(type_word, VOLUME_PRESET | MONEY_PRESET | FILL_UP) {
            return Err(Refused::Word { at: 2, found: type_word, wanted: "F1, F2 or F3" });
        }
        walk.control(VALUE, "F8, identifier next")?;
        let mut id = [0; 5];
        for word in &mut id {
            *word = walk.nibble("an identifier word")? | DIGIT;
        }
        let grade = walk.grade()?;
        let mark = walk.next("a price level")?;
        let level = Level::of_word(mark).ok_or(Refused::Word { at: walk.at, found: mark, wanted: "F4 or F5" })?;
        walk.control(PRICE, "F7, price next")?;
        let price = walk.digits(if large { &[6] } else { &[4] })?;
        walk.control(VOLUME, "F9, volume next")?;
        let volume = walk.digits(if large { &[8] } else { &[6] })?;
        walk.control(MONEY, "FA, money next")?;
        let money = walk.digits(if large { &[8] } else { &[6] })?;
        walk.end()?;
        Ok(Self { type_word, id, pump: PumpNumber::of_index(id[1]), grade, level, price, volume, money })
    }
}

/// The meters of one grade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GradeTotals {
    /// Which grade.
    pub grade: GradeIndex,
    /// Volume ever sold.
    pub volume: Digits,
    /// Money ever charged.
    pub money: Digits,
    /// Price of level 1.
    pub price_1: Digits,
    /// Price of level 2.
    pub price_2: Digits,
}

impl GradeTotals {
    /// The price of a level.
    #[must_use]
    pub const fn price(&self, level: Level) -> Digits {
        match level {
            Level::One => self.price_1,
            Level::Two => self.price_2,
        }
    }

    /// Reads an answer of 1 to 6 grades, each of 30 words or of 42 on large heads.
    ///
    /// # Errors
    /// [`Refused`] where length, check or any word is not as it should be.
    pub fn read(words: &[u8]) -> Result<Vec<Self>, Refused> {
        let body = checked(words)?;
        let size = body.len();
        let fits = |of_one: usize| size.is_multiple_of(of_one) && (1..=MOST_GRADES).contains(&(size / of_one));
        // 210 words would be seven grades of one kind and five of the other; no head has seven
        let large = match (fits(30), fits(42)) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => return Err(Refused::Size(words.len())),
        };
        let (total, price): (&[u8], &[u8]) = if large { (&[12], &[6]) } else { (&[8], &[4]) };
        let mut walk = Walk { words: body, at: 1 };
        let mut grades = Vec::new();
        while !walk.words.is_empty() {
            let grade = walk.grade()?;
            walk.control(VOLUME, "F9, volume next")?;
            let volume = walk.digits(total)?;
            walk.control(MONEY, "FA, money next")?;
            let money = walk.digits(total)?;
            walk.control(LEVEL_1, "F4, price level 1")?;
            let price_1 = walk.digits(price)?;
            walk.control(LEVEL_2, "F5, price level 2")?;
            let price_2 = walk.digits(price)?;
            grades.push(Self { grade, volume, money, price_1, price_2 });
        }
        Ok(grades)
    }
}

/// The check word: two's complement of the sum of all low nibbles up to and with FB.
#[must_use]
pub fn check_word(words: &[u8]) -> u8 {
    let sum = words.iter().fold(0_u8, |sum, word| sum.wrapping_add(word & 0x0F));
    DIGIT | sum.wrapping_neg() & 0x0F
}

/// The length word of a host block with so many words after it.
#[must_use]
pub fn length_word(after: usize) -> u8 {
    DIGIT | u8::try_from(after % 16).unwrap_or(0).wrapping_neg() & 0x0F
}

/// The words between FF and FB of a block whose ends and check are good.
fn checked(words: &[u8]) -> Result<&[u8], Refused> {
    let [START, body @ .., CHECK, found, END] = words else { return Err(Refused::NoBlock(words.len())) };
    let expected = check_word(&words[..words.len() - 2]);
    if *found == expected { Ok(body) } else { Err(Refused::Check { found: *found, expected }) }
}

struct Walk<'a> {
    words: &'a [u8],
    /// Words taken so far, FF and the length included.
    at: usize,
}

impl Walk<'_> {
    fn next(&mut self, wanted: &'static str) -> Result<u8, Refused> {
        let [word, rest @ ..] = self.words else {
            return Err(Refused::Word { at: self.at + 1, found: CHECK, wanted });
        };
        self.words = rest;
        self.at += 1;
        Ok(*word)
    }

    fn control(&mut self, word: u8, wanted: &'static str) -> Result<(), Refused> {
        let found = self.next(wanted)?;
        if found == word { Ok(()) } else { Err(Refused::Word { at: self.at, found, wanted }) }
    }

    fn nibble(&mut self, wanted: &'static str) -> Result<u8, Refused> {
        let found = self.next(wanted)?;
        if found & 0xF0 == DIGIT { Ok(found & 0x0F) } else { Err(Refused::Word { at: self.at, found, wanted }) }
    }

    fn grade(&mut self) -> Result<GradeIndex, Refused> {
        self.control(GRADE, "F6, grade next")?;
        self.nibble("a grade index").map(GradeIndex)
    }

    /// A number of one of these sizes: as many digits as follow each other.
    fn digits(&mut self, sizes: &[u8]) -> Result<Digits, Refused> {
        let count = self.words.iter().take_while(|word| *word & 0xF0 == DIGIT).count();
        let fits = sizes.iter().any(|size| usize::from(*size) == count);
        let (words, rest) = self.words.split_at(count);
        match Digits::of_words(words).filter(|_| fits) {
            Some(digits) => {
                self.words = rest;
                self.at += count;
                Ok(digits)
            }
            None => {
                let found = self.words.first().copied().unwrap_or(CHECK);
                Err(Refused::Word { at: self.at + 1, found, wanted: "a number of the right size" })
            }
        }
    }

    fn end(&self) -> Result<(), Refused> {
        match self.words {
            [] => Ok(()),
            [found, ..] => Err(Refused::Word { at: self.at + 1, found: *found, wanted: "FB, check next" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_needs_more_digits_is_none() {
        assert_eq!(Digits::new(9_999, 4).map(Digits::text), Some("9999".into()));
        assert_eq!(Digits::new(10_000, 4), None);
    }

    #[test]
    fn digits_without_end_are_no_number() {
        for count in [13, 20, 87, 300, 8_192] {
            assert_eq!(Digits::of_words(&vec![0xE7; count]), None, "{count}");
        }
        assert_eq!(Digits::of_words(&[0xE9; 12]).map(Digits::text), Some("999999999999".into()));
    }

    #[test]
    fn every_preset_form_has_the_length_word_of_the_sheet() {
        let value = |count| Digits::new(1, count).expect("a digit");
        let (one, first) = (Some(Level::One), Some(GradeIndex(0)));
        for (limits, level, grade, count, length) in [
            (Limits::Money, None, None, 6, 0xE5),
            (Limits::Money, one, first, 6, 0xE2),
            (Limits::Money, one, None, 6, 0xE4),
            (Limits::Volume, one, first, 5, 0xE3),
            (Limits::Volume, one, first, 6, 0xE2),
            (Limits::Volume, one, first, 8, 0xE0),
        ] {
            let block = HostBlock::Preset { limits, level, grade, value: value(count) };
            let words = block.words();
            assert_eq!(words[1], length, "{words:02X?}");
            assert_eq!(HostBlock::read(&words), Ok(block));
        }
        let price = Digits::new(1_050, 6).expect("six digits");
        let block = HostBlock::Price { level: Level::One, grade: GradeIndex(0), price };
        assert_eq!(block.words()[1], 0xE3);
    }

    #[test]
    fn totals_have_the_sizes_of_the_sheet_and_no_other() {
        for size in 0..300 {
            let mut words = vec![START];
            let large = size % 42 == 4 && !(size % 30 == 4 && (34..=184).contains(&size));
            let of_one = if large { 42 } else { 30 };
            while words.len() + TAIL < size {
                let at = (words.len() - 1) % of_one;
                let (total, price) = if large { (12, 6) } else { (8, 4) };
                words.push(match at {
                    0 => GRADE,
                    2 => VOLUME,
                    _ if at == 3 + total => MONEY,
                    _ if at == 4 + 2 * total => LEVEL_1,
                    _ if at == 5 + 2 * total + price => LEVEL_2,
                    _ => DIGIT,
                });
            }
            words.push(CHECK);
            words.push(check_word(&words));
            words.push(END);
            let known = [34, 64, 94, 124, 154, 184, 46, 88, 130, 172, 214, 256].contains(&size);
            assert_eq!(GradeTotals::read(&words).is_ok(), known, "{size} words");
        }
    }
}
