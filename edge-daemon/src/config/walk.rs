//! A walk over a TOML document that collects every problem instead of stopping at the first.
//!
//! Each getter notes its key as known; [`Section::finish`] reports the keys that nobody asked for.

use crate::config::problem::{Problem, Severity};
use core::cell::RefCell;
use core::fmt::Display;
use core::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value stands: offset in the text and path of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub offset: usize,
    pub key: String,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub value: T,
    pub at: Place,
}

impl<T> Found<T> {
    pub fn with<U>(&self, value: U) -> Found<U> {
        Found { value, at: self.at.clone() }
    }
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

    pub fn error(&self, at: &Place, what: impl Into<String>, expected: impl Into<String>) {
        self.add(Severity::Error, at, what.into(), expected.into());
    }

    pub fn warning(&self, at: &Place, what: impl Into<String>, expected: impl Into<String>) {
        self.add(Severity::Warning, at, what.into(), expected.into());
    }

    fn add(&self, severity: Severity, at: &Place, what: String, expected: String) {
        let (line, column) = self.position(at.offset);
        self.problems.borrow_mut().push(Problem { severity, line, column, key: at.key.clone(), what, expected });
    }

    fn position(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let lines = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (u32::try_from(lines).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Where the line that holds this place begins.
    pub fn line_of(&self, at: &Place) -> u32 {
        self.position(at.offset).0
    }

    pub fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Everything found, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

/// What a key holds: absent, of the wrong kind (already reported), or a value.
pub(super) enum Field<T> {
    Missing(Place),
    Wrong,
    Found(Found<T>),
}

impl<T> Field<T> {
    /// The value; its absence is reported.
    pub fn required(self, report: &Report<'_>, expected: &str) -> Option<Found<T>> {
        match self {
            Self::Found(found) => Some(found),
            Self::Wrong => None,
            Self::Missing(at) => {
                report.error(&at, "is missing", expected);
                None
            }
        }
    }

    /// The value if it is there.
    pub fn optional(self) -> Option<Found<T>> {
        match self {
            Self::Found(found) => Some(found),
            Self::Wrong | Self::Missing(_) => None,
        }
    }

    /// The value, or the default where the key is absent. A wrong one counts as absent: its problem stands already.
    pub fn or(self, default: T) -> T {
        self.optional().map_or(default, |found| found.value)
    }

    /// Turns the value into another, reporting where that fails.
    pub fn check<U, E: Display>(
        self,
        report: &Report<'_>,
        expected: &str,
        into: impl FnOnce(T) -> Result<U, E>,
    ) -> Field<U> {
        match self {
            Self::Missing(at) => Field::Missing(at),
            Self::Wrong => Field::Wrong,
            Self::Found(Found { value, at }) => match into(value) {
                Ok(value) => Field::Found(Found { value, at }),
                Err(why) => {
                    report.error(&at, why.to_string(), expected);
                    Field::Wrong
                }
            },
        }
    }
}

/// One table of the document.
pub(super) struct Section<'a, 'i> {
    pub report: &'a Report<'i>,
    pub at: Place,
    /// `None` where the document has no such table.
    table: Option<&'a DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub fn new(report: &'a Report<'i>, table: &'a DeTable<'i>, at: Place) -> Self {
        Self { report, at, table: Some(table), known: Vec::new() }
    }

    fn place(&self, key: &str, offset: usize) -> Place {
        let key = if self.at.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at.key) };
        Place { offset, key }
    }

    fn take<T>(&mut self, key: &'static str, kind: &str, into: impl FnOnce(&'a DeValue<'i>) -> Option<T>) -> Field<T> {
        self.known.push(key);
        let Some((_, value)) = self.table.into_iter().flatten().find(|(name, _)| name.get_ref() == key) else {
            return Field::Missing(self.place(key, self.at.offset));
        };
        let at = self.place(key, value.span().start);
        match into(value.get_ref()) {
            Some(value) => Field::Found(Found { value, at }),
            None => {
                self.report.error(&at, format!("is {}", kind_of(value.get_ref())), kind);
                Field::Wrong
            }
        }
    }

    pub fn text(&mut self, key: &'static str) -> Field<&'a str> {
        self.take(key, "a string in quotes", |value| value.as_str())
    }

    pub fn boolean(&mut self, key: &'static str) -> Field<bool> {
        self.take(key, "true or false", DeValue::as_bool)
    }

    /// An integer within a range.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>, unit: &str) -> Field<i64> {
        let expected = format!("an integer from {} to {}{unit}", range.start(), range.end());
        let field = self.take(key, &expected, DeValue::as_integer);
        let report = self.report;
        field.check(report, &expected, |digits| {
            let value = i64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| "is too large".to_owned())?;
            if range.contains(&value) { Ok(value) } else { Err(format!("{value} is out of range")) }
        })
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Field<T> {
        let expected = one_of(words.iter().map(|(word, _)| *word));
        let field = self.take(key, &expected, |value| value.as_str());
        field.check(self.report, &expected, |text| {
            let hit = words.iter().find(|(word, _)| *word == text);
            hit.map(|(_, value)| *value).ok_or_else(|| format!("\"{text}\" is not known here"))
        })
    }

    /// A table; an absent one reads as empty, so that its required keys are reported. `None` where it is no table,
    /// which is reported.
    pub fn section(&mut self, key: &'static str) -> Option<Self> {
        match self.section_if_any(key) {
            Field::Found(found) => Some(found.value),
            Field::Missing(at) => Some(Self { report: self.report, at, table: None, known: Vec::new() }),
            Field::Wrong => None,
        }
    }

    /// A table that may be absent.
    pub fn section_if_any(&mut self, key: &'static str) -> Field<Self> {
        let report = self.report;
        match self.take(key, "a table", |value| value.as_table()) {
            Field::Found(Found { value, at }) => {
                Field::Found(Found { value: Self::new(report, value, at.clone()), at })
            }
            Field::Missing(at) => Field::Missing(at),
            Field::Wrong => Field::Wrong,
        }
    }

    /// All tables of an array of tables; none where it is absent.
    pub fn sections(&mut self, key: &'static str) -> Field<Vec<Self>> {
        let report = self.report;
        let field = self.take(key, "an array of tables", |value| value.as_array());
        let Field::Found(Found { value: array, at }) = field else {
            return if let Field::Missing(at) = field { Field::Missing(at) } else { Field::Wrong };
        };
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let at = Place { offset: item.span().start, key: format!("{}[{index}]", at.key) };
            match item.get_ref().as_table() {
                Some(table) => sections.push(Self::new(report, table, at)),
                None => report.error(&at, format!("is {}", kind_of(item.get_ref())), "a table"),
            }
        }
        Field::Found(Found { value: sections, at })
    }

    /// All strings of an array.
    pub fn texts(&mut self, key: &'static str) -> Field<Vec<Found<&'a str>>> {
        let report = self.report;
        let field = self.take(key, "an array of strings", |value| value.as_array());
        let Field::Found(Found { value: array, at }) = field else {
            return if let Field::Missing(at) = field { Field::Missing(at) } else { Field::Wrong };
        };
        let mut texts = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let at = Place { offset: Spanned::span(item).start, key: format!("{}[{index}]", at.key) };
            match item.get_ref().as_str() {
                Some(value) => texts.push(Found { value, at }),
                None => report.error(&at, format!("is {}", kind_of(item.get_ref())), "a string in quotes"),
            }
        }
        Field::Found(Found { value: texts, at })
    }

    /// Reports every key that is not known here.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let at = self.place(name, key.span().start);
                self.report.error(&at, "is not a key of this table", one_of(self.known.iter().copied()));
            }
        }
    }
}

fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [] => "nothing".into(),
        [word] => (*word).into(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
