//! What a configuration says of a line and its heads that differs from protocol to protocol.

use crate::config::check::for_control;
use crate::config::walk::{Field, Found, Place, Report, Section};
use crate::config::{Files, Parity, Protocol};
use forecourt::units::Volume;
use pump_drivers::head::Rules;
use pump_drivers::modbus::profile::{Kind, Profile, SHIPPED};
use pump_drivers::modbus::wire::Framing;
use pump_drivers::{dart, gaskitlink, modbus, two_wire};
use std::path::Path;
use std::sync::Arc;

/// The ways of one head, as its driver wants them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ways {
    /// Of a DART head.
    Dart(dart::Habits),
    /// Of a GasKitLink post.
    GasKitLink(gaskitlink::Habits),
    /// Of a two-wire head.
    TwoWire(two_wire::Habits),
    /// Of a device with a register map.
    Modbus(modbus::Habits),
    /// Of a pulse counter with a valve.
    Pulses(modbus::PulseHabits),
}

impl Ways {
    /// What a head of these ways has room for.
    #[must_use]
    pub fn rules(&self, protocol: Protocol) -> Rules {
        match self {
            Self::TwoWire(habits) => habits.rules(),
            _ => protocol.rules(),
        }
    }
}

/// Parity where none is given.
pub(super) const fn parity(protocol: Protocol) -> Parity {
    match protocol {
        Protocol::Dart => Parity::Odd,
        Protocol::GasKitLink | Protocol::Modbus => Parity::None,
        Protocol::TwoWire => Parity::Even,
    }
}

/// Reads the keys of one head that only its protocol has.
pub(super) fn read(
    protocol: Protocol,
    framing: Framing,
    only_listens: bool,
    section: &mut Section<'_, '_>,
    report: &Report<'_>,
    files: &dyn Files,
) -> Option<Ways> {
    let ways = match protocol {
        Protocol::Dart => {
            let recipes = [("two-blocks", dart::Recipe::TwoBlocks), ("one-block", dart::Recipe::OneBlock)];
            let recipe = for_control(section.report, only_listens, section.word("recipe", &recipes));
            let recipe = recipe.or(dart::Recipe::TwoBlocks);
            Ways::Dart(dart::Habits { recipe, ..dart::Habits::default() })
        }
        Protocol::GasKitLink => {
            use gaskitlink::{AuthoriseIn, TotalQuery};
            let states = [("calling", AuthoriseIn::Calling), ("idle", AuthoriseIn::Idle)];
            let queries = [("nozzle", TotalQuery::Nozzle), ("active", TotalQuery::Active)];
            Ways::GasKitLink(gaskitlink::Habits {
                authorise_in: section.word("authorise-in", &states).or(AuthoriseIn::default()),
                total_query: section.word("total-query", &queries).or(TotalQuery::default()),
                ..gaskitlink::Habits::default()
            })
        }
        Protocol::TwoWire => Ways::TwoWire(two_wire_habits(section, only_listens)),
        Protocol::Modbus => return by_profile(framing, section, report, files),
    };
    Some(ways)
}

/// A device with a register map; where that is a pulse counter, also the board with its valve.
fn by_profile(framing: Framing, section: &mut Section<'_, '_>, report: &Report<'_>, files: &dyn Files) -> Option<Ways> {
    let map = profile(section.text("profile").required(report, EXPECTED), report, files);
    let valve = section.text("valve-profile").optional();
    let board = section.integer("valve-address", 1..=255, "").optional();
    let run_on = section.integer("run-on-ml", 0..=1_000, " ml").optional();
    let map = map?;
    if map.value.kind != Kind::Pulses {
        let places = [valve.map(|found| found.at), board.map(|found| found.at), run_on.map(|found| found.at)];
        for at in places.into_iter().flatten() {
            report.error(&at, "is for a pulse counter", "to be left out with a profile of another kind");
        }
        return Some(Ways::Modbus(modbus::Habits { framing, ..modbus::Habits::new(map.value) }));
    }
    let (Some(valve), Some(board)) = (valve, board) else {
        report.error(&map.at, "is that of a pulse counter", "valve-profile and valve-address beside it");
        return None;
    };
    let board = u8::try_from(board.value).ok()?;
    let valve = profile(Some(valve), report, files)?;
    if valve.value.kind != Kind::Outputs {
        report.error(
            &valve.at,
            "is not that of a board with relays",
            "a profile of kind outputs, such as relay-board-p3",
        );
        return None;
    }
    let usual = modbus::PulseHabits::new(map.value, valve.value, board);
    let run_on = run_on.map_or(usual.run_on, |found| Volume::new(found.value));
    Some(Ways::Pulses(modbus::PulseHabits { framing, run_on, ..usual }))
}

/// Reports what a head with so many nozzles asks of its register map in vain.
pub(super) fn check_nozzles(ways: &Ways, nozzles: usize, at: &Place, report: &Report<'_>) {
    match ways {
        Ways::Modbus(habits) => {
            for problem in habits.lacking(nozzles) {
                report.error(at, problem, "another profile, or nozzles that it has points for");
            }
        }
        Ways::Pulses(_) if nozzles > 1 => {
            report.error(at, "one counter with one valve has one nozzle", "a dispenser for each counter");
        }
        _ => {}
    }
}

const EXPECTED: &str = "the name of a profile that comes with the daemon, or the path of a file";

/// A profile by its name or path; every problem of it is reported with its line.
fn profile(found: Option<Found<&str>>, report: &Report<'_>, files: &dyn Files) -> Option<Found<Arc<Profile>>> {
    let found = found?;
    let shipped = SHIPPED.iter().find(|(name, _)| *name == found.value).map(|(_, text)| (*text).to_owned());
    let text = match shipped {
        Some(text) => text,
        None if found.value.starts_with('/') => match files.text_of(Path::new(found.value)) {
            Ok(text) => text,
            Err(why) => {
                report.error(&found.at, format!("{}: {why}", found.value), EXPECTED);
                return None;
            }
        },
        None => {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            let what = format!("no profile \"{}\" comes with the daemon", found.value);
            report.error(&found.at, what, format!("{}, or a path that begins with /", names.join(", ")));
            return None;
        }
    };
    match Profile::parse(&text) {
        Ok(profile) => Some(found.with(Arc::new(profile))),
        Err(problems) => {
            for problem in problems {
                report.error(&found.at, format!("{}: {problem}", found.value), "");
            }
            None
        }
    }
}

fn two_wire_habits(section: &mut Section<'_, '_>, only_listens: bool) -> two_wire::Habits {
    use two_wire::block::Level;
    use two_wire::{MoneyPreset, VolumePreset, Width};
    let usual = two_wire::Habits::default();
    let report = section.report;
    let money =
        [("plain", MoneyPreset::Plain), ("level", MoneyPreset::Level), ("level-and-grade", MoneyPreset::LevelAndGrade)];
    let level = if section.integer("price-level", 1..=2, "").or(1) == 2 { Level::Two } else { Level::One };
    let money = for_control(report, only_listens, section.word("money-preset", &money));
    let money = money.check(report, "\"level\" or \"level-and-grade\"", |money| match (money, level) {
        (MoneyPreset::Plain, Level::Two) => Err("names no price level, and price-level is 2"),
        _ => Ok(money),
    });
    let digits = section.word("volume-preset-digits", &[("five", VolumePreset::Five), ("six", VolumePreset::Six)]);
    let digits = for_control(report, only_listens, digits);
    let decimals = for_control(report, only_listens, section.integer("volume-preset-decimals", 0..=3, ""));
    let decimals = decimals.or(usual.volume_preset_decimals.into());
    two_wire::Habits {
        width: section.word("digits", &[("six", Width::Six), ("eight", Width::Eight)]).or(usual.width),
        money_preset: money.or(usual.money_preset),
        level,
        volume_preset: digits.or(usual.volume_preset),
        volume_preset_decimals: u8::try_from(decimals).unwrap_or(usual.volume_preset_decimals),
        all_stop_at_last: for_control(report, only_listens, section.boolean("all-stop-at-last"))
            .or(usual.all_stop_at_last),
        ..usual
    }
}

/// The bus address; for DART also the panel number that stands for it (DART sheet, section 1: address = 0x4F + panel).
pub(super) fn address(protocol: Protocol, section: &mut Section<'_, '_>, report: &Report<'_>) -> Option<Found<u8>> {
    let narrow = |found: Found<i64>, base: i64| {
        let value = u8::try_from(found.value + base).ok()?;
        Some(found.with(value))
    };
    let addresses = protocol.rules().addresses;
    let range = i64::from(*addresses.start())..=i64::from(*addresses.end());
    if protocol != Protocol::Dart {
        let expected = format!("address = {} to {}", range.start(), range.end());
        return section.integer("address", range, "").required(report, &expected).and_then(|found| narrow(found, 0));
    }
    let address = section.integer("address", range, " (0x50 to 0x6F)");
    let panel = section.integer("panel", 1..=32, "");
    match (address, panel) {
        (Field::Found(address), Field::Missing(_)) => narrow(address, 0),
        (Field::Missing(_), Field::Found(panel)) => narrow(panel, 0x4F),
        (Field::Missing(at), Field::Missing(_)) => {
            report.error(&at, "is missing", "address = 0x50 to 0x6F, or panel = 1 to 32");
            None
        }
        (Field::Found(_), Field::Found(panel)) => {
            report.error(&panel.at, "stands beside address", "one of them");
            None
        }
        _ => None,
    }
}
