//! A walk over a TOML document that collects every problem with its place instead of stopping at the first.

use core::cell::RefCell;
use core::fmt;
use core::ops::RangeInclusive;
use toml::de::{DeTable, DeValue};

/// One problem of a profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line in the text, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path of the key, such as `point.volume.order`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Where a value stands: offset in the text and path of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub offset: usize,
    pub key: String,
}

/// All problems so far.
pub(super) struct Report<'i> {
    text: &'i str,
    problems: RefCell<Vec<Problem>>,
}

impl<'i> Report<'i> {
    pub fn new(text: &'i str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    pub fn error(&self, at: &Place, what: impl Into<String>) {
        let before = self.text.get(..at.offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.problems.borrow_mut().push(Problem {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            key: at.key.clone(),
            what: what.into(),
        });
    }

    pub fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Everything found, in the order of the text.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

/// One table of the document. Each getter notes its key as known; [`Section::finish`] reports the others.
pub(super) struct Section<'a, 'i> {
    pub report: &'a Report<'i>,
    pub at: Place,
    table: Option<&'a DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub fn new(report: &'a Report<'i>, table: &'a DeTable<'i>, at: Place) -> Self {
        Self { report, at, table: Some(table), known: Vec::new() }
    }

    pub fn place(&self, key: &str, offset: usize) -> Place {
        let key = if self.at.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at.key) };
        Place { offset, key }
    }

    /// The place of a key, or of the table where it is absent.
    pub fn place_of(&self, key: &str) -> Place {
        let found = self.table.into_iter().flatten().find(|(name, _)| name.get_ref() == key);
        self.place(key, found.map_or(self.at.offset, |(name, _)| name.span().start))
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.into_iter().flatten().any(|(name, _)| name.get_ref() == key)
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        into: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let (_, value) = self.table.into_iter().flatten().find(|(name, _)| name.get_ref() == key)?;
        let taken = into(value.get_ref());
        if taken.is_none() {
            self.report.error(&self.place(key, value.span().start), format!("must be {expected}"));
        }
        taken
    }

    /// Reports the absence of a key.
    pub fn missing(&self, key: &str, expected: &str) {
        if !self.has(key) {
            self.report.error(&self.place_of(key), format!("is missing: {expected}"));
        }
    }

    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.take(key, "a string in quotes", |value| value.as_str())
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, "true or false", DeValue::as_bool)
    }

    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.take(key, &expected, |value| number(value).filter(|number| range.contains(number)))
    }

    pub fn integers(&mut self, key: &'static str) -> Option<Vec<i64>> {
        self.take(key, "an array of integers", |value| {
            value.as_array()?.iter().map(|item| number(item.get_ref())).collect()
        })
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.take(key, &format!("one of {}", known.join(", ")), |value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// Words with a number each.
    pub fn numbered(&mut self, key: &'static str) -> Option<Vec<(String, i64)>> {
        self.take(key, "a table of words and integers", |value| {
            let pairs = value.as_table()?.iter();
            pairs.map(|(word, value)| Some((word.get_ref().to_string(), number(value.get_ref())?))).collect()
        })
    }

    /// A table; an absent one reads as empty.
    pub fn section(&mut self, key: &'static str) -> Self {
        let at = self.place_of(key);
        let table = self.take(key, "a table", |value| value.as_table());
        Self { report: self.report, at, table, known: Vec::new() }
    }

    /// Every table in this table, by its key.
    pub fn all(&mut self) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        for (name, value) in self.table.into_iter().flatten() {
            let at = self.place(name.get_ref(), name.span().start);
            match value.get_ref().as_table() {
                Some(table) => all.push((name.get_ref().to_string(), Section::new(self.report, table, at))),
                None => self.report.error(&at, "must be a table"),
            }
        }
        all
    }

    /// Reports every key that is not known here.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let at = self.place(name, key.span().start);
                self.report.error(&at, format!("is not a key of this table; known are {}", self.known.join(", ")));
            }
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<i64> {
    let digits = value.as_integer()?;
    i64::from_str_radix(digits.as_str(), digits.radix()).ok()
}
