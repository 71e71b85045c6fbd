//! A script's file as data: TOML around, a line of words for each act and expectation. Every problem is found, with its line.

use super::act::{self, Act};
use super::expect::{Books, Expected, Movement, Never};
use super::words::{fixed, time};
use core::fmt;
use core::time::Duration;
use forecourt::ids::{Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Money, UnitPrice, Volume};
use pump_drivers::protocol::Protocol;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A script that is wrong in one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line of the file, from 1.
    pub line: usize,
    /// What, and what is expected.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// An order that a script may pay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    pub(super) id: OrderId,
    pub(super) nozzle: NozzleId,
    pub(super) limit: Limit,
    /// If not what the nozzle sells.
    pub(super) grade: Option<Grade>,
    /// If not what the nozzle shows.
    pub(super) price: Option<UnitPrice>,
    pub(super) lift_within_s: u32,
    pub(super) valid_s: u32,
}

/// A line that says what happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    pub(super) line: usize,
    pub(super) at: Duration,
    pub(super) act: Act,
    /// What the line says; empty where a lasting act is taken back.
    pub(super) text: String,
}

/// A script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// What it shows.
    pub title: String,
    /// The journeys it proves.
    pub proves: String,
    pub(super) hour: u64,
    pub(super) pumps: Protocol,
    pub(super) seed: u64,
    pub(super) until: Duration,
    pub(super) orders: BTreeMap<String, Order>,
    pub(super) acts: Vec<Deed>,
    pub(super) expect: Vec<Expected>,
    pub(super) books: BTreeMap<String, (usize, Books)>,
    pub(super) totalisers: BTreeMap<NozzleId, (usize, Movement)>,
    pub(super) must_not: Vec<(usize, Never)>,
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

type Value<'t> = Spanned<DeValue<'t>>;

/// Reads a script.
///
/// # Errors
/// All that is wrong with it.
pub fn read(text: &str) -> Result<Script, Vec<Problem>> {
    let mut reader = Reader { text, problems: Vec::new() };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| reader.line_of(span.start));
            return Err(vec![Problem { line, what: error.message().to_owned() }]);
        }
    };
    let script = reader.script(table);
    if reader.problems.is_empty() {
        return Ok(script);
    }
    reader.problems.sort_by_key(|problem| problem.line);
    Err(reader.problems)
}

const KEYS: &str = "title, proves, start, until, orders, acts, expect, books, totalisers, must_not";

impl Reader<'_> {
    fn line_of(&self, offset: usize) -> usize {
        self.text.get(..offset).unwrap_or(self.text).matches('\n').count() + 1
    }

    fn wrong(&mut self, line: usize, what: impl Into<String>) {
        self.problems.push(Problem { line, what: what.into() });
    }

    /// The value, or its problem noted.
    fn good<T>(&mut self, line: usize, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.wrong(line, what)).ok()
    }

    fn script(&mut self, table: DeTable<'_>) -> Script {
        let mut script = Script {
            title: String::new(),
            proves: String::new(),
            hour: 8,
            pumps: Protocol::Dart,
            seed: 1,
            until: Duration::ZERO,
            orders: BTreeMap::new(),
            acts: Vec::new(),
            expect: Vec::new(),
            books: BTreeMap::new(),
            totalisers: BTreeMap::new(),
            must_not: Vec::new(),
        };
        for (key, value) in table {
            let line = self.line_of(key.span().start);
            match key.get_ref().as_ref() {
                "title" => script.title = self.string(&value).unwrap_or_default(),
                "proves" => script.proves = self.string(&value).unwrap_or_default(),
                "until" => {
                    if let Some(text) = self.string(&value) {
                        script.until = self.good(line, time(&text)).unwrap_or_default();
                    }
                }
                "start" => self.start(value, &mut script),
                "orders" => self.orders(value, &mut script),
                "acts" => self.acts(&value, &mut script),
                "expect" => self.expectations(&value, &mut script),
                "books" => self.books(value, &mut script),
                "totalisers" => self.totalisers(value, &mut script),
                "must_not" => self.must_not(&value, &mut script),
                other => self.wrong(line, format!("\"{other}\" is no key of a script: {KEYS}")),
            }
        }
        for (missing, key) in [
            (script.title.is_empty(), "title"),
            (script.proves.is_empty(), "proves"),
            (script.until.is_zero(), "until"),
            (script.acts.is_empty(), "acts"),
            (script.expect.is_empty(), "expect"),
            (script.must_not.is_empty(), "must_not"),
        ] {
            if missing {
                self.wrong(1, format!("{key} is missing"));
            }
        }
        self.names(&script);
        script.acts.sort_by_key(|deed| deed.at);
        script
    }

    /// Names that stand for nothing, and acts after the end.
    fn names(&mut self, script: &Script) {
        for deed in &script.acts {
            if let Some(order) = deed.act.order().filter(|order| !script.orders.contains_key(*order)) {
                self.wrong(deed.line, format!("order {order} is not among [orders]"));
            }
            if deed.at > script.until && !deed.text.is_empty() {
                self.wrong(deed.line, "comes after the script's end, `until`");
            }
        }
        for (order, (line, _)) in &script.books {
            if !script.orders.contains_key(order) {
                self.wrong(*line, format!("order {order} is not among [orders]"));
            }
        }
    }

    fn string(&mut self, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            let line = self.line_of(value.span().start);
            self.wrong(line, "a text in quotes is expected");
        }
        text
    }

    fn table<'t>(&mut self, value: Value<'t>) -> DeTable<'t> {
        let line = self.line_of(value.span().start);
        match value.into_inner() {
            DeValue::Table(table) => table,
            _ => {
                self.wrong(line, "a table is expected");
                DeTable::new()
            }
        }
    }

    fn integer(&mut self, value: &Value<'_>) -> Option<u64> {
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        if number.is_none() {
            let line = self.line_of(value.span().start);
            self.wrong(line, "a number from 0 up is expected");
        }
        number
    }

    /// The lines of a text over several lines, each with its number in the file; remarks and empty lines left out.
    fn lines(&mut self, value: &Value<'_>) -> Vec<(usize, String)> {
        let Some(text) = self.string(value) else { return Vec::new() };
        let span = value.span();
        let raw = self.text.get(span.clone()).unwrap_or("");
        // The line feed right behind the opening quotes is not part of the text.
        let skipped = ["'''\n", "\"\"\"\n", "'''\r\n"].iter().any(|opening| raw.starts_with(opening));
        let first = self.line_of(span.start) + usize::from(skipped);
        (first..)
            .zip(text.lines())
            .map(|(line, words)| (line, words.split('#').next().unwrap_or("").trim().to_owned()))
            .filter(|(_, words)| !words.is_empty())
            .collect()
    }

    fn start(&mut self, value: Value<'_>, script: &mut Script) {
        for (key, value) in self.table(value) {
            let line = self.line_of(key.span().start);
            match key.get_ref().as_ref() {
                "hour" => match self.integer(&value) {
                    Some(hour @ 0..=23) => script.hour = hour,
                    _ => self.wrong(line, "hour is from 0 to 23"),
                },
                "seed" => script.seed = self.integer(&value).unwrap_or(1),
                "pumps" => {
                    let word = self.string(&value).unwrap_or_default();
                    match crate::rig::bus::one(&word) {
                        Ok(protocol) => script.pumps = protocol,
                        Err(why) => self.wrong(line, format!("pumps: {why}")),
                    }
                }
                other => self.wrong(line, format!("\"{other}\" is no key of [start]: hour, pumps, seed")),
            }
        }
    }

    fn orders(&mut self, value: Value<'_>, script: &mut Script) {
        for (name, value) in self.table(value) {
            let line = self.line_of(name.span().start);
            let name = name.into_inner().into_owned();
            match OrderId::new(name.clone()) {
                Ok(id) => {
                    if let Some(order) = self.order(id, value, line) {
                        script.orders.insert(name, order);
                    }
                }
                Err(why) => self.wrong(line, why.to_string()),
            }
        }
    }

    fn order(&mut self, id: OrderId, value: Value<'_>, line: usize) -> Option<Order> {
        let (mut nozzle, mut limit, mut grade, mut price) = (None, None, None, None);
        let (mut lift_within_s, mut valid_s) = (120, 600);
        for (key, value) in self.table(value) {
            let key = key.get_ref().as_ref();
            match key {
                "nozzle" => {
                    nozzle = self.integer(&value).and_then(|number| u16::try_from(number).ok()).map(NozzleId);
                }
                "amount" => limit = self.quantity(&value, 2, "an amount").map(Money::new).map(Limit::Amount),
                "full_tank" => limit = self.quantity(&value, 2, "an amount").map(Money::new).map(Limit::FullTank),
                "litres" => limit = self.quantity(&value, 3, "a volume").map(Volume::new).map(Limit::Volume),
                "price" => price = self.quantity(&value, 6, "a price").map(UnitPrice::new),
                "grade" => {
                    let code = self.string(&value).unwrap_or_default();
                    grade = self.good(line, Grade::new(code).map_err(|why| why.to_string()));
                }
                "lift_within_s" => lift_within_s = self.seconds(&value),
                "valid_s" => valid_s = self.seconds(&value),
                other => self.wrong(
                    line,
                    format!(
                        "\"{other}\" is no key of an order: nozzle, amount or litres or full_tank, grade, price, lift_within_s, valid_s"
                    ),
                ),
            }
        }
        if nozzle.is_none() || limit.is_none() {
            self.wrong(line, "an order needs a nozzle, and one of amount, litres and full_tank");
        }
        Some(Order { id, nozzle: nozzle?, limit: limit?, grade, price, lift_within_s, valid_s })
    }

    fn seconds(&mut self, value: &Value<'_>) -> u32 {
        self.integer(value).and_then(|seconds| seconds.try_into().ok()).unwrap_or(0)
    }

    fn quantity(&mut self, value: &Value<'_>, decimals: u8, what: &str) -> Option<i64> {
        let line = self.line_of(value.span().start);
        let text = self.string(value)?;
        let wrong = || format!("\"{text}\" is not {what} with at most {decimals} decimals");
        self.good(line, fixed(&text, decimals).ok_or_else(wrong))
    }

    fn acts(&mut self, value: &Value<'_>, script: &mut Script) {
        for (line, words) in self.lines(value) {
            let (when, what) = words.split_once(char::is_whitespace).unwrap_or((&words, ""));
            let at = self.good(line, time(when));
            let acts = self.good(line, act::read(what.trim()));
            let (Some(at), Some(acts)) = (at, acts) else { continue };
            for (nth, (after, act)) in acts.into_iter().enumerate() {
                let text = if nth == 0 { what.trim().to_owned() } else { String::new() };
                script.acts.push(Deed { line, at: at + after, act, text });
            }
        }
    }

    fn expectations(&mut self, value: &Value<'_>, script: &mut Script) {
        for (line, words) in self.lines(value) {
            let read = self.good(line, Expected::read(line, &words));
            script.expect.extend(read);
        }
    }

    fn books(&mut self, value: Value<'_>, script: &mut Script) {
        for (name, value) in self.table(value) {
            let line = self.line_of(name.span().start);
            let text = self.string(&value).unwrap_or_default();
            if let Some(books) = self.good(line, Books::read(&text)) {
                script.books.insert(name.into_inner().into_owned(), (line, books));
            }
        }
    }

    fn totalisers(&mut self, value: Value<'_>, script: &mut Script) {
        for (name, value) in self.table(value) {
            let line = self.line_of(name.span().start);
            let text = self.string(&value).unwrap_or_default();
            let nozzle = name.get_ref().parse().ok().filter(|number| (1..=24).contains(number)).map(NozzleId);
            let nozzle = self.good(line, nozzle.ok_or_else(|| "a nozzle from 1 to 24 is expected".into()));
            let movement = self.good(line, Movement::read(&text));
            if let (Some(nozzle), Some(movement)) = (nozzle, movement) {
                script.totalisers.insert(nozzle, (line, movement));
            }
        }
    }

    fn must_not(&mut self, value: &Value<'_>, script: &mut Script) {
        for (line, words) in self.lines(value) {
            if let Some(never) = self.good(line, Never::read(&words)) {
                script.must_not.push((line, never));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"title = "t"
proves = "D5"
until = "5:00"

[start]
hour = 7
pumps = "dart"

[orders]
A = { nozzle = 5, amount = "200.00" }

[books]
A = "nothing, back 200.00"

[totalisers]
5 = "sold"
"#;

    fn with_lists(acts: &str) -> String {
        let lists =
            format!("acts = '''\n{acts}\n'''\nexpect = '''\nreply pay A armed\n'''\nmust_not = '''\nno end\n'''\n");
        format!("{lists}{GOOD}")
    }

    #[test]
    fn a_script_is_read_with_the_line_of_each_act() {
        let script = read(&with_lists("# remark\n0:10 pay A\n0:05 lift 5")).expect("a script");
        assert_eq!(
            script.acts.iter().map(|deed| (deed.line, deed.at.as_secs())).collect::<Vec<_>>(),
            [(4, 5), (3, 10)]
        );
        assert_eq!((script.hour, script.expect.len(), script.must_not.len()), (7, 1, 1));
        assert_eq!(script.orders["A"].limit, Limit::Amount(Money::new(20_000)));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = with_lists("0:10 pay B\n0:99 lift 5\n0:20 dance 5").replace("nozzle = 5", "nosle = 5");
        let problems = read(&text).expect_err("wrong");
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines[..3], [2, 3, 4], "{problems:?}");
        assert!(problems.iter().any(|problem| problem.what.contains("nosle")), "{problems:?}");
    }

    #[test]
    fn what_is_missing_is_told_and_so_is_broken_toml() {
        let problems = read("title = \"t\"").expect_err("all but the title is missing");
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert_eq!(read("title = ").expect_err("no TOML")[0].line, 1);
    }
}
