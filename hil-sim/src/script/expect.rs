//! What a script expects to see, and what it must never see.

use super::words::{Range, time};
use core::time::Duration;

/// Something that was seen: what, in words that patterns are compared with, and the sentence for people that came with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) what: String,
    pub(super) text: String,
}

/// The first words of what is seen; `*` stands for any one word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Vec<String>);

impl Pattern {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(Into::into).collect();
        match words.first().map(String::as_str) {
            Some(first) if BEGINNINGS.contains(&first) => Ok(Self(words)),
            Some(first) => {
                Err(format!("nothing that is seen begins with \"{first}\": use one of {}", BEGINNINGS.join(", ")))
            }
            None => Err("nothing is expected".into()),
        }
    }

    pub(super) fn fits(&self, what: &str) -> bool {
        let mut words = what.split_whitespace();
        self.0.iter().all(|expected| words.next().is_some_and(|word| expected == "*" || expected == word))
    }

    /// How many of its first words fit.
    pub(super) fn likeness(&self, what: &str) -> usize {
        let words = self.0.iter().zip(what.split_whitespace());
        words.take_while(|(expected, word)| *expected == "*" || expected == word).count()
    }

    pub(super) fn words(&self) -> String {
        self.0.join(" ")
    }
}

/// First words of what can be seen.
pub(super) const BEGINNINGS: [&str; 14] = [
    "reply",
    "order",
    "sale",
    "released",
    "review",
    "refused",
    "unaccounted",
    "alarm",
    "station",
    "nozzle",
    "pump",
    "power",
    "records",
    "outbox",
];

/// One line of `expect`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub(super) line: usize,
    pub(super) pattern: Pattern,
    /// Part of the sentence that comes with it.
    pub(super) text: Option<String>,
    pub(super) by: Option<Duration>,
    pub(super) not_before: Option<Duration>,
}

impl Expected {
    /// Reads `PATTERN ["text"] [after TIME] [by TIME]`.
    pub(super) fn read(line: usize, text: &str) -> Result<Self, String> {
        let (words, by) = ending(text, " by ")?;
        let (words, not_before) = ending(words, " after ")?;
        let (words, text) = match words.trim_end().strip_suffix('"') {
            None => (words, None),
            Some(quoted) => {
                let (words, text) = quoted.split_once('"').ok_or("a sentence begins and ends with \"")?;
                (words, Some(text.to_owned()))
            }
        };
        Ok(Self { line, pattern: Pattern::read(words)?, text, by, not_before })
    }

    pub(super) fn fits(&self, seen: &Seen) -> bool {
        self.pattern.fits(&seen.what)
            && self.text.as_ref().is_none_or(|text| seen.text.contains(text))
            && self.by.is_none_or(|by| seen.at <= by)
            && self.not_before.is_none_or(|after| seen.at >= after)
    }

    pub(super) fn words(&self) -> String {
        let mut words = self.pattern.words();
        if let Some(text) = &self.text {
            words = format!("{words} \"{text}\"");
        }
        words
    }
}

fn ending<'t>(text: &'t str, word: &str) -> Result<(&'t str, Option<Duration>), String> {
    // A sentence may hold the word too.
    let Some((words, when)) = text.rsplit_once(word).filter(|(_, when)| !when.contains('"')) else {
        return Ok((text, None));
    };
    time(when.trim()).map(|when| (words, Some(when)))
}

/// What an order comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Books {
    pub(super) litres: Range,
    pub(super) kept: Range,
    pub(super) back: Range,
}

impl Books {
    /// Reads `nothing, back 200.00` or `26.85 L, kept 200.00, back 0.00`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is no account: write \"26.85 L, kept 200.00, back 0.00\" or \"nothing, back 200.00\"")
        };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let money = |part: &str, word: &str| {
            part.strip_prefix(word).ok_or_else(wrong).and_then(|sum| Range::read(sum.trim(), 2))
        };
        match parts[..] {
            ["nothing", back] => Ok(Self { litres: Range::ZERO, kept: Range::ZERO, back: money(back, "back ")? }),
            [litres, kept, back] => Ok(Self {
                litres: Range::read(litres.strip_suffix(" L").ok_or_else(wrong)?, 3)?,
                kept: money(kept, "kept ")?,
                back: money(back, "back ")?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// What a totaliser moves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Movement {
    /// Exactly what was sold there: nothing is unaccounted.
    Sold,
    /// By so much.
    Litres(Range),
}

impl Movement {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text == "sold" { Ok(Self::Sold) } else { Range::read(text, 3).map(Self::Litres) }
    }
}

/// What must never happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Never {
    /// A dispenser is released more often than orders had a release stored.
    ReleasedWithoutOrder,
    /// More fuellings by us than orders.
    FuelledTwice,
    /// Two sales of one order, or more sales at a nozzle than fuellings.
    SecondSale,
    /// An order without its end when all is over.
    NoEnd,
    /// A sale above what was paid for.
    MoreThanPaid,
    /// Something is seen.
    Seen(Pattern),
}

/// The names of the fixed ones.
const NEVERS: [(&str, Never); 5] = [
    ("released without order", Never::ReleasedWithoutOrder),
    ("order fuelled twice", Never::FuelledTwice),
    ("second sale", Never::SecondSale),
    ("no end", Never::NoEnd),
    ("more than paid", Never::MoreThanPaid),
];

impl Never {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Some((_, never)) = NEVERS.iter().find(|(name, _)| *name == text) {
            return Ok(never.clone());
        }
        let names: Vec<&str> = NEVERS.iter().map(|(name, _)| *name).collect();
        Pattern::read(text).map(Self::Seen).map_err(|why| format!("{why}; or of {}", names.join(", ")))
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Seen(pattern) => pattern.words(),
            fixed => NEVERS.iter().find(|(_, never)| never == fixed).map_or("", |(name, _)| name).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(what: &str, text: &str) -> Seen {
        Seen { at: Duration::from_secs(20), what: what.into(), text: text.into() }
    }

    #[test]
    fn an_expectation_compares_first_words_sentence_and_time() {
        let expected = |text| Expected::read(1, text).expect(text);
        let armed = seen("reply pay A armed", "armed by noon, lift it");
        for good in [
            "reply pay A armed",
            "reply pay *",
            "reply pay A armed \"by noon\"",
            "reply pay A by 0:20",
            "reply after 0:20 by 0:21",
        ] {
            assert!(expected(good).fits(&armed), "{good}");
        }
        for bad in [
            "reply pay B",
            "reply pay A armed repeated",
            "reply pay A \"midnight\"",
            "reply by 0:19",
            "reply after 0:21",
        ] {
            assert!(!expected(bad).fits(&armed), "{bad}");
        }
        assert!(Expected::read(1, "answer A armed").is_err(), "nothing begins with that");
    }

    #[test]
    fn an_account_is_litres_and_what_is_kept_and_given_back() {
        let books = Books::read("19..19.5 L, kept 140..150, back 50..60").expect("an account");
        assert!(books.litres.holds(19_200) && books.kept.holds(14_500) && !books.back.holds(6_001));
        assert_eq!(Books::read("nothing, back 200.00").map(|books| books.back.holds(20_000)), Ok(true));
        assert!(Books::read("19 L").is_err());
    }

    #[test]
    fn what_must_never_be_is_named_or_a_pattern() {
        for (name, never) in NEVERS {
            assert_eq!(Never::read(name), Ok(never.clone()));
            assert_eq!(never.words(), name);
        }
        assert!(matches!(Never::read("sale B"), Ok(Never::Seen(_))));
        assert!(Never::read("chaos").is_err());
    }
}
