//! What a configuration says of a line and its heads that differs from protocol to protocol.

use crate::config::check::for_control;
use crate::config::walk::{Field, Found, Report, Section};
use crate::config::{Parity, Protocol};
use pump_drivers::{dart, gaskitlink};

/// The ways of one head, as its driver wants them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ways {
    /// Of a DART head.
    Dart(dart::Habits),
    /// Of a GasKitLink post.
    GasKitLink(gaskitlink::Habits),
}

/// Parity where none is given.
pub(super) const fn parity(protocol: Protocol) -> Parity {
    match protocol {
        Protocol::Dart => Parity::Odd,
        Protocol::GasKitLink => Parity::None,
    }
}

/// Reads the keys of one head that only its protocol has.
pub(super) fn read(protocol: Protocol, only_listens: bool, section: &mut Section<'_, '_>) -> Ways {
    match protocol {
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
