//! Checks across the parts of a configuration: what must be there once, what must fit together.

use crate::config::lasting::is_numbered;
use crate::config::walk::{Field, Found, Place, Report};
use crate::config::{Decimals, Files, GradeEntry, Port};
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::units::{Currency, UnitPrice};
use std::collections::BTreeMap;
use std::path::Path;

/// What has been named so far, and where.
pub(super) struct Seen<'r, 'i> {
    report: &'r Report<'i>,
    names: BTreeMap<String, Place>,
    ports: BTreeMap<Port, Place>,
    points: BTreeMap<FuellingPointId, Place>,
    nozzles: BTreeMap<NozzleId, Place>,
    grades: BTreeMap<Grade, (Place, Option<UnitPrice>)>,
}

impl<'r, 'i> Seen<'r, 'i> {
    pub fn new(report: &'r Report<'i>) -> Self {
        Self {
            report,
            names: BTreeMap::new(),
            ports: BTreeMap::new(),
            points: BTreeMap::new(),
            nozzles: BTreeMap::new(),
            grades: BTreeMap::new(),
        }
    }

    pub fn line_name(&mut self, found: &Found<String>) {
        once(self.report, &mut self.names, found, "the name", "another name for each line");
    }

    pub fn port(&mut self, found: &Found<Port>) {
        once(self.report, &mut self.ports, found, "the port", "one line on each port");
    }

    pub fn point(&mut self, found: &Found<FuellingPointId>) {
        once(self.report, &mut self.points, found, "the fuelling point", "another number for each fuelling point");
    }

    pub fn nozzle(&mut self, found: &Found<NozzleId>) {
        once(self.report, &mut self.nozzles, found, "the nozzle number", "numbers that are unique at the station");
    }

    /// A grade that is declared, with its price unless that was wrong.
    pub fn grade(&mut self, found: &Found<Grade>, price: Option<UnitPrice>) {
        if let Some((first, _)) = self.grades.get(&found.value) {
            let line = self.report.line_of(first);
            let what = format!("\"{}\" is declared in line {line} already", found.value);
            self.report.error(&found.at, what, "each grade once");
            return;
        }
        self.grades.insert(found.value.clone(), (found.at.clone(), price));
    }

    /// A grade that a nozzle sells: it must be declared, and its price must fit into the digits of the head.
    pub fn sells(&self, found: &Found<Grade>, decimals: Option<Decimals>, price_digits: u32) {
        let Some((_, price)) = self.grades.get(&found.value) else {
            let known: Vec<&str> = self.grades.keys().map(Grade::as_str).collect();
            let expected = if known.is_empty() { "a [[grade]] for it".into() } else { known.join(" or ") };
            self.report.error(&found.at, format!("no [[grade]] has the code \"{}\"", found.value), expected);
            return;
        };
        let (Some(price), Some(decimals)) = (price, decimals) else { return };
        let step = 10_i64.pow(6 - u32::from(decimals.price));
        let digits = price.get() / step;
        let largest = 10_i64.pow(price_digits) - 1;
        if price.get() % step != 0 {
            let what = format!(
                "the price of \"{}\", {} micros, has more than the {} decimals of this head",
                found.value,
                price.get(),
                decimals.price
            );
            self.report.error(&found.at, what, format!("a multiple of {step} micros, or other decimals.price"));
        } else if digits > largest {
            let what = format!("the price of \"{}\" needs {digits} in the digits of this head", found.value);
            self.report.error(&found.at, what, format!("at most {largest}, or fewer decimals.price"));
        }
    }

    /// No nozzle sells it: most likely forgotten.
    pub fn unsold(&self, grades: &[GradeEntry], sold: &[Grade]) {
        for entry in grades {
            if let Some((at, _)) = self.grades.get(&entry.code)
                && !sold.contains(&entry.code)
            {
                self.report.warning(at, format!("no nozzle sells \"{}\"", entry.code), "");
            }
        }
    }
}

fn once<K: Ord + Clone + Named>(
    report: &Report<'_>,
    seen: &mut BTreeMap<K, Place>,
    found: &Found<K>,
    what: &str,
    expected: &str,
) {
    if let Some(first) = seen.get(&found.value) {
        let line = report.line_of(first);
        report.error(&found.at, format!("{what} {} is used in line {line} already", found.value.named()), expected);
        return;
    }
    seen.insert(found.value.clone(), found.at.clone());
}

/// How a thing is called in a message.
pub(super) trait Named {
    fn named(&self) -> String;
}

impl Named for String {
    fn named(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Named for FuellingPointId {
    fn named(&self) -> String {
        self.to_string()
    }
}

impl Named for NozzleId {
    fn named(&self) -> String {
        self.to_string()
    }
}

impl Named for Port {
    fn named(&self) -> String {
        match self {
            Self::Serial(path) => path.display().to_string(),
            Self::Tcp { host, port } => format!("tcp://{host}:{port}"),
        }
    }
}

/// Addresses and nozzle numbers within one wire or one dispenser.
pub(super) struct Local<'r, 'i> {
    report: &'r Report<'i>,
    seen: BTreeMap<u8, Place>,
    what: &'static str,
    scope: &'static str,
}

impl<'r, 'i> Local<'r, 'i> {
    pub fn new(report: &'r Report<'i>, what: &'static str, scope: &'static str) -> Self {
        Self { report, seen: BTreeMap::new(), what, scope }
    }

    pub fn take(&mut self, found: &Found<u8>) {
        if let Some(first) = self.seen.get(&found.value) {
            let line = self.report.line_of(first);
            let (what, value, scope) = (self.what, found.value, self.scope);
            let hex = if what == "address" { format!(" (0x{value:02X})") } else { String::new() };
            let text = format!("{what} {value}{hex} is used on this {scope} in line {line} already");
            self.report.error(&found.at, text, format!("another {what} for each on one {scope}"));
            return;
        }
        self.seen.insert(found.value, found.at.clone());
    }
}

/// A port by a name that may belong to another adapter after a restart, when the pumps behind it would change places.
pub(super) fn lasting(report: &Report<'_>, at: &Place, port: &Path, files: &dyn Files) {
    if !is_numbered(port) {
        return;
    }
    let what = "this name may belong to another adapter after a restart or when a cable was pulled";
    let expected = files.lasting_name(port).map_or_else(
        || {
            "the link to it in /dev/serial/by-id, or in /dev/serial/by-path for an adapter without a number of its own"
                .into()
        },
        |name| format!("port = \"{}\", which is this adapter now", name.display()),
    );
    report.warning(at, what, expected);
}

/// A key that concerns only what we send: on a line that only listens it would promise something that never happens.
pub(super) fn for_control<T>(report: &Report<'_>, only_listens: bool, field: Field<T>) -> Field<T> {
    match field {
        Field::Found(found) if only_listens => {
            report.error(&found.at, "has no use with mode \"listen-only\": nothing is sent there", "to be left out");
            Field::Wrong
        }
        field => field,
    }
}

/// Decimals of a head against the money of the station: an amount finer than the minor unit could not be booked.
pub(super) fn amount_decimals(report: &Report<'_>, at: &Place, decimals: u8, currency: Currency) {
    if decimals > currency.decimals() {
        let what = format!("{decimals} decimals of amount, but {currency} has {}", currency.decimals());
        report.error(at, what, format!("0 to {}", currency.decimals()));
    }
}
