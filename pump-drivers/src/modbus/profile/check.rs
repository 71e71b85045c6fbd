//! What a map must have for what it is used for, and how its points fit together (Modbus sheet, sections 6 and 7).

use super::role::Role;
use super::walk::{Place, Report};
use super::{Kind, Limits};
use crate::modbus::point::{Point, ValueType};
use crate::modbus::wire::Area;
use std::collections::BTreeMap;

type Points = BTreeMap<Role, (Point, Place)>;

/// `named` are the points that stand in the text, good or not.
pub(super) fn check(
    kind: Kind,
    limits: &Limits,
    points: &Points,
    named: &[Role],
    section: &Place,
    report: &Report<'_>,
) {
    for (role, (point, at)) in points {
        if !belongs(kind, *role) {
            report.error(at, format!("a map of kind {} has no such point", word(kind)));
        }
        fits_device(*role, point, at, limits, report);
    }
    overlap(points, report);
    let needs = |roles: &[Role], why: &str| {
        for role in roles.iter().filter(|role| !named.contains(role)) {
            report.error(section, format!("{} is missing: {why}", role.word()));
        }
    };
    match kind {
        Kind::Dispenser => {
            needs(&[Role::State, Role::Volume, Role::Command], "nothing is released without it");
            needs(&[Role::PresetValue], "nothing is released without a limit that stands in the dispenser");
            needs(&[Role::TotalVolume], "what flowed while nobody listened is accounted by it");
            if named.contains(&Role::SaleSequence) {
                needs(&[Role::SaleVolume, Role::SaleAmount], "sale-sequence numbers a sale with volume and amount");
            }
            dispenser(points, limits, report);
        }
        Kind::Collect => {
            if named.contains(&Role::SaleSequence) {
                needs(&[Role::SaleVolume], "a record without a volume is none");
            } else {
                needs(&[Role::TotalVolume], "there is nothing to collect without it or sale-sequence");
            }
        }
        Kind::Pulses => {
            needs(&[Role::PulseCounter], "volume comes from it");
            pulses(points, report);
        }
        Kind::Outputs => {
            needs(&[Role::ValveMain], "without a valve there is nothing to open");
            for role in [Role::ValveSlow, Role::PumpEnable, Role::Light, Role::Buzzer] {
                if let Some((_, at)) = points.get(&role) {
                    report.error(
                        at,
                        "is not switched by this version: leave it out, and wire it to the relay of valve-main",
                    );
                }
            }
        }
    }
    if let Some((_, at)) = points.get(&Role::SaleAck)
        && !points.contains_key(&Role::SaleSequence)
    {
        report.error(at, "acknowledges nothing without sale-sequence");
    }
    together(&Role::SALE, "the record of a sale", points, limits, report);
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Dispenser => "dispenser",
        Kind::Collect => "collect",
        Kind::Pulses => "pulses",
        Kind::Outputs => "outputs",
    }
}

fn belongs(kind: Kind, role: Role) -> bool {
    let pulses = matches!(role, Role::PulseCounter | Role::PulseOverflow);
    match kind {
        Kind::Dispenser => !pulses && !role.is_bit(),
        Kind::Collect => !pulses && !role.is_bit() && (!role.is_written() || role == Role::SaleAck),
        Kind::Pulses => pulses || matches!(role, Role::Identity | Role::Heartbeat),
        Kind::Outputs => role.is_bit() || matches!(role, Role::Identity | Role::Heartbeat),
    }
}

fn fits_device(role: Role, point: &Point, at: &Place, limits: &Limits, report: &Report<'_>) {
    let knows = |functions: &[u8]| functions.iter().any(|function| limits.functions.contains(function));
    let (read, write): (u8, &[u8]) = match point.area {
        Area::Coil => (1, &[5]),
        Area::Discrete => (2, &[]),
        Area::Input => (4, &[]),
        Area::Holding => (3, &[6, 16]),
    };
    if !knows(&[read]) {
        report.error(at, format!("needs function {read}, which limits.functions leaves out"));
    }
    if role.is_written() && !write.is_empty() && !knows(write) {
        let needed: Vec<String> = write.iter().map(ToString::to_string).collect();
        report.error(at, format!("needs function {}, which limits.functions leaves out", needed.join(" or ")));
    }
    if point.end() > 0x1_0000 {
        report.error(at, "runs beyond address 65535");
    }
    if point.kind.width() > limits.read {
        report.error(at, format!("has {} registers, more than one read may have", point.kind.width()));
    }
    for (word, count) in &point.values {
        if point.invalid.contains(count) {
            report.error(at, format!("the count of {word} is also an invalid marker"));
        }
    }
}

/// Two points in one register are a slip of the pen, unless both are bits of it.
fn overlap(points: &Points, report: &Report<'_>) {
    let all: Vec<_> = points.iter().collect();
    for (index, (role, (point, at))) in all.iter().enumerate() {
        for (other, (earlier, _)) in &all[..index] {
            let bits = point.kind == ValueType::Bit && earlier.kind == ValueType::Bit && point.bit != earlier.bit;
            let shared = point.area == earlier.area
                && u32::from(point.address) < earlier.end()
                && u32::from(earlier.address) < point.end();
            // a guard may be the number of the last sale
            let guard = matches!((other, role), (Role::SaleSequence, Role::Guard));
            if shared && !bits && !guard {
                report.error(at, format!("lies in the registers of {}", other.word()));
            }
        }
    }
}

fn dispenser(points: &Points, limits: &Limits, report: &Report<'_>) {
    let has_word = |role: Role, word: &str| points.get(&role).is_some_and(|(point, _)| point.count_of(word).is_some());
    for (role, words) in [
        (Role::State, ["idle", "calling", "fuelling"].as_slice()),
        (Role::Command, &["authorise", "stop"]),
        (Role::CommandResult, &["pending", "done"]),
    ] {
        if let Some((_, at)) = points.get(&role) {
            for word in words.iter().filter(|word| !has_word(role, word)) {
                report.error(at, format!("values lacks {word}"));
            }
        }
    }
    if let Some((point, at)) = points.get(&Role::Command)
        && point.kind.width() != 1
    {
        report.error(at, "an edge is one write of one register: u16, s16 or bcd16");
    }
    if let Some((point, at)) = points.get(&Role::Command)
        && point.values.iter().any(|(_, count)| count.0 == 0)
    {
        report.error(at, "0 is written between two commands and cannot be one itself");
    }
    if let Some((_, at)) = points.get(&Role::PresetKind) {
        if has_word(Role::PresetKind, "amount") && !points.contains_key(&Role::Amount) {
            report.error(at, "a limit in money is counted as amount, which is missing");
        }
        if !has_word(Role::PresetKind, "volume") && !has_word(Role::PresetKind, "amount") {
            report.error(at, "values has neither volume nor amount");
        }
    }
    for role in [Role::Volume, Role::Amount] {
        if let Some((_, at)) = points.get(&role).filter(|(point, _)| point.kind == ValueType::F32) {
            report.error(at, "a limit is counted as this point is, and none is exact as a float");
        }
    }
    together(&[Role::State, Role::Volume, Role::Amount], "the live values", points, limits, report);
}

fn pulses(points: &Points, report: &Report<'_>) {
    if let Some((point, at)) = points.get(&Role::PulseCounter)
        && point.kind != ValueType::U32
    {
        report.error(at, "a counter begins anew after 2^32 pulses, any other jump back is a reset: u32");
    }
    if let Some((point, at)) = points.get(&Role::PulseOverflow)
        && point.kind != ValueType::U16
    {
        report.error(at, "is one register, written at once: u16");
    }
}

/// Values that belong together are read in one request, or a sale may tear; a guard that is read before and after serves as well.
fn together(roles: &[Role], what: &str, points: &Points, limits: &Limits, report: &Report<'_>) {
    let all: Vec<&(Point, Place)> = roles.iter().filter_map(|role| points.get(role)).collect();
    let (Some((first, at)), false) = (all.first(), points.contains_key(&Role::Guard)) else { return };
    let start = all.iter().map(|(point, _)| u32::from(point.address)).min().unwrap_or_default();
    let end = all.iter().map(|(point, _)| point.end()).max().unwrap_or_default();
    let mut held: Vec<(u32, u32)> = points
        .values()
        .filter(|(point, _)| point.area == first.area)
        .map(|(p, _)| (u32::from(p.address), p.end()))
        .collect();
    held.sort_unstable();
    let mut reached = start;
    let mut gapless = true;
    for (from, to) in held.into_iter().filter(|(from, to)| *to > start && *from < end) {
        gapless &= from <= reached + u32::from(limits.gap);
        reached = reached.max(to);
    }
    let same = all.iter().all(|(point, _)| point.area == first.area);
    if !same || end - start > u32::from(limits.read) || !gapless {
        report.error(at, format!("{what} do not come in one request and can tear: set limits.gap, or a point guard"));
    }
}
