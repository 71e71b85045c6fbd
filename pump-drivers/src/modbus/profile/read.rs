//! From the text of a profile to its types.

use super::check;
use super::role::{Role, Unit};
use super::walk::{Place, Problem, Report, Section};
use super::{Kind, Limits, Parity, Profile, Wiring};
use crate::modbus::point::{FLOAT_DIGITS, Order, Point, Raw, Scale, ValueType};
use crate::modbus::wire::Area;
use core::time::Duration;
use std::collections::BTreeMap;
use toml::de::DeTable;

const AREAS: [(&str, Area); 4] =
    [("coil", Area::Coil), ("discrete", Area::Discrete), ("input", Area::Input), ("holding", Area::Holding)];
const TYPES: [(&str, ValueType); 8] = [
    ("bit", ValueType::Bit),
    ("u16", ValueType::U16),
    ("s16", ValueType::S16),
    ("u32", ValueType::U32),
    ("s32", ValueType::S32),
    ("bcd16", ValueType::Bcd16),
    ("bcd32", ValueType::Bcd32),
    ("f32", ValueType::F32),
];
const ORDERS: [(&str, Order); 6] = [
    ("ABCD", Order::Abcd),
    ("CDAB", Order::Cdab),
    ("BADC", Order::Badc),
    ("DCBA", Order::Dcba),
    ("AB", Order::Abcd),
    ("BA", Order::Badc),
];
const KINDS: [(&str, Kind); 4] =
    [("dispenser", Kind::Dispenser), ("collect", Kind::Collect), ("pulses", Kind::Pulses), ("outputs", Kind::Outputs)];
/// Functions that are used at all (Modbus sheet, section 1).
const FUNCTIONS: [i64; 8] = [1, 2, 3, 4, 5, 6, 15, 16];

pub(super) fn parse(text: &str) -> Result<Profile, Vec<Problem>> {
    let report = Report::new(text);
    let (document, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        // what the parser guessed after a slip would only add problems that are none
        for fault in &faults {
            let at = Place { offset: fault.span().map_or(0, |span| span.start), key: String::new() };
            report.error(&at, fault.message().replace('\n', ", "));
        }
        return Err(report.into_problems());
    }
    let root = Section::new(&report, document.get_ref(), Place { offset: 0, key: String::new() });
    match profile(root, &report) {
        Some(profile) if report.is_clean() => Ok(profile),
        _ => Err(report.into_problems()),
    }
}

fn profile(mut root: Section<'_, '_>, report: &Report<'_>) -> Option<Profile> {
    let name = root.text("name");
    let kind = root.word("kind", &KINDS);
    let close_at_limit = root.boolean("close-at-limit").unwrap_or(false);
    let close_place = root.place_of("close-at-limit");
    let wiring = wiring(root.section("line"));
    let limits = limits(root.section("limits"));
    let mut section = root.section("point");
    root.missing("name", "the maker's name of the device");
    root.missing("kind", "dispenser, collect, pulses or outputs");
    let section_place = section.at.clone();
    let mut points: BTreeMap<Role, (Point, Place)> = BTreeMap::new();
    let mut named = Vec::new();
    for (word, table) in section.all() {
        let at = table.at.clone();
        let Some(role) = Role::ALL.iter().find(|role| role.word() == word) else {
            let known: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
            report.error(&at, format!("is no point; known are {}", known.join(", ")));
            continue;
        };
        named.push(*role);
        if let Some(point) = point(table, *role) {
            points.insert(*role, (point, at));
        }
    }
    root.finish();
    let kind = kind?;
    if close_at_limit && kind != Kind::Pulses {
        report.error(&close_place, "is for pulses only: a dispenser keeps its limit itself");
    }
    check::check(kind, &limits, &points, &named, &section_place, report);
    let points = points.into_iter().map(|(role, (point, _))| (role, point)).collect();
    Some(Profile { name: name?.to_owned(), kind, wiring, limits, close_at_limit, points })
}

fn wiring(mut section: Section<'_, '_>) -> Wiring {
    let baud = section.integer("baud", 300..=115_200).unwrap_or(9_600);
    let parities = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
    let parity = section.word("parity", &parities).unwrap_or(Parity::None);
    let answer = section.integer("answer-ms", 10..=5_000).unwrap_or(500);
    section.finish();
    Wiring {
        baud: u32::try_from(baud).unwrap_or(9_600),
        parity,
        answer: Duration::from_millis(u64::try_from(answer).unwrap_or(500)),
    }
}

fn limits(mut section: Section<'_, '_>) -> Limits {
    let mut narrow = |key, range, default| {
        let found: Option<i64> = section.integer(key, range);
        u16::try_from(found.unwrap_or(default)).unwrap_or_default()
    };
    let (read, write) = (narrow("registers-per-read", 1..=125, 125), narrow("registers-per-write", 1..=123, 123));
    let gap = narrow("gap", 0..=32, 0);
    let functions = section.integers("functions").unwrap_or_else(|| FUNCTIONS.to_vec());
    if let Some(odd) = functions.iter().find(|function| !FUNCTIONS.contains(function)) {
        let at = section.place_of("functions");
        section.report.error(&at, format!("{odd} is not used here; known are 1, 2, 3, 4, 5, 6, 15 and 16"));
    }
    section.finish();
    let functions = functions.into_iter().filter_map(|function| u8::try_from(function).ok()).collect();
    Limits { read, write, gap, functions }
}

fn point(mut section: Section<'_, '_>, role: Role) -> Option<Point> {
    let report = section.report;
    let area = section.word("area", &AREAS);
    let address = section.integer("address", 0..=65_535);
    let default = area.filter(|area| area.is_bits()).map(|_| ValueType::Bit);
    let kind = section.word("type", &TYPES).or(default.filter(|_| !section.has("type")));
    let order = section.word("order", &ORDERS);
    let order_text = section.text("order").map(str::len);
    let scale = section.integers("scale");
    let unit = section.text("unit");
    let access = section.word("access", &[("read", false), ("read-write", true)]);
    let invalid = section.integers("invalid");
    let values = section.numbered("values");
    let bit = section.integer("bit", 0..=15);
    let active_low = section.boolean("active-low").unwrap_or(false);
    let expect = section.integer("expect", -0x8000_0000..=0xFFFF_FFFF);
    section.missing("area", "coil, discrete, input or holding");
    section.missing("address", "the address on the wire, from 0 (the document's 40011 is 10)");
    if kind.is_none() {
        section.missing("type", "u16, s16, u32, s32, bcd16, bcd32, f32, or bit");
    }
    let (area, kind) = (area?, kind?);
    let at = |key: &str| section.place_of(key);
    if area.is_bits() != (kind == ValueType::Bit) && kind != ValueType::Bit {
        report.error(&at("type"), "a coil or an input is a bit");
    }
    if role.is_bit() != (kind == ValueType::Bit) {
        let what = if role.is_bit() { "is on or off: a bit" } else { "is a number, not a bit" };
        report.error(&at("type"), what);
    }
    if kind == ValueType::Bit && !area.is_bits() && bit.is_none() {
        report.error(&at("bit"), "is missing: which bit of the register, 0 the lowest");
    }
    if bit.is_some() && (kind != ValueType::Bit || area.is_bits()) {
        report.error(&at("bit"), "is for a bit of a register");
    }
    if active_low && role.is_written() {
        report.error(&at("active-low"), "an output is energised to run: loss of power must stop fuel");
    }
    match (kind.width(), order_text) {
        // a wrong order gives a wrong figure that looks right, so none is taken for granted
        (2, None) => report.error(&at("order"), "is missing: ABCD, CDAB, BADC or DCBA"),
        (2, Some(2)) => report.error(&at("order"), "a 32-bit value has ABCD, CDAB, BADC or DCBA"),
        (1, Some(4)) => report.error(&at("order"), "a 16-bit value has AB or BA"),
        _ => {}
    }
    match (role.unit(), unit) {
        (Unit::Plain, None) => {}
        (Unit::Plain, Some(_)) => report.error(&at("unit"), "this point has no unit"),
        (expected, found) if found != Some(expected.word()) => {
            report.error(&at("unit"), format!("must be \"{}\", what one count times scale is", expected.word()));
        }
        _ => {}
    }
    let scale = match scale.as_deref() {
        None => Some(Scale::ONE),
        Some(_) if role.unit() == Unit::Plain => {
            report.error(&at("scale"), "this point has no unit and so no scale");
            None
        }
        Some([num, den]) => Scale::new(*num, *den).or_else(|| {
            report.error(&at("scale"), "both numbers must be above 0");
            None
        }),
        Some(_) => {
            report.error(&at("scale"), "must be [numerator, denominator]");
            None
        }
    };
    let float = kind == ValueType::F32;
    if float && (role.is_written() || access == Some(true)) {
        report.error(&at("type"), "a float is only read: no limit and no price is exact as one");
    } else if float && role.unit() == Unit::Plain {
        report.error(&at("type"), "a number or a word has no fraction: a float is for ml, minor and micros");
    }
    let parts = if float { 1 << FLOAT_DIGITS } else { 1 };
    let finer = scale.and_then(|scale| scale.finer(parts));
    if scale.is_some() && finer.is_none() {
        report.error(&at("scale"), "the second number is too large for a float");
    }
    let values = read_values(values, role, &at("values"), report);
    if role == Role::Identity && expect.is_none() {
        report.error(&at("expect"), "is missing: the value that tells the right device");
    } else if role != Role::Identity && expect.is_some() {
        report.error(&at("expect"), "is for the point identity");
    }
    let writable = access.unwrap_or(role.is_written());
    if writable && !matches!(area, Area::Holding | Area::Coil) {
        report.error(&at("area"), "cannot be written: only holding registers and coils can");
    }
    if role.is_written() && !writable && access.is_some() {
        report.error(&at("access"), "is written by the daemon: read-write");
    }
    let address = u16::try_from(address?).ok()?;
    section.finish();
    Some(Point {
        area,
        address,
        kind,
        order: order.unwrap_or_default(),
        scale: finer?,
        writable,
        invalid: invalid.map_or_else(
            || kind.invalid(),
            |all| all.into_iter().filter_map(|count| count.checked_mul(parts).map(Raw)).collect(),
        ),
        values,
        bit: bit.and_then(|bit| u8::try_from(bit).ok()),
        active_low,
        expect: expect.map(Raw),
    })
}

fn read_values(values: Option<Vec<(String, i64)>>, role: Role, at: &Place, report: &Report<'_>) -> Vec<(String, Raw)> {
    let words = role.words();
    match &values {
        None if !words.is_empty() => report.error(at, format!("is missing: counts for {}", words.join(", "))),
        Some(_) if words.is_empty() => report.error(at, "this point is a number and has no words"),
        _ => {}
    }
    let values = values.unwrap_or_default();
    for (at_index, (word, count)) in values.iter().enumerate() {
        if !words.is_empty() && !words.contains(&word.as_str()) {
            report.error(at, format!("{word} is not known here; known are {}", words.join(", ")));
        }
        if let Some((other, _)) = values[..at_index].iter().find(|(_, earlier)| earlier == count) {
            report.error(at, format!("{count} stands for both {other} and {word}"));
        }
    }
    values.into_iter().map(|(word, count)| (word, Raw(count))).collect()
}
